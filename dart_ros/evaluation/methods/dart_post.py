"""This package's method with post-matting behind it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dart_ros.evaluation.methods.dart import Dart
from dart_ros.evaluation.methods.method import EmptyScene
from dart_ros.postmatting import create_post_matting
from dart_ros.values import Frame


class DartClosedForm(Dart):
    """Closed-form matting on the depth-corrected trimap; ``--weights`` are the network's."""

    name = "dart+closed-form"
    title = "DART + closed form"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        super().learn(empty)
        self._post = create_post_matting("closed-form")

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        matte = self._predictor.predict(frame, foreground=False)
        assert matte.trimap is not None
        return self._post.refine(frame.color, matte.trimap)


class DartVitMatte(DartClosedForm):
    """ViTMatte on the depth-corrected trimap; ``--weights`` are ViTMatte's."""

    name = "dart+vitmatte"
    title = "DART + ViTMatte"
    needs = "a folder with ViTMatte's config.json and model.safetensors"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        self._post = create_post_matting("vitmatte", self.weights)
        dart = Dart(backend=self.backend)
        dart.learn(empty)
        self._predictor, self.engine = dart._predictor, dart.engine

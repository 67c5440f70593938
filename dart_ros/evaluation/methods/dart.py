"""This package's own method, and what becomes of it when depth is taken away (the ablation)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.runtime.weights import NetworkWeights, load_weights
from dart_ros.session.predictor import Predictor, weights_of
from dart_ros.values import Frame


class Dart(Method):
    """The network as it ships, or with the weights of a file, fitted to the scene if asked for."""

    name = "dart"
    title = "DART"
    design: ClassVar[dict[str, bool]] = {}
    """Switches of the network that weights for this method were trained with."""
    switched: ClassVar[dict[str, bool]] = {}
    """Switches that are set otherwise than in the weights."""

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        if self.weights is None:
            scene = empty.fitted
            weights = weights_of(scene)
        else:
            if empty.fit_seconds:
                raise EvaluationError(
                    f"A fit starts from the weights that ship, but '{self.name}' has weights of "
                    "its own; leave out --fit, or its --weights."
                )
            scene, weights = empty.captured, load_weights(self.weights)
            self._check(weights)
        self._predictor = Predictor(
            scene, self.backend, weights=self._changed(weights), video=empty.consecutive
        )
        self.engine = self._predictor.backend

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        return self._predictor.predict(frame, trimap=False, foreground=False).alpha

    def _check(self, weights: NetworkWeights) -> None:
        wrong = {k: v for k, v in self.design.items() if getattr(weights.config, k) != v}
        if wrong:
            raise EvaluationError(
                f"{self.weights} isn't of the design '{self.name}'; train weights with "
                + ", ".join(f"{key}: {str(value).lower()}" for key, value in wrong.items())
            )

    def _changed(self, weights: NetworkWeights) -> NetworkWeights:
        switched: dict[str, Any] = {**self.switched}
        return replace(weights, config=replace(weights.config, **switched))


class NoErrorMap(Dart):
    """Tiles are chosen by the network's own error alone (without Eq. 9-10), on the same weights."""

    name = "dart-no-error"
    title = "DART without the error map"
    switched: ClassVar[dict[str, bool]] = {"depth_in_error": False}


class PaperDesign(Dart):
    """The paper's design: depth in the error map and the refiner, not in the base network."""

    name = "paper-design"
    title = "the paper's design"
    needs = "weights trained with depth_in_base, depth_in_light and depth_in_shadow: false"
    design: ClassVar[dict[str, bool]] = {
        "depth_in_base": False,
        "depth_in_refiner": True,
        "depth_in_light": False,
        "depth_in_shadow": False,
    }


class PaperNoErrorMap(PaperDesign):
    """The same weights without Eq. 9-10."""

    name = "paper-no-error"
    title = "the paper's design without the error map"
    switched: ClassVar[dict[str, bool]] = {"depth_in_error": False}


class ColorOnly(Dart):
    """No depth anywhere: the design of Background Matting V2, trained as this package is."""

    name = "color-only"
    title = "without both (Background Matting V2's design)"
    needs = "weights trained with all of depth_in_* false"
    design: ClassVar[dict[str, bool]] = {
        "depth_in_base": False,
        "depth_in_refiner": False,
        "depth_in_light": False,
        "depth_in_shadow": False,
    }
    switched: ClassVar[dict[str, bool]] = {"depth_in_error": False}


class PaperNoRefinerDepth(ColorOnly):
    """The paper's error map, but a refiner that sees color alone (without Eq. 11)."""

    name = "paper-no-refiner-depth"
    title = "the paper's design without depth in the refiner"
    switched: ClassVar[dict[str, bool]] = {"depth_in_error": True}

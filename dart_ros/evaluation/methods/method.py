"""What all methods have in common, and the empty scene from which they learn."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError, SceneError
from dart_ros.evaluation.scenes import LabelledScene
from dart_ros.runtime.weights import generic_weights_path
from dart_ros.session.recording.frames import EMPTY_FRAMES
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Frame


class EmptyScene:
    """The empty scene as methods get it: its frames, and what is captured of them only once.

    Args:
        scene: where the frames come from.
        fits: folder in which a fitted scene is kept and looked for.
        fit_seconds: how long the network is fitted to the scene, 0 for not at all.
    """

    def __init__(self, scene: LabelledScene, fits: SceneStore, fit_seconds: float) -> None:
        self.max_depth = scene.max_depth
        self.consecutive = scene.consecutive
        self.fit_seconds = fit_seconds
        self._scene = scene
        self._fits = fits

    def frames(self) -> Iterator[Frame]:
        """The frames of the empty scene.

        Raises:
            EvaluationError: if there are none.
        """
        count = 0
        for count, frame in enumerate(self._scene.empty(), start=1):  # noqa: B007
            yield frame
        if not count:
            raise EvaluationError(
                f"'{self._scene.name}' has no empty frames to learn the background from; add some."
            )

    @cached_property
    def captured(self) -> Scene:
        """The background as the node captures it; CaptureError if it isn't empty or stable."""
        from dart_ros.session.capture import capture_scene

        return capture_scene(self.frames(), EMPTY_FRAMES, "evaluation", self.max_depth)

    @cached_property
    def fitted(self) -> Scene:
        """The captured background with the network fitted to it, if that was asked for."""
        if not self.fit_seconds:
            return self.captured
        # Here, since that module imports this one.
        from dart_ros.evaluation.run import _code_digest

        digest = hashlib.sha256(generic_weights_path().read_bytes())
        key = f"{self._scene.fingerprint()} {self.fit_seconds} {_code_digest()}"
        digest.update(key.encode())
        name = f"fit-{digest.hexdigest()[:16]}"
        try:
            return self._fits.load(name)
        except SceneError:
            from dart_ros.fitting.run import FitRun
            from dart_ros.session.fit import fit

            run = FitRun(seconds=self.fit_seconds)
            fitted, _ = fit(self.captured, run, lambda _share, _message: None, lambda: False)
            self._fits.save(replace(fitted, name=name))
            return fitted


class Method(ABC):
    """A matting method: learns the empty scene, then gives alpha frame by frame.

    Attributes:
        name: how it is asked for.
        title: how tables call it.
        needs: what file ``--weights NAME=FILE`` must name, empty if the method needs none.
        engine: what runs it, known once it has learnt; may be empty.

    Args:
        weights: file or folder of the user's, or None.
        backend: inference engine for this package's own network.

    Raises:
        EvaluationError: if a file is needed and none is given, or it doesn't exist.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    needs: ClassVar[str] = ""
    engine: str = ""

    def __init__(self, weights: Path | None = None, backend: str = "auto") -> None:
        if self.needs and weights is None:
            raise EvaluationError(
                f"The method '{self.name}' needs {self.needs}: --weights {self.name}=PATH"
            )
        if weights is not None and not weights.exists():
            raise EvaluationError(
                f"There is no {weights}, which the method '{self.name}' is to use; check the path."
            )
        self.weights = weights
        self.backend = backend

    @abstractmethod
    def learn(self, empty: EmptyScene) -> None:
        """Learn the background, and load what is needed."""

    @abstractmethod
    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """Alpha of a frame, ``H×W`` uint8, 255 is foreground."""

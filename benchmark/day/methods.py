"""What is compared on the day; all learn the empty room in the morning."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.evaluation.methods.depth_threshold import SIGMAS
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.bumped_camera import BumpedCamera, warped_background
from dart_ros.session.capture import capture_scene
from dart_ros.session.living_background import LearningSettings, LivingBackground
from dart_ros.session.predictor import Predictor, background_of
from dart_ros.session.scene import Scene
from dart_ros.values import Frame

FRAME_RATE = 30.0
"""Of the camera that the day stands for."""

_LOOK_SECONDS, _SOON_SECONDS = 0.6, 0.15
"""From one look for a bump to the next, and to the one that confirms it, as in the node."""

_LEARN_SECONDS, _USE_SECONDS = 1.0, 10.0
"""From one frame that is learnt from to the next, and between two backgrounds for the engine, as in
the node."""


def captured(frames: Sequence[Frame], max_depth: float) -> Scene:
    """The scene of empty frames, as the node captures it."""
    return capture_scene(frames, len(frames), "day", max_depth)


class DayMethod(ABC):
    """A method on the day's frames.

    Attributes:
        name: in figures.
        title: in tables.
        every_frame: whether it must see all frames, not only those that are scored.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    every_frame: ClassVar[bool] = False

    @abstractmethod
    def learn(self, scene: Scene, frames: Sequence[Frame]) -> None:
        """Take in the empty room of the morning: the scene, and the frames it is made of."""

    @abstractmethod
    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """Alpha of a frame, ``H×W`` uint8."""


class Still(DayMethod):
    """The predictor with the scene of the morning."""

    name, title = "still", "captured once"

    def __init__(self, backend: str) -> None:
        self._backend = backend

    def learn(self, scene: Scene, frames: Sequence[Frame]) -> None:
        """See :meth:`DayMethod.learn`."""
        self.predictor = Predictor(scene, self._backend)

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`DayMethod.alpha`."""
        return self.predictor.predict(frame, trimap=False, foreground=False).alpha


class Fresh(Still):
    """The predictor with a capture of the very moment: the best that there is to reach."""

    name, title = "fresh", "captured anew at each moment"

    def use(self, scene: Scene) -> None:
        """Matte before another scene."""
        self.predictor.set_background(background_of(scene))


class Living(Still):
    """The predictor whose background learns, absorbs what is put down, and follows bumps.

    Attributes:
        matte_seconds: taken by mattes so far.
        learn_seconds: by learning.
        look_seconds: by looks for bumps.
        counts: of mattes, of frames learnt from and of looks.
        absorbed: seconds of the day and number of things, of what was absorbed.
        bumps: seconds of the day, and pixels by which the camera was off since the morning.
    """

    name, title = "living", "lives all day"
    every_frame = True

    def __init__(self, backend: str, settings: LearningSettings | None = None) -> None:
        super().__init__(backend)
        self._settings = settings or LearningSettings()
        self.matte_seconds = self.learn_seconds = self.look_seconds = 0.0
        self.counts = [0, 0, 0]
        self.absorbed: list[tuple[float, int]] = []
        self.bumps: list[tuple[float, float]] = []
        self._next_look = self._next_learning = self._next_use = 0.0

    @property
    def rates(self) -> tuple[float, float]:
        """Frames learnt from and looks for bumps, a second."""
        return 1 / _LEARN_SECONDS, 1 / _LOOK_SECONDS

    def learn(self, scene: Scene, frames: Sequence[Frame]) -> None:
        """See :meth:`DayMethod.learn`."""
        super().learn(scene, frames)
        self._scene, self._drift, self._astray = scene, 1.0, False
        self._begin(background_of(scene))
        self._camera = BumpedCamera(scene.plate)

    def _begin(self, background: CapturedBackground) -> None:
        """Learn on from a background, as the node does after a bump."""
        scene = self._scene
        assert scene.depth_noise is not None
        self._living = LivingBackground(
            background,
            scene.color_deviation,
            scene.depth_noise,
            scene.max_depth,
            scene.camera,
            self._drift,
        )
        self._give(background)

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`DayMethod.alpha`."""
        begun = time.perf_counter()
        alpha = super().alpha(frame)
        self.matte_seconds += time.perf_counter() - begun
        self.counts[0] += 1
        second = frame.stamp * 1e-9
        if second >= self._next_look:
            self._look(frame, second)
        if second >= self._next_learning and not self._astray:
            self._learn(frame, alpha, second)
        return alpha

    def _look(self, frame: Frame, second: float) -> None:
        begun = time.perf_counter()
        self._camera.use(self.predictor.background.plate)
        found = self._camera.look(frame.color)
        self.look_seconds += time.perf_counter() - begun
        self.counts[2] += 1
        self._next_look = second + (_SOON_SECONDS if found.again else _LOOK_SECONDS)
        self._astray = found.again or found.lost
        if found.warp is not None:
            background = self.predictor.background
            self._begin(warped_background(background, found.warp, self._scene.max_depth))
            self.bumps.append((second, found.pixels))

    def _learn(self, frame: Frame, alpha: NDArray[np.uint8], second: float) -> None:
        begun = time.perf_counter()
        gone = self._living.add(frame, alpha, self._settings, second)
        due = gone or second >= self._next_use
        if due and self._living.worth_using():
            self._give(self._living.background())
            self._next_use = second + _USE_SECONDS
        self._drift = self._living.model.drift
        self.learn_seconds += time.perf_counter() - begun
        self.counts[1] += 1
        self._next_learning = second + _LEARN_SECONDS
        if gone:
            self.absorbed.append((second, len(gone)))

    def _give(self, background: CapturedBackground) -> None:
        self.predictor.set_background(background)


class LearningSubtractor(DayMethod):
    """A subtractor of OpenCV's on color that goes on learning as at 30 frames a second."""

    every_frame = True

    def learn(self, scene: Scene, frames: Sequence[Frame]) -> None:
        """See :meth:`DayMethod.learn`."""
        self._subtractor = self._make()
        self._subtractor.setShadowValue(0)  # shadows are background
        self._per_frame = 1 / self._subtractor.getHistory()
        self._last: float | None = None
        for frame in frames:
            self._subtractor.apply(frame.color)

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`DayMethod.alpha`."""
        second = frame.stamp * 1e-9
        passed = 1 / FRAME_RATE if self._last is None else second - self._last
        self._last = second
        # What so many frames in a row would have learnt.
        rate = 1 - (1 - self._per_frame) ** max(1.0, passed * FRAME_RATE)
        return np.asarray(self._subtractor.apply(frame.color, learningRate=rate), np.uint8)

    @abstractmethod
    def _make(self) -> Any:
        """A new subtractor of OpenCV's that detects shadows."""


class Mog2(LearningSubtractor):
    """A mixture of Gaussians for each pixel."""

    name, title = "mog2", "MOG2"

    def _make(self) -> Any:
        return cv2.createBackgroundSubtractorMOG2(detectShadows=True)


class Knn(LearningSubtractor):
    """The nearest neighbours of each pixel's past."""

    name, title = "knn", "KNN"

    def _make(self) -> Any:
        return cv2.createBackgroundSubtractorKNN(detectShadows=True)


class DepthThreshold(DayMethod):
    """What lies nearer than the morning's depth."""

    name, title = "depth", "depth threshold"

    def learn(self, scene: Scene, frames: Sequence[Frame]) -> None:
        """See :meth:`DayMethod.learn`."""
        self._nearest = scene.depth_mean - SIGMAS * scene.depth_std

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`DayMethod.alpha`."""
        near = (frame.depth > 0) & (frame.depth < self._nearest)
        return near.astype(np.uint8) * np.uint8(255)

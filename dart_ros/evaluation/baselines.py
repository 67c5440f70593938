"""What anyone would try first: a depth threshold, and OpenCV's background subtractors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError
from dart_ros.method.depth_background import DepthBackgroundAccumulator
from dart_ros.values import Frame

# At a rate of exactly 0 OpenCV's KNN takes what it sees into the background within 80 frames.
_FROZEN = 1e-6


class Method(Protocol):
    """A matting method: learns the empty scene, then gives alpha frame by frame."""

    name: str

    def fit(self, frames: Iterable[Frame]) -> None:
        """Learn the background from frames of the empty scene."""

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """Alpha of a frame, ``H×W`` uint8, 255 is foreground."""


class DepthThreshold:
    """Foreground is what lies nearer than the background by three standard deviations (Eq. 4).

    Args:
        max_depth: range of the sensor in metres.
        sigmas: number of standard deviations.
    """

    name = "depth threshold"

    def __init__(self, max_depth: float, sigmas: float = 3.0) -> None:
        self._max_depth = max_depth
        self._sigmas = sigmas

    def fit(self, frames: Iterable[Frame]) -> None:
        """See :meth:`Method.fit`; EvaluationError if there are no frames."""
        accumulator = None
        for frame in frames:
            if accumulator is None:
                height, width = frame.depth.shape
                accumulator = DepthBackgroundAccumulator(height, width, self._max_depth)
            accumulator.add(frame.depth)
        if accumulator is None:
            raise _no_frames()
        background = accumulator.result()
        self._nearest = (background.mean - self._sigmas * background.std).numpy()

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`; an unknown depth counts as background."""
        near = (frame.depth > 0) & (frame.depth < self._nearest)
        return near.astype(np.uint8) * np.uint8(255)


class ColorSubtractor:
    """OpenCV's MOG2 or KNN on color; shadows count as background, and it stops learning.

    Args:
        kind: ``mog2`` or ``knn``.

    Raises:
        EvaluationError: if ``kind`` is another one.
    """

    def __init__(self, kind: str) -> None:
        makers: dict[str, Any] = {
            "mog2": cv2.createBackgroundSubtractorMOG2,
            "knn": cv2.createBackgroundSubtractorKNN,
        }
        if kind not in makers:
            raise EvaluationError(f"There is no subtractor '{kind}'; take mog2 or knn.")
        self.name = kind.upper()
        self._make = makers[kind]

    def fit(self, frames: Iterable[Frame]) -> None:
        """See :meth:`Method.fit`; EvaluationError if there are no frames."""
        self._subtractor = self._make(detectShadows=True)
        # Shadows get this value, so they are background.
        self._subtractor.setShadowValue(0)
        count = 0
        for count, frame in enumerate(frames, start=1):  # noqa: B007
            self._subtractor.apply(frame.color)
        if not count:
            raise _no_frames()

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        return np.asarray(self._subtractor.apply(frame.color, learningRate=_FROZEN), np.uint8)


def _no_frames() -> EvaluationError:
    return EvaluationError(
        "The recording has no empty frames to learn the background from; name some in its "
        "sequence.json."
    )

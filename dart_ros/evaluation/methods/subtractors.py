"""OpenCV's background subtractors."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.values import Frame

# At a rate of exactly 0 OpenCV's KNN takes what it sees into the background within 80 frames.
_FROZEN = 1e-6


class Subtractor(Method):
    """A subtractor on color; shadows count as background, and it stops learning."""

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        self._subtractor = self._make()
        # Shadows get this value, so they are background.
        self._subtractor.setShadowValue(0)
        for frame in empty.frames():
            self._subtractor.apply(frame.color)

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        return np.asarray(self._subtractor.apply(frame.color, learningRate=_FROZEN), np.uint8)

    @abstractmethod
    def _make(self) -> Any:
        """A new subtractor of OpenCV's that detects shadows."""


class Mog2(Subtractor):
    """A mixture of Gaussians for each pixel (Zivkovic 2004)."""

    name = "mog2"
    title = "MOG2"

    def _make(self) -> Any:
        return cv2.createBackgroundSubtractorMOG2(detectShadows=True)


class Knn(Subtractor):
    """The nearest neighbours of each pixel's past (Zivkovic and van der Heijden 2006)."""

    name = "knn"
    title = "KNN"

    def _make(self) -> Any:
        return cv2.createBackgroundSubtractorKNN(detectShadows=True)

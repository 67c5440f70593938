"""Foreground by color alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.values import Frame

LEVELS = 25


class ColorDifference(Method):
    """Foreground is what differs from the background plate by more than 25 of 255 levels."""

    name = "color"
    title = "color difference"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        self._plate = empty.captured.plate.astype(np.int16)

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`; the channel that differs most decides."""
        difference = np.abs(frame.color - self._plate).max(axis=2)
        return (difference > LEVELS).astype(np.uint8) * np.uint8(255)

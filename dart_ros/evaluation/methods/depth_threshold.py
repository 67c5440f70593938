"""Foreground by depth alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.values import Frame

SIGMAS = 3.0


class DepthThreshold(Method):
    """Foreground is what lies nearer than the background by three standard deviations (Eq. 4)."""

    name = "depth"
    title = "depth threshold"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        scene = empty.captured
        self._nearest = scene.depth_mean - SIGMAS * scene.depth_std

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`; an unknown depth counts as background."""
        near = (frame.depth > 0) & (frame.depth < self._nearest)
        return near.astype(np.uint8) * np.uint8(255)

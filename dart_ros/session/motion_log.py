"""Whether the camera of a recording still stood where its scene was captured."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dart_ros.session.camera_motion import CameraMotion

_EVERY = 5
"""Frames from one look to the next; a look takes as long as a tenth of a matte."""

_IN_A_ROW = 2
"""Looks that must agree: a single one may be wrong."""


class MotionLog:
    """Looks at some of the frames of a recording and remembers what moved.

    Args:
        plate: the scene's, ``H×W×3`` RGB uint8.
    """

    def __init__(self, plate: NDArray[np.uint8]) -> None:
        self._motion = CameraMotion(plate)
        self._frames = 0
        self._looks = 0
        self._run: list[tuple[int, float]] = []
        self._moved: list[tuple[int, float]] = []

    def look(self, position: int, color: NDArray[np.uint8]) -> bool:
        """Take in a frame, ``H×W×3`` RGB uint8; whether it is now known for the first time that the
        camera has moved."""
        self._frames += 1
        if (self._frames - 1) % _EVERY:
            return False
        self._looks += 1
        pixels = self._motion.pixels(color)
        if pixels is None or pixels <= self._motion.tolerance:
            self._run = []
            return False
        self._run.append((position, pixels))
        known = bool(self._moved)
        if len(self._run) == _IN_A_ROW:
            self._moved += self._run
        elif len(self._run) > _IN_A_ROW:
            self._moved.append(self._run[-1])
        return not known and bool(self._moved)

    def report(self) -> str:
        """What moved, in one sentence; empty if nothing did."""
        if not self._moved:
            return ""
        farthest = max(pixels for _, pixels in self._moved)
        return (
            "The camera doesn't stand where the scene was captured: it is off by up to "
            f"{farthest:.0f} pixels in {len(self._moved)} of {self._looks} frames that were "
            f"looked at, from position {self._moved[0][0]} on; mattes from there are wrong. "
            "Capture the scene where the camera stands, or cut the recording there."
        )

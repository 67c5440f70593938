"""Whether the camera has moved since the scene was captured, in a thread beside the frames."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dart_ros.node.scene_loader import Loaded
from dart_ros.node.worker import LatestWorker

_PERIOD = 1.0  # seconds between two checks
_NICENESS = 10  # of the thread: frames come first


class MotionWatch:
    """Compares a frame a second with the background plate.

    Args:
        on_moved: called in the thread of the checks with what to tell about a camera that moved.
        on_error: called in that thread with whatever a check raised.
    """

    def __init__(
        self, on_moved: Callable[[str], None], on_error: Callable[[Exception], None]
    ) -> None:
        self._on_moved = on_moved
        self._due = 0.0
        self._moved: Loaded | None = None  # of which the last check found motion
        self._worker = LatestWorker(self._check, on_error, "camera motion", _NICENESS)

    def offer(self, color: NDArray[np.uint8], loaded: Loaded) -> None:
        """Have a frame (``H×W×3`` RGB uint8) checked if it is time; in the worker's thread."""
        now = time.monotonic()
        if now >= self._due:
            self._due = now + _PERIOD
            self._worker.put((color, loaded))

    def stop(self, timeout: float) -> bool:
        """End the thread; whether it has ended within ``timeout`` seconds."""
        return self._worker.stop(timeout)

    def _check(self, item: tuple[NDArray[np.uint8], Loaded]) -> None:
        color, loaded = item
        pixels = loaded.motion.pixels(color)
        moved_before = self._moved is loaded
        moved = pixels is not None and pixels > loaded.motion.tolerance
        self._moved = loaded if moved else None
        if moved and moved_before:  # a single one may be a shake
            self._on_moved(
                f"the camera has moved by about {pixels:.0f} pixels since scene "
                f"'{loaded.scene.name}' was captured: put it back, or capture the background again "
                "(~/capture_background)"
            )

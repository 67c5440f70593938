"""Whether the camera has moved since the scene was captured, in a thread beside the frames; a small
motion is made up for."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from dart_ros.node.context import NodeContext
from dart_ros.node.scene_loader import Loaded
from dart_ros.node.worker import LatestWorker
from dart_ros.session.bumped_camera import BumpFinding, warped_background

_PERIOD = 0.6  # seconds between two checks
_SOON = 0.15  # seconds until the check that confirms another
_NICENESS = 10  # of the thread: frames come first


class MotionWatch:
    """Compares some frames with the background plate.

    Args:
        context: of the node.
        on_moved: called in the thread of the checks with what to tell about a camera that moved.
        on_error: called in that thread with whatever a check raised.
    """

    def __init__(
        self,
        context: NodeContext,
        on_moved: Callable[[str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self._context = context
        self._on_moved = on_moved
        self._due = 0.0
        self._astray = False
        self._worker = LatestWorker(self._check, on_error, "camera motion", _NICENESS)

    @property
    def astray(self) -> bool:
        """Whether the camera looks elsewhere than the background does, or may; from any thread."""
        return self._astray

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
        predictor, camera = loaded.predictor, loaded.bumped
        background = predictor.background
        camera.use(background.plate)
        found = camera.look(color, self._context.settings().compensate_motion)
        while found.warp is not None:
            warped = warped_background(background, found.warp, loaded.scene.max_depth)
            if predictor.set_background(warped, background):
                break
            background = predictor.background  # what was learnt meanwhile is warped as well
        if found.again:
            self._due = time.monotonic() + _SOON
        self._astray = found.again or found.lost
        if found.pixels:
            self._on_moved(_told(found, loaded.scene.name))


def _told(found: BumpFinding, scene: str) -> str:
    moved = f"the camera has moved by about {found.pixels:.2g} pixels since scene '{scene}' was"
    if found.lost:
        return (
            f"{moved} captured: put it back, or capture the background again (~/capture_background)"
        )
    return (
        f"{moved} captured, which is made up for: capture the background again "
        "(~/capture_background) once the view is empty"
    )

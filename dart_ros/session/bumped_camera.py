"""A camera that was pushed: its scene's background is warped to where the camera looks now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.background_depth import PSI
from dart_ros.session.camera_motion import CameraMotion, Motion, farthest

FARTHEST = 12.0
"""Pixels of a picture of 640 columns (in larger ones as much more) up to which a camera that has
moved since the capture is compensated, unless told otherwise."""

GUESSED = 0.02
"""Share of the distance by which the guessed depth of what comes into view may be off."""

_AGREE, _AGREE_SHARE = 0.5, 0.1
"""Pixels of a picture of 640 columns, and share of the motion, by which two looks may differ."""


@dataclass(frozen=True, eq=False)
class BumpFinding:
    """What a look has found.

    Attributes:
        pixels: by which the camera has moved since the capture, compensated or not, measured at the
            corner of the picture that moved farthest; 0 if it hasn't.
        lost: whether that isn't compensated: too far, not wanted, or not known finely enough.
        warp: 3×3, what the background in use must be warped by now; None if it needn't.
        again: whether another look should follow at once, to make sure.
    """

    pixels: float
    lost: bool = False
    warp: NDArray[np.float64] | None = None
    again: bool = False


class BumpedCamera:
    """Finds how the camera of one scene was pushed, look by look; for one thread at a time.

    A motion counts once two looks in a row agree on it. Looks from which too little of the room is
    seen change nothing.

    Args:
        plate: the background's in use, ``H×W×3`` RGB uint8.
        captured: the plate as it was captured, None for the one in use.
    """

    def __init__(self, plate: NDArray[np.uint8], captured: NDArray[np.uint8] | None = None) -> None:
        self._plate = plate
        self._captured = plate if captured is None else captured
        self._motion = CameraMotion(plate)
        self._total: NDArray[np.float64] = np.eye(3)
        self._last: Motion | None = None  # of the last look, if the camera had moved

    @property
    def moved(self) -> float:
        """Pixels by which the camera has moved since the capture, as far as it is compensated."""
        pixels = farthest(self._total, self._plate.shape[:2])
        return pixels if pixels > self._motion.fine else 0.0

    def use(self, plate: NDArray[np.uint8]) -> None:
        """Compare with another plate from now on: one that was learnt, or warped, or restored."""
        if plate is self._plate:
            return
        self._plate, self._motion = plate, CameraMotion(plate)
        if plate is self._captured:
            self._total, self._last = np.eye(3), None

    def look(self, color: NDArray[np.uint8], most: float = FARTHEST) -> BumpFinding:
        """Take in a frame.

        Args:
            color: ``H×W×3`` RGB uint8, the plate's size.
            most: pixels of a picture of 640 columns up to which a motion is compensated; 0 for
                never.
        """
        motion = self._motion.find(color)
        last, self._last = self._last, None
        fine = self._motion.fine if most else self._motion.tolerance
        if motion is None or motion.pixels <= (
            self._motion.tolerance if motion.warp is None else fine
        ):
            return BumpFinding(self.moved)
        self._last = motion
        if last is None:  # a single one may be a shake
            return BumpFinding(self.moved, again=True)
        shape = self._plate.shape[:2]
        if motion.warp is None or last.warp is None:
            return BumpFinding(motion.pixels, lost=True)
        total = motion.warp @ self._total
        pixels = farthest(total, shape)
        if pixels > most * self._motion.scale:
            return BumpFinding(pixels, lost=True)
        apart = farthest(motion.warp @ np.linalg.inv(last.warp), shape)
        if apart > _AGREE * self._motion.scale + _AGREE_SHARE * motion.pixels:
            return BumpFinding(self.moved, again=True)  # it still moves
        self._last = None
        self._total = total / total[2, 2]
        return BumpFinding(self.moved, warp=motion.warp)


def warped_background(
    background: CapturedBackground, warp: NDArray[np.float64], max_depth: float
) -> CapturedBackground:
    """A background as the camera sees it after a push.

    What comes into view is guessed: it goes on as the border did, at a depth that may be off by
    :data:`GUESSED` of the distance.

    Args:
        background: as it was seen before.
        warp: 3×3, from a pixel before (x, y, 1) to one after.
        max_depth: range of the sensor in metres, the mean where depth is unknown.
    """
    height, width = background.mean.shape

    def moved(image: NDArray[Any], flags: int, border: int = cv2.BORDER_REPLICATE) -> NDArray[Any]:
        return np.asarray(
            cv2.warpPerspective(image, warp, (width, height), flags=flags, borderMode=border)
        )

    plate = moved(background.plate, cv2.INTER_CUBIC)
    # Depth between near and far would be where nothing is.
    mean, std, known = (
        moved(image, cv2.INTER_NEAREST)
        for image in (background.mean, background.std, background.known.astype(np.uint8))
    )
    whole = np.ones((height, width), np.uint8)
    guessed = moved(whole, cv2.INTER_NEAREST, cv2.BORDER_CONSTANT) == 0
    np.maximum(std, np.float32(GUESSED) * mean, out=std, where=guessed)
    restless = background.restless
    if restless is not None:
        restless = moved(restless.astype(np.uint8), cv2.INTER_NEAREST) > 0
    seen = known > 0
    return CapturedBackground(
        plate,
        np.where(seen, mean, np.float32(max_depth)),
        np.where(seen, std, np.float32(PSI * max_depth)),
        seen,
        restless,
    )

"""Whether a camera still sees a scene from where it was captured, and how it has moved: details of
the plate are looked for in the frame.

There are two ways. Details are tracked from the plate to the frame (Lucas and Kanade), which tells
small motions to a tenth of a pixel; patches of the picture must then agree that the plate fits
better when it is warped. Else they are matched by their looks (ORB), which tells motions of any
size to a pixel or two.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MOVED = 1.5
"""Pixels of a picture of 640 columns or less by which a camera has moved; in larger ones it is as
much more. Two of them raise the error of mattes by two thirds."""

FINE = 0.35
"""Pixels, of the same size, from which on a motion known to a part of a pixel counts."""

_WIDTH = 640
"""Larger images are reduced to this; the figures below are for it."""

_SMALLEST = 32
"""Pixels on the shorter side below which a picture has no details; ORB's patches take 31."""

_DETAILS = 500
_FEWEST = 20
_SHARE = 0.3
"""Of the details found again, that must agree on one motion; else nothing is said."""

_STRAY = 1.5
"""Pixels by which they may differ from it."""

_AROUND = (31, 31)
"""Pixels over which brightness and contrast are evened out."""

# What is tracked: how many corners, how good and how far apart they are.
_CORNERS, _QUALITY, _APART = 200, 0.02, 10
_THERE_AND_BACK = 0.4  # pixels that a corner may miss its place by, tracked there and back
_FEWEST_TRACKED, _TRACKED_SHARE = 30, 0.45
_CLOSE = 0.8  # pixels by which tracked corners may differ from the motion
_SURE = 0.3  # pixels, standard deviation of the motion of the worst corner of the picture
_FARTHEST = 40.0  # pixels that tracking reaches
# Patches that must agree: their side, the least contrast and likeness, how many, what share.
_PATCH, _CONTRAST, _ALIKE, _FEWEST_PATCHES, _AGREE = 32, 12.0, 0.4, 8, 0.75


@dataclass(frozen=True, eq=False)
class Motion:
    """How a camera has moved.

    Attributes:
        pixels: by which that corner of the picture has moved that moved farthest; 0 where it stands
            still.
        warp: 3×3 float64, from a pixel of the plate to that of the frame (x, y, 1); None where the
            motion isn't known to a part of a pixel.
    """

    pixels: float
    warp: NDArray[np.float64] | None = None


class CameraMotion:
    """Finds the motion between a plate and frames of the same camera.

    Whoever stands in the view hides some of the plate and may move as he likes; light may change.

    Args:
        plate: ``H×W×3`` RGB uint8.

    Attributes:
        tolerance: pixels above which a camera has moved.
        fine: pixels above which a camera has moved where the motion is known to a part of a pixel.
        scale: pixels of the plate in one of a picture of 640 columns, at least 1.
    """

    def __init__(self, plate: NDArray[np.uint8]) -> None:
        self.scale = max(1.0, plate.shape[1] / _WIDTH)
        self.tolerance = MOVED * self.scale
        self.fine = FINE * self.scale
        self._orb = cv2.ORB_create(_DETAILS)  # type: ignore[attr-defined]
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
        self._small = min(plate.shape[:2]) < _SMALLEST * self.scale
        if self._small:
            return
        self._plate = self._even(plate)
        self._places, self._looks = self._orb.detectAndCompute(self._plate, None)
        corners = cv2.goodFeaturesToTrack(self._plate, _CORNERS, _QUALITY, _APART)
        self._corners = np.zeros((0, 2)) if corners is None else corners[:, 0].astype(np.float64)

    def pixels(self, color: NDArray[np.uint8]) -> float | None:
        """How far the camera has moved.

        Args:
            color: ``H×W×3`` RGB uint8, the plate's size.

        Returns:
            Pixels by which that corner of the picture has moved that moved farthest, 0 where it
            stands still; None where too little of the plate is seen to tell.
        """
        motion = self.find(color)
        return None if motion is None else motion.pixels

    def find(self, color: NDArray[np.uint8]) -> Motion | None:
        """How the camera has moved, None where too little of the plate is seen to tell.

        Args:
            color: ``H×W×3`` RGB uint8, the plate's size.
        """
        if self._small:
            return None
        frame = self._even(color)
        tracked = self._tracked(frame)
        if tracked is not None:
            return tracked
        pixels = self._matched(frame)
        return None if pixels is None else Motion(pixels * self.scale)

    # ---- by looks ----------------------------------------------------------------------------

    def _matched(self, frame: NDArray[np.uint8]) -> float | None:
        """How far the farthest corner has moved, in pixels of the reduced picture."""
        places, looks = self._orb.detectAndCompute(frame, None)
        if self._looks is None or looks is None:
            return None
        pairs = self._matcher.match(self._looks, looks)
        before = np.array([self._places[pair.queryIdx].pt for pair in pairs])
        after = np.array([places[pair.trainIdx].pt for pair in pairs])
        if len(pairs) < _FEWEST:
            return None
        # Turns and zooms as well as shifts.
        motion, agreeing = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=_STRAY)
        if motion is None or agreeing.sum() < max(_FEWEST, _SHARE * len(pairs)):
            return None
        # Tiles and bricks look alike one further, too.
        still = np.linalg.norm(after - before, axis=1) < _STRAY
        if still.sum() > 0.8 * agreeing.sum():
            return 0.0
        return farthest(np.vstack([motion, [0.0, 0.0, 1.0]]), frame.shape)

    # ---- by tracking -------------------------------------------------------------------------

    def _tracked(self, frame: NDArray[np.uint8]) -> Motion | None:
        """The motion to a part of a pixel, None where it can't be had."""
        if len(self._corners) < _FEWEST_TRACKED:
            return None
        before = self._corners
        after, found = _follow(self._plate, frame, before)
        again, back = _follow(frame, self._plate, after)
        kept = found & back & (np.linalg.norm(again - before, axis=1) < _THERE_AND_BACK)
        before, after = before[kept], after[kept]
        warp = _fit(before, after, frame.shape)
        if warp is None:
            return None
        pixels = farthest(warp, frame.shape)
        if pixels > _FARTHEST:
            return None
        if pixels < FINE:
            return Motion(0.0, np.eye(3))
        if not self._fits_better(frame, warp):
            return None
        size = np.diag([self.scale, self.scale, 1.0])
        return Motion(pixels * self.scale, size @ warp @ np.linalg.inv(size))

    def _fits_better(self, frame: NDArray[np.uint8], warp: NDArray[np.float64]) -> bool:
        """Whether most patches look more like the plate when it is warped."""
        height, width = frame.shape
        warped = cv2.warpPerspective(self._plate, warp, (width, height), flags=cv2.INTER_LINEAR)
        before, contrast = _likeness(self._plate, frame)
        after, _ = _likeness(np.asarray(warped, np.uint8), frame)
        # Where the plate is seen at all: not behind people.
        seen = (contrast > _CONTRAST) & (after > _ALIKE)
        count = int(np.count_nonzero(seen))
        return count >= _FEWEST_PATCHES and float((after > before)[seen].mean()) >= _AGREE

    def _even(self, color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Gray, of the same brightness and contrast everywhere."""
        gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
        if self.scale > 1:
            scale = 1 / self.scale
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        detail = gray - cv2.blur(gray.astype(np.float32), _AROUND)
        contrast = np.sqrt(cv2.blur(detail * detail, _AROUND).clip(min=0)) + 4
        return (128 + 40 * detail / contrast).clip(0, 255).astype(np.uint8)


def _follow(
    before: NDArray[np.uint8], after: NDArray[np.uint8], places: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Where N×2 places of a picture are in the next one, and which of them are found."""
    points = places.astype(np.float32)[:, None]
    moved, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        points,
        np.empty_like(points),
        winSize=(17, 17),
        maxLevel=3,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 20, 0.01),
    )
    return moved[:, 0].astype(np.float64), found[:, 0].astype(bool)


def _fit(
    before: NDArray[np.float64], after: NDArray[np.float64], shape: tuple[int, ...]
) -> NDArray[np.float64] | None:
    """The motion that most of the tracked corners agree on, 3×3; None if they don't.

    Shift, turn and zoom, and the perspective of a camera that turns: a homography of six numbers.
    """
    if len(before) < _FEWEST_TRACKED:
        return None
    rough, _ = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=_STRAY)
    if rough is None:
        return None
    height, width = shape
    # In units in which all six numbers have about the same size.
    unit = np.array([[2 / width, 0, -1.0], [0, 2 / width, -height / width], [0, 0, 1.0]])
    pixel = 2 / width
    here, there = _moved(unit, before), _moved(unit, after)
    warp = unit @ np.vstack([rough, [0.0, 0.0, 1.0]]) @ np.linalg.inv(unit)
    allowed = 2 * _STRAY
    for _ in range(8):
        at = _moved(warp, here)
        close = np.linalg.norm(there - at, axis=1) < allowed * pixel
        if close.sum() < _FEWEST_TRACKED:
            return None
        rows = _rows(at[close])
        wanted = (there - at)[close].ravel()
        numbers, *_ = np.linalg.lstsq(rows, wanted, rcond=None)
        warp = _homography(numbers) @ warp
        allowed = max(_CLOSE, 0.7 * allowed)
    at = _moved(warp, here)
    close = np.linalg.norm(there - at, axis=1) < _CLOSE * pixel
    if close.sum() < max(_FEWEST_TRACKED, _TRACKED_SHARE * len(before)):
        return None
    # How well the picture's corners are known by what agrees, which may all lie on one side.
    rows = _rows(at[close])
    error = float(np.mean((there - at)[close] ** 2))
    try:
        covariance = np.linalg.inv(rows.T @ rows) * max(error, (0.05 * pixel) ** 2)
    except np.linalg.LinAlgError:
        return None
    ends = _rows(_moved(unit, _corners(shape)))
    deviation = np.sqrt(np.einsum("ni,ij,nj->n", ends, covariance, ends).max())
    if not deviation < _SURE * pixel:
        return None
    found: NDArray[np.float64] = np.linalg.inv(unit) @ warp @ unit
    return found / found[2, 2]


def _rows(places: NDArray[np.float64]) -> NDArray[np.float64]:
    """How N places move with each of the six numbers, 2N×6: x and y in turn."""
    x, y = places.T
    one, zero = np.ones_like(x), np.zeros_like(x)
    across = np.stack([one, zero, x, -y, x * x, x * y], axis=1)
    down = np.stack([zero, one, y, x, x * y, y * y], axis=1)
    return np.stack([across, down], axis=1).reshape(-1, 6)


def _homography(numbers: NDArray[np.float64]) -> NDArray[np.float64]:
    right, down, zoom, turn, x, y = numbers
    return np.array([[1 + zoom, -turn, right], [turn, 1 + zoom, down], [-x, -y, 1.0]])


def _moved(warp: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """N×2 places after a 3×3 warp."""
    flat = places @ warp[:, :2].T + warp[:, 2]
    return np.asarray(flat[:, :2] / flat[:, 2:3])


def _corners(shape: tuple[int, ...]) -> NDArray[np.float64]:
    height, width = shape
    return np.array([[0, 0], [width, 0], [0, height], [width, height]], np.float64)


def farthest(warp: NDArray[np.float64], shape: tuple[int, ...]) -> float:
    """How far that corner of a picture (rows, columns) moves that moves farthest, pixels.

    Args:
        warp: 3×3, of pixels (x, y, 1).
        shape: rows and columns.
    """
    corners = _corners(shape)
    return float(np.linalg.norm(_moved(warp, corners) - corners, axis=1).max())


def _likeness(
    plate: NDArray[np.uint8], frame: NDArray[np.uint8]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Correlation of each patch of the plate with the frame's, and the plate's contrast in it."""
    rows, columns = frame.shape[0] // _PATCH, frame.shape[1] // _PATCH

    def patches(image: NDArray[np.uint8]) -> NDArray[np.float64]:
        part = image[: rows * _PATCH, : columns * _PATCH].astype(np.float64)
        part = part.reshape(rows, _PATCH, columns, _PATCH).transpose(0, 2, 1, 3)
        flat = part.reshape(rows, columns, -1)
        return np.asarray(flat - flat.mean(axis=2, keepdims=True))

    a, b = patches(plate), patches(frame)
    spread_a, spread_b = np.sqrt((a * a).mean(axis=2)), np.sqrt((b * b).mean(axis=2))
    return (a * b).mean(axis=2) / np.maximum(spread_a * spread_b, 1e-6), spread_a

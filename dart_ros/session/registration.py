"""Whether depth lies where color does (not in the paper).

Drivers align depth to color by a calibration. Where that is off, edges of alpha follow the wrong
pixels, and nothing tells. In the empty scene most edges of depth are edges of color as well, so the
shift at which they meet is what the calibration is off by.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.values import UNKNOWN_DEPTH, Frame

_T = TypeVar("_T", bound=np.generic)

FARTHEST = 14
"""Pixels (at a width of 640) up to which an offset is looked for."""

TOLERANCE = 4.0
"""Pixels (at a width of 640) up to which an offset is left as it is: sensors' outlines waver by
nearly as much."""

_LEAST_EDGES = 0.01
"""Share of the picture that must be edges of depth."""

_AGREED = 2.5
"""Pixels (at a width of 640) by which halves of the picture may differ: where too little is to be
seen, each finds another shift."""

_JUMP_METRES, _JUMP_SHARE = 0.05, 0.06  # of depth, at an edge
_EVENED = 61  # pixels (at a width of 640) over which contrast is evened out
_REFERENCE_WIDTH = 640

Offset = tuple[int, int]
"""Pixels right and down by which depth lies beside color."""

ALIGNED: Offset = (0, 0)


def depth_offset(
    plate: NDArray[np.uint8], mean: NDArray[np.float32], known: NDArray[np.bool_]
) -> Offset | None:
    """By how much a scene's depth lies beside its color.

    Args:
        plate: H×W×3 uint8 RGB background plate.
        mean: H×W, of the background's depth in metres.
        known: H×W, where that is known.

    Returns:
        Pixels right and down; None where too few edges agree on it.
    """
    height, width = mean.shape
    scale = width / _REFERENCE_WIDTH
    reach = round(FARTHEST * scale)
    if min(height, width) <= 4 * reach + 4:
        return None
    contrast = _contrast(plate, scale)
    edges = _near_edges(mean, known)
    margin = reach + 2  # beyond which what is looked for would leave the picture
    edges[:margin] = edges[-margin:] = 0
    edges[:, :margin] = edges[:, -margin:] = 0
    if edges.sum() < _LEAST_EDGES * edges.size:
        return None
    right, down = _best_shift(contrast, edges, reach)
    if max(abs(right), abs(down)) >= reach:
        return None
    for part in _halves(edges):
        seen = _best_shift(contrast, part, reach)
        if max(abs(seen[0] - right), abs(seen[1] - down)) > max(1.5, _AGREED * scale):
            return None
    # Color's edges lie so far beside depth's, and depth the other way beside color.
    return -right, -down


def significant(offset: Offset, width: int) -> bool:
    """Whether an offset is above :data:`TOLERANCE` in a picture of so many columns."""
    return bool(np.hypot(*offset) > TOLERANCE * width / _REFERENCE_WIDTH)


def told(offset: Offset) -> str:
    """What to tell the user of an offset that is taken out; empty where there is none."""
    if not any(offset):
        return ""
    right, down = offset
    return (
        f"depth lies {right:+d} pixels right and {down:+d} down of color, which is taken out: "
        "calibrate the camera, or check its driver's alignment"
    )


def registered(frame: Frame, offset: Offset) -> Frame:
    """A frame whose depth lies where color sees it.

    Args:
        frame: as the camera's driver aligned it.
        offset: of the camera.

    Returns:
        The frame with its depth moved, unknown where nothing was; the frame itself without offset.
    """
    if not any(offset):
        return frame
    return replace(frame, depth=moved(frame.depth, offset, UNKNOWN_DEPTH))


def moved(image: NDArray[_T], offset: Offset, beyond: float) -> NDArray[_T]:
    """An H×W image moved left and up by ``offset``, ``beyond`` where nothing was."""
    right, down = offset
    height, width = image.shape
    target = np.full_like(image, beyond)
    rows, columns = _overlap(height, down), _overlap(width, right)
    target[rows[0], columns[0]] = image[rows[1], columns[1]]
    return target


def _overlap(length: int, shift: int) -> tuple[slice, slice]:
    """Where what is moved by ``-shift`` goes to, and comes from."""
    kept = max(0, length - abs(shift))
    low, high = slice(0, kept), slice(length - kept, length)
    return (low, high) if shift > 0 else (high, low)


def _contrast(plate: NDArray[np.uint8], scale: float) -> NDArray[np.float32]:
    """Slopes of the plate's brightness, over those around, so that no single edge decides."""
    gray = cv2.cvtColor(plate, cv2.COLOR_RGB2GRAY).astype(np.float32)
    smooth = cv2.GaussianBlur(gray, (0, 0), max(0.5, scale))
    slope = cv2.magnitude(cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1))
    side = max(3, round(_EVENED * scale))
    around = cv2.blur(slope, (side, side)) + 8
    return np.minimum(slope / around, 3).astype(np.float32)


def _near_edges(mean: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.float32]:
    """1 on the near side of jumps of depth: the far side is often unknown."""
    seen = np.where(known, mean, np.float32(0))
    farthest = cv2.dilate(seen, np.ones((5, 5), np.uint8))
    jump = known & (farthest > mean * (1 + _JUMP_SHARE) + _JUMP_METRES)
    return jump.astype(np.float32)


def _best_shift(
    contrast: NDArray[np.float32], edges: NDArray[np.float32], reach: int
) -> tuple[int, int]:
    """Pixels right and down by which edges must be moved to see most contrast."""
    inner = np.ascontiguousarray(edges[reach:-reach, reach:-reach])
    seen = cv2.matchTemplate(contrast, inner, cv2.TM_CCORR)
    down, right = np.unravel_index(int(seen.argmax()), seen.shape)
    return int(right) - reach, int(down) - reach


def _halves(edges: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """The picture's left, right, upper and lower half, by where the edges are."""
    parts = []
    for axis in (0, 1):
        along = np.cumsum(edges.sum(axis=1 - axis))
        middle = int(np.searchsorted(along, along[-1] / 2)) + 1
        for half in (slice(0, middle), slice(middle, None)):
            part = np.zeros_like(edges)
            where = (half, slice(None)) if axis == 0 else (slice(None), half)
            part[where] = edges[where]
            parts.append(part)
    return parts

"""Labels of a real frame from depth alone, where depth can't be wrong (not in the paper).

Who stands well before the captured background is foreground, and what measures the same as the
background is background. Depth of near things lies some pixels beside their color, its outlines are
ragged, and dark or shiny things have none: so all that is near an outline, and all that depth
doesn't know, has no label. A training ignores it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

UNLABELLED, BACKGROUND, FOREGROUND = 0, 1, 2
"""Values of :func:`depth_labels`."""

LEAST_GAP = 0.25
"""Metres before the background from which on something is surely foreground."""

GAP_DEVIATIONS, GAP_SHARE = 8.0, 0.08
"""The same in standard deviations and as a share of the background's distance."""

SAME_DEVIATIONS, SAME_SHARE = 2.0, 0.01
"""How near to the background's depth the background is seen, likewise."""

INSIDE, INSIDE_NEAR = 8.0, 6.0
"""Pixels (at a width of 640) that a foreground label keeps from its outline, and how many more at a
distance of one metre: depth lies the farther beside color, the nearer things are."""

AWAY = 20.0
"""Pixels (at a width of 640) that a background label keeps from all that isn't background."""

_WHITE = 250
_DARK = 15
_CHANGED = 45
_USABLE_SHARE = 0.05
_LARGEST_HOLE = 300.0
_REFERENCE_WIDTH = 640


def depth_labels(
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    plate: NDArray[np.uint8],
    mean: NDArray[np.float32],
    std: NDArray[np.float32],
    known: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Which pixels of a frame are surely background and surely foreground.

    Args:
        color: H×W×3 frame in 0..255.
        depth: H×W metres, not positive where unknown.
        plate: H×W×3 captured background in 0..255.
        mean: H×W background depth in metres.
        std: H×W its standard deviation in metres.
        known: H×W, where the background's depth is known.

    Returns:
        H×W of :data:`UNLABELLED`, :data:`BACKGROUND` and :data:`FOREGROUND`.
    """
    scale = depth.shape[1] / _REFERENCE_WIDTH
    seen = depth > 0
    gap = mean - depth
    least = np.maximum(LEAST_GAP, np.maximum(GAP_DEVIATIONS * std, GAP_SHARE * mean))
    front = seen & known & (gap > least)
    same = seen & known & (np.abs(gap) < SAME_DEVIATIONS * std + SAME_SHARE * mean)

    solid = front | _small_holes(front, same, scale)
    keep = scale * (INSIDE + INSIDE_NEAR / np.maximum(depth, 0.3))
    inside = front & (_distance_within(solid) > keep)
    # Something out of the depth camera's sight may hide people from the color camera: where both
    # pictures are cut off in the same white, nobody can tell.
    inside &= ~((color.min(axis=2) >= _WHITE) & (plate.min(axis=2) >= _WHITE))

    # Dark hair and the band beside near things have no depth: they keep background labels away.
    other = ((seen & ~same) | (known & ~seen)).astype(np.uint8)
    other = cv2.morphologyEx(other, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
    away = same & (_distance_within(other == 0) > scale * AWAY) & ~_thin_change(color, plate, scale)
    labels = np.zeros(depth.shape, np.uint8)
    labels[away] = BACKGROUND
    labels[inside] = FOREGROUND
    return labels


def _small_holes(
    front: NDArray[np.bool_], same: NDArray[np.bool_], scale: float
) -> NDArray[np.bool_]:
    """Small holes of a body in which depth knows nothing, or nothing sure: they don't part it."""
    count, numbers, stats, _ = cv2.connectedComponentsWithStats(
        (~front).astype(np.uint8), connectivity=4
    )
    # A hole that shows the background is a gap between arm and body.
    shown = np.bincount(numbers[same], minlength=count)
    small = (stats[:, cv2.CC_STAT_AREA] < _LARGEST_HOLE * scale**2) & (shown == 0)
    small[0] = False
    return np.asarray(small[numbers])


def _thin_change(
    color: NDArray[np.uint8], plate: NDArray[np.uint8], scale: float
) -> NDArray[np.bool_]:
    """Thin things that color sees before the background and depth sees past: poles and cables.

    Shadows change a color to a darker one of its hue, and screens change in one piece: neither is
    meant.
    """
    usable = (plate.min(axis=2) > _DARK) & (color.max(axis=2) < _WHITE)
    gain = 1.0
    if usable.mean() > _USABLE_SHARE:
        gain = float(np.median(color[usable].mean(axis=1) / plate[usable].mean(axis=1)))
    lit = np.minimum(plate.astype(np.float32) * gain, 255)
    changed = (color - lit).max(axis=2) > _CHANGED
    thick = np.ones((round(9 * scale), round(9 * scale)), np.uint8)
    thin = changed & (cv2.morphologyEx(changed.astype(np.uint8), cv2.MORPH_OPEN, thick) == 0)
    # Single pixels are noise, and edges that JPEG or a shake of the camera moved.
    thin = cv2.medianBlur(thin.astype(np.uint8), 3)
    return np.asarray(cv2.dilate(thin, thick) > 0)


def _distance_within(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Pixels from each pixel of a mask to the nearest one outside of it; H×W, 0 outside.

    What lies beyond the picture counts as inside.
    """
    if mask.all():
        return np.full(mask.shape, np.inf, np.float32)
    return np.asarray(cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 5), np.float32)

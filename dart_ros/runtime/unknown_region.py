"""The unknown region beyond Eq. 13's band: what post-matting must decide (not in the paper).

Hair, fur and motion blur are wider than the band that a blur of alpha makes. Unknown is also where
alpha is fractional, and where the frame shows another color than the plate just beside the
foreground, in any light or shadow: alpha is 0 there, but hair may be what changes it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.values import Camera

REACH, HAIR = 16, 0.12
"""Changed colors are unknown within so many pixels (at a width of 640) beside the foreground, or so
many metres at its distance if that is farther."""

_FARTHEST = 0.2  # of the width
_EVERY = 8  # pixels between two whose depth is looked at

_OPAQUE, _CLEAR, _BESIDE = 245, 10, 2
_UNKNOWN = 128


def widened(
    trimap: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    changed: NDArray[np.bool_],
    reach: float,
) -> NDArray[np.uint8]:
    """A trimap with the wider unknown region.

    Args:
        trimap: H×W of Eq. 13: 0 background, 128 unknown, 255 foreground; it is changed.
        alpha: H×W.
        changed: h×w of cells, see
            :meth:`dart_ros.runtime.depth_evidence.DepthEvidence.changed`.
        reach: pixels, see :func:`reach_of`.

    Returns:
        ``trimap``.
    """
    if not alpha.any():
        return trimap
    fractional = cv2.inRange(alpha, np.array(_CLEAR), np.array(_OPAQUE))
    unknown = cv2.dilate(fractional, _disc(_BESIDE))
    trimap[unknown > 0] = _UNKNOWN
    rows, columns = changed.shape
    cell = max(1, alpha.shape[1] // columns)
    size = columns * cell, rows * cell
    whole = alpha[: size[1], : size[0]]
    small = cv2.resize(whole, (columns, rows), interpolation=cv2.INTER_AREA)
    foreground = cv2.threshold(small, _UNKNOWN, 1, cv2.THRESH_BINARY)[1]
    away = cv2.distanceTransform(1 - foreground, cv2.DIST_L2, 3)
    near = cv2.threshold(away, max(1, round(reach / cell)), 1, cv2.THRESH_BINARY_INV)[1]
    beside = cv2.subtract(near.astype(np.uint8), cv2.erode(foreground, _disc(1)))
    beside = cv2.min(beside, cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8)))
    full = cv2.resize(beside, size, interpolation=cv2.INTER_NEAREST)
    trimap[: size[1], : size[0]][full > 0] = _UNKNOWN
    return trimap


def reach_of(alpha: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera) -> float:
    """How far hair may reach beside the foreground, in pixels.

    Args:
        alpha: H×W.
        depth: H×W metres, not positive where unknown.
        camera: of both.
    """
    least = REACH * camera.width / 640
    every = slice(None, None, _EVERY)
    seen = depth[every, every][alpha[every, every] > _OPAQUE]
    seen = seen[seen > 0]
    if not camera.calibrated or not len(seen):
        return least
    reach = HAIR * camera.fx / float(np.median(seen))
    return min(max(least, reach), _FARTHEST * camera.width)


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)

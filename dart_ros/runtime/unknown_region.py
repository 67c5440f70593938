"""The unknown region beyond Eq. 13's band: what post-matting must decide (not in the paper).

Fur and motion blur are wider than the band that a blur of alpha makes: unknown is also where alpha
is soft. Of somebody so near that single hairs are seen, it is so wherever alpha is fractional, and
where the frame shows another color than the plate beside the foreground, in any light or shadow:
alpha is 0 there, but hair may be what changes it. Farther away that makes closed form worse than
alpha.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.runtime.depth_evidence import cell_side
from dart_ros.runtime.outlines import SOFT, occupied, softness
from dart_ros.values import Camera

HAIR = 0.12
"""Metres up to which changed colors beside somebody near may be hair."""

NEAR = 0.06
"""Share of the width that these take up of somebody near: 1.7 m away for a view of 62 degrees."""

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
    # All that is fractional lies in it, and large pictures are mostly empty.
    cell = cell_side(alpha.shape[1])
    part = occupied(alpha, cell)
    _widen(trimap[part], alpha[part], None if reach else cell)
    if reach:
        _widen_beside(trimap, alpha, changed, reach)
    return trimap


def _widen(trimap: NDArray[np.uint8], alpha: NDArray[np.uint8], cell: int | None) -> None:
    """Unknown where alpha is fractional, with a ``cell``'s side where it is soft alone."""
    fractional = cv2.inRange(alpha, np.array(_CLEAR), np.array(_OPAQUE))
    if cell is not None:
        soft = cv2.resize(softness(alpha, cell), alpha.shape[::-1], interpolation=cv2.INTER_LINEAR)
        fractional[soft <= SOFT] = 0
    unknown = cv2.dilate(fractional, _disc(_BESIDE))
    trimap[unknown > 0] = _UNKNOWN


def _widen_beside(
    trimap: NDArray[np.uint8], alpha: NDArray[np.uint8], changed: NDArray[np.bool_], reach: float
) -> None:
    """Unknown where colors have changed beside the foreground."""
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


def reach_of(alpha: NDArray[np.uint8], depth: NDArray[np.float32], camera: Camera) -> float:
    """How far hair reaches beside somebody near, in pixels.

    Args:
        alpha: H×W.
        depth: H×W metres, not positive where unknown.
        camera: of both.

    Returns:
        Up to a fifth of the width; 0 where nobody is near, and where the camera's focal length
        isn't known.
    """
    every = slice(None, None, _EVERY)
    seen = depth[every, every][alpha[every, every] > _OPAQUE]
    seen = seen[seen > 0]
    if not camera.calibrated or not len(seen):
        return 0.0
    reach = HAIR * camera.fx / float(np.median(seen))
    return min(reach, _FARTHEST * camera.width) if reach >= NEAR * camera.width else 0.0


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)

"""Outlines without a sensor's noise (not in the paper).

A network decides each pixel by itself, and noise turns single ones over: outlines are frayed, and
beside them lie specks. Where an outline is as sharp as a camera sees it, alpha is smoothed along it
and made as sharp again; where it is soft over many pixels, as in hair and blurred limbs, it stays.
Then pieces too small to be anything are dropped, and holes of that size filled.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIGMA = 1.0
"""Pixels of the smoothing."""

GAIN = 2.0
"""Of alpha about one half after it."""

SHARP, SOFT = 0.1, 0.25
"""Share of the surroundings that is fractional (alpha 0.5 counts whole, 0 and 1 not at all): up to
the first an outline is sharp, from the second on it is soft."""

LARGEST_SPECK = 20
"""Pixels at a width of 640."""

MOST_SPECKS = 500
"""What has more of them is no matte with specks; it stays as it is."""

_CELL = 4
"""Pixels of which surroundings are made up, at a width of 640."""

_MARGIN = 16
"""Pixels around what isn't 0."""

_PARENT = 3
"""Place of a contour's parent in OpenCV's hierarchy."""

_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)

_LEVELS = np.arange(256, dtype=np.float64)
_SHARPENED = np.rint(((_LEVELS - 127.5) * GAIN + 127.5).clip(0, 255)).astype(np.uint8)
_FRACTION = np.rint(4 * _LEVELS * (255 - _LEVELS) / 255).astype(np.uint8)


def smoothed(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha with its sharp outlines smoothed.

    Args:
        alpha: H×W, 0 to 255; it is not changed.
    """
    made = alpha.copy()
    part = _occupied(alpha)
    made[part] = _smoothed(alpha[part], _CELL * _scale(alpha.shape[1]))
    return made


def without_specks(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha without pieces above one half, and without holes in them, of up to
    :data:`LARGEST_SPECK` pixels: they get the median of what is beside them.

    Args:
        alpha: H×W, 0 to 255; it is not changed.
    """
    largest = LARGEST_SPECK * _scale(alpha.shape[1]) ** 2
    _, pieces = cv2.threshold(alpha, 127, 255, cv2.THRESH_BINARY)
    # Many times faster than numbering the pieces, and it finds holes as well.
    outlines, tree = cv2.findContours(pieces, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    # Each pixel of a piece is in its outline at most twice, each of a hole has four neighbors.
    short = [number for number, outline in enumerate(outlines) if len(outline) <= 4 * largest]
    if len(short) > MOST_SPECKS:
        return alpha
    made = alpha.copy() if short else alpha
    for number in short:
        is_hole = tree[0][number][_PARENT] >= 0
        x, y, width, height = cv2.boundingRect(outlines[number])
        top, left = max(0, y - 1), max(0, x - 1)
        place = slice(top, y + height + 1), slice(left, x + width + 1)
        inside = np.zeros(alpha[place].shape, np.uint8)
        cv2.drawContours(inside, outlines, number, 1, cv2.FILLED, offset=(-left, -top))
        above = pieces[place] > 0
        within = (inside > 0) & (above != is_hole)
        if not 0 < np.count_nonzero(within) <= largest:
            continue
        # The outline of a hole is of what is around it.
        beside = (cv2.dilate(within.astype(np.uint8), _CROSS) > 0) & (above == is_hole)
        if beside.any():
            made[place][within] = np.median(alpha[place][beside])
    return made


def _smoothed(alpha: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    height, width = alpha.shape
    small = max(1, width // cell), max(1, height // cell)
    fraction = cv2.resize(cv2.LUT(alpha, _FRACTION), small, interpolation=cv2.INTER_AREA)
    fraction = cv2.blur(fraction, (3, 3), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    weight = ((255 * SOFT - fraction) * np.float32(1 / (255 * (SOFT - SHARP)))).clip(0, 1)
    weight = cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(alpha, (5, 5), SIGMA, borderType=cv2.BORDER_REPLICATE)
    sharp = cv2.LUT(blurred, _SHARPENED)
    return np.asarray(cv2.blendLinear(sharp, alpha, weight, 1 - weight), np.uint8)


def _occupied(alpha: NDArray[np.uint8]) -> tuple[slice, slice]:
    """The rectangle around all that isn't 0, with what its edges need."""
    x, y, width, height = cv2.boundingRect(alpha)
    return (
        slice(max(0, y - _MARGIN), y + height + _MARGIN),
        slice(max(0, x - _MARGIN), x + width + _MARGIN),
    )


def _scale(width: int) -> int:
    return max(1, round(width / 640))

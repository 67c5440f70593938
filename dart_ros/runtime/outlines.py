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

_MOST_SHORT = 65000
"""Numbers of pieces that fit into 16 bits."""

_LEVELS = np.arange(256, dtype=np.float64)
_SHARPENED = np.rint(((_LEVELS - 127.5) * GAIN + 127.5).clip(0, 255)).astype(np.uint8)
_FRACTION = np.rint(4 * _LEVELS * (255 - _LEVELS) / 255).astype(np.uint8)


def smoothed(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha with its sharp outlines smoothed.

    Args:
        alpha: H×W, 0 to 255.
    """
    height, width = alpha.shape
    cell = _CELL * _scale(width)
    small = max(1, width // cell), max(1, height // cell)
    fraction = cv2.resize(cv2.LUT(alpha, _FRACTION), small, interpolation=cv2.INTER_AREA)
    fraction = cv2.blur(fraction, (3, 3), borderType=cv2.BORDER_REPLICATE).astype(np.float32)
    weight = ((255 * SOFT - fraction) * np.float32(1 / (255 * (SOFT - SHARP)))).clip(0, 1)
    weight = cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR)
    blurred = cv2.GaussianBlur(alpha, (0, 0), SIGMA, borderType=cv2.BORDER_REPLICATE)
    sharp = cv2.LUT(blurred, _SHARPENED)
    return np.asarray(cv2.blendLinear(sharp, alpha, weight, 1 - weight), np.uint8)


def without_specks(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha without pieces above one half, and without holes in them, of up to
    :data:`LARGEST_SPECK` pixels: they get the median of what is beside them.

    Args:
        alpha: H×W, 0 to 255; it is not changed.
    """
    largest = LARGEST_SPECK * _scale(alpha.shape[1]) ** 2
    cleaned = alpha
    for kind, connectivity in ((cv2.THRESH_BINARY, 8), (cv2.THRESH_BINARY_INV, 4)):
        _, pieces = cv2.threshold(alpha, 127, 255, kind)
        # Twice as fast as of 32 bits. Each piece has a pixel with none before it.
        starts = cv2.countNonZero(cv2.subtract(pieces[:, 1:], pieces[:, :-1])) + len(pieces)
        kind_of_label = cv2.CV_16U if starts < _MOST_SHORT else cv2.CV_32S
        _, numbers, stats, _ = cv2.connectedComponentsWithStats(
            pieces, connectivity=connectivity, ltype=kind_of_label
        )
        small = 1 + np.flatnonzero(stats[1:, cv2.CC_STAT_AREA] <= largest)
        if len(small) > MOST_SPECKS:
            continue
        for number in small:
            left, top, width, height = stats[number, : cv2.CC_STAT_AREA]
            if cleaned is alpha:
                cleaned = alpha.copy()
            place = slice(top, top + height), slice(left, left + width)
            around = alpha[max(0, top - 1) : top + height + 1, max(0, left - 1) : left + width + 1]
            beside = around[(around > 127) == (kind == cv2.THRESH_BINARY_INV)]
            # A piece that fills its surroundings has nothing beside it.
            if beside.size:
                cleaned[place][numbers[place] == number] = np.median(beside)
    return cleaned


def _scale(width: int) -> int:
    return max(1, round(width / 640))

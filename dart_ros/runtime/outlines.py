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

from dart_ros.runtime.depth_evidence import CELL, cell_side

SIGMA = 1.0
"""Pixels of the smoothing."""

GAIN = 2.0
"""Of alpha about one half after it."""

SHARP, SOFT = 0.2, 0.35
"""Share of the surroundings that is fractional (alpha 0.5 counts whole, 0 and 1 not at all): up to
the first an outline is sharp, from the second on it is soft."""

LARGEST_SPECK = 20
"""Pixels at a width of 640."""

MOST_SPECKS = 500
"""With more of them alpha stays as it is: it is no matte with specks."""

LONG = 10
"""Pixels, at a width of 640, from which on what is thin is a thing and no fray, as a cable is."""

_MARGIN = 4
"""Cells around what isn't 0."""

_FAINT = 64
"""Alpha above which a thin thing is seen."""

_PARENT = 3
"""Place of a contour's parent in OpenCV's hierarchy."""

_SQUARE = np.ones((3, 3), np.uint8)
_CROSS = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], np.uint8)

_LEVELS = np.arange(256, dtype=np.float64)
_SHARPENED = np.rint(((_LEVELS - 127.5) * GAIN + 127.5).clip(0, 255)).astype(np.uint8)
_FRACTION = np.rint(4 * _LEVELS * (255 - _LEVELS) / 255).astype(np.uint8)


def smoothed(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha with its sharp outlines smoothed; what is nearly clear or opaque becomes so as a whole.

    Args:
        alpha: H×W, 0 to 255; it is not changed.

    Returns:
        H×W.
    """
    cell = cell_side(alpha.shape[1])
    part = occupied(alpha, cell)
    made = alpha.copy()
    made[part] = _smoothed(alpha[part], cell)
    return made


def without_specks(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Alpha without pieces above one half, and without holes in them, of up to
    :data:`LARGEST_SPECK` pixels: they get the median of what is beside them.

    Args:
        alpha: H×W, 0 to 255; it is not changed.

    Returns:
        H×W, ``alpha`` itself where it has none.
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
    # Holes first: a ring is a piece without one by then, and what lies in a hole has gone with it.
    for number in sorted(short, key=lambda number: tree[0][number][_PARENT] < 0):
        is_hole = tree[0][number][_PARENT] >= 0
        x, y, width, height = cv2.boundingRect(outlines[number])
        top, left = max(0, y - 1), max(0, x - 1)
        place = slice(top, y + height + 1), slice(left, x + width + 1)
        inside = np.zeros(alpha[place].shape, np.uint8)
        cv2.drawContours(inside, [outlines[number]], 0, 1, cv2.FILLED, offset=(-left, -top))
        above = pieces[place] > 0
        within = inside > 0
        if is_hole:
            # The outline of a hole is of what is around it.
            cv2.drawContours(inside, [outlines[number]], 0, 0, offset=(-left, -top))
            within = inside > 0
        if not 0 < np.count_nonzero(within) <= largest:
            continue
        beside = (cv2.dilate(within.astype(np.uint8), _CROSS) > 0) & ~within & (above == is_hole)
        if beside.any():
            made[place][within] = np.median(made[place][beside])
            pieces[place][within] = 255 * is_hole
    return made


def softness(alpha: NDArray[np.uint8], cell: int) -> NDArray[np.float32]:
    """How much of each place's surroundings is fractional, see :data:`SHARP`.

    Args:
        alpha: H×W, 0 to 255.
        cell: side of a cell in pixels.

    Returns:
        h×w of cells, 0 to 1.
    """
    height, width = alpha.shape
    small = max(1, width // cell), max(1, height // cell)
    fraction = cv2.resize(cv2.LUT(alpha, _FRACTION), small, interpolation=cv2.INTER_AREA)
    fraction = cv2.blur(fraction, (3, 3), borderType=cv2.BORDER_REPLICATE)
    return fraction.astype(np.float32) * np.float32(1 / 255)


def occupied(alpha: NDArray[np.uint8], cell: int) -> tuple[slice, slice]:
    """The rectangle around all that isn't 0, with what its edges need, in whole cells.

    Args:
        alpha: H×W, 0 to 255.
        cell: side of a cell in pixels.

    Returns:
        Rows and columns, which may reach beyond the image.
    """
    x, y, width, height = cv2.boundingRect(alpha)
    margin = _MARGIN * cell
    return (
        slice(max(0, y // cell * cell - margin), -(-(y + height) // cell) * cell + margin),
        slice(max(0, x // cell * cell - margin), -(-(x + width) // cell) * cell + margin),
    )


def _smoothed(alpha: NDArray[np.uint8], cell: int) -> NDArray[np.uint8]:
    height, width = alpha.shape
    weight = ((SOFT - softness(alpha, cell)) * np.float32(1 / (SOFT - SHARP))).clip(0, 1)
    weight = cv2.resize(weight, (width, height), interpolation=cv2.INTER_LINEAR)
    weight[_thin_things(alpha, cell * LONG // CELL) > 0] = 0
    blurred = cv2.GaussianBlur(alpha, (5, 5), SIGMA, borderType=cv2.BORDER_REPLICATE)
    sharp = cv2.LUT(blurred, _SHARPENED)
    return np.asarray(cv2.blendLinear(sharp, alpha, weight, 1 - weight), np.uint8)


def _thin_things(alpha: NDArray[np.uint8], least: int) -> NDArray[np.uint8]:
    """Not 0 where alpha is of something up to two pixels wide and ``least`` pixels long or more."""
    _, seen = cv2.threshold(alpha, _FAINT, 255, cv2.THRESH_BINARY)
    thin = cv2.subtract(seen, cv2.morphologyEx(seen, cv2.MORPH_OPEN, _SQUARE))
    outlines, _ = cv2.findContours(thin, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    things = np.zeros_like(alpha)
    # There and back again.
    long = [outline for outline in outlines if len(outline) >= 2 * least]
    if long:
        cv2.drawContours(things, long, -1, 255, cv2.FILLED)
        return np.asarray(cv2.dilate(things, _SQUARE), np.uint8)
    return things


def _scale(width: int) -> int:
    return cell_side(width) // CELL

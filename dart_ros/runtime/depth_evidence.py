"""Where depth leaves no doubt, whatever the network makes of the colors (not in the paper).

A jumper in the wall's color is no hole if depth sees somebody a meter before the wall, and a shadow
is no person if depth sees the floor. Color and depth are never registered to the pixel, so evidence
is taken from all of a pixel's surroundings: no hard edge follows the depth image.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.method import light_limits

CELL = 4
"""Side in pixels of what is looked at as one, at a width of 640."""

REACH = 3
"""Cells up to which depth may lie beside color: 12 pixels at a width of 640."""

MOST = 0.8
"""Share of the surroundings that must be in front, from which on it begins to count."""

LEAST_GAP, LEAST_DEVIATIONS, LEAST_SHARE = 0.12, 4.0, 0.04
"""What is in front lies so many metres, standard deviations and parts of the distance before the
background."""

CUT_OFF = 0.97
"""Where frame and plate are both brighter, color can't tell a person from what hides the person."""

ZETA, PRIOR = 0.001, 0.5

_SURE = 0.9
_DARKEST, _BRIGHTEST, _SPREAD, _OFFSET = 0.4, 1.02, 0.15, 0.016
"""As in :mod:`dart_ros.method.shadow`: what share of the plate a shadow leaves, evenly."""

_CHANGED, _BRIGHTEST_CHANGE = 5 / 255, 1.1
"""From which rest of a color, beyond a multiple of the plate's, it has changed, and the largest
multiple."""

_FEWEST, _SAMPLES = 0.05, 1024
"""Share of cells that must be background to tell of light, and how many are looked at."""


class Evidence(NamedTuple):
    """What depth says of one frame, each h×w of cells, float32 in [0, 1].

    ``posterior``: of each cell's own depth (Eq. 7), 0.5 where it is unknown. ``front``: how surely
    the cell is foreground. ``back``: how surely it is background, in its own color or in shadow.
    ``color``: the frame's color in the plate's light, 3×h×w, not negative.
    """

    posterior: NDArray[np.float32]
    front: NDArray[np.float32]
    back: NDArray[np.float32]
    color: NDArray[np.float32]


def cell_side(width: int) -> int:
    """Side of a cell in pixels, for images of a width."""
    return CELL * max(1, round(width / 640))


class DepthEvidence:
    """Evidence for the frames of one scene.

    Args:
        plate: H×W×3 uint8 RGB.
        mean: H×W, of the background's depth in metres.
        std: H×W metres, positive.
        known: H×W bool, where the background's depth is known.
    """

    def __init__(
        self,
        plate: NDArray[np.uint8],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        known: NDArray[np.bool_],
    ) -> None:
        height, width = mean.shape
        self._cell = cell_side(width)
        self._shape = max(1, height // self._cell), max(1, width // self._cell)
        self._known = self._samples(known)
        self._plate = self._small_color(plate) + np.float32(_OFFSET)
        self._mean, self._std = self._samples(mean), self._samples(std)
        plate_colors = self._plate - np.float32(_OFFSET)
        self._tells_light = _tells_light(plate_colors) & self._known
        self._bright = (plate_colors.min(axis=0) > CUT_OFF).astype(np.float32)
        kept = 0.5 * (1 + np.vectorize(math.erf)(self._mean / (self._std * math.sqrt(2))))
        self._peak = (1 / (self._std * math.sqrt(2 * math.pi) * kept)).astype(np.float32)
        gap = np.maximum(LEAST_DEVIATIONS * self._std, LEAST_SHARE * self._mean)
        self._front_depth = self._mean - np.maximum(gap, np.float32(LEAST_GAP))

    def __call__(self, color: NDArray[np.uint8], depth: NDArray[np.float32]) -> Evidence:
        """The evidence of one frame.

        Args:
            color: H×W×3 uint8 RGB.
            depth: H×W metres, not positive where unknown.
        """
        live = self._samples(depth)
        posterior = self._posterior(live)
        in_front = ((posterior > _SURE) & (live < self._front_depth)).astype(np.float32)
        behind = (posterior < 1 - _SURE).astype(np.float32)
        small = self._small_color(color)
        blind = cv2.dilate(self._bright * (small.min(axis=0) > CUT_OFF), _square(1))
        front = np.clip((_mean(in_front, REACH) - MOST) / 0.15, 0, 1)
        front *= 1 - cv2.dilate(behind, _square(REACH))
        front = _mean(front, 1) * (1 - blind)
        back = np.clip((_mean(behind, 2) - 0.6) / 0.3, 0, 1)
        back *= 1 - cv2.dilate(in_front, _square(1))
        lit = small / self._gain(small, live)[:, None, None]
        back *= _mean(self._like_plate(lit).astype(np.float32), 1)
        return Evidence(posterior, front, back, lit)

    def changed(self, evidence: Evidence) -> NDArray[np.bool_]:
        """Where a frame shows another color than the plate in any shadow, h×w of cells."""
        lit = evidence.color
        plate = self._plate - np.float32(_OFFSET)
        share = (lit * plate).sum(axis=0) / np.maximum((plate * plate).sum(axis=0), 1e-4)
        rest = lit - np.clip(share, _DARKEST, _BRIGHTEST_CHANGE) * plate
        return np.asarray(np.abs(rest).max(axis=0) > _CHANGED)

    def _posterior(self, live: NDArray[np.float32]) -> NDArray[np.float32]:
        """Eq. 5 to 7."""
        seen = (live > 0) & self._known
        front = np.where(live <= self._mean, PRIOR / self._mean, 0)
        back = (1 - PRIOR) * self._peak * np.exp(-0.5 * ((live - self._mean) / self._std) ** 2)
        posterior = (front + ZETA * PRIOR) / (front + back + ZETA)
        return np.where(seen, posterior, np.float32(PRIOR)).astype(np.float32)

    def _like_plate(self, lit: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Where a color in the plate's light is the plate's, or the plate's in shadow."""
        share = (lit + np.float32(_OFFSET)) / self._plate
        low, high = share.min(axis=0), share.max(axis=0)
        alike = high - low < _SPREAD * share.mean(axis=0)
        return np.asarray((low > _DARKEST) & (high < _BRIGHTEST) & alike)

    def _gain(self, small: NDArray[np.float32], live: NDArray[np.float32]) -> NDArray[np.float32]:
        """Of each channel, the frame's light over the plate's: the median over sure background."""
        sure = self._tells_light & _tells_light(small)
        sure &= np.abs(live - self._mean) <= light_limits.DEVIATIONS * self._std
        places = np.flatnonzero(sure)
        if len(places) < _FEWEST * sure.size:
            return np.ones(3, np.float32)
        places = places[:: max(1, len(places) // _SAMPLES)]
        lit, plate = (image.reshape(3, -1)[:, places] for image in (small, self._plate))
        return np.asarray(np.median(lit / (plate - np.float32(_OFFSET)), axis=1), np.float32)

    def _samples(self, image: NDArray[Any]) -> NDArray[Any]:
        """One sample of each cell, since a mean would invent depths at edges."""
        rows, columns = self._shape
        half = min(self._cell // 2, *(side - 1 for side in image.shape[:2]))
        part = image[half :: self._cell, half :: self._cell][:rows, :columns]
        return np.ascontiguousarray(part)

    def _small_color(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The mean of each cell, 3×h×w in [0, 1]."""
        rows, columns = self._shape
        small, left = image[: rows * self._cell, : columns * self._cell], self._cell
        # Halving is many times faster than the means of larger squares.
        while left % 2 == 0 and small.shape[:2] == (rows * left, columns * left):
            left //= 2
            size = columns * left, rows * left
            small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
        if left > 1:
            size = columns, rows
            small = np.asarray(cv2.resize(small, size, interpolation=cv2.INTER_AREA), np.uint8)
        return np.stack(cv2.split(small)).astype(np.float32) * np.float32(1 / 255)


def _tells_light(small: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which cells of 3×h×w are neither dark nor cut off."""
    darkest, brightest = light_limits.DARKEST, light_limits.BRIGHTEST
    return np.asarray((small.min(axis=0) > darkest) & (small.max(axis=0) < brightest))


def _square(reach: int) -> NDArray[np.uint8]:
    return np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)


def _mean(image: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """The mean of each cell's surroundings."""
    side = 2 * reach + 1
    return np.asarray(cv2.blur(image, (side, side), borderType=cv2.BORDER_REPLICATE), np.float32)

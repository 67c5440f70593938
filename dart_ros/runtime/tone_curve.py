"""The frame's tones over the captured plate's (not in the paper).

The networks take one gain per channel out of a frame (:mod:`dart_ros.method.light`). A camera that
also changes its gamma or contrast brightens dark places by another factor than bright ones. Sure
background tells these factors; what they differ by from the channel's gain is taken out beforehand.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.method.light import BRIGHTEST, DARKEST, DEVIATIONS, KNEE, MOST_GAIN

KNOTS = 3
"""Parts of the plate's tones, each with a factor of its own and equally many samples."""

LEAST_SPAN = 0.1
"""Between the darkest and the brightest part's tone; a scene of one tone has one factor."""

FEWEST = 60
"""Samples that a part must have."""

LEAST_CHANGE = 0.02
"""Factors that differ by less are one: the frame is used as it is."""

KEPT, JUMP = 0.8, 0.25
"""Share of the factors before that each frame keeps, but where their logarithm jumps by more."""

_STEP = 8
"""Pixels from one sample to the next, at a width of 640."""


class ToneCurve:
    """The tones of one scene's frames over its plate's.

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
        step = _STEP * max(1, round(mean.shape[1] / 640))
        self._grid = slice(step // 2, None, step), slice(step // 2, None, step)
        colors = self._samples(plate)
        self._places = np.flatnonzero(_tells(colors) & known[self._grid].ravel())
        self._plate = colors[:, self._places]
        self._mean = mean[self._grid].ravel()[self._places]
        self._reach = DEVIATIONS * std[self._grid].ravel()[self._places]
        self._parts, self._tones = _parts(self._plate)

    def factors(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """The frame's tones over the plate's.

        Args:
            color: H×W×3 uint8 RGB.
            depth: H×W metres, not positive where unknown.

        Returns:
            3×:data:`KNOTS`, from dark to bright; None where too little background is seen.
        """
        if self._parts is None:
            return None
        live = depth[self._grid].ravel()[self._places]
        seen = (live > 0) & (np.abs(live - self._mean) <= self._reach)
        frame = self._samples(color)[:, self._places]
        seen &= _tells(frame)
        ratios = frame / self._plate
        factors = np.empty((3, KNOTS))
        for channel, parts in enumerate(self._parts):
            for knot, part in enumerate(parts):
                told = ratios[channel, part[seen[part]]]
                if len(told) < FEWEST:
                    return None
                factors[channel, knot] = np.median(told)
        return factors.clip(1 / MOST_GAIN, MOST_GAIN)

    def table(self, factors: NDArray[np.float64]) -> NDArray[np.uint8] | None:
        """What the frame's levels are in the plate's tones, but for one gain per channel.

        Args:
            factors: of :meth:`factors`.

        Returns:
            256×3; None where that gain says it all.
        """
        gain = np.sqrt(factors[:, :1] * factors[:, -1:])
        relative = factors / gain
        if np.abs(np.log(relative)).max() < LEAST_CHANGE:
            return None
        levels = np.arange(256) / 255
        table = np.empty((256, 3))
        for channel in range(3):
            shown = self._tones[channel] * factors[channel]
            order = np.argsort(shown)
            change = np.interp(levels, shown[order], relative[channel][order])
            # White may have been of any brightness: it stays.
            change = 1 + (change - 1) * ((1 - levels) / (1 - KNEE)).clip(0, 1)
            table[:, channel] = np.maximum.accumulate(levels / change)
        return np.rint(255 * table.clip(0, 1)).astype(np.uint8)

    def _samples(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """3×N in [0, 1]."""
        colors = image[self._grid].reshape(-1, 3).T
        return np.ascontiguousarray(colors, np.float32) * np.float32(1 / 255)


class SteadyTones:
    """Factors of a video's frames, steady unless light really jumps."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None

    def __call__(self, factors: NDArray[np.float64] | None) -> NDArray[np.float64] | None:
        """The factors to use for a frame; those before where it has none of its own.

        Args:
            factors: of :meth:`ToneCurve.factors`.
        """
        before = self._before
        if factors is None:
            return before
        if before is not None and np.abs(np.log(factors / before)).max() < JUMP:
            factors = KEPT * before + (1 - KEPT) * factors
        self._before = factors
        return factors

    def reset(self) -> None:
        """Forgets the frames before."""
        self._before = None


def in_table(image: NDArray[np.uint8], table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An H×W×3 image with its levels changed by a 256×3 table."""
    return np.asarray(cv2.LUT(image, table[None]), np.uint8)


def inverse(table: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 256×3 table that undoes a table of :meth:`ToneCurve.table`."""
    levels = np.arange(256)
    undone = [np.interp(levels, *_strictly(table[:, channel], levels)) for channel in range(3)]
    return np.rint(np.stack(undone, axis=1)).astype(np.uint8)


def _strictly(
    shown: NDArray[np.uint8], levels: NDArray[np.int_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct values of a monotone table, and the mean of the levels that have each."""
    values, places, counts = np.unique(shown, return_inverse=True, return_counts=True)
    return values.astype(np.float64), np.bincount(places, weights=levels) / counts


def _tells(colors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of 3×N colors are neither dark nor cut off."""
    red, green, blue = colors
    darkest, brightest = (f(f(red, green), blue) for f in (np.minimum, np.maximum))
    return (darkest > DARKEST) & (brightest < BRIGHTEST)


def _parts(
    plate: NDArray[np.float32],
) -> tuple[list[list[NDArray[np.int_]]] | None, NDArray[np.float64]]:
    """The places of each part of each channel's tones among 3×N colors, and each part's tone; None
    for the first where a scene has one tone."""
    tones = np.zeros((3, KNOTS))
    if plate.shape[1] < KNOTS * FEWEST:
        return None, tones
    parts = [np.array_split(np.argsort(channel, kind="stable"), KNOTS) for channel in plate]
    for channel, places in enumerate(parts):
        tones[channel] = [np.median(plate[channel, part]) for part in places]
    spans = tones[:, -1] - tones[:, 0]
    return (parts if spans.min() >= LEAST_SPAN else None), tones

"""The frame's tones over the captured plate's (not in the paper).

The networks take one gain per channel out of a frame (:mod:`dart_ros.method.light`). A camera that
also changes its gamma or contrast brightens dark places by another factor than bright ones. Sure
background tells these factors; what they differ by from the bright tones' is taken out beforehand.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.method.light_limits import BRIGHTEST, DARKEST, DEVIATIONS, KNEE, MOST_GAIN
from dart_ros.runtime.depth_evidence import cell_side
from dart_ros.runtime.temporal_filter import LONGEST_GAP

KNOTS = 3
"""Parts of the plate's tones, each with a factor of its own and equally many samples."""

LEAST_SPAN = 0.1
"""Between the darkest and the brightest part's tone; a scene of one tone has one factor."""

FEWEST = 60
"""Samples that a part must have."""

LEAST_CHANGE = 0.04
"""Up to this difference from the bright tones' factor (of logarithms) a frame stays as it is; from
twice as much on its tones are taken out as a whole."""

STEEPEST = 2.0
"""A camera's curve rises by up to this power from tone to tone, and by its inverse at least; what
does otherwise is no curve but a lamp or a screen."""

KEPT, JUMP = 0.8, 0.25
"""Each frame keeps this share of the tones before; where a factor's logarithm changes by more than
the second, none."""

_STEP = 2
"""Cells from one sample to the next."""


class ToneCurve:
    """The tones of one scene's frames over its plate's.

    Args:
        plate: H×W×3 uint8 RGB.
        mean: H×W, of the background's depth in metres.
        std: H×W metres, positive.
        known: H×W bool, where the background's depth is known.
        restless: H×W bool, where the background's color varied while it was captured; None for
            nowhere.
    """

    def __init__(
        self,
        plate: NDArray[np.uint8],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        known: NDArray[np.bool_],
        restless: NDArray[np.bool_] | None = None,
    ) -> None:
        step = _STEP * cell_side(mean.shape[1])
        self._grid = slice(step // 2, None, step), slice(step // 2, None, step)
        colors = self._samples(plate)
        usable = _tells(colors) & known[self._grid].ravel()
        if restless is not None:
            usable &= ~restless[self._grid].ravel()
        self._places = np.flatnonzero(usable)
        self._plate = colors[:, self._places]
        self._mean = mean[self._grid].ravel()[self._places]
        self._reach = DEVIATIONS * std[self._grid].ravel()[self._places]
        self._parts = _parts(self._plate)

    def tones(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32]
    ) -> NDArray[np.float64] | None:
        """The frame's tones over the plate's.

        Args:
            color: H×W×3 uint8 RGB.
            depth: H×W metres, not positive where unknown.

        Returns:
            2×3×:data:`KNOTS`, of each channel from dark to bright the plate's tones in [0, 1], and
            the frame's over them, 1/3 to 3. None where too little background is seen, and where no
            camera's curve gives them.
        """
        if self._parts is None:
            return None
        live = depth[self._grid].ravel()[self._places]
        seen = (live > 0) & (np.abs(live - self._mean) <= self._reach)
        frame = self._samples(color)[:, self._places]
        seen &= _tells(frame)
        ratios = frame / self._plate
        tones = np.empty((2, 3, KNOTS))
        for channel, parts in enumerate(self._parts):
            for knot, part in enumerate(parts):
                places = part[seen[part]]
                if len(places) < FEWEST:
                    return None
                tones[0, channel, knot] = _middle(self._plate[channel, places])
                tones[1, channel, knot] = _middle(ratios[channel, places])
        tones[1] = tones[1].clip(1 / MOST_GAIN, MOST_GAIN)
        return tones if _is_curve(tones) else None

    def _samples(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """3×N in [0, 1]."""
        colors = image[self._grid].reshape(-1, 3).T
        return np.ascontiguousarray(colors, np.float32) * np.float32(1 / 255)


class SteadyTones:
    """The tones of a video's frames, steady unless light really jumps."""

    def __init__(self) -> None:
        self._before: NDArray[np.float64] | None = None
        self._stamp = 0

    def __call__(self, tones: NDArray[np.float64] | None, stamp: int) -> NDArray[np.float64] | None:
        """The tones to use for a frame; those before where it has none of its own.

        Args:
            tones: of :meth:`ToneCurve.tones`.
            stamp: time of the frame in nanoseconds; after a jump back or a long gap nothing is
                known of the tones before.
        """
        if not 0 <= stamp - self._stamp <= LONGEST_GAP:
            self.reset()
        self._stamp = stamp
        before = self._before
        if tones is None:
            return before
        if before is not None and np.abs(np.log(tones[1] / before[1])).max() < JUMP:
            # In this form tones that stay the same stay so to the last bit.
            tones = before + (1 - KEPT) * (tones - before)
        self._before = tones
        return tones

    def reset(self) -> None:
        """Forgets the frames before."""
        self._before = None


def table(tones: NDArray[np.float64]) -> NDArray[np.uint8] | None:
    """What a frame's levels are in the plate's tones, but for the bright tones' factor.

    Args:
        tones: 2×3×:data:`KNOTS`, of :meth:`ToneCurve.tones`.

    Returns:
        256×3 uint8, rising; None where that factor says it all.
    """
    plate, factors = tones
    relative = np.log(factors / factors[:, -1:])
    # Faded in, or the frame would flicker about the least change.
    share = min(1.0, float(np.abs(relative).max()) / LEAST_CHANGE - 1)
    if share <= 0:
        return None
    relative = np.exp(share * relative)
    levels = np.arange(256) / 255
    made = np.empty((256, 3))
    for channel in range(3):
        change = np.interp(levels, plate[channel] * factors[channel], relative[channel])
        # White may have been of any brightness: it stays.
        change = 1 + (change - 1) * ((1 - levels) / (1 - KNEE)).clip(0, 1)
        made[:, channel] = np.maximum.accumulate(levels / change)
    return np.rint(255 * made.clip(0, 1)).astype(np.uint8)


def in_table(image: NDArray[np.uint8], levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """An H×W×3 uint8 image with its levels changed by a 256×3 table."""
    return np.asarray(cv2.LUT(image, levels[None]), np.uint8)


def inverse(levels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The 256×3 uint8 table that undoes one of :func:`table`."""
    every = np.arange(256)
    undone = [np.interp(every, *_strictly(levels[:, channel])) for channel in range(3)]
    return np.rint(np.stack(undone, axis=1)).astype(np.uint8)


def _strictly(shown: NDArray[np.uint8]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Distinct values of a rising table, and the mean of the levels that have each."""
    values, places, counts = np.unique(shown, return_inverse=True, return_counts=True)
    return values.astype(np.float64), np.bincount(places, weights=np.arange(256)) / counts


def _middle(values: NDArray[np.float32]) -> np.float32:
    """The upper median; numpy's own takes thrice as long for so few."""
    middle: np.float32 = np.partition(values, len(values) // 2)[len(values) // 2]
    return middle


def _is_curve(tones: NDArray[np.float64]) -> bool:
    """Whether a camera may have made these tones of the plate's."""
    plate, factors = tones
    apart = np.diff(np.log(plate), axis=1)
    if apart.min() <= 0:
        return False
    steepness = np.diff(np.log(plate * factors), axis=1) / apart
    return bool(steepness.min() >= 1 / STEEPEST and steepness.max() <= STEEPEST)


def _tells(colors: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which of 3×N colors are neither dark nor cut off."""
    red, green, blue = colors
    darkest, brightest = (f(f(red, green), blue) for f in (np.minimum, np.maximum))
    return (darkest > DARKEST) & (brightest < BRIGHTEST)


def _parts(plate: NDArray[np.float32]) -> list[list[NDArray[np.int_]]] | None:
    """The places of each part of each channel's tones among 3×N colors; None where a scene has one
    tone."""
    if plate.shape[1] < KNOTS * FEWEST:
        return None
    parts = [np.array_split(np.argsort(channel, kind="stable"), KNOTS) for channel in plate]
    spans = [
        np.median(channel[places[-1]]) - np.median(channel[places[0]])
        for channel, places in zip(plate, parts, strict=True)
    ]
    return parts if min(spans) >= LEAST_SPAN else None

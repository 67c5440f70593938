"""Background depth: robust statistics for each pixel of the empty scene's depth (Eq. 4).

The paper takes mean and standard deviation. Real sensors need more: at edges a pixel sees now what
is near, now what is far; a stray depth comes up where there is none; a quantised sensor repeats one
value. So the statistics here are of one mode, by median and MAD, and need a least number of frames.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.registration import Offset, moved

PSI = 0.01
"""Relative standard deviation assumed where depth was never known (paper: psi)."""

MEMORY = 80_000_000
"""Bytes of the samples that are kept, at most (but for very large images)."""

LEAST_SHARE = 0.12
"""Share of the frames that must know a pixel's depth; what comes up less often is stray."""

_MOST_SAMPLES, _FEWEST_SAMPLES = 32, 12
_STEP = 1e-4  # metres, of the samples: 16 bit reach 6.5 m, and further in larger steps
_MODE_METRES, _MODE_SHARE = 0.06, 0.04  # gap between two modes, of which the larger counts
_FAR_SHARE = 0.25  # of the known samples: fewer are no mode, but strays
_MODES_SHARE = 0.5  # of the distance between two modes, the least deviation there
_MAD_TO_STD = 1.4826  # of a normal distribution
_CHUNK = 20_000  # pixels whose samples are sorted at a time


@dataclass(frozen=True, eq=False)
class BackgroundDepth:
    """Statistics of the empty scene's depth, each ``H×W``.

    Attributes:
        mean: float32 metres, the sensor's range where depth is unknown.
        std: float32 metres, positive, not below the sensor's noise.
        count: uint16, frames in which depth was known; 0 where that were too few.
    """

    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    count: NDArray[np.uint16]

    def moved(self, offset: Offset, max_depth: float) -> BackgroundDepth:
        """The same left and up by ``offset`` pixels, unknown where nothing was.

        Args:
            offset: right and down.
            max_depth: the sensor's range in metres.
        """
        return BackgroundDepth(
            moved(self.mean, offset, max_depth),
            moved(self.std, offset, PSI * max_depth),
            moved(self.count, offset, 0),
        )


class BackgroundDepthAccumulator:
    """Takes frames one by one, and keeps a random sample of them in bounded memory.

    Args:
        height: rows of the depth images.
        width: columns of the depth images.
        max_depth: the sensor's range in metres (paper: d_max), the mean where nothing is known.
        noise: of the sensor.

    Raises:
        ValueError: if the size or ``max_depth`` isn't positive.
    """

    def __init__(
        self, height: int, width: int, max_depth: float, noise: DepthNoise | None = None
    ) -> None:
        if height < 1 or width < 1:
            raise ValueError(f"the image must have a size, not {width}x{height}")
        if not max_depth > 0:
            raise ValueError(f"max_depth must be positive metres, not {max_depth}")
        self._max_depth = max_depth
        self._noise = noise or DepthNoise()
        self._shape = (height, width)
        self._scale = 1 / max(_STEP, max_depth / 65_000)  # steps per metre
        self._farthest = round(max_depth * self._scale)
        kept = MEMORY // (2 * height * width)
        self._most = min(_MOST_SAMPLES, max(_FEWEST_SAMPLES, kept))
        self._samples: list[NDArray[np.uint16]] = []
        self._count = np.zeros(self._shape, np.uint16)
        self._frames = 0
        self._random = np.random.default_rng(0)

    def add(self, depth: NDArray[np.float32]) -> None:
        """Take in one empty frame.

        Args:
            depth: ``H×W`` metres; what is not between 0 and the sensor's range is unknown.

        Raises:
            ValueError: if the size differs from that given to the constructor.
        """
        if depth.shape != self._shape:
            raise ValueError(f"depth has {depth.shape} rows and columns, expected {self._shape}")
        # Rounded and saturated in one pass: what is negative or NaN becomes 0.
        # (OpenCV's type hints lack the number as a factor.)
        sample: NDArray[np.uint16] = cv2.multiply(  # type: ignore[call-overload]
            depth, self._scale, dtype=cv2.CV_16U
        )
        cv2.threshold(sample, self._farthest, 0, cv2.THRESH_TOZERO_INV, sample)
        if self._frames < 65_535:
            self._count += sample > 0
        self._frames += 1
        # A uniform sample of all frames (reservoir sampling).
        if len(self._samples) < self._most:
            self._samples.append(sample)
            return
        place = int(self._random.integers(self._frames))
        if place < self._most:
            self._samples[place] = sample

    def result(self) -> BackgroundDepth:
        """The statistics of all frames taken in so far."""
        rows, columns = self._shape
        mean = np.full(rows * columns, self._max_depth, np.float32)
        std = np.full(rows * columns, PSI * self._max_depth, np.float32)
        count = self._count.ravel()
        samples = [sample.ravel() for sample in self._samples]
        least = max(1, int(np.ceil(LEAST_SHARE * self._frames)))
        for start in range(0, rows * columns, _CHUNK) if samples else ():
            part = slice(start, start + _CHUNK)
            values = np.stack([sample[part] for sample in samples], axis=1)
            enough = (count[part] >= least) & values.any(axis=1)
            found = np.flatnonzero(enough)
            center, spread = _statistics(values[found].astype(np.float32) / np.float32(self._scale))
            mean[start + found], std[start + found] = center, spread
        std = np.maximum(std, self._noise.at(mean))
        known = mean < self._max_depth
        return BackgroundDepth(
            mean.reshape(rows, columns),
            std.reshape(rows, columns),
            np.where(known, count, 0).astype(np.uint16).reshape(rows, columns),
        )


def _statistics(
    values: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Center and deviation of each row of samples.

    Of two modes the far one counts, which is the background; the near one is then within two
    deviations, for both are the empty view.

    Args:
        values: ``N×K`` metres, 0 where unknown, at least one known in each row.
    """
    values = np.sort(values, axis=1)  # unknown ones come first
    places = np.arange(values.shape[1])
    first = (values == 0).sum(axis=1)
    known = values.shape[1] - first
    gaps = np.diff(values, axis=1)
    gaps[places[:-1] < first[:, None]] = 0
    if gaps.shape[1]:
        widest = gaps.argmax(axis=1)
        rows = np.arange(len(values))
        gap = gaps[rows, widest]
        apart = gap > np.maximum(_MODE_METRES, _MODE_SHARE * values[rows, widest])
    else:
        widest, apart = np.zeros(len(values), np.intp), np.zeros(len(values), np.bool_)
    far = known - (widest + 1 - first)  # samples behind the gap
    takes_far = apart & (far >= np.maximum(1, _FAR_SHARE * known))
    begin = np.where(takes_far, widest + 1, first)
    end = np.where(apart & ~takes_far, widest + 1, values.shape[1])
    double = takes_far & (known - far >= np.maximum(1, _FAR_SHARE * known))
    median = _median(values, begin, end)
    distance = np.where(double, median - _median(values, first, np.maximum(begin, first + 1)), 0)
    inside = (places >= begin[:, None]) & (places < end[:, None])
    away = np.where(inside, np.abs(values - median[:, None]), np.float32(np.inf))
    spread = _MAD_TO_STD * _median(np.sort(away, axis=1), np.zeros_like(begin), end - begin)
    # A sensor that jumps between two steps has a MAD of 0 or of a whole step: the smallest
    # step that is seen counts with the deviation of rounding to it.
    steps = np.where(inside[:, 1:] & inside[:, :-1] & (gaps > 0), gaps, np.float32(np.inf))
    step = steps.min(axis=1, initial=np.inf)
    step = np.where(np.isfinite(step), step, 0)
    spread = np.maximum(spread, step / np.sqrt(12.0))
    # The mean near the median is finer than the median where values are quantised.
    near = inside & (away <= np.maximum(3 * spread, 1.01 * step)[:, None])
    center = np.where(near, values, 0).sum(axis=1, dtype=np.float64) / near.sum(axis=1)
    spread = np.maximum(spread, _MODES_SHARE * distance)
    return center.astype(np.float32), spread.astype(np.float32)


def _median(
    ordered: NDArray[np.float32], begin: NDArray[np.intp], end: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Median of ``ordered[i, begin[i]:end[i]]`` for each row, of which none is empty."""
    rows = np.arange(len(ordered))
    middle = begin + end - 1
    low, high = ordered[rows, middle // 2], ordered[rows, (middle + 1) // 2]
    return np.asarray(0.5 * (low + high), np.float32)

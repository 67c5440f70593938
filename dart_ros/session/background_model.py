"""A captured background whose pixels go on learning: plate, depth, and how much both scatter.

It only learns where it is told to; :mod:`dart_ros.session.living_background` decides where that is.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.background_depth import LEAST_SHARE, PSI
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.restless import varied, without_edges

MOST_DRIFT = 0.05
"""Share by which the sensor's scale is believed to drift, at most, from that of the capture."""

_WIDEST = 4.0
"""Times the sensor's noise that a learnt deviation of depth may be, unless it was captured so."""

_FEWEST_RATIOS = 50
"""Pixels from which a drift is told."""

_DRIFT_STEP = 8  # pixels between two samples, along each side


@dataclass(frozen=True, eq=False)
class Patch:
    """A part of the background: what was in its place, or what comes there.

    Attributes:
        top: first row.
        left: first column.
        inside: ``h×w`` bool, which pixels belong to it.
        plate: ``h×w×3`` float32, 0 to 255.
        mean: ``h×w`` float32 metres.
        std: ``h×w`` float32 metres.
        known: ``h×w`` bool.
        deviation: ``h×w`` float32 levels of 255.
    """

    top: int
    left: int
    inside: NDArray[np.bool_]
    plate: NDArray[np.float32]
    mean: NDArray[np.float32]
    std: NDArray[np.float32]
    known: NDArray[np.bool_]
    deviation: NDArray[np.float32]

    @property
    def place(self) -> tuple[slice, slice]:
        """Rows and columns in the picture."""
        height, width = self.inside.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class BackgroundModel:
    """Plate and depth as running means; for one thread at a time.

    Args:
        background: what it starts from.
        deviation: ``H×W`` levels of 255, how much each pixel's color scatters; None for unknown.
        noise: of the sensor, below which the deviation of depth never falls.
        max_depth: range of the sensor in metres, the depth where none is known.
        drift: scale of the sensor's depth over that of the capture.

    Attributes:
        plate: ``H×W×3`` float32, 0 to 255.
        mean: ``H×W`` float32 metres.
        std: ``H×W`` float32 metres.
        known: ``H×W`` bool.
        deviation: ``H×W`` float32 levels of 255.
        drift: see above.
    """

    def __init__(
        self,
        background: CapturedBackground,
        deviation: NDArray[np.floating] | None,
        noise: DepthNoise,
        max_depth: float,
        drift: float = 1.0,
    ) -> None:
        self._noise = noise
        self._max_depth = max_depth
        self.drift = drift
        size = background.mean.shape
        self.plate = background.plate.astype(np.float32)
        self.mean, self.std = background.mean.copy(), background.std.copy()
        self.known = background.known.copy()
        start = np.zeros(size, np.float32) if deviation is None else deviation.astype(np.float32)
        self.deviation = start
        self._widest = np.maximum(self.std, _WIDEST * noise.at(self.mean))

    def background(self) -> CapturedBackground:
        """The background as it is now, for the engines."""
        plate = cv2.convertScaleAbs(self.plate)
        return CapturedBackground(
            np.asarray(plate, np.uint8),
            self.mean.copy(),
            self.std.copy(),
            self.known.copy(),
            without_edges(varied(self.deviation)),
        )

    def learn_color(self, color: NDArray[np.uint8], where: NDArray[np.uint8], share: float) -> None:
        """Moves the plate towards a frame.

        Args:
            color: ``H×W×3`` RGB.
            where: ``H×W``, not 0 where it shall learn.
            share: of the way, 0 to 1.
        """
        cv2.accumulateWeighted(color, self.plate, share, where)
        # The mean absolute deviation of a normal distribution is 0.8 of its standard deviation.
        away = cv2.absdiff(color, cv2.convertScaleAbs(self.plate))
        red, green, blue = cv2.split(away)
        largest = cv2.max(cv2.max(red, green), blue).astype(np.float32) * np.float32(1.25)
        cv2.accumulateWeighted(largest, self.deviation, share, where)

    def learn_depth(
        self, depth: NDArray[np.float32], where: NDArray[np.uint8], share: float
    ) -> None:
        """Moves depth and its deviation towards a frame.

        Args:
            depth: ``H×W`` metres, known where it shall learn.
            where: ``H×W``, not 0 where it shall learn.
            share: of the way, 0 to 1.
        """
        away = cv2.absdiff(depth, self.mean)
        cv2.accumulateWeighted(depth, self.mean, share, where)
        away *= np.float32(1.25)
        cv2.accumulateWeighted(away, self.std, share, where)
        np.maximum(self.std, self._noise.at(self.mean), out=self.std)
        np.minimum(self.std, self._widest, out=self.std)

    def learn_drift(
        self, depth: NDArray[np.float32], where: NDArray[np.uint8], share: float
    ) -> float:
        """Scales all depth towards a frame's, also where somebody hides the background.

        Args:
            depth: ``H×W`` metres.
            where: ``H×W``, not 0 where the frame shows the background.
            share: of the way, 0 to 1.

        Returns:
            The scale of the frame's depth over that of the background, after that.
        """
        every = slice(None, None, _DRIFT_STEP)
        seen = where[every, every] > 0
        live, mean = depth[every, every][seen], self.mean[every, every][seen]
        if len(live) < _FEWEST_RATIOS:
            return 1.0
        ratio = float(np.median(live / mean))
        scale = 1 + share * (ratio - 1)
        scale = float(np.clip(self.drift * scale, 1 - MOST_DRIFT, 1 + MOST_DRIFT)) / self.drift
        self.drift *= scale
        self.mean[self.known] *= np.float32(scale)
        return ratio / scale

    def patch(self, place: tuple[slice, slice], inside: NDArray[np.bool_]) -> Patch:
        """A copy of a part."""
        return Patch(
            place[0].start,
            place[1].start,
            inside,
            self.plate[place].copy(),
            self.mean[place].copy(),
            self.std[place].copy(),
            self.known[place].copy(),
            self.deviation[place].copy(),
        )

    def put(self, patch: Patch) -> None:
        """Replaces a part; depth that a patch doesn't know becomes unknown."""
        inside, place = patch.inside, patch.place
        mean = np.where(patch.known, patch.mean, np.float32(self._max_depth))
        floor = np.where(patch.known, self._noise.at(mean), np.float32(PSI) * mean)
        std = np.maximum(patch.std, floor)
        for mine, new in (
            (self.plate, patch.plate),
            (self.mean, mean),
            (self.std, std),
            (self.known, patch.known),
            (self.deviation, patch.deviation),
            (self._widest, np.maximum(std, _WIDEST * floor)),
        ):
            mine[place][inside] = new[inside]


class PatchBuilder:
    """Collects what a still part of the view looks like, frame by frame, in bounded memory.

    Args:
        place: rows and columns in the picture.
    """

    def __init__(self, place: tuple[slice, slice]) -> None:
        self.place = place
        size = (place[0].stop - place[0].start, place[1].stop - place[1].start)
        self.frames = 0
        self._color = np.zeros((*size, 3), np.float32)
        self._depth, self._squares, self._known = np.zeros((3, *size), np.float64)

    def add(self, color: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
        """Takes in a whole frame: ``H×W×3`` RGB, and ``H×W`` metres, not positive where unknown."""
        part = depth[self.place]
        known = part > 0
        self._color += color[self.place]
        self._depth[known] += part[known]
        self._squares[known] += part[known].astype(np.float64) ** 2
        self._known += known
        self.frames += 1

    def patch(self, inside: NDArray[np.bool_]) -> Patch:
        """The mean of all frames, ``inside`` as in :class:`Patch`; at least one frame is in."""
        known = self._known >= max(1.0, LEAST_SHARE * self.frames)
        count = np.maximum(self._known, 1)
        mean = self._depth / count
        std = np.sqrt(np.maximum(self._squares / count - mean**2, 0))
        return Patch(
            self.place[0].start,
            self.place[1].start,
            inside,
            self._color / np.float32(self.frames),
            mean.astype(np.float32),
            std.astype(np.float32),
            known,
            np.zeros(inside.shape, np.float32),
        )

"""Whether frames show an empty view: what moves through it, what is restless, how light changes.

People move in color and depth at once. A screen that plays changes its color alone, depth that
flickers on leather changes alone: such places are restless, not occupied.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.values import Frame

# Motion is looked for in cells of a coarse grid: averaging a cell removes pixel and JPEG noise.
_GRID_WIDTH = 80
# Depth is sampled this many times along each side of a cell; half of the samples must agree.
_DEPTH_SAMPLES = 4
# Smallest connected patch of changed cells that counts, as a share of the grid.
_MOVING_SHARE = 0.0025
# Cells differ in color from this many of 255 levels, or this many times the picture's median.
_COLOR_LEVELS, _COLOR_TIMES_NOISE = 10.0, 6.0
# Samples differ in depth from this many metres, or this share of the distance.
_DEPTH_METRES, _DEPTH_SHARE = 0.10, 0.06
# Samples are mostly known or unknown from these shares of the frames on.
_MOSTLY, _HARDLY = 0.8, 0.2
# Share of a patch that moved in depth whose color must have changed as well.
_SUPPORT = 0.25
# A patch this large is motion in depth alone as well; depth lost there must be as large.
_LARGE_SHARE = 0.05
_LOST_SHARE = 0.01
# Color may change in so much of the view without anybody there; so much depth may be lost.
_MOST_CHANGED = 0.3
_MOST_LOST = 0.3
# A camera that knows depth in less than this share of the picture says nothing by it.
_LEAST_KNOWN = 0.05


@dataclass(frozen=True, eq=False)
class View:
    """A frame in the grid's cells.

    Attributes:
        cells: ``rows×columns×3`` float32 mean colors, 0 to 255.
        depths: ``4·rows × 4·columns`` float32 metres, samples.
    """

    cells: NDArray[np.float32]
    depths: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Motion:
    """What moves in a view.

    Attributes:
        cells: ``rows×columns`` bool.
        seen_in: ``color``, ``depth``, or both in words.
    """

    cells: NDArray[np.bool_]
    seen_in: str

    @property
    def where(self) -> str:
        """The place in words, such as ``on the left``."""
        if self.cells.mean() > 0.5:
            return "in most of it"
        rows, columns = np.nonzero(self.cells)
        across = float(columns.mean() + 0.5) / self.cells.shape[1]
        down = float(rows.mean() + 0.5) / self.cells.shape[0]
        side = (
            "on the left"
            if across < 1 / 3
            else "on the right"
            if across > 2 / 3
            else "in the centre"
        )
        height = "at the top " if down < 1 / 4 else "at the bottom " if down > 3 / 4 else ""
        return height + side


class EmptyView:
    """The mean of the frames taken so far, with which the next one is compared.

    Args:
        height: rows of the frames.
        width: columns of the frames.
    """

    def __init__(self, height: int, width: int) -> None:
        columns = min(_GRID_WIDTH, width)
        self._grid = (columns, max(1, round(columns * height / width)))
        self.restart()

    def restart(self) -> None:
        """Forget all frames."""
        columns, rows = self._grid
        samples = (rows * _DEPTH_SAMPLES, columns * _DEPTH_SAMPLES)
        self.frames = 0
        self._cells = np.zeros((rows, columns, 3), np.float32)
        self._depths = np.zeros(samples, np.float32)
        self._known = np.zeros(samples, np.float32)

    def reduce(self, frame: Frame) -> View:
        """A frame in the grid's cells."""
        columns, rows = self._grid
        cells = cv2.resize(frame.color, (columns, rows), interpolation=cv2.INTER_AREA)
        size = (columns * _DEPTH_SAMPLES, rows * _DEPTH_SAMPLES)
        depths = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST)
        return View(cells.astype(np.float32), depths.astype(np.float32, copy=False))

    def add(self, view: View) -> None:
        """Take in a frame of the empty view."""
        known = view.depths > 0
        self._cells += view.cells
        self._depths[known] += view.depths[known]
        self._known += known
        self.frames += 1

    def gain(self, view: View) -> NDArray[np.float32]:
        """Gain of each color channel against the mean of the frames taken so far."""
        return gain_between(view.cells, self._cells / np.float32(self.frames))

    def motion(self, view: View, light_changes: bool) -> Motion | None:
        """What moves in a frame, None if nothing does; restless places don't count.

        Args:
            view: the frame.
            light_changes: whether light or exposure change, so that color alone tells nothing.
        """
        mean = self._cells / np.float32(self.frames)
        residual = np.abs(view.cells - mean * gain_between(view.cells, mean)).max(axis=2)
        differs = residual > _COLOR_LEVELS
        changed = differs & (residual > _COLOR_TIMES_NOISE * float(np.median(residual)))
        apart, appeared, lost = self._changes_of_depth(view.depths)
        in_depth = np.zeros_like(changed)
        for patch in _patches(apart | appeared, _MOVING_SHARE):
            # Beside the patch as well: color and depth of one moment lie some pixels apart.
            beside = cv2.dilate(patch.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)
            supported = np.count_nonzero(changed & beside) >= _SUPPORT * np.count_nonzero(patch)
            if supported or (patch & apart).mean() >= _LARGE_SHARE:
                in_depth |= patch
        in_color = np.zeros_like(changed)
        blind = float((self._known > 0).mean()) < _LEAST_KNOWN
        if lost.mean() > _MOST_LOST:
            in_depth |= lost
        elif light_changes:
            pass
        elif differs.mean() > _MOST_CHANGED:
            in_color = differs
        elif blind:
            in_color = _largest(changed)
        else:
            for patch in _patches(changed & lost, _LOST_SHARE):
                in_color |= patch
        if in_depth.any():
            # Which of the changes of color belong to it.
            for patch in _patches(changed, _MOVING_SHARE):
                if (patch & in_depth).any():
                    in_color |= patch
        moving = in_depth | in_color
        if not moving.any():
            return None
        words = [word for word, cells in (("color", in_color), ("depth", in_depth)) if cells.any()]
        return Motion(moving, " and ".join(words))

    def _changes_of_depth(
        self, depths: NDArray[np.float32]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
        """Cells that lie elsewhere in depth than before, that have depth where there was none, and
        whose depth is lost."""
        mean = self._depths / np.maximum(self._known, 1)
        known, before = depths > 0, self._known > _HARDLY * self.frames
        differs = np.abs(depths - mean) > np.maximum(_DEPTH_METRES, _DEPTH_SHARE * mean)
        lost = ~known & (self._known >= _MOSTLY * self.frames)
        # Sensors see an edge wander by pixels: what is thinner than three cells isn't motion.
        kernel = np.ones((3, 3), np.uint8)
        apart, appeared, gone = (
            cv2.morphologyEx(self._cells_of(samples), cv2.MORPH_OPEN, kernel).astype(bool)
            for samples in (known & before & differs, known & ~before, lost)
        )
        return apart, appeared, gone

    def _cells_of(self, samples: NDArray[np.bool_]) -> NDArray[np.uint8]:
        columns, rows = self._grid
        parts = samples.reshape(rows, _DEPTH_SAMPLES, columns, _DEPTH_SAMPLES)
        return np.asarray(parts.mean(axis=(1, 3)) >= 0.5, np.uint8)


def gain_between(cells: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gain of each color channel, from what is neither black nor saturated.

    Args:
        cells: ``rows×columns×3``, 0 to 255.
        mean: the same of what it is compared with.
    """
    usable = ((mean > 12) & (mean < 240) & (cells < 245)).all(axis=2)
    # In a picture that is nearly all black or white no gain can be told.
    if np.count_nonzero(usable) < 0.02 * usable.size:
        return np.ones(3, np.float32)
    return np.asarray(np.median(cells[usable] / mean[usable], axis=0), np.float32)


def _patches(changed: NDArray[np.bool_], least: float) -> list[NDArray[np.bool_]]:
    """Connected patches of changed cells that are at least this share of the grid."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        changed.astype(np.uint8), connectivity=8
    )
    areas = stats[:, cv2.CC_STAT_AREA]
    enough = max(2.0, least * changed.size)
    return [np.asarray(labels == label) for label in range(1, count) if areas[label] >= enough]


def _largest(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    patches = _patches(changed, _MOVING_SHARE)
    return max(patches, key=np.count_nonzero, default=np.zeros_like(changed))

"""What of a view isn't the captured background, what of that moves, and what was only put down or
taken away; in coarse cells.

Somebody who sits still and a chair that was put down both stand before the background and hardly
move. What tells them apart: a thing is perfectly still, its bringer was larger and is seen to leave
it behind, and it is smaller than somebody. Whoever fails one of the three is no thing. A gap where
something was taken away needs no bringer: nobody is behind the background.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.session.background_model import BackgroundModel
from dart_ros.session.capture_watch import gain_between
from dart_ros.values import Camera, Frame

CELL = 8
"""Side in pixels of what is looked at as one, at a width of 640."""

AGREES = 3.0
"""Depth agrees with the background up to so many of its deviations."""

GAP_METRES, GAP_DEVIATIONS, GAP_SHARE = 0.08, 4.0, 0.03
"""Depth lies elsewhere from so many metres, deviations and parts of the distance on."""

LARGEST_AREA, LARGEST_HEIGHT = 0.6, 1.2
"""Square metres and metres from which on a thing is as large as somebody."""

_PUT_DOWN, _TAKEN_AWAY = 1, 2
_HALF = 0.5
_ALPHA = 12  # of 255, from which on a pixel is no background
_LEVELS, _LEVELS_IN_ALL = 6.0, 14.0  # of 255: a cell that moved, and one that crept away
_STILL, _TRACE = 0.9, 0.25  # shares of a thing's cells: so many are still; so many may waver
_SMALLEST_CELLS = 4
_TOUCH_SECONDS = 4.0
_LEFT_SECONDS = 10.0
_LARGER = 1.5
_MOVER_SHARE = 0.25
_LEFT_FROM = 0.9  # seconds for which something is still while its bringer leaves
_JUST = 1.5  # seconds for which something that moved counts as moving
_LEAST_SEEN = 0.3  # share of a cell's pixels whose depth is known, to tell where it lies
_SIDES = 0.6  # change of the share that lies before the background, less that behind
_TOUCHED = 0.1  # share of a cell's pixels from which on it isn't all background
_MATTED = 0.03


@dataclass(frozen=True, eq=False)
class Thing:
    """Something that was put down or taken away.

    Attributes:
        cells: ``rows×columns`` bool.
        kind: ``put down`` or ``taken away``.
        box: left, top, width and height in pixels.
        area: square metres, 0 where the camera isn't calibrated.
        still: seconds since anything moved in it.
        left_behind: whether somebody was seen to leave it there, or it was taken away and nobody
            is beside the gap; behind the background there is nobody.
        persons_size: whether it is as large as somebody.
    """

    cells: NDArray[np.bool_]
    kind: str
    box: tuple[int, int, int, int]
    area: float
    still: float
    left_behind: bool
    persons_size: bool


@dataclass(frozen=True, eq=False)
class Look:
    """One frame against the background.

    Attributes:
        near: ``H×W`` uint8, 255 where depth agrees with the background.
        agrees: ``rows×columns`` float32, the share of each cell's pixels of which the same is true,
            of those whose background is known.
        unknown: ``rows×columns`` bool, where the background's depth is unknown, and so is the
            frame's.
        occupied: ``rows×columns`` bool, where alpha isn't 0 or depth lies elsewhere.
        matted: ``rows×columns`` bool, where alpha isn't 0.
        elsewhere: ``rows×columns`` bool, where depth lies elsewhere.
    """

    near: NDArray[np.uint8]
    agrees: NDArray[np.float32]
    unknown: NDArray[np.bool_]
    occupied: NDArray[np.bool_]
    matted: NDArray[np.bool_]
    elsewhere: NDArray[np.bool_]


class ViewChanges:
    """Follows what differs from the background; for one thread at a time.

    Args:
        camera: of the frames.

    Attributes:
        things: what was put down or taken away, as of the last frame.
        still: ``rows×columns`` float64, seconds since each cell moved.
        clear: ``rows×columns`` float64, seconds since each cell was occupied.
        bare: ``rows×columns`` float64, seconds since depth lay elsewhere.
    """

    def __init__(self, camera: Camera) -> None:
        self._camera = camera
        side = CELL * max(1, round(camera.width / 640))
        rows, columns = (max(1, round(n / side)) for n in (camera.height, camera.width))
        self.shape = (rows, columns)
        self._centers = np.ix_(
            ((np.arange(rows) + 0.5) * camera.height / rows).astype(np.intp),
            ((np.arange(columns) + 0.5) * camera.width / columns).astype(np.intp),
        )
        self.things: list[Thing] = []
        self.still, self.clear, self.bare = np.zeros((3, rows, columns))
        self._touch = np.zeros((rows, columns))
        self._left = np.zeros((rows, columns), np.bool_)
        self._depth_side = np.zeros((rows, columns), np.float32)
        self._cells: NDArray[np.float32] | None = None
        self._from: NDArray[np.float32] = np.zeros((rows, columns, 3), np.float32)

    def pixels(self, cells: NDArray[np.bool_]) -> NDArray[np.uint8]:
        """Cells as ``H×W`` uint8, 255 where they are True."""
        size = (self._camera.width, self._camera.height)
        return np.asarray(
            cv2.resize(cells.view(np.uint8) * np.uint8(255), size, interpolation=cv2.INTER_NEAREST)
        )

    def look(
        self, frame: Frame, alpha: NDArray[np.uint8], model: BackgroundModel, passed: float
    ) -> Look:
        """Takes in a frame.

        Args:
            frame: of the camera.
            alpha: ``H×W``, its matte.
            model: the background.
            passed: seconds since the frame before.
        """
        near = (cv2.absdiff(frame.depth, model.mean) <= AGREES * model.std) & model.known
        near &= frame.depth > 0
        # A quarter of the pixels tells as much of a cell.
        part = slice(None, None, 2), slice(None, None, 2)
        depth, mean, deviation = frame.depth[part], model.mean[part], model.std[part]
        away = depth - mean
        seen = (depth > 0).view(np.uint8)
        known = np.ascontiguousarray(model.known[part]).view(np.uint8)
        both = seen & known
        gap = np.maximum(GAP_DEVIATIONS * deviation, GAP_SHARE * mean)
        np.maximum(gap, np.float32(GAP_METRES), out=gap)
        front = both & (away < -gap).view(np.uint8)
        behind = both & (away > gap).view(np.uint8)
        appeared = seen & ~known
        share = {
            name: self._share(mask)
            for name, mask in (
                ("known", known),
                ("seen", seen),
                ("near", np.ascontiguousarray(near[part]).view(np.uint8)),
                ("front", front),
                ("behind", behind),
                ("appeared", appeared),
                ("matted", (alpha[part] > _ALPHA).view(np.uint8)),
            )
        }
        agrees = share["near"] / np.maximum(share["known"], np.float32(1e-3))
        matted = share["matted"] > _MATTED
        before = share["front"] > _HALF
        before |= (share["matted"] > _HALF) & (
            (share["appeared"] > _HALF) | (share["seen"] < 1 - _HALF)
        )
        gone = share["behind"] > _HALF
        elsewhere = (share["front"] > _TOUCHED) | (share["behind"] > _TOUCHED) | before
        self._count(elsewhere | matted, elsewhere, passed)
        kinds = np.where(before, _PUT_DOWN, np.where(gone, _TAKEN_AWAY, 0)).astype(np.int8)
        seen_share = np.maximum(share["seen"], np.float32(_LEAST_SEEN))
        side = (share["front"] - share["behind"]) / seen_share
        side[share["seen"] < _LEAST_SEEN] = self._depth_side[share["seen"] < _LEAST_SEEN]
        self._follow(frame, share["matted"] > _HALF, kinds, side, model, passed)
        unknown = (share["known"] < _TOUCHED) & (share["seen"] < _TOUCHED)
        occupied = elsewhere | matted
        return Look(
            near.view(np.uint8) * np.uint8(255), agrees, unknown, occupied, matted, elsewhere
        )

    def _share(self, mask: NDArray[np.uint8]) -> NDArray[np.float32]:
        rows, columns = self.shape
        small = cv2.resize(mask * np.uint8(255), (columns, rows), interpolation=cv2.INTER_AREA)
        return small.astype(np.float32) * np.float32(1 / 255)

    def _count(
        self, occupied: NDArray[np.bool_], elsewhere: NDArray[np.bool_], passed: float
    ) -> None:
        for seconds, cells in ((self.clear, occupied), (self.bare, elsewhere)):
            seconds += passed
            seconds[cells] = 0

    def _follow(
        self,
        frame: Frame,
        matted: NDArray[np.bool_],
        kinds: NDArray[np.int8],
        side: NDArray[np.float32],
        model: BackgroundModel,
        passed: float,
    ) -> None:
        """Which cells move, and what was left behind."""
        rows, columns = self.shape
        small = cv2.resize(frame.color, (columns, rows), interpolation=cv2.INTER_AREA)
        cells: NDArray[np.float32] = small.astype(np.float32)
        if self._cells is None:
            self._cells, self._from, self._depth_side = cells, cells.copy(), side
            return
        step = np.abs(cells - self._cells * gain_between(cells, self._cells)).max(axis=2)
        in_all = np.abs(cells - self._from * gain_between(cells, self._from)).max(axis=2)
        moved = (step > _LEVELS) | (in_all > _LEVELS_IN_ALL)
        moved |= np.abs(side - self._depth_side) > _SIDES
        self._cells = cells
        self._from[moved], self._depth_side[moved] = cells[moved], side[moved]
        areas = self._areas(frame, model)
        different = (kinds > 0) | matted
        recently = self.still < _TOUCH_SECONDS
        self.still += passed
        self.still[moved] = 0
        labels = self._labelled(different)
        whole = np.bincount(labels.ravel(), areas.ravel())[labels]
        beside = np.asarray(cv2.dilate(np.where(labels > 0, whole, 0), np.ones((3, 3), np.uint8)))
        self._touch = np.where(
            moved, np.where(recently, np.maximum(self._touch, beside), beside), self._touch
        )
        self._left &= ~moved
        self._see_leaving(labels, areas)
        # Somebody who stands behind what was taken away is seen beside the gap as well.
        before = np.asarray(
            cv2.dilate((kinds == _PUT_DOWN).view(np.uint8), np.ones((3, 3), np.uint8)), bool
        )
        found = self._things(kinds == _PUT_DOWN, "put down", areas, frame, model)
        gaps = self._things(kinds == _TAKEN_AWAY, "taken away", areas, frame, model)
        self.things = found + [
            gap if (gap.cells & before).any() else replace(gap, left_behind=True) for gap in gaps
        ]

    def _labelled(self, cells: NDArray[np.bool_]) -> NDArray[np.int32]:
        return np.asarray(cv2.connectedComponents(cells.view(np.uint8), connectivity=8)[1])

    def _areas(self, frame: Frame, model: BackgroundModel) -> NDArray[np.float64]:
        """Square metres of each cell, at the nearer of what is seen and the background; cells of a
        camera that isn't calibrated are parts of a picture of six square metres."""
        rows, columns = self.shape
        camera = self._camera
        if not camera.calibrated:
            return np.full(self.shape, 6.0 / (rows * columns))
        depth = self._nearer(frame, model)
        pixels = (camera.width / columns) * (camera.height / rows)
        return np.asarray(pixels * depth.astype(np.float64) ** 2 / (camera.fx * camera.fy))

    def _nearer(self, frame: Frame, model: BackgroundModel) -> NDArray[np.float32]:
        """Depth of each cell: of what is seen or, where that is nearer, of the background."""
        live, behind = frame.depth[self._centers], model.mean[self._centers]
        return np.where(live > 0, np.minimum(live, behind), behind).astype(np.float32)

    def _see_leaving(self, labels: NDArray[np.int32], areas: NDArray[np.float64]) -> None:
        """Marks what is still while the larger thing that it belonged to goes away."""
        count = int(labels.max()) + 1
        if count < 2:
            return
        flat = labels.ravel()
        cells = np.bincount(flat, minlength=count)
        area = np.bincount(flat, areas.ravel(), count)
        moving, moved = (
            np.bincount(flat, (self.still < seconds).ravel(), count) / np.maximum(cells, 1)
            for seconds in (_LEFT_FROM, _JUST)
        )
        movers = np.flatnonzero((moved > _TRACE) & (cells >= _SMALLEST_CELLS))
        movers = movers[movers > 0]
        for label in range(1, count):
            inside = labels == label
            since = float(np.median(self.still[inside]))
            still = moving[label] <= _TRACE and cells[label] >= _SMALLEST_CELLS
            if not still or not _LEFT_FROM <= since <= _LEFT_SECONDS:
                continue
            # Somebody who sits down behind a desk gets smaller too: whoever left must be seen.
            larger = float(np.quantile(self._touch[inside], 0.75)) >= _LARGER * area[label]
            if larger and (area[movers] >= _MOVER_SHARE * area[label]).any():
                self._left |= inside

    def _things(
        self,
        cells: NDArray[np.bool_],
        kind: str,
        areas: NDArray[np.float64],
        frame: Frame,
        model: BackgroundModel,
    ) -> list[Thing]:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(
            cells.view(np.uint8), connectivity=8
        )
        found = []
        for label in range(1, count):
            left, top, width, height, size = (int(value) for value in stats[label])
            if size < _SMALLEST_CELLS:
                continue
            inside = np.asarray(labels == label)
            since = float(np.quantile(self.still[inside], 1 - _STILL))
            if since < _JUST:
                continue
            # Of the median, since cells at its edge see the background as well.
            area = size * float(np.median(areas[inside]))
            tall = height * self._cell_height(frame, model, inside)
            scale = self._camera.width / self.shape[1], self._camera.height / self.shape[0]
            box = (
                round(left * scale[0]),
                round(top * scale[1]),
                round(width * scale[0]),
                round(height * scale[1]),
            )
            found.append(
                Thing(
                    inside,
                    kind,
                    box,
                    area if self._camera.calibrated else 0.0,
                    since,
                    bool(self._left[inside].mean() > _HALF),
                    area >= LARGEST_AREA or tall >= LARGEST_HEIGHT,
                )
            )
        return found

    def _cell_height(
        self, frame: Frame, model: BackgroundModel, inside: NDArray[np.bool_]
    ) -> float:
        """Metres of a cell's side at a thing's distance, 0 of an uncalibrated camera."""
        if not self._camera.calibrated:
            return 0.0
        depth = self._nearer(frame, model)[inside]
        pixels = self._camera.height / self.shape[0]
        return float(np.median(depth)) * pixels / self._camera.fy

"""A background that goes on learning while its view is matted.

Depth is the arbiter: a pixel learns only where depth agrees with the background, so whoever is in
the view is never learnt, however still and however wrong the matte. Things that were put down or
taken away are absorbed as a whole, see :mod:`dart_ros.session.view_changes`.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from datetime import datetime, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import SceneError
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.background_model import BackgroundModel, Patch, PatchBuilder
from dart_ros.session.capture_watch import gain_between
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.scene import Scene
from dart_ros.session.view_changes import Look, Thing, ViewChanges
from dart_ros.values import Camera, Frame

CLEAR_SECONDS = 5.0
"""For so long alpha was 0 around a pixel that learns."""

BARE_SECONDS = 20.0
"""For so long depth agreed in a wide surrounding, where alpha isn't 0 although nobody is there."""

UNKNOWN_SECONDS = 30.0
"""For so long alpha was 0 where nobody knows any depth."""

LONGEST_GAP = 10.0
"""Seconds that count between two frames: of what nobody has seen nothing is known."""

LEAST_FRAMES = 3
"""Frames of which the look of a thing is taken, at least."""

_AGREES = 0.8  # share of a cell's depth
_MARGIN, _WIDE_MARGIN = 2, 4  # cells
_NEAR_LEVELS, _NEAR_SHARE = 8.0, 0.12  # of color, where only color can tell
_DARKER = 0.97  # of the plate: a shadow
_SHADOW_RATE = 0.25  # of what is darker while somebody may cast it
_DEPTH_TIMES = 2.0  # as slow as color
_MOST_FRAMES = 60  # of which the look of a thing is taken
_MOST_LARGER = 4.0  # times a thing's box, so large may be what is collected
_MOST_UNDONE, _MOST_UNDO_BYTES = 16, 64_000_000
_PUSH_LEVELS, _PUSH_SHARE, _PUSH_DEVIATIONS = 1.5, 0.002, 0.25
_SPECK = 7  # pixels of unknown depth that are like what is around
_SAMPLE = 8  # pixels between two that are compared, along each side


@dataclass(frozen=True)
class LearningSettings:
    """How fast a background learns.

    Attributes:
        learn: whether pixels learn at all.
        seconds: time constant of color; depth takes twice as long.
        absorb_seconds: for so long nothing moved in what is absorbed by itself; 0 absorbs nothing.
        absorb_persons_size: whether things as large as somebody are absorbed by themselves as well.
    """

    learn: bool = True
    seconds: float = 60.0
    absorb_seconds: float = 60.0
    absorb_persons_size: bool = False


class LivingBackground:
    """Learns from some frames a second; for one thread at a time.

    Args:
        background: what it starts from.
        deviation: see :class:`dart_ros.session.background_model.BackgroundModel`.
        noise: of the sensor.
        max_depth: range of the sensor in metres.
        camera: of the frames.
        drift: of the sensor's scale since the capture.

    Attributes:
        model: the background as it is now.
    """

    def __init__(
        self,
        background: CapturedBackground,
        deviation: NDArray[np.floating] | None,
        noise: DepthNoise,
        max_depth: float,
        camera: Camera,
        drift: float = 1.0,
    ) -> None:
        self.model = BackgroundModel(background, deviation, noise, max_depth, drift)
        self._changes = ViewChanges(camera)
        self._builders: list[PatchBuilder] = []
        self._undo: deque[list[Patch]] = deque(maxlen=_MOST_UNDONE)
        self._kept = np.zeros(self._changes.shape, np.bool_)
        self._last: float | None = None
        self._given = background
        self._absorbed = False
        self._find_solid()

    @property
    def things(self) -> list[Thing]:
        """What was put down or taken away, and isn't absorbed yet."""
        return self._changes.things

    @property
    def undoable(self) -> int:
        """How many times :meth:`undo` can go back."""
        return len(self._undo)

    def add(
        self, frame: Frame, alpha: NDArray[np.uint8], settings: LearningSettings, now: float
    ) -> list[Thing]:
        """Learns from a frame.

        Args:
            frame: of the camera.
            alpha: ``H×W``, its matte.
            settings: how fast it learns.
            now: time of the frame in seconds; of a gap only :data:`LONGEST_GAP` count.

        Returns:
            What was absorbed by itself.
        """
        passed = 0.0 if self._last is None else min(max(0.0, now - self._last), LONGEST_GAP)
        self._last = now
        look = self._changes.look(frame, alpha, self.model, passed)
        if settings.learn and passed:
            self._learn(frame, look, settings.seconds, passed)
        self._collect(frame)
        self._kept &= self._changes.bare < CLEAR_SECONDS
        if not settings.absorb_seconds:
            return []
        ready = [
            thing
            for thing in self.things
            if thing.still >= settings.absorb_seconds
            and thing.left_behind
            and (settings.absorb_persons_size or not thing.persons_size)
            and not (self._kept & thing.cells).any()
        ]
        return self._absorb(ready)

    def absorb(
        self, region: tuple[int, int, int, int] | None, persons_size: bool = False
    ) -> list[Thing]:
        """Makes things part of the background at once.

        Args:
            region: left, top, width and height in pixels of where they lie, None for everywhere.
            persons_size: whether things as large as somebody are meant as well; in a region they
                always are.

        Returns:
            What was absorbed.

        Raises:
            SceneError: if there is nothing to absorb.
        """
        chosen = [
            thing
            for thing in self.things
            if (region is None and (persons_size or not thing.persons_size))
            or (region is not None and _overlap(thing.box, region) > 0.5)
        ]
        absorbed = self._absorb(chosen)
        if absorbed:
            return absorbed
        if chosen:
            raise SceneError("it moved until now: wait for some seconds and try again")
        if region is None and self.things:
            raise SceneError(
                "what stands still is as large as somebody: name its region, or set persons_size"
            )
        raise SceneError("nothing there was put down or taken away, or it still moves")

    def undo(self) -> int:
        """Takes the last absorption back; what was there is foreground again, and stays so.

        Returns:
            Number of parts of the picture.

        Raises:
            SceneError: if there is none.
        """
        if not self._undo:
            raise SceneError("nothing was absorbed that could be taken back")
        patches = self._undo.pop()
        for patch in patches:
            self.model.put(patch)
            place = np.zeros(self.model.mean.shape, np.uint8)
            place[patch.place][patch.inside] = 255
            size = self._changes.shape[::-1]
            self._kept |= cv2.resize(place, size, interpolation=cv2.INTER_AREA) > 128
        self._absorbed = True
        self._find_solid()
        return len(patches)

    def worth_using(self) -> bool:
        """Whether the background has changed enough to be given to the engine anew."""
        if self._absorbed:
            return True
        every = slice(_SAMPLE // 2, None, _SAMPLE)
        model, given = self.model, self._given
        color = np.abs(model.plate[every, every] - given.plate[every, every]).max(axis=2)
        depth = np.abs(model.mean[every, every] - given.mean[every, every])
        changed = (color > _PUSH_LEVELS) | (depth > _PUSH_DEVIATIONS * model.std[every, every])
        return float(changed.mean()) > _PUSH_SHARE

    def background(self) -> CapturedBackground:
        """The background as it is now, to be given to the engine."""
        self._given = self.model.background()
        self._absorbed = False
        return self._given

    def learned(self, scene: Scene, when: datetime) -> Scene:
        """A scene with what was learnt in its place, for the disk.

        Args:
            scene: the one that is in use, as it was captured.
            when: now, an aware time.
        """
        background = self.model.background()
        count = np.where(background.known, np.maximum(scene.depth_count, 1), 0)
        return replace(
            scene,
            plate=background.plate,
            depth_mean=background.mean,
            depth_std=background.std,
            depth_count=count.astype(np.uint16),
            color_deviation=np.minimum(self.model.deviation, 255).astype(np.float16),
            learned_at=when.astimezone(timezone.utc).isoformat(timespec="seconds"),
            drift=self.model.drift,
        )

    # ---- learning --------------------------------------------------------------------------

    def _learn(self, frame: Frame, look: Look, seconds: float, passed: float) -> None:
        changes, model = self._changes, self.model
        agrees = look.agrees > _AGREES
        clear, bare = _eroded(changes.clear, _MARGIN), _eroded(changes.bare, _WIDE_MARGIN)
        surely = agrees & (clear >= CLEAR_SECONDS)
        # Alpha alone may be wrong; what hangs together with somebody isn't alone.
        surely |= agrees & (bare >= BARE_SECONDS) & ~_touching(look.matted, look.elsewhere)
        size = changes.shape[::-1]
        live = cv2.resize(frame.color, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        plate = np.asarray(cv2.resize(model.plate, size, interpolation=cv2.INTER_AREA), np.float32)
        gain = gain_between(live, plate)
        away = np.abs(live - plate * gain).max(axis=2)
        alike = away < np.maximum(_NEAR_LEVELS, _NEAR_SHARE * plate.max(axis=2))
        by_color = look.unknown & (clear >= UNKNOWN_SECONDS) & alike
        shadow = (live < _DARKER * plate * gain).all(axis=2) & bool(look.elsewhere.any())
        share = 1 - math.exp(-passed / seconds)
        learning = surely | by_color
        # Of a cell that depth knows in part that part alone.
        known = changes.pixels(by_color) | self._solid
        model.learn_color(frame.color, changes.pixels(learning & ~shadow) & known, share)
        if (learning & shadow).any():
            where = changes.pixels(learning & shadow) & known
            model.learn_color(frame.color, where, _SHADOW_RATE * share)
        depth_share = 1 - math.exp(-passed / (_DEPTH_TIMES * seconds))
        near = changes.pixels(bare >= CLEAR_SECONDS) & look.near
        scale = model.learn_drift(frame.depth, near, share)
        # Without the drift, which would else be learnt only where the background is seen.
        depth = frame.depth * np.float32(1 / scale)
        model.learn_depth(depth, changes.pixels(surely) & look.near, depth_share)

    def _find_solid(self) -> None:
        """Where depth is known but for single pixels."""
        known = self.model.known.astype(np.uint8) * np.uint8(255)
        kernel = np.ones((_SPECK, _SPECK), np.uint8)
        self._solid = np.asarray(cv2.morphologyEx(known, cv2.MORPH_CLOSE, kernel), np.uint8)

    # ---- things ----------------------------------------------------------------------------

    def _collect(self, frame: Frame) -> None:
        """Goes on collecting what things look like, each in its part of the picture."""
        kept = []
        for thing in self.things:
            builder = self._builder(thing)
            if builder is None or builder.frames >= _MOST_FRAMES:
                builder = PatchBuilder(self._place(thing, 2 * _MARGIN))
            if builder not in kept:
                builder.add(frame.color, frame.depth)
                kept.append(builder)
        self._builders = kept

    def _builder(self, thing: Thing) -> PatchBuilder | None:
        """What collects the look of a thing, whose outline may waver."""
        place = self._place(thing, _MARGIN)
        for builder in self._builders:
            outer = builder.place
            holds = all(
                o.start <= p.start and p.stop <= o.stop for o, p in zip(outer, place, strict=True)
            )
            if holds and _pixels(outer) <= _MOST_LARGER * _pixels(place):
                return builder
        return None

    def _place(self, thing: Thing, margin: int) -> tuple[slice, slice]:
        """The part of the picture around a thing, with a margin in cells."""
        rows, columns = np.nonzero(_grown(thing.cells, margin))
        height, width = self.model.mean.shape
        across, down = width / thing.cells.shape[1], height / thing.cells.shape[0]
        return (
            slice(int(rows.min() * down), min(height, math.ceil((rows.max() + 1) * down))),
            slice(int(columns.min() * across), min(width, math.ceil((columns.max() + 1) * across))),
        )

    def _absorb(self, things: list[Thing]) -> list[Thing]:
        absorbed, before = [], []
        for thing in things:
            builder = self._builder(thing)
            if builder is None or builder.frames < LEAST_FRAMES:
                continue
            place = builder.place
            around = _grown(thing.cells, _MARGIN) & (self._changes.still >= thing.still)
            inside = self._changes.pixels(around | thing.cells)[place] > 0
            before.append(self.model.patch(place, inside))
            self.model.put(builder.patch(inside))
            absorbed.append(thing)
        if absorbed:
            self._remember(before)
            self._absorbed = True
            self._find_solid()
            gone = np.logical_or.reduce([thing.cells for thing in absorbed])
            self._changes.things = [
                thing for thing in self.things if not (thing.cells & gone).any()
            ]
        return absorbed

    def _remember(self, patches: list[Patch]) -> None:
        self._undo.append(patches)
        while len(self._undo) > 1 and self._undo_bytes() > _MOST_UNDO_BYTES:
            self._undo.popleft()

    def _undo_bytes(self) -> int:
        return sum(25 * patch.inside.size for patches in self._undo for patch in patches)


def _grown(cells: NDArray[np.bool_], margin: int) -> NDArray[np.bool_]:
    kernel = np.ones((2 * margin + 1, 2 * margin + 1), np.uint8)
    return np.asarray(cv2.dilate(cells.view(np.uint8), kernel), np.bool_)


def _pixels(place: tuple[slice, slice]) -> int:
    rows, columns = place
    return int((rows.stop - rows.start) * (columns.stop - columns.start))


def _eroded(seconds: NDArray[np.float64], reach: int) -> NDArray[np.float64]:
    """The least of each cell's surroundings."""
    side = 2 * reach + 1
    return np.asarray(cv2.erode(seconds, np.ones((side, side), np.uint8)))


def _touching(cells: NDArray[np.bool_], others: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The connected parts of both that hold any of the others."""
    labels = cv2.connectedComponents((cells | others).view(np.uint8), connectivity=8)[1]
    held = np.zeros(int(labels.max()) + 1, np.bool_)
    held[np.unique(labels[others])] = True
    held[0] = False
    return np.asarray(held[labels])


def _overlap(box: tuple[int, int, int, int], region: tuple[int, int, int, int]) -> float:
    """Share of a box that lies in a region."""
    across = min(box[0] + box[2], region[0] + region[2]) - max(box[0], region[0])
    down = min(box[1] + box[3], region[1] + region[3]) - max(box[1], region[1])
    return max(0, across) * max(0, down) / max(1, box[2] * box[3])

"""The day's frames, of the pictures: exposure, the film on the screen, warm-up and noise."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.day.plan import (
    BUMPS,
    DAY,
    LAMP_OFF,
    LAMP_ON,
    MOVES,
    WARM_UP,
    WARM_UP_SECONDS,
    Plan,
    Presence,
    Shot,
    lighting,
    state,
)
from benchmark.day.render import day_camera, screen_corners
from dart_ros.errors import EvaluationError
from dart_ros.simulation.sensor_noise import SensorNoise
from dart_ros.values import UNKNOWN_DEPTH, Camera, Frame

GAMMA = 2.2
GOAL = 112.0
"""Mean level of 255 that automatic exposure aims at."""

_EXPOSURE_SECONDS = 0.6  # in which it has come within 1/e of that
_SENSOR = "time_of_flight"
_SETTLE = (0.2, 0.1)  # seconds before a scored frame, so that alpha is steadied
_AFTER_BUMP = (0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 5.0, 10.0, 30.0, 60.0)
_AFTER_MOVE = (10, 20, 30, 45, 60, 75, 90, 105, 120, 150, 180, 240, 300, 420, 600)
_AFTER_LAMP = (0.5, 1, 3, 10, 60)
"""Seconds after a change of the room at which mattes are scored."""
_QUICK = {"bump": (0.1, 3.0), "move": (2.0, 90.0), "lamp": (0.25, 5.0)}
"""Seconds between two frames after such a change, and for how long."""
_SHARES = (0.5, 0.9)  # of a presence, at which mattes are scored
_SCREEN_CLOSE = 0.06  # metres between what shows the screen and the wall

Image = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """What is in front of the sensor, without noise.

    Attributes:
        light: ``H×W×3`` float32, levels at an exposure of 1.
        depth: ``H×W`` float32 metres, 0 where nothing is.
        screen: ``H×W`` bool, where the screen that plays is seen.
        corners: the screen's, 4×2 pixels.
    """

    light: Image
    depth: Image
    screen: NDArray[np.bool_]
    corners: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Moment:
    """A frame of the day.

    Attributes:
        second: of the day.
        frame: as the camera sends it.
        alpha: ``H×W`` uint8, the truth.
        scored: whether mattes are compared here.
        settles: whether one of the next frames is scored, so that alpha must be steady by then.
        present: the presence that is seen, None for an empty room.
        empty: the empty room of the moment.
        exposure: of the frame.
    """

    second: float
    frame: Frame
    alpha: NDArray[np.uint8]
    scored: bool
    settles: bool
    present: Presence | None
    empty: View
    exposure: float


def times(plan: Plan, step: float, score_every: float, end: float) -> list[tuple[float, bool]]:
    """Seconds of all frames in order, and which of them are scored.

    Args:
        plan: of the day.
        step: seconds between two frames where nothing happens.
        score_every: seconds between two scored ones there.
        end: second after which the day is over.
    """
    scored = set(np.arange(score_every, end, score_every).tolist())
    plain = set(np.arange(0.0, end, step).tolist())
    changes = [
        *(("bump", bump.second, _AFTER_BUMP) for bump in BUMPS),
        *(("move", move.second, _AFTER_MOVE) for move in MOVES),
        *(("lamp", second, _AFTER_LAMP) for second in (LAMP_OFF, LAMP_ON)),
    ]
    for kind, second, after in changes:
        scored |= {second - 0.5, *(second + later for later in after)}
        every, length = _QUICK[kind]
        plain |= set((second + np.arange(0, length, every)).tolist())
    for presence in plan.presences:
        length = presence.last - presence.first
        scored |= {
            presence.first + share * length for share in _SHARES if length > 5 or share < 0.6
        }
        plain |= set((presence.first + np.arange(0.0, min(length, 10.0), 1.0)).tolist())
    plain |= {second - before for second in scored for before in _SETTLE}
    everything = {round(second, 3) for second in plain | scored if 0 <= second < end}
    chosen = {round(second, 3) for second in scored}
    return [(second, second in chosen) for second in sorted(everything)]


class Day:
    """Plays the pictures that :func:`benchmark.day.render.render` drew.

    Args:
        folder: of the pictures.
        plan: that they were drawn for.
        seed: of all noise.

    Attributes:
        camera: of the frames.
        max_depth: range of the sensor in metres.

    Raises:
        EvaluationError: if the folder doesn't hold them all.
    """

    max_depth = 5.46

    def __init__(self, folder: Path, plan: Plan, seed: int = 0) -> None:
        self.plan = plan
        try:
            about = json.loads((folder / "day.json").read_text(encoding="utf-8"))
            size = int(about["width"]), int(about["height"])
            self._clouds = int(about["seed"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EvaluationError(f"{folder} holds no day ({error}): render one first.") from error
        missing = [s.name for s in plan.shots if not (folder / f"{s.name}.webp").is_file()]
        if missing:
            raise EvaluationError(
                f"{folder} lacks {len(missing)} pictures, such as {missing[0]}: render them first."
            )
        self._folder = folder
        self.camera: Camera = day_camera(*size)
        self._noise = SensorNoise(_SENSOR, seed)
        self._shots = {shot.name: shot for shot in plan.shots}
        self._exposure = 0.0
        self._count = 0
        self._shown = functools.lru_cache(maxsize=8)(self._load)

    def moments(self, step: float, score_every: float, end: float = DAY) -> Iterator[Moment]:
        """The day's frames, see :func:`times`."""
        last = 0.0
        everything = times(self.plan, step, score_every, end)
        for number, (second, scored) in enumerate(everything):
            soon = everything[number + 1 : number + 3]
            settles = any(later and at - second < 2 * _SETTLE[0] for at, later in soon)
            presence = self._presence(second)
            empty = self.empty(second)
            view, alpha = empty, np.zeros(empty.depth.shape, np.uint8)
            if presence is not None:
                view, alpha = self._occupied(second, presence, empty)
            self._expose(view, second - last)
            last = second
            frame = self._seen(view, second, self._exposure)
            yield Moment(second, frame, alpha, scored, settles, presence, empty, self._exposure)

    def captured(self, moment: Moment, frames: int) -> list[Frame]:
        """Frames of the empty room of a moment, in the exposure of that moment."""
        return [self._seen(moment.empty, moment.second, moment.exposure) for _ in range(frames)]

    def morning(self, frames: int) -> list[Frame]:
        """Frames of the empty room before the day begins, in the exposure of the first frame."""
        empty = self.empty(0.0)
        self._expose(empty, 0.0)
        return [self._seen(empty, 0.0, self._exposure) for _ in range(frames)]

    def changed(self, second: float) -> NDArray[np.bool_]:
        """Where the empty room looks otherwise after a change than before it, without noise."""
        before, after = self._pair(second)
        depth = np.abs(before.depth - after.depth) > 0.03
        color = np.abs(before.light - after.light).max(axis=2)
        bright = 0.25 * np.maximum(before.light, after.light).max(axis=2)
        mask = (depth | (color > np.maximum(bright, 15))) & ~before.screen & ~after.screen
        opened = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8))
        return np.asarray(opened, np.bool_)

    def empty(self, second: float) -> View:
        """The empty room; between two pictures they are blended."""
        now = state(second)
        shots = [s for s in self.plan.empty if (s.moves, s.bumps, s.lamp) == now]
        before = [s for s in shots if s.second <= second]
        after = [s for s in shots if s.second > second]
        first = self._shown((before or after[:1])[-1].name)
        if not (before and after):
            return first[0]
        share = (second - before[-1].second) / (after[0].second - before[-1].second)
        then = self._shown(after[0].name)[0]
        light = cv2.addWeighted(first[0].light, 1 - share, then.light, share, 0.0)
        return View(
            np.asarray(light, np.float32), first[0].depth, first[0].screen, first[0].corners
        )

    def _pair(self, second: float) -> tuple[View, View]:
        name = f"empty_{int(second):05d}"
        return self._shown(f"{name}_before")[0], self._shown(name)[0]

    def _presence(self, second: float) -> Presence | None:
        for presence in self.plan.presences:
            if presence.first <= second < presence.last:
                return presence
        return None

    def _occupied(
        self, second: float, presence: Presence, empty: View
    ) -> tuple[View, NDArray[np.uint8]]:
        """People in the light of the moment, which isn't quite that of their picture."""
        number = int((second - presence.first) // 60) % len(presence.shots)
        shot = self._shots[presence.shots[number]]
        view, alpha = self._shown(shot.name)
        drawn = self.empty(min(shot.second, DAY)).light
        ratio = ((empty.light + 2) / (drawn + 2)).clip(0.2, 5)
        step = _step(self._shots[shot.name].people[0].pose, second - presence.first)
        if step:
            return _walked(view, alpha, drawn, empty, step * self.camera.width / 640)
        share = (alpha / np.float32(255))[..., None]
        ratio = share * np.float32(np.median(ratio)) + (1 - share) * ratio
        return View(view.light * ratio, view.depth, view.screen, view.corners), alpha

    def _expose(self, view: View, passed: float) -> None:
        """Lets automatic exposure follow the picture."""
        wanted = GOAL / max(float(cv2.mean(view.light)[0]), 1.0)
        if not self._exposure:
            self._exposure = wanted
        share = 1 - float(np.exp(-passed / _EXPOSURE_SECONDS))
        self._exposure *= float((wanted / self._exposure) ** share)

    def _seen(self, view: View, second: float, exposure: float) -> Frame:
        """A frame of the sensor."""
        self._count += 1
        index = (self._count,)
        color = cv2.convertScaleAbs(view.light, alpha=exposure)
        picture = self._screen(view, color.shape)
        color[view.screen] = picture[view.screen]
        warm = 1 + WARM_UP * (1 - float(np.exp(-second / WARM_UP_SECONDS)))
        depth = np.where(view.depth > 0, view.depth * np.float32(warm), np.float32(UNKNOWN_DEPTH))
        noisy = self._noise.depth(depth, np.asarray(color, np.uint8), index)
        noisy[noisy > self.max_depth] = UNKNOWN_DEPTH
        stamp = round(second * 1e9)
        seen = self._noise.color(np.asarray(color, np.uint8), index)
        return Frame(seen, noisy, stamp, self.camera)

    def _screen(self, view: View, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        """What the screen plays: a picture whose parts change every three frames."""
        rng = np.random.default_rng([self._count // 3, 47])
        still = np.random.default_rng(47).integers(40, 215, (3, 5, 3))
        small = (still + rng.normal(0, 20, (3, 5, 3))).clip(0, 255).astype(np.uint8)
        film = cv2.resize(small, (160, 90), interpolation=cv2.INTER_CUBIC)
        source = np.array([[0, 0], [160, 0], [160, 90], [0, 90]], np.float32)
        place = cv2.getPerspectiveTransform(source, view.corners)
        warped = cv2.warpPerspective(film, place, (shape[1], shape[0]))
        return np.asarray(warped, np.uint8)

    def _load(self, name: str) -> tuple[View, NDArray[np.uint8]]:
        shot = self._shots[name]
        color = self._read(f"{name}.webp", cv2.IMREAD_COLOR)[..., ::-1]
        depth = self._read(f"{name}.png", cv2.IMREAD_UNCHANGED).astype(np.float32) / 1000
        alpha = np.zeros(depth.shape, np.uint8)
        if shot.people:
            alpha = np.asarray(self._read(f"{name}_alpha.png", cv2.IMREAD_GRAYSCALE), np.uint8)
        exposure = lighting(shot.second, shot.lamp, self._clouds).exposure
        light = color.astype(np.float32) / np.float32(exposure ** (1 / GAMMA))
        return self._view(shot, light, depth), alpha

    def _view(self, shot: Shot, light: Image, depth: Image) -> View:
        corners = screen_corners(self.camera, shot.bumps)
        inside = np.zeros(depth.shape, np.uint8)
        cv2.fillConvexPoly(inside, np.rint(corners).astype(np.int32), 1)
        wall = float(np.median(self._read("empty_00000.png", cv2.IMREAD_UNCHANGED)[inside > 0]))
        near = np.abs(depth - wall / 1000) < _SCREEN_CLOSE
        return View(np.ascontiguousarray(light), depth, (inside > 0) & near, corners)

    def _read(self, name: str, flags: int) -> NDArray[np.integer]:
        image = cv2.imread(str(self._folder / name), flags)
        if image is None:
            raise EvaluationError(f"{self._folder / name} is missing or broken: render it again.")
        return np.asarray(image)


def _step(pose: str, seconds: float) -> float:
    """Pixels to the right, of a picture of 640 columns, by which somebody has moved from where the
    picture shows him; those who sit, or stand while the camera is pushed, stand quite still.
    """
    if pose == "enter":
        return -220 + 110 * seconds
    if pose == "leave":
        return -240 + 240 * seconds
    if pose in ("bend", "carry", "talk"):
        return 5 * float(np.sin(4.4 * seconds + 0.4))
    return 0.0


def _walked(
    view: View, alpha: NDArray[np.uint8], drawn: Image, empty: View, right: float
) -> tuple[View, NDArray[np.uint8]]:
    """Somebody cut out of a picture and put elsewhere before the empty room, without a shadow.

    Args:
        view: with the person.
        alpha: of the person in it.
        drawn: light of the empty room in that picture.
        empty: the empty room of the moment.
        right: pixels to the right.
    """
    share = alpha / np.float32(255)
    shift = np.array([[1.0, 0.0, right], [0.0, 1.0, 0.0]])
    size = alpha.shape[1], alpha.shape[0]
    body = view.light - (1 - share[..., None]) * drawn
    body, share = (cv2.warpAffine(image, shift, size) for image in (body, share))
    depth = np.where(alpha > 127, view.depth, 0).astype(np.float32)
    depth = np.asarray(cv2.warpAffine(depth, shift, size, flags=cv2.INTER_NEAREST), np.float32)
    hidden = (depth > empty.depth) & (empty.depth > 0)
    share = np.where(hidden, 0, share).astype(np.float32)
    brightness = np.float32(np.median((empty.light + 2) / (drawn + 2)))
    light = (1 - share[..., None]) * empty.light
    light += np.where(hidden[..., None], 0, body.clip(min=0) * brightness)
    before = (share > 0.5) & (depth > 0)
    seen = View(
        light.astype(np.float32),
        np.where(before, depth, empty.depth),
        empty.screen & (share < 0.5),
        empty.corners,
    )
    return seen, np.rint(255 * share).astype(np.uint8)


def hour(second: float) -> str:
    """A second of the day as a time, such as 14:05."""
    minutes = 8 * 60 + int(second) // 60
    return f"{minutes // 60:02d}:{minutes % 60:02d}"

"""What happens on the day: sun, lamp, people, furniture, bumps of the camera."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tools.datagen.rasterizer import Light, Lighting, Viewpoint

START = 8
"""Hour at which the day begins; seconds count from there."""

DAY = 10 * 3600
GRID = 900
"""Seconds from one picture of the empty room to the next."""

WIDTH, HEIGHT, DEPTH = 4.8, 2.6, 4.2
"""Of the room in metres."""

SCREEN = (2.55, 1.2, 0.03, 0.9, 0.5)
"""Left, bottom and out of the back wall, width and height of the screen that plays, in metres."""

WARM_UP, WARM_UP_SECONDS = 0.015, 2400.0
"""Share by which depth grows while the sensor gets warm, and in which time (1 - 1/e) of it has."""

Pose = Literal["typing", "reading", "enter", "leave", "stand", "talk", "bend", "carry"]
Place = tuple[float, float, float]
"""x and z in metres, yaw in radians."""


@dataclass(frozen=True)
class Actor:
    """Somebody in a picture.

    Attributes:
        name: of the avatar.
        pose: what the body does.
        place: on the floor.
    """

    name: str
    pose: Pose
    place: Place


@dataclass(frozen=True)
class Bump:
    """What a push does to the camera, on top of those before.

    Attributes:
        second: when.
        shift: metres to the right, up and back.
        yaw, pitch, roll: degrees to the right, up and clockwise.
    """

    second: int
    shift: tuple[float, float, float]
    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class Move:
    """A thing is put somewhere, or taken away.

    Attributes:
        second: when.
        thing: key of the furniture.
        place: where it is from then on; None for nowhere.
        by: who does it.
    """

    second: int
    thing: str
    place: Place | None
    by: str


THINGS: dict[str, Place | None] = {
    "Scopia/chair": (1.15, 1.75, 0.6),
    "Scopia/cardboard-box": None,
    "Scopia/ficus": (0.75, 0.45, 0.0),
    "BlendSwap-CC-BY/suitcase": None,
}
"""What is moved, and where it is in the morning."""

MOVES = (
    Move(2 * GRID, "Scopia/chair", (1.6, 0.8, -0.5), "White_M_2_Casual"),
    Move(14 * GRID, "Scopia/cardboard-box", (1.85, 1.5, 0.3), "MENA_F_1_Casual"),
    Move(17 * GRID, "Scopia/ficus", None, "NHPI_M_1_Casual"),
    Move(24 * GRID, "BlendSwap-CC-BY/suitcase", (0.95, 1.0, 0.4), "Asian_M_2_Casual"),
    Move(28 * GRID, "Scopia/chair", (2.1, 0.6, 0.2), "White_F_1_Casual"),
    Move(36 * GRID, "Scopia/cardboard-box", None, "White_M_2_Casual"),
)
BUMPS = (
    Bump(12 * GRID, (0.004, 0.0, 0.0), 0.40, 0.15, 0.0),
    Bump(21 * GRID, (0.0, 0.0, 0.0), 0.0, 0.0, 0.25),
    Bump(31 * GRID, (-0.003, 0.002, 0.0), -0.55, 0.2, 0.35),
)
LAMP_OFF, LAMP_ON = 10 * GRID, 33 * GRID
VISITS = (
    (19 * GRID, "Black_F_2_Casual"),
    (26 * GRID, "AIAN_F_1_Busi"),
    (34 * GRID, "MENA_F_1_Casual"),
)
VISIT_SECONDS = 120
ENTRANCE: Place = (1.2, 1.7, 1.2)
EXIT: Place = (3.4, 1.95, 1.3)
WORKER, WORK = "Hispanic_M_2_Busi", (4 * GRID, 8 * GRID)
WORK_PLACE: Place = (3.0, 1.0, 1.0)
STILL_FROM = 6 * GRID
"""From here until the end of the work the worker doesn't move at all."""

BYSTANDER = "Black_F_2_Casual"
"""Who stands in the view while the camera is pushed for the last time."""


@dataclass(frozen=True)
class Shot:
    """One picture to be drawn.

    Attributes:
        name: of its files.
        second: of the day, for the light.
        moves: how many of the moves have happened.
        bumps: how many of the bumps have.
        lamp: whether the lamp is on.
        people: who is in it.
    """

    name: str
    second: int
    moves: int
    bumps: int
    lamp: bool
    people: tuple[Actor, ...] = ()


@dataclass(frozen=True)
class Presence:
    """Somebody is in the view.

    Attributes:
        first: second of the first frame.
        last: second at which it ends.
        shots: names of the pictures, which alternate once a minute.
    """

    first: float
    last: float
    shots: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The day.

    Attributes:
        empty: pictures of the empty room by time; where something changes one before and one
            after, of the same second.
        people: pictures with people.
        presences: when those are shown.
    """

    empty: tuple[Shot, ...]
    people: tuple[Shot, ...]
    presences: tuple[Presence, ...]

    @property
    def shots(self) -> tuple[Shot, ...]:
        """All pictures."""
        return (*self.empty, *self.people)


def state(second: float) -> tuple[int, int, bool]:
    """How many moves and bumps have happened at a second, and whether the lamp is on."""
    return (
        sum(move.second <= second for move in MOVES),
        sum(bump.second <= second for bump in BUMPS),
        not LAMP_OFF <= second < LAMP_ON,
    )


CHANGES = tuple(sorted({*(m.second for m in MOVES), *(b.second for b in BUMPS), LAMP_OFF, LAMP_ON}))
"""Seconds at which the empty room changes at once."""


def make_plan(every: int = GRID) -> Plan:
    """The day with a picture of the empty room ``every`` so many seconds."""
    empty = []
    for second in sorted({*range(0, DAY + 1, every), *CHANGES}):
        if second in CHANGES:
            empty.append(Shot(f"empty_{second:05d}_before", second, *state(second - 1)))
        empty.append(Shot(f"empty_{second:05d}", second, *state(second)))
    people: list[Shot] = []
    presences: list[Presence] = []

    def shown(name: str, at: float, first: float, last: float, *who: Sequence[Actor]) -> None:
        names = []
        for number, actors in enumerate(who):
            shot = Shot(f"{name}_{int(at):05d}_{number}", int(at), *state(at), tuple(actors))
            people.append(shot)
            names.append(shot.name)
        presences.append(Presence(first, last, tuple(names)))

    for second in range(*WORK, GRID):
        typing = [Actor(WORKER, "typing", WORK_PLACE)]
        reading = [Actor(WORKER, "reading", WORK_PLACE)]
        poses = (typing, reading) if second < STILL_FROM else (reading,)
        shown("work", second, second, second + GRID, *poses)
    for move in MOVES:
        at, then = move.second, move.place or _before(move)
        first = _beside(_before(move) or then)
        shown("move", at - 9, at - 10, at - 8, [Actor(move.by, "enter", ENTRANCE)])
        shown("move", at - 8, at - 8, at, [Actor(move.by, "bend", first)])
        shown("move", at, at, at + 8, [Actor(move.by, "carry", _beside(then))])
        shown("move", at + 9, at + 8, at + 10, [Actor(move.by, "leave", EXIT)])
    for at, name in VISITS:
        last = at + VISIT_SECONDS
        shown("visit", at + 1, at, at + 2, [Actor(name, "enter", ENTRANCE)])
        shown("visit", at + 2, at + 2, last, [Actor(name, "talk", (2.2, 1.6, 0.1))])
        shown("visit", last, last, last + 2, [Actor(name, "leave", EXIT)])
    pushed = BUMPS[-1].second
    for first, last in ((pushed - 60, pushed), (pushed, pushed + 60)):
        shown("push", first, first, last, [Actor(BYSTANDER, "stand", (2.9, 1.9, 0.2))])
    presences.sort(key=lambda presence: presence.first)
    return Plan(tuple(empty), tuple(people), tuple(presences))


def _before(move: Move) -> Place | None:
    """Where a thing lay before a move."""
    place = THINGS[move.thing]
    for other in MOVES:
        if other.second < move.second and other.thing == move.thing:
            place = other.place
    return place


def _beside(place: Place | None) -> Place:
    """Where somebody stands who handles a thing."""
    x, z, _ = place or ENTRANCE
    return (x + 0.55, z + 0.15, -0.5)


def things(moves: int) -> dict[str, Place]:
    """What of :data:`THINGS` is in the room after so many moves, and where."""
    places = dict(THINGS)
    for move in MOVES[:moves]:
        places[move.thing] = move.place
    return {key: place for key, place in places.items() if place is not None}


def viewpoint(bumps: int) -> Viewpoint:
    """Where the camera stands after so many bumps."""
    place, yaw, pitch, roll = np.array([WIDTH / 2, 1.25, DEPTH - 0.1]), 0.0, -0.07, 0.0
    for bump in BUMPS[:bumps]:
        place = place + np.array(bump.shift)
        yaw += np.deg2rad(bump.yaw)
        pitch += np.deg2rad(bump.pitch)
        roll += np.deg2rad(bump.roll)
    way = np.array([np.sin(yaw) * np.cos(pitch), np.sin(pitch), -np.cos(yaw) * np.cos(pitch)])
    target = place + 4.0 * way
    return Viewpoint(
        (float(place[0]), float(place[1]), float(place[2])),
        (float(target[0]), float(target[1]), float(target[2])),
        float(roll),
    )


def lighting(second: float, lamp: bool, seed: int) -> Lighting:
    """The light at a second: sun through the window in the left wall, sky, lamp.

    Clouds are drawn by ``seed``, one for each :data:`GRID`. The exposure is that of a camera which
    knows all lights beforehand, so that nothing is cut off.
    """
    share = second / DAY
    height = float(np.sin(np.pi * (0.06 + 0.88 * share)))
    elevation, azimuth = np.deg2rad(8 + 34 * height), np.deg2rad(38 - 62 * share)
    clouds = np.random.default_rng([seed, 41]).uniform(0.25, 1.0, DAY // GRID + 2)
    bright = float(np.interp(second / GRID, np.arange(len(clouds)), clouds))
    kelvin = 3000 + 3200 * height
    sun, sky = 2.2 * bright * height**0.6, 0.05 + 0.45 * (0.5 + 0.5 * bright) * height
    window = (-0.1, 1.5, 2.0)
    away = 8.0
    place = (
        window[0] - away * float(np.cos(elevation) * np.cos(azimuth)),
        window[1] + away * float(np.sin(elevation)),
        window[2] + away * float(np.cos(elevation) * np.sin(azimuth)),
    )
    lights = [
        Light(place, (WIDTH / 2, 0.6, 1.4), _tint(kelvin, sun), 0.1, 62.0),
        Light((0.06, 1.6, 2.0), (WIDTH / 2, 0.8, 1.0), _tint(6800, 0.9 * sky), 1.0, 130.0),
    ]
    if lamp:
        lights.append(
            Light((2.6, HEIGHT - 0.12, 2.0), (2.4, 0.0, 1.3), _tint(3200, 0.55), 0.35, 140.0)
        )
    ambient = 0.06 + 0.45 * sky + (0.22 if lamp else 0.0) + 0.05 * sun
    red, green, blue = _tint(3600 if lamp else 6000, ambient)
    total = ambient + 0.25 * sky + (0.2 if lamp else 0.0) + 0.05 * sun
    return Lighting(
        sky=(red, green, blue),
        ground=(0.9 * red, 0.86 * green, 0.8 * blue),
        lights=tuple(lights),
        exposure=0.42 / total,
        occlusion=0.7,
    )


def _tint(kelvin: float, power: float) -> tuple[float, float, float]:
    warm = float(np.clip((6500 - kelvin) / 4000, -0.4, 1))
    return power * (1 + 0.18 * warm), power, power * (1 - 0.42 * warm)

"""The twelve rooms of ``sim-rgbd``, and who does what in them.

People, furniture and rooms are held out from the training data: people of
:data:`~tools.datagen.foregrounds.HELD_OUT`, pieces for which
:func:`~tools.datagen.rooms.for_demo` holds, and seeds of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tools.datagen.mesh import rotation_x
from tools.datagen.pose import (
    POSES,
    arm,
    fingers,
    hanging_arm,
    leg,
    torso,
    walk,
)

Pose = dict[str, NDArray[np.float64]]
Moving = Callable[[float], Pose]
"""A pose at a time in shutter lengths, -0.5 when it opens and 0.5 when it closes."""

TAGS = (
    "plain", "shadow", "colour camouflage", "depth camouflage", "light change", "depth holes",
    "objects", "several people", "thin structures", "motion blur",
)  # fmt: skip


@dataclass(frozen=True)
class Actor:
    """A person in one frame.

    Attributes:
        name: Avatar.
        pose: Its pose.
        x: Across the room from the left wall, metres.
        z: From the back wall, metres; None leans the person against it.
        yaw: Degrees; 0 looks out of the back wall, 90 to the picture's right.
        seat: Key of the piece to sit on, drawn with the person unless it belongs to the room.
        holds: Key of a piece in both hands.
        speed: Way in metres while the shutter is open, in the direction of ``yaw``.
    """

    name: str
    pose: Moving
    x: float
    z: float | None
    yaw: float = 0.0
    seat: str | None = None
    holds: str | None = None
    speed: float = 0.0


@dataclass(frozen=True)
class Thing:
    """A piece of furniture, in the room or in one frame.

    Attributes:
        key: Piece of the catalog.
        x: From the left wall, metres.
        z: From the back wall, metres.
        yaw: Degrees.
        y: Height above the floor, metres.
        scale: Factor of its size.
    """

    key: str
    x: float
    z: float
    yaw: float = 0.0
    y: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True)
class Light:
    """Lamps by name of their place, see ``render.lamps``.

    Attributes:
        lamps: Place to (watts, kelvin, size in metres).
        sky: Even light from the open side of the room.
        stops: Exposure shift against the one that suits the empty room.
    """

    lamps: Mapping[str, tuple[float, float, float]]
    sky: float = 0.12
    stops: float = 0.0


@dataclass(frozen=True)
class Plan:
    """A room and its test frames.

    Attributes:
        tags: Of :data:`TAGS`.
        kind: Kind of room.
        seed: Of its furniture and materials.
        size: Width, height, depth in metres.
        sensor: Key of ``sensor_noise.PROFILES``.
        frames: For each test frame its people and things.
        light: Of the empty room, and of the test frames unless ``later`` is given.
        later: Light of the test frames.
        wall: RGB of the back wall in [0, 1]; random if None.
        furniture: Pieces of the room that are not chosen by the seed.
        panel: A sheet of black glass hangs on the left wall; depth cameras see nothing there.
        eye: Height of the camera, metres.
        focal: Pixels.
        clear_from: The floor is free from here, metres from the back wall.
        width: Pixels.
        height: Pixels.
        fps: Frames a second where the test frames are a video.
    """

    tags: tuple[str, ...]
    kind: str
    seed: int
    size: tuple[float, float, float]
    sensor: str
    frames: tuple[tuple[Actor | Thing, ...], ...]
    light: Light
    later: Light | None = None
    wall: tuple[float, float, float] | None = None
    furniture: tuple[Thing, ...] = ()
    panel: bool = False
    eye: float = 1.25
    focal: float = 540.0
    clear_from: float = 0.75
    width: int = 640
    height: int = 480
    fps: float | None = None


def posed(name: str, seed: int = 0) -> Moving:
    """One of the project's poses, held still."""
    pose = POSES[name](np.random.default_rng([seed, 401]))
    return lambda time: pose


def striding(phase: float) -> Moving:
    """Walking: a shutter length is a fourteenth of the cycle."""
    return lambda time: walk(phase + time / 14)


def waving(lift: float) -> Moving:
    """A fast wave of the right arm, and a nod."""
    still = POSES["stand"](np.random.default_rng(402))
    return lambda time: (
        still | arm("Right", lift + 18 * time, 20, 85, 70 + 30 * time) | fingers("Right", 4)
    )


def talking(second: float) -> Moving:
    """Talking with both hands: they rise and fall, and the head turns."""
    beat = 2 * np.pi * second
    pose = POSES["stand"](np.random.default_rng(404)) | torso(2, 4 * np.sin(beat / 2), look=12)
    for side, ahead in (("Left", 0.0), ("Right", 1.3)):
        turn = np.sin(1.5 * beat + ahead)
        pose |= hanging_arm(side, 14, 28 + 14 * turn, 75 + 20 * turn, 12) | fingers(side, 10)
    return lambda time: pose


def leaning() -> Moving:
    """Standing upright with the back to a wall, hands low."""
    pose: Pose = torso(-2, 1, 0, look=12) | _legs(3)
    for side in ("Left", "Right"):
        pose |= hanging_arm(side, 8, -2, 8) | fingers(side, 15)
    return lambda time: pose


def arms_on_wall() -> Moving:
    """With the back to a wall, both arms spread along it."""
    pose: Pose = torso(-2) | _legs(5)
    for side in ("Left", "Right"):
        pose |= arm(side, 25, -4, 0, 6) | fingers(side, 3)
    return lambda time: pose


def spread(seed: int) -> Moving:
    """Arms out, fingers spread, on one and a half legs."""
    lift = 12.0 * seed
    pose: Pose = torso(2, 3) | _legs(8)
    pose |= arm("Left", 20 - lift, 12, 0, 14) | arm("Right", -25 + lift, 8, 0, 18)
    for side, sign in (("Left", 1.0), ("Right", -1.0)):
        for k, finger in enumerate(("Index", "Middle", "Ring", "Pinky")):
            angle = np.deg2rad(sign * (10 - 8 * k))
            turn = np.array(
                [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
            )
            pose[f"{side}Hand{finger}1"] = turn
    return lambda time: pose


def seated(seed: int = 0) -> Moving:
    """Sitting upright, hands on the thighs."""
    rng = np.random.default_rng([seed, 403])
    pose: Pose = torso(rng.uniform(-4, 4), look=rng.uniform(-20, 20))
    for side in ("Left", "Right"):
        pose |= leg(side, 86, 86, 5)
        pose |= hanging_arm(side, 12, 22, 52, 5) | fingers(side, 18)
        pose[f"{side}Foot"] = rotation_x(0.0)
    return lambda time: pose


def _legs(out: float) -> Pose:
    return leg("Left", 1, 2, out) | leg("Right", 1, 2, out)


AIAN, ASIAN, BLACK, HISPANIC = (
    "AIAN_F_1_Busi", "Asian_M_2_Casual", "Black_F_2_Casual", "Hispanic_M_2_Busi",
)  # fmt: skip
MENA, NHPI, WHITE_F, WHITE_M = (
    "MENA_F_1_Casual", "NHPI_M_1_Casual", "White_F_1_Casual", "White_M_2_Casual",
)  # fmt: skip

_CEILING = {"ceiling": (70.0, 4000.0, 0.6)}
_DAY = {"window": (90.0, 6200.0, 1.0), "ceiling": (25.0, 4200.0, 0.5)}
_HARD = {"beside": (60.0, 4300.0, 0.05)}

PLANS: tuple[Plan, ...] = (
    Plan(
        ("plain",),
        "living",
        2101,
        (4.6, 2.6, 4.2),
        "structured_light",
        (
            (Actor(ASIAN, posed("stand", 1), 2.1, 1.7, 10),),
            (Actor(ASIAN, striding(0.1), 2.7, 1.5, 70),),
            (Actor(WHITE_F, posed("akimbo", 3), 1.9, 2.0, -15),),
            (Actor(WHITE_F, posed("wave", 4), 2.6, 1.8, 0),),
            (Actor(ASIAN, posed("gesture", 5), 2.3, 2.5, -25),),
        ),
        Light(_DAY),
    ),
    Plan(
        ("shadow",),
        "booth",
        2202,
        (3.6, 2.5, 3.9),
        "stereo",
        (
            (Actor(MENA, posed("stand", 11), 1.8, 0.7, 5),),
            (Actor(MENA, posed("point", 12), 1.6, 0.8, 20),),
            (Actor(WHITE_M, posed("reach", 13), 2.0, 0.75, -10),),
            (Actor(WHITE_M, posed("crossed", 14), 1.7, 0.6, 15),),
            (Actor(MENA, striding(0.35), 1.9, 0.9, -80),),
        ),
        Light(_HARD, sky=0.05),
        wall=(0.86, 0.84, 0.78),
        clear_from=0.2,
    ),
    Plan(
        ("colour camouflage",),
        "office",
        2303,
        (4.4, 2.6, 4.2),
        "time_of_flight",
        (
            (Actor(NHPI, posed("stand", 21), 2.2, 1.6, 0),),
            (Actor(NHPI, posed("gesture", 22), 1.8, 1.9, 25),),
            (Actor(NHPI, posed("crossed", 23), 2.5, 1.5, -20),),
            (Actor(NHPI, posed("bow", 24), 2.2, 1.7, 60),),
            (Actor(NHPI, striding(0.6), 2.0, 2.2, 75),),
        ),
        Light(_CEILING, sky=0.2),
        wall=(0.63, 0.37, 0.37),
        clear_from=0.0,
    ),
    Plan(
        ("depth camouflage",),
        "living",
        2404,
        (4.4, 2.6, 4.0),
        "structured_light",
        (
            (Actor(BLACK, leaning(), 1.4, None, 0),),
            (Actor(BLACK, arms_on_wall(), 1.4, None, 0),),
            (Actor(HISPANIC, leaning(), 1.2, None, 0),),
            (Actor(HISPANIC, seated(1), 3.0, 0.62, 0, seat="room:Scopia/sofa_white_beige"),),
            (Actor(BLACK, seated(2), 2.8, 0.62, 5, seat="room:Scopia/sofa_white_beige"),),
        ),
        Light(_DAY),
        furniture=(Thing("Scopia/sofa_white_beige", 3.0, 0.45),),
        wall=(0.7, 0.78, 0.74),
        clear_from=0.0,
    ),
    Plan(
        ("light change", "shadow"),
        "bedroom",
        2505,
        (4.2, 2.6, 4.1),
        "stereo",
        (
            (Actor(WHITE_M, posed("stand", 41), 2.1, 1.6, 0),),
            (Actor(WHITE_M, posed("gesture", 42), 1.8, 1.4, 25),),
            (Actor(AIAN, posed("stand", 43), 2.4, 1.5, -10),),
            (Actor(AIAN, posed("point", 44), 1.9, 2.0, 10),),
            (Actor(WHITE_M, striding(0.85), 2.3, 1.7, -75),),
        ),
        Light({"window": (110.0, 6400.0, 1.2)}),
        later=Light({"window": (110.0, 6400.0, 1.2), "corner": (30.0, 2900.0, 0.15)}, stops=-0.35),
    ),
    Plan(
        ("depth holes",),
        "corridor",
        2606,
        (2.4, 2.5, 6.4),
        "time_of_flight",
        (
            (Actor(HISPANIC, posed("stand", 51), 1.2, 3.6, 0),),
            (Actor(HISPANIC, striding(0.2), 1.0, 3.2, 15),),
            (Actor(ASIAN, posed("akimbo", 53), 1.3, 3.9, -20),),
            (Actor(ASIAN, posed("wave", 54), 1.15, 3.4, 5),),
            (Actor(HISPANIC, posed("crossed", 55), 1.3, 2.6, -30),),
        ),
        Light({"ceiling": (60.0, 4300.0, 0.6), "far": (40.0, 4300.0, 0.4)}),
        panel=True,
        wall=(0.05, 0.05, 0.055),
    ),
    Plan(
        ("objects",),
        "office",
        2707,
        (4.6, 2.6, 4.2),
        "structured_light",
        (
            (Actor(WHITE_F, posed("hold", 61), 2.0, 1.7, 10, holds="Scopia/bowl"),),
            (Actor(NHPI, posed("hold", 62), 2.4, 1.8, -15, holds="KatorLegaz/trunk-large"),),
            (
                Thing("BlendSwap-CC-0/chair2", 1.7, 1.6, 35),
                Actor(WHITE_F, posed("stand", 63), 2.6, 1.7, -20),
            ),
            (Thing("Scopia/stroller", 2.1, 1.8, 60),),
            (Actor(NHPI, seated(3), 2.3, 1.7, 15, seat="BlendSwap-CC-0/thonet"),),
        ),
        Light(_DAY),
    ),
    Plan(
        ("several people",),
        "living",
        2808,
        (4.8, 2.6, 4.6),
        "stereo",
        (
            (
                Actor(AIAN, posed("stand", 71), 1.6, 1.6, 15),
                Actor(WHITE_M, posed("gesture", 72), 2.6, 1.7, -25),
            ),
            (
                Actor(AIAN, posed("akimbo", 73), 2.0, 2.2, 10),
                Actor(MENA, posed("stand", 74), 2.6, 1.4, -10),
            ),
            (
                Actor(WHITE_M, posed("stand", 75), 1.4, 1.5, 20),
                Actor(AIAN, posed("wave", 76), 2.4, 2.1, 0),
                Actor(MENA, posed("crossed", 77), 3.2, 1.6, -20),
            ),
            (
                Actor(MENA, striding(0.1), 1.9, 1.6, 80),
                Actor(WHITE_M, striding(0.5), 2.9, 2.0, -80),
            ),
            (
                Actor(AIAN, posed("gesture", 78), 1.6, 2.0, 40),
                Actor(WHITE_M, posed("stand", 79), 2.5, 1.5, -10),
                Actor(MENA, posed("point", 80), 3.3, 1.9, -40),
                Actor(BLACK, posed("stand", 81), 2.1, 1.2, 0),
            ),
        ),
        Light(_CEILING, sky=0.2),
    ),
    Plan(
        ("thin structures",),
        "booth",
        2909,
        (3.8, 2.6, 4.0),
        "structured_light",
        (
            (Actor(BLACK, spread(0), 1.9, 1.4, 0),),
            (
                Thing("Scopia/clothes-rack", 1.5, 1.3, 20),
                Actor(BLACK, posed("reach", 92), 2.5, 1.4, -15),
            ),
            (Thing("BlendSwap-CC-0/thonet", 1.4, 1.6, 40), Actor(WHITE_F, spread(1), 2.3, 1.5, 5)),
            (
                Thing("Scopia/iron-railing-1", 1.9, 1.9, 0),
                Actor(WHITE_F, posed("wave", 94), 1.9, 1.3, 0),
            ),
            (
                Thing("Scopia/stroller", 2.5, 1.6, -50),
                Actor(BLACK, posed("point", 95), 1.6, 1.5, 20),
            ),
        ),
        Light(_DAY),
    ),
    Plan(
        ("motion blur",),
        "office",
        3010,
        (4.6, 2.6, 4.2),
        "stereo",
        (
            (Actor(HISPANIC, striding(0.12), 2.0, 1.7, 85, speed=0.09),),
            (Actor(HISPANIC, waving(-10), 2.3, 1.9, 5),),
            (Actor(ASIAN, striding(0.4), 2.6, 1.6, -85, speed=0.12),),
            (Actor(ASIAN, striding(0.75), 2.2, 2.0, 30, speed=0.08),),
            (
                Actor(HISPANIC, waving(15), 1.9, 1.6, 20),
                Actor(ASIAN, striding(0.9), 2.8, 1.8, 90, speed=0.1),
            ),
        ),
        Light(_DAY),
    ),
    Plan(
        ("several people", "objects", "shadow"),
        "living",
        3111,
        (4.6, 2.6, 3.9),
        "time_of_flight",
        (
            (
                Actor(WHITE_F, posed("hold", 101), 1.8, 1.3, 15, holds="Scopia/bowl"),
                Actor(NHPI, posed("stand", 102), 2.7, 1.2, -15),
            ),
            (
                Actor(NHPI, posed("point", 103), 1.8, 1.1, 30),
                Thing("BlendSwap-CC-0/chair2", 2.8, 1.2, -40),
            ),
            (
                Actor(WHITE_F, posed("crossed", 104), 2.0, 0.9, 0),
                Actor(NHPI, posed("gesture", 105), 2.9, 1.3, -30),
            ),
            (
                Actor(NHPI, seated(5), 1.9, 1.3, 20, seat="BlendSwap-CC-0/thonet"),
                Actor(WHITE_F, posed("bow", 106), 2.8, 1.2, -70),
            ),
            (
                Actor(WHITE_F, striding(0.3), 2.0, 1.2, 80),
                Actor(NHPI, posed("akimbo", 107), 3.0, 1.1, -10),
            ),
        ),
        Light({"beside": (55.0, 3600.0, 0.08), "ceiling": (12.0, 4300.0, 0.5)}, sky=0.05),
    ),
    Plan(
        ("colour camouflage", "depth camouflage"),
        "bedroom",
        3212,
        (4.2, 2.5, 3.9),
        "structured_light",
        (
            (Actor(MENA, leaning(), 1.3, None, 0),),
            (Actor(MENA, arms_on_wall(), 1.15, None, 0),),
            (Actor(MENA, posed("crossed", 113), 1.2, None, 5),),
            (Actor(MENA, posed("crouch", 114), 1.3, 0.5, 10),),
            (Actor(MENA, seated(6), 2.9, 0.55, 0, seat="room:BlendSwap-CC-BY/sofa3"),),
        ),
        Light(_CEILING, sky=0.2),
        wall=(0.44, 0.36, 0.32),
        clear_from=0.0,
        furniture=(Thing("BlendSwap-CC-BY/sofa3", 2.9, 0.42),),
    ),
)

_LARGE = {0: (0, 2), 3: (1,), 4: (0, 3), 5: (1,), 6: (2,), 7: (1, 3), 9: (0,), 10: (2,)}
"""Test frames of scenes that are rendered in large as well."""

LARGE_PLANS: Mapping[int, Plan] = {
    number: replace(
        PLANS[number],
        frames=tuple(PLANS[number].frames[index] for index in frames),
        focal=1.5 * PLANS[number].focal,
        width=1280,
        height=720,
    )
    for number, frames in _LARGE.items()
}
"""The same at 1280×720: as high a view, and a wider one."""

CLOSEUP_PLANS: Mapping[int, Plan] = {
    3: Plan(
        ("close-up", "motion blur"),
        "office",
        3313,
        (4.4, 2.6, 4.2),
        "stereo",
        (
            (Actor(HISPANIC, waving(-10), 2.3, 2.9, 5),),
            (Actor(WHITE_F, waving(25), 2.1, 3.0, -10),),
        ),
        Light(_DAY),
        eye=1.5,
        focal=950.0,
        width=1280,
        height=720,
    ),
    4: Plan(
        ("close-up", "objects"),
        "living",
        3414,
        (4.4, 2.6, 4.2),
        "structured_light",
        (
            (Actor(MENA, posed("hold", 121), 2.2, 2.8, 10, holds="Scopia/bowl"),),
            (Actor(WHITE_M, posed("hold", 122), 2.3, 2.8, -15, holds="KatorLegaz/trunk-large"),),
        ),
        Light(_CEILING, sky=0.2),
        eye=1.4,
        focal=850.0,
        width=1280,
        height=720,
    ),
}
"""Close-ups with moving arms and held things, after those of :mod:`benchmark.sim_rgbd.closeups`."""

_FPS = 10.0
_SECONDS = np.arange(20) / _FPS

CLIP_PLANS: Mapping[int, Plan] = {
    0: Plan(
        ("video",),
        "living",
        3515,
        (4.6, 2.6, 4.2),
        "structured_light",
        tuple(
            (Actor(WHITE_F, striding(0.9 * second), 0.7 + 1.15 * second, 1.8, 80),)
            for second in _SECONDS
        ),
        Light(_DAY),
        fps=_FPS,
    ),
    1: Plan(
        ("video", "several people"),
        "office",
        3616,
        (4.6, 2.6, 4.4),
        "stereo",
        tuple(
            (
                Actor(NHPI, talking(second), 1.9, 2.3, 15),
                Actor(AIAN, striding(0.85 * second), 3.9 - 1.1 * second, 1.2, -85),
            )
            for second in _SECONDS
        ),
        Light(_CEILING, sky=0.2),
        fps=_FPS,
    ),
}
"""Videos of two seconds: somebody walks through, and somebody talks while another one passes."""

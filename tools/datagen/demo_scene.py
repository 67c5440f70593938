"""The recording that ships: two people walk into a furnished room, in clean RGB-D with true alpha.

The folder has the recording format of :mod:`dart_ros.session.recording`; the sensor's noise is
added when it is read. The room, its furniture and the people are in no training data.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from dart_ros.values import Camera
from tools.datagen.foregrounds import AVATAR_CREDIT, exposed
from tools.datagen.furniture import Catalog
from tools.datagen.glb import Rig, read_person
from tools.datagen.hair import grow_hair
from tools.datagen.mesh import Strands
from tools.datagen.pose import (
    PosedPerson,
    apply_pose,
    arm,
    blend,
    fingers,
    hanging_arm,
    leg,
    torso,
    walk,
)
from tools.datagen.rasterizer import Light, Lighting, Picture, Rasterizer, Viewpoint
from tools.datagen.rooms import Room, furnish

FPS = 30
ACTORS = ("White_F_1_Casual", "Hispanic_M_2_Busi")
_Pose = dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class Walk:
    """How an actor comes in.

    Attributes:
        first: Frame at which the actor starts, standing out of sight before it.
        start: (x, z) on the floor, metres.
        stop: (x, z) at which the actor stops.
        speed: Metres a second.
        turn: Yaw at the end, radians; 0 looks at the camera.
        acting: Pose as a function of the seconds since the actor stopped.
        hair_length: Metres.
    """

    first: int
    start: tuple[float, float]
    stop: tuple[float, float]
    speed: float
    turn: float
    acting: Callable[[float], _Pose]
    hair_length: float


def _ease(value: float) -> float:
    """Smooth step from 0 to 1."""
    t = float(np.clip(value, 0, 1))
    return t * t * (3 - 2 * t)


def cycle_length(rig: Rig) -> float:
    """Way that one walking cycle covers when the standing foot doesn't slide, metres."""
    way = 0.0
    # Each foot stands for half a cycle and goes back under the body meanwhile.
    for side, strike in (("Left", 0.0), ("Right", 0.5)):
        at = []
        for phase in (strike, strike + 0.5):
            person = apply_pose(rig, walk(phase))
            at.append(person.joints[f"{side}Foot"][2] - person.joints["Hips"][2])
        way += float(at[0] - at[1])
    return way


def _travel(time: float, distance: float, speed: float) -> float:
    """Way after ``time`` seconds: steady, then slowing down over the last 40 cm."""
    brake = min(0.4, distance)
    steady = (distance - brake) / speed
    if time <= steady:
        return max(time, 0.0) * speed
    # Constant deceleration from full speed to rest takes twice the time of steady walking.
    share = min((time - steady) / (2 * brake / speed), 1.0)
    return distance - brake + brake * (2 * share - share * share)


def act(rig: Rig, plan: Walk, frame: int, length: float) -> PosedPerson | None:
    """The actor at a frame, or None before coming in.

    Args:
        rig: The person.
        plan: What the actor does.
        frame: Counts from 0.
        length: The rig's :func:`cycle_length`.
    """
    if frame < plan.first:
        return None
    time = (frame - plan.first) / FPS
    start, stop = np.array(plan.start), np.array(plan.stop)
    way = stop - start
    distance = float(np.linalg.norm(way))
    gone = _travel(time, distance, plan.speed)
    heading = float(np.arctan2(way[0], way[1]))
    arrival = (distance + min(0.4, distance)) / plan.speed
    # The turn begins before the last step is done.
    share = _ease((time - (arrival - 0.4)) / 0.65)
    yaw = heading + share * float(np.angle(np.exp(1j * (plan.turn - heading))))
    still = _ease((time - (arrival - 0.3)) / 0.45)
    pose: _Pose = walk(gone / length + 0.05)
    if still > 0:
        pose = blend(pose, plan.acting(max(time - arrival, 0.0)), still)
    place = start + way / distance * gone
    return apply_pose(rig, pose, yaw, (float(place[0]), float(place[1])))


def _at_ease(sway: float) -> _Pose:
    return (
        torso(bend=3, lean=1.5 * sway, turn=4 * sway, look=6 * sway)
        | leg("Left", 2, 4, 4)
        | leg("Right", 2, 4, 4)
        | hanging_arm("Left", 11, 4, 16)
        | hanging_arm("Right", 11, 4, 16)
        | fingers("Left", 18)
        | fingers("Right", 18)
    )


def greeting(time: float) -> _Pose:
    """Raises the right hand and waves."""
    sway = float(np.sin(2 * np.pi * 0.4 * time))
    tilt = 24 * float(np.sin(2 * np.pi * 1.7 * time))
    raised = _at_ease(sway) | arm("Right", 8, 22, 88, 88 + tilt) | fingers("Right", 4)
    return blend(_at_ease(sway), raised, _ease(time / 0.5))


def explaining(time: float) -> _Pose:
    """Talks with both hands, then puts one on the hip."""
    beat = float(np.sin(2 * np.pi * 1.3 * time))
    talk = (
        _at_ease(0.5 * beat)
        | hanging_arm("Left", 24 + 4 * beat, 14, 84 + 14 * beat, -8)
        | hanging_arm("Right", 22 - 4 * beat, 12, 80 - 16 * beat, -4)
        | fingers("Left", 10)
        | fingers("Right", 10)
    )
    return blend(_at_ease(0.0), talk, _ease(time / 0.4))


def plans(room: Room) -> tuple[Walk, Walk]:
    """Who does what in the demo's room."""
    mid = room.width / 2
    return (
        Walk(0, (mid + 2.0, 1.3), (mid + 0.45, 1.25), 1.5, 0.0, greeting, 0.05),
        Walk(36, (mid - 2.15, 0.95), (mid - 0.62, 1.0), 1.6, 0.35, explaining, 0.012),
    )


def demo_room(catalog: Catalog, seed: int) -> Room:
    """The set: one lamp beside the camera throws sharp shadows onto the wall."""
    rng = np.random.default_rng([seed, 23])
    clear = (0.3, 0.6, 4.5, 3.9)
    room = furnish(catalog, "living", rng, True, (4.8, 2.6, 3.9), clear, wall=(0.80, 0.84, 0.92))
    mid = room.width / 2
    room.lighting = Lighting(
        sky=(0.25, 0.26, 0.28),
        ground=(0.24, 0.22, 0.2),
        lights=(
            Light((mid - 1.2, 2.35, 3.5), (mid + 0.3, 0.9, 0.5), (1.1, 1.03, 0.92), 0.12, 95.0),
            Light((mid + 0.8, 2.5, 1.5), (mid, 0.0, 1.0), (0.3, 0.29, 0.27), 0.5, 140.0),
        ),
        occlusion=0.7,
    )
    return room


def make_demo(
    avatars: Path,
    catalog: Catalog,
    output: Path,
    count: int = 90,
    seed: int = 0,
    quality: int = 86,
    progress: bool = True,
) -> None:
    """Render the demo recording: frame 0 is the empty room, the others hold people.

    Args:
        avatars: Folder of rigged people.
        catalog: Furniture.
        output: Recording folder, made if missing.
        count: Frames with people.
        seed: Of the room.
        quality: Of the WebP color images.
        progress: Show a progress bar.

    Raises:
        FitError: An actor's file is missing or the folder can't be written.
    """
    from tqdm import tqdm

    output.mkdir(parents=True, exist_ok=True)
    rigs = []
    for name in ACTORS:
        path = avatars / f"{name}.glb"
        if not path.is_file():
            raise FitError(f"{path} is missing: give the folder of VALID avatars.")
        rigs.append(read_person(path, texture_size=2048))
    lengths = [cycle_length(rig) for rig in rigs]
    room = demo_room(catalog, seed)
    camera = Camera(640, 480, 525.0, 525.0, 319.5, 239.5)
    view = Viewpoint((room.width / 2, 1.25, room.depth - 0.1), (room.width / 2, 0.96, 0.0))
    with Rasterizer(samples=3) as renderer:
        lighting = exposed(renderer, view, camera, room.meshes, room.lighting, 0.5)
        for frame in tqdm(range(count + 1), desc="demo", unit="frame", disable=not progress):
            people = [
                (index, act(rig, plan, frame - 1, length))
                for index, (rig, plan, length) in enumerate(
                    zip(rigs, plans(room), lengths, strict=True)
                )
                if frame > 0
            ]
            meshes, hairs = list(room.meshes), []
            for index, person in people:
                if person is not None:
                    meshes += person.meshes
                    hairs += _hair(person, index, plans(room)[index].hair_length)
            picture = renderer.draw(camera, view, meshes, lighting, hairs)
            _save(output, frame, picture, quality)
    used = {p.key: p for p in room.pieces}
    document = {
        "width": camera.width,
        "height": camera.height,
        "K": [camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1],
        "depth_unit": 0.001,
        "fps": FPS,
        "empty_frames": [[0, 0]],
        "occupied_frames": [1, count],
        "noise": {"sensor": "structured_light", "seed": 0},
        "credits": [
            AVATAR_CREDIT,
            *(f"{p.name} ({key}) by {p.creator}, {p.license}." for key, p in sorted(used.items())),
        ],
    }
    (output / "sequence.json").write_text(json.dumps(document, indent=1) + "\n")


def _hair(person: PosedPerson, index: int, length: float) -> list[Strands]:
    # The same seed in every frame: the hairs move with the head, they don't flicker.
    rng = np.random.default_rng([index, 31])
    strands = grow_hair(person, rng, count=1500, length=length, curl=0.35, width=0.0006)
    return [] if strands is None else [strands]


def _save(folder: Path, frame: int, picture: Picture, quality: int) -> None:
    color = np.ascontiguousarray(picture.color[..., ::-1])
    depth = np.rint(picture.depth * 1000).astype(np.uint16)
    alpha = np.rint(picture.foreground * 255).astype(np.uint8)
    files = (
        ("color", "webp", color, [cv2.IMWRITE_WEBP_QUALITY, quality]),
        ("depth", "png", depth, [cv2.IMWRITE_PNG_COMPRESSION, 9]),
        ("alpha", "png", alpha, [cv2.IMWRITE_PNG_COMPRESSION, 9]),
    )
    for name, ending, pixels, options in files:
        if not cv2.imwrite(str(folder / f"{name}_{frame:04d}.{ending}"), pixels, options):
            raise FitError(f"{folder} can't be written: check the space and the rights.")

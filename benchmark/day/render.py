"""Draw the day's clean pictures; goes on where it stopped."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.day.plan import (
    DEPTH,
    HEIGHT,
    SCREEN,
    WIDTH,
    Actor,
    Plan,
    Shot,
    lighting,
    things,
    viewpoint,
)
from dart_ros.errors import EvaluationError
from dart_ros.values import Camera
from tools.datagen.foregrounds import AVATAR_CREDIT
from tools.datagen.furniture import Catalog
from tools.datagen.glb import Rig, read_person
from tools.datagen.hair import grow_hair
from tools.datagen.mesh import Material, Mesh, Strands, box, quad
from tools.datagen.pose import (
    PosedPerson,
    apply_pose,
    fingers,
    hanging_arm,
    leg,
    torso,
    walk,
)
from tools.datagen.rasterizer import Rasterizer, world_to_camera
from tools.datagen.rooms import Room, furnish

FOCAL = 525.0
"""Pixels at a width of 640."""

_DESK, _SEAT = "Scopia/wooden_table_office", "BlendSwap-CC-BY/ella_chair_f"
_WINDOW = (0.9, 2.1, 1.25, 2.75)
"""Bottom and top, and z of both sides, of the window in the left wall, metres."""


def day_camera(width: int, height: int) -> Camera:
    """The camera at a size in pixels."""
    focal = FOCAL * width / 640
    return Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)


class Stage:
    """The room, and who and what may be in it.

    Args:
        avatars: folder of the VALID avatars.
        furniture: folder of ``.sh3f`` libraries.
        seed: of the room.
    """

    def __init__(self, avatars: Path, furniture: Path, seed: int) -> None:
        self._catalog = Catalog(furniture)
        self._pieces = {piece.key: piece for piece in self._catalog.pieces}
        self._avatars = avatars
        self._rigs: dict[str, Rig] = {}
        self._room = self._furnished(seed)

    @property
    def credits(self) -> list[str]:
        """Who made what is seen."""
        used = {piece.key: piece for piece in self._room.pieces}
        pieces = [f"{p.name} ({k}) by {p.creator}, {p.license}." for k, p in sorted(used.items())]
        return [AVATAR_CREDIT, *pieces]

    def _furnished(self, seed: int) -> Room:
        rng = np.random.default_rng([seed, 43])
        clear = (0.3, 0.3, WIDTH, DEPTH)
        size = (WIDTH, HEIGHT, DEPTH)
        room = furnish(self._catalog, "office", rng, True, size, clear, (0.8, 0.81, 0.78))
        for key, place in ((_DESK, (3.6, 1.38, 1.0)), (_SEAT, (2.97, 0.98, 1.0))):
            self._put(room, key, place)
        for key in things(0) | things(len(things(0))):
            room.pieces.append(self._pieces[key])
        x, y, out, wide, high = SCREEN
        black = Material(color=(0.03, 0.03, 0.035), gloss=0.3)
        room.meshes += box(
            (x + wide / 2, y + high / 2, out / 2), (wide + 0.06, high + 0.06, out - 0.004), black
        )
        glass = Material(color=(0.25, 0.27, 0.3), glow=0.6)
        room.meshes.append(quad((x, y, out), (wide, 0, 0), (0, high, 0), glass, (1, 1), False))
        room.meshes += _outer_wall()
        return room

    def _put(self, room: Room, key: str, place: tuple[float, float, float]) -> None:
        room.meshes += self._thing(key, place)
        room.pieces.append(self._pieces[key])

    def _thing(self, key: str, place: tuple[float, float, float]) -> list[Mesh]:
        x, z, yaw = place
        return [m.moved((x, 0.0, z), yaw) for m in self._catalog.load(self._pieces[key])]

    def content(self, shot: Shot) -> tuple[list[Mesh], list[Strands]]:
        """What is seen in a picture."""
        meshes = list(self._room.meshes)
        for key, place in things(shot.moves).items():
            meshes += self._thing(key, place)
        hairs: list[Strands] = []
        for actor in shot.people:
            person = self._posed(actor)
            meshes += person.meshes
            rng = np.random.default_rng([len(actor.name), 31])
            length = 0.05 if "_F_" in actor.name else 0.012
            hair = grow_hair(person, rng, count=1200, length=length, curl=0.35, width=0.0006)
            hairs += [] if hair is None else [hair]
        return meshes, hairs

    def _posed(self, actor: Actor) -> PosedPerson:
        if actor.name not in self._rigs:
            path = self._avatars / f"{actor.name}.glb"
            if not path.is_file():
                raise EvaluationError(f"{path} is missing: give the folder of VALID avatars.")
            self._rigs[actor.name] = read_person(path, texture_size=1024)
        x, z, yaw = actor.place
        return apply_pose(self._rigs[actor.name], _pose(actor.pose), yaw, (x, z))


def _pose(name: str) -> dict[str, NDArray[np.float64]]:
    hands = fingers("Left", 18) | fingers("Right", 18)
    if name in ("typing", "reading"):
        typing = name == "typing"
        pose = torso(bend=8 if typing else 2, nod=6 if typing else 16, look=0 if typing else 10)
        for side in ("Left", "Right"):
            pose |= leg(side, 84, 88, 5)
            pose |= hanging_arm(side, 10, 22 if typing else 12, 76 if typing else 84, -6)
        return pose | hands
    if name in ("enter", "leave"):
        return dict(walk(0.1 if name == "enter" else 0.6))
    legs = leg("Left", 3, 5, 4) | leg("Right", 2, 4, 4)
    if name == "bend":
        arms = hanging_arm("Left", 12, 45, 20) | hanging_arm("Right", 12, 50, 15)
        return torso(bend=48, turn=10) | legs | arms | hands
    if name == "carry":
        arms = hanging_arm("Left", 12, 14, 70, -10) | hanging_arm("Right", 12, 14, 70, -10)
        return torso(bend=4) | legs | arms | hands
    if name == "talk":
        arms = hanging_arm("Left", 26, 16, 92, -8) | hanging_arm("Right", 14, 4, 24)
        return torso(bend=3, turn=6, look=-8) | legs | arms | hands
    arms = hanging_arm("Left", 12, 4, 16) | hanging_arm("Right", 11, 4, 16)
    return torso(bend=2, look=5) | legs | arms | hands


def _outer_wall() -> list[Mesh]:
    """Keeps the sun out, but for the window; far larger than the room, since nothing else does."""
    low, high, near, far = _WINDOW
    stone = Material()
    spans = [
        ((-6.0, 10.0), (-6.0, low)),
        ((-6.0, 10.0), (high, 9.0)),
        ((-6.0, near), (low, high)),
        ((far, 10.0), (low, high)),
    ]
    walls: list[Mesh] = []
    for (z0, z1), (y0, y1) in spans:
        walls += box((-0.15, (y0 + y1) / 2, (z0 + z1) / 2), (0.1, y1 - y0, z1 - z0), stone)
    return walls


def screen_corners(camera: Camera, bumps: int) -> NDArray[np.float32]:
    """Where the screen is in the picture: top left, top right, bottom right, bottom left, 4×2."""
    x, y, out, wide, high = SCREEN
    places = np.array([(x, y + high), (x + wide, y + high), (x + wide, y), (x, y)])
    points = (
        np.column_stack([places, np.full(4, out), np.ones(4)]) @ world_to_camera(viewpoint(bumps)).T
    )
    flat = points[:, :2] / points[:, 2:3] * (camera.fx, camera.fy) + (camera.cx, camera.cy)
    return np.asarray(flat, np.float32)


def render(
    avatars: Path,
    furniture: Path,
    output: Path,
    plan: Plan,
    size: tuple[int, int] = (480, 640),
    seed: int = 0,
    samples: int = 2,
) -> None:
    """Draw the pictures ``NAME.{webp,png}`` (depth in mm) and ``NAME_alpha.png``, and ``day.json``.

    Args:
        avatars: folder of the VALID avatars.
        furniture: folder of ``.sh3f`` libraries.
        output: folder, made if missing.
        plan: of the day.
        size: rows and columns.
        seed: of room and clouds.
        samples: supersampling on each axis.

    Raises:
        EvaluationError: an avatar is missing, or the folder can't be written or holds another day.
        FitError: there is no furniture, or no OpenGL.
    """
    from tqdm import tqdm

    height, width = size
    wanted = {"width": width, "height": height, "seed": seed, "samples": samples}
    about = output / "day.json"
    try:
        output.mkdir(parents=True, exist_ok=True)
        if about.is_file():
            there = json.loads(about.read_text(encoding="utf-8"))
            if {key: there.get(key) for key in wanted} != wanted:
                raise EvaluationError(f"{output} holds another day: choose another folder.")
        stage = Stage(avatars, furniture, seed)
        about.write_text(json.dumps(wanted | {"credits": stage.credits}, indent=1) + "\n")
        camera = day_camera(width, height)
        missing = [shot for shot in plan.shots if not (output / f"{shot.name}.webp").is_file()]
        with Rasterizer(samples) as renderer:
            for shot in tqdm(missing, unit="picture", disable=None):
                meshes, hairs = stage.content(shot)
                light = lighting(shot.second, shot.lamp, seed)
                view = viewpoint(shot.bumps)
                picture = renderer.draw(camera, view, meshes, light, hairs)
                _write(output, shot, picture.color, picture.depth, picture.foreground)
    except (OSError, ValueError) as error:
        raise EvaluationError(
            f"{output} can't be used ({error}): check the space and the rights."
        ) from error


def _write(
    folder: Path,
    shot: Shot,
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    alpha: NDArray[np.float32],
) -> None:
    files: list[tuple[str, NDArray[np.uint8] | NDArray[np.uint16], Sequence[int]]] = [
        (f"{shot.name}.png", np.rint(depth * 1000).astype(np.uint16), ()),
        # Last: it is what tells a finished picture.
        (f"{shot.name}.webp", color[..., ::-1], (cv2.IMWRITE_WEBP_QUALITY, 96)),
    ]
    if shot.people:
        files.insert(0, (f"{shot.name}_alpha.png", np.rint(alpha * 255).astype(np.uint8), ()))
    for name, pixels, options in files:
        coded = cv2.imencode(Path(name).suffix, np.ascontiguousarray(pixels), options)[1]
        part = folder / f"{name}.part"
        part.write_bytes(coded.tobytes())
        os.replace(part, folder / name)

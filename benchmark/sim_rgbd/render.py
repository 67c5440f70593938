"""Render the clean pictures of ``sim-rgbd``; takes two or three hours of one core.

It goes on where it stopped: a picture that is there is not rendered again.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.sim_rgbd.blender import GLASS, Lamp, Shape, Studio
from benchmark.sim_rgbd.scenes import Actor, Light, Plan, Pose, Thing
from dart_ros.errors import EvaluationError
from dart_ros.values import Camera
from tools.datagen.foregrounds import AVATAR_CREDIT
from tools.datagen.furniture import Catalog, Piece
from tools.datagen.glb import Rig, read_person
from tools.datagen.hair import grow_hair
from tools.datagen.mesh import Material, Mesh, Strands, quad, rotation_x
from tools.datagen.pose import PosedPerson, apply_pose
from tools.datagen.rasterizer import Viewpoint
from tools.datagen.rooms import Room, furnish

_BRIGHTNESS = 0.2
"""Mean linear light of an empty room's picture; 0.2 is a middle grey on the screen."""


class Props:
    """People and furniture, read once.

    Args:
        avatars: Folder of the VALID avatars.
        furniture: Folder of ``.sh3f`` libraries.
    """

    def __init__(self, avatars: Path, furniture: Path) -> None:
        self.catalog = Catalog(furniture)
        self._pieces = {piece.key: piece for piece in self.catalog.pieces}
        self._avatars = avatars
        self._rigs: dict[str, Rig] = {}

    def piece(self, key: str) -> Piece:
        """A piece of furniture by its key."""
        return self._pieces[key]

    def rig(self, name: str) -> Rig:
        """An avatar by its name.

        Raises:
            EvaluationError: Its file is missing.
        """
        if name not in self._rigs:
            path = self._avatars / f"{name}.glb"
            if not path.is_file():
                raise EvaluationError(f"{path} is missing: give the folder of VALID avatars.")
            self._rigs[name] = read_person(path, texture_size=1024)
        return self._rigs[name]

    def meshes(self, thing: Thing) -> list[Mesh]:
        """A thing in its place."""
        place = (thing.x, thing.y, thing.z)
        yaw = float(np.deg2rad(thing.yaw))
        return [m.moved(place, yaw, thing.scale) for m in self.catalog.load(self.piece(thing.key))]


def camera_of(plan: Plan) -> Camera:
    """The camera of a scene."""
    middle = (plan.width - 1) / 2, (plan.height - 1) / 2
    return Camera(plan.width, plan.height, plan.focal, plan.focal, *middle)


def build_room(plan: Plan, props: Props) -> tuple[Room, list[Shape]]:
    """The empty room of a scene, open behind the camera.

    Returns:
        The room, of which ``pieces`` holds all furniture in it, and what to draw.
    """
    wide, _, deep = plan.size
    clear = (0.6, plan.clear_from, wide - 0.6, deep)
    rng = np.random.default_rng([plan.seed, 29])
    room = furnish(props.catalog, plan.kind, rng, True, plan.size, clear, plan.wall)
    for thing in plan.furniture:
        room.meshes += props.meshes(thing)
        room.pieces.append(props.piece(thing.key))
    shapes = [
        Shape(mesh, see_through=mesh.material.glow > 0)
        for mesh in room.meshes
        if mesh.material.opacity >= GLASS and mesh.positions[:, 2].min() < deep - 0.01
    ]
    if plan.panel:
        black = Material(color=(0.03, 0.03, 0.035), gloss=0.45)
        sheet = quad((0.03, 0.7, 0.52 * deep), (0, 0, -1.6), (0, 1.2, 0), black)
        shapes.append(Shape(sheet, see_through=True))
    return room, shapes


def lamps(plan: Plan, light: Light) -> list[Lamp]:
    """The lamps of a light by the names of their places."""
    wide, high, deep = plan.size
    places = {
        "ceiling": ((0.5 * wide, high - 0.06, 0.6 * deep), (0.5 * wide, 0.0, 0.58 * deep)),
        "far": ((0.5 * wide, high - 0.06, 0.2 * deep), (0.5 * wide, 0.0, 0.2 * deep)),
        "window": ((0.1, 1.9, 0.72 * deep), (wide, 0.7, 0.35 * deep)),
        "beside": ((0.22 * wide, 2.0, deep - 0.3), (0.55 * wide, 0.9, 0.0)),
        "corner": ((wide - 0.15, 1.7, 0.7 * deep), (0.3 * wide, 0.9, 0.25 * deep)),
    }
    return [
        Lamp(*places[name], watts, kelvin, size)
        for name, (watts, kelvin, size) in light.lamps.items()
    ]


def _inclined(pose: Pose, angle: float) -> Pose:
    """A sitting pose with the knees raised by ``angle`` degrees, the shins kept as they are."""
    turn = rotation_x(-np.deg2rad(angle))
    bent = dict(pose)
    for side in ("Left", "Right"):
        bent[f"{side}UpLeg"] = pose[f"{side}UpLeg"] @ turn
        bent[f"{side}Leg"] = turn.T @ pose[f"{side}Leg"]
    return bent


def _top_under(meshes: Sequence[Mesh], x: float, z: float, below: float) -> float:
    """Height of the highest surface under a point of a given height, metres."""
    top = 0.0
    for mesh in meshes:
        a, b, c = (mesh.positions[mesh.triangles[:, k]].astype(np.float64) for k in range(3))
        area = (b[:, 0] - a[:, 0]) * (c[:, 2] - a[:, 2]) - (c[:, 0] - a[:, 0]) * (b[:, 2] - a[:, 2])
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            u = ((x - a[:, 0]) * (c[:, 2] - a[:, 2]) - (c[:, 0] - a[:, 0]) * (z - a[:, 2])) / area
            v = ((b[:, 0] - a[:, 0]) * (z - a[:, 2]) - (x - a[:, 0]) * (b[:, 2] - a[:, 2])) / area
            height = a[:, 1] + u * (b[:, 1] - a[:, 1]) + v * (c[:, 1] - a[:, 1])
            hit = (u >= 0) & (v >= 0) & (u + v <= 1) & (height < below)
        top = max(top, float(height[hit].max(initial=0.0)))
    return top


def _seat_of(person: PosedPerson) -> float:
    """Height of the lowest point near the hips, metres."""
    hips = person.joints["Hips"]
    points = np.concatenate([m.positions for m in person.meshes])
    near = np.hypot(points[:, 0] - hips[0], points[:, 2] - hips[2]) < 0.12
    return float(points[near, 1].min())


def _sat_down(rig: Rig, pose: Pose, yaw: float, place: tuple[float, float], seat: float) -> Pose:
    """The pose with the knees so high that the hips come down, or up, to the seat."""
    low, high = -14.0, 30.0
    for _ in range(8):
        middle = (low + high) / 2
        if _seat_of(apply_pose(rig, _inclined(pose, middle), yaw, place)) > seat - 0.015:
            low = middle
        else:
            high = middle
    return _inclined(pose, low)


def stage(
    actor: Actor, props: Props, plan: Plan, blurred: bool
) -> tuple[list[Shape], list[Strands]]:
    """A person with seat, held thing and hair, in place."""
    rig = props.rig(actor.name)
    yaw = float(np.deg2rad(actor.yaw))
    forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    pose = actor.pose(0.0)
    place = (actor.x, 0.0 if actor.z is None else actor.z)
    extra: list[Mesh] = []
    if actor.seat is not None:
        if actor.seat.startswith("room:"):
            seat = [m for thing in plan.furniture for m in props.meshes(thing)]
        else:
            x, z = place[0] + 0.06 * forward[0], place[1] + 0.06 * forward[2]
            seat = extra = props.meshes(Thing(actor.seat, x, z, actor.yaw))
        top = _top_under(seat, *place, 0.62)
        pose = _sat_down(rig, pose, yaw, place, top)
    person = apply_pose(rig, pose, yaw, place)
    if actor.z is None:
        back = min(float(m.positions[:, 2].min()) for m in person.meshes)
        place = (actor.x, 0.012 - back)
        person = apply_pose(rig, pose, yaw, place)
    if actor.holds is not None:
        piece = props.piece(actor.holds)
        scale = min(1.0, 0.44 / piece.size[0])
        middle = 0.5 * (person.joints["LeftHand"] + person.joints["RightHand"])
        middle = middle + forward * (0.07 + 0.5 * scale * piece.size[2])
        low = float(middle[1]) - 0.5 * scale * piece.size[1]
        extra = props.meshes(
            Thing(actor.holds, float(middle[0]), float(middle[2]), actor.yaw, low, scale)
        )
    shapes = [Shape(mesh) for mesh in extra if mesh.material.opacity >= GLASS]
    if blurred:
        step = 0.5 * actor.speed * forward[[0, 2]]
        ends = [
            apply_pose(rig, actor.pose(t), yaw, (place[0] + s * step[0], place[1] + s * step[1]))
            for t, s in ((-0.5, -1.0), (0.5, 1.0))
        ]
        shapes += [
            Shape(mesh, first.positions, last.positions)
            for mesh, first, last in zip(person.meshes, ends[0].meshes, ends[1].meshes, strict=True)
        ]
        return shapes, []
    shapes += [Shape(mesh) for mesh in person.meshes]
    rng = np.random.default_rng([len(actor.name), 31])
    length = 0.045 if "_F_" in actor.name else 0.012
    hair = grow_hair(person, rng, count=1200, length=length, curl=0.35, width=0.0006)
    return shapes, [] if hair is None else [hair]


def render(
    avatars: Path,
    furniture: Path,
    output: Path,
    plans: Mapping[int, Plan],
    samples: int = 6,
) -> None:
    """Render the clean pictures of scenes.

    Writes ``scene_XX/background_{color.webp,depth.png}``,
    ``scene_XX/{color_%02d.webp,depth_%02d.png,alpha_%02d.png}`` and, when all of them are there,
    ``scene_XX/scene.json``.

    Args:
        avatars: Folder of the VALID avatars.
        furniture: Folder of ``.sh3f`` libraries.
        output: Folder to write to.
        plans: The scenes by their numbers.
        samples: Of each pixel of color.

    Raises:
        EvaluationError: An avatar is missing or the folder can't be written.
    """
    from tqdm import tqdm

    total = sum(1 + len(plan.frames) for plan in plans.values())
    # None: only on a terminal.
    with tqdm(total=total, unit="picture", disable=None) as bar:
        for number, plan in plans.items():
            folder = output / f"scene_{number:02d}"
            if (folder / "scene.json").is_file():
                bar.update(1 + len(plan.frames))
                continue
            folder.mkdir(parents=True, exist_ok=True)
            _render_scene(plan, Props(avatars, furniture), folder, samples, bar.update)


def _render_scene(
    plan: Plan, props: Props, folder: Path, samples: int, advance: Callable[[], object]
) -> None:
    room, shapes = build_room(plan, props)
    wide, _, deep = plan.size
    view = Viewpoint((wide / 2, plan.eye, deep - 0.1), (wide / 2, plan.eye - 0.22, 0.0))
    with Studio(camera_of(plan), view, shapes, samples, plan.seed) as studio:
        studio.light(lamps(plan, plan.light), plan.light.sky, 0.0)
        stops = float(np.log2(_BRIGHTNESS / studio.brightness()))
        studio.light(lamps(plan, plan.light), plan.light.sky, stops + plan.light.stops)
        if not _color_file(folder, "background").is_file():
            color, depth, _ = studio.picture()
            _write(folder, "background", color, depth, None)
        advance()
        later = plan.later or plan.light
        studio.light(lamps(plan, later), later.sky, stops + later.stops)
        for k, content in enumerate(plan.frames):
            if not _color_file(folder, f"{k:02d}").is_file():
                things, hairs = _foreground(content, props, plan)
                _write(folder, f"{k:02d}", *studio.picture(things, hairs))
            advance()
    _describe(folder, plan, [*room.pieces, *_brought(plan, props)])


def _foreground(
    content: Sequence[Actor | Thing], props: Props, plan: Plan
) -> tuple[list[Shape], list[Strands]]:
    """What to draw of the people and things of one frame."""
    things: list[Shape] = []
    hairs: list[Strands] = []
    for item in content:
        if isinstance(item, Thing):
            things += [Shape(m) for m in props.meshes(item) if m.material.opacity >= GLASS]
        else:
            shown, hair = stage(item, props, plan, "motion blur" in plan.tags)
            things += shown
            hairs += hair
    return things, hairs


def _brought(plan: Plan, props: Props) -> list[Piece]:
    """The pieces that come with the people."""
    keys: list[str] = []
    for item in (item for frame in plan.frames for item in frame):
        if isinstance(item, Thing):
            keys.append(item.key)
        else:
            keys += [key for key in (item.holds, item.seat) if key and not key.startswith("room:")]
    return [props.piece(key) for key in keys]


def _describe(folder: Path, plan: Plan, used: Sequence[Piece]) -> None:
    camera = camera_of(plan)
    people = {i.name for frame in plan.frames for i in frame if isinstance(i, Actor)}
    pieces = {piece.key: piece for piece in used}
    document = {
        "K": [camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1],
        "width": camera.width,
        "height": camera.height,
        "tags": list(plan.tags),
        "sensor": plan.sensor,
        "seed": plan.seed,
        **({} if plan.fps is None else {"fps": plan.fps}),
        "people": sorted(people),
        "credits": [
            AVATAR_CREDIT,
            *(f"{p.name} ({k}) by {p.creator}, {p.license}." for k, p in sorted(pieces.items())),
        ],
    }
    (folder / "scene.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def _color_file(folder: Path, name: str) -> Path:
    return folder / ("background_color.webp" if name == "background" else f"color_{name}.webp")


def _write(
    folder: Path,
    name: str,
    color: NDArray[np.uint8],
    depth: NDArray[np.float32],
    alpha: NDArray[np.uint8] | None,
) -> None:
    millimetres = np.rint(depth * 1000).astype(np.uint16)
    target = _color_file(folder, name)
    files: list[tuple[Path, NDArray[np.uint8] | NDArray[np.uint16], list[int]]] = [
        (
            target.with_name(target.name.replace("color", "depth")).with_suffix(".png"),
            millimetres,
            [cv2.IMWRITE_PNG_COMPRESSION, 9],
        ),
        # Last: it is what tells a finished picture.
        (target, np.ascontiguousarray(color[..., ::-1]), [cv2.IMWRITE_WEBP_QUALITY, 94]),
    ]
    if alpha is not None:
        files.insert(0, (folder / f"alpha_{name}.png", alpha, [cv2.IMWRITE_PNG_COMPRESSION, 9]))
    for path, pixels, options in files:
        coded = cv2.imencode(path.suffix, pixels, options)[1].tobytes()
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(coded)
            os.replace(part, path)
        except OSError as error:
            raise EvaluationError(
                f"{path} can't be written ({error.strerror}): check the space and the rights."
            ) from error

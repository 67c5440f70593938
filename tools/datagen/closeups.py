"""Close-ups for training alone: what is soft at the size at which a camera sees a bust.

Heads of some hundred pixels with tens of thousands of hairs, fur and fringes, translucent cloth,
limbs in motion, poles, cables and spokes, each rendered at its full size with true alpha. The
library has the files of :mod:`tools.datagen.foregrounds` and doesn't ship.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from dart_ros.values import Camera
from tools.datagen.foregrounds import (
    AVATAR_CREDIT,
    DEPTH_STEP,
    HELD_OUT,
    Draw,
    Foreground,
    cut_out,
    held_object,
    save_foreground,
)
from tools.datagen.furniture import Catalog
from tools.datagen.glb import Rig, read_person
from tools.datagen.hair import grow_fur, grow_hair
from tools.datagen.mesh import Material, Mesh, Strands, rod, sheet, tube
from tools.datagen.pose import POSES, PosedPerson, apply_pose, blend
from tools.datagen.rasterizer import Lighting, Picture, Rasterizer, Viewpoint

PEOPLE = ("hair", "moving", "fur", "veil")
_SHARES = (0.56, 0.16, 0.14, 0.14)
THINGS = ("poles", "cable", "wheel", "rack", "fringe")
_MOMENTS = 6
_QUALITY = 92

_Drawn = tuple[Picture, dict[str, object]]


def make_closeups(
    avatars: Sequence[Path],
    catalog: Catalog,
    output: Path,
    people: int,
    things: int,
    limit: int = 720,
    seed: int = 0,
    held_out: bool = False,
    progress: bool = True,
) -> list[Foreground]:
    """Render a library of close-ups; one that was interrupted is resumed.

    Args:
        avatars: Rigged people, ``.glb``.
        catalog: Furniture, for what people hold.
        output: Folder to write to.
        people: How many close-ups of people.
        things: How many thin things.
        limit: Largest height, pixels.
        seed: The same seed gives the same library.
        held_out: Show the people who are kept for evaluation, instead of all others.
        progress: Whether to show a bar.

    Raises:
        FitError: There are no avatars, or the folder can't be written.
    """
    from tqdm import tqdm

    chosen = [path for path in avatars if (path.stem in HELD_OUT) == held_out]
    if not chosen:
        raise FitError("There are no avatars: give a folder with .glb files.")
    output.mkdir(parents=True, exist_ok=True)
    made = _resumed(output)
    done = {foreground.name for foreground in made}

    def keep(name: str, kind: str, identity: str, drawn: _Drawn | None) -> None:
        if drawn is None:
            return
        picture, numbers = drawn
        height, width = picture.coverage.shape
        entry = Foreground(
            name,
            kind,
            identity,
            width,
            height,
            **numbers,  # type: ignore[arg-type]
            soft=True,
        )
        save_foreground(output, entry, picture, _QUALITY)
        made.append(entry)
        _write_index(output, made)

    with (
        Rasterizer(samples=2) as renderer,
        tqdm(total=people + things, desc="close-ups", unit="picture", disable=not progress) as bar,
    ):
        for number in range(things):
            kind = THINGS[number % len(THINGS)]
            name = f"thing_{number:03d}_{kind}"
            if name not in done:
                drawn = draw_thing(renderer, kind, limit, _random(seed, name))
                keep(name, "object", f"thing_{number:03d}", drawn)
            bar.update()
        for number in range(people):
            # Each person in turn, in another order each round, so that any part has many.
            turn, place = divmod(number, len(chosen))
            order = _random(seed, f"order {turn}").permutation(len(chosen))
            path = chosen[int(order[place])]
            name = f"{path.stem}_closeup_{turn:02d}"
            if name not in done:
                rng = _random(seed, name)
                drawn = draw_person(renderer, read_person(path), catalog, "_F_" in name, limit, rng)
                keep(name, "person", path.stem, drawn)
                renderer.forget_textures()
            bar.update()
    return made


def _random(seed: int, name: str) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(name.encode())])


def _resumed(output: Path) -> list[Foreground]:
    index = output / "foregrounds.json"
    if not index.exists():
        return []
    entries = json.loads(index.read_text())["foregrounds"]
    return [Foreground(**{**entry, "cut": tuple(entry["cut"])}) for entry in entries]


def _write_index(output: Path, foregrounds: Sequence[Foreground]) -> None:
    document = {
        "depth_step_m": DEPTH_STEP,
        "foregrounds": [asdict(foreground) for foreground in foregrounds],
        "credits": [AVATAR_CREDIT],
    }
    temporary = output / "foregrounds.json.part"
    temporary.write_text(json.dumps(document, indent=1) + "\n")
    temporary.replace(output / "foregrounds.json")


def draw_person(
    renderer: Rasterizer,
    rig: Rig,
    catalog: Catalog,
    female: bool,
    limit: int,
    rng: np.random.Generator,
    kind: str | None = None,
) -> _Drawn | None:
    """Somebody from the chest or the hips up, of one of :data:`PEOPLE` (a random one)."""
    kind = kind or str(rng.choice(PEOPLE, p=_SHARES))
    pose_name = str(rng.choice([name for name in POSES if name not in ("bow", "crouch", "sit")]))
    yaw = float(rng.normal(0, 0.6) if rng.random() < 0.8 else rng.uniform(-np.pi, np.pi))
    pose = POSES[pose_name](rng)
    person = apply_pose(rig, pose, yaw)
    top = float(person.joints["Head"][1]) + 0.2
    floor_cut = top * float(rng.uniform(0.74, 0.87))
    if kind == "moving" or rng.random() < 0.25:
        floor_cut = top * float(rng.uniform(0.5, 0.7))
    distance = float(rng.uniform(0.6, 1.3)) + float(
        max(m.positions[:, 2].max() for m in person.meshes)
    )
    goal = int(rng.uniform(0.65, 0.8) * limit)
    meshes = list(person.meshes)
    if pose_name == "hold":
        meshes += held_object(catalog, person, yaw, rng)
    if rng.random() < 0.3:
        meshes += glasses(person, rng)
    strands = dense_hair(person, rng, female or rng.random() < 0.3)
    if kind == "fur":
        strands += _fur(person, rng)
    draw: Draw | None = None
    if kind == "veil":
        draw = _veiled(renderer, meshes, strands, veil(person, yaw, rng), rng)
    if kind == "moving":
        other = POSES[str(rng.choice(list(POSES)))](rng)
        reach = float(rng.uniform(0.03, 0.11))
        moments = [
            apply_pose(rig, blend(pose, other, reach * i / (_MOMENTS - 1)), yaw)
            for i in range(_MOMENTS)
        ]
        draw = _blurred(renderer, moments, meshes[len(person.meshes) :], strands)
    return cut_out(renderer, meshes, strands, rng, goal, distance, floor_cut, "person", draw=draw)


def dense_hair(person: PosedPerson, rng: np.random.Generator, long: bool) -> list[Strands]:
    """Tens of thousands of hairs in locks, and some that fly about."""
    length = float(rng.uniform(0.06, 0.28) if long else rng.uniform(0.012, 0.05))
    width = float(rng.uniform(0.00006, 0.00013))
    curl = float(rng.uniform(0.03, 0.6))
    dye = np.array([1.0, 1.0, 1.0])
    if rng.random() < 0.25:
        dye = rng.uniform(0.5, 3.5) * np.array([1.0, rng.uniform(0.75, 1.0), rng.uniform(0.5, 1)])
    groups = [
        grow_hair(
            person,
            rng,
            count=int(rng.uniform(12000, 40000)),
            length=length,
            curl=curl,
            width=width,
            locks=int(rng.uniform(60, 400)),
        ),
        grow_hair(
            person,
            rng,
            count=int(rng.uniform(300, 5000)),
            length=length * float(rng.uniform(0.8, 1.6)),
            curl=min(1.0, 2.5 * curl),
            width=width,
        ),
    ]
    return [
        replace(group, colors=np.clip(group.colors * dye, 0.02, 1).astype(np.float32))
        for group in groups
        if group is not None
    ]


def _fur(person: PosedPerson, rng: np.random.Generator) -> list[Strands]:
    """A collar of fur, or fringes on the clothes."""
    neck = person.joints["Neck"]
    low, high = float(rng.uniform(0.1, 0.35)), float(rng.uniform(0.0, 0.05))
    hanging = bool(rng.random() < 0.5)
    color = rng.uniform(0.05, 0.95) * np.array([1.0, rng.uniform(0.8, 1), rng.uniform(0.6, 1)])
    fur = grow_fur(
        person.meshes,
        rng,
        between=(float(neck[1]) - low, float(neck[1]) + high),
        around=(float(neck[0]), float(neck[2])),
        count=int(rng.uniform(8000, 30000)),
        length=float(rng.uniform(0.02, 0.1)),
        color=color,
        width=float(rng.uniform(0.0001, 0.0004)),
        hanging=hanging,
    )
    return [] if fur is None else [fur]


def glasses(person: PosedPerson, rng: np.random.Generator) -> list[Mesh]:
    """A frame of wire around the eyes."""
    turn = person.turns["Head"]
    right, up, ahead = turn[:, 0], turn[:, 1], turn[:, 2]
    radius = float(rng.uniform(0.0008, 0.0025))
    material = Material(color=_color(rng, 0.02, 0.6), gloss=0.5)
    parts = []
    eyes = [person.joints["LeftEye"], person.joints["RightEye"]]
    for eye in eyes:
        angle = np.linspace(0, 2 * np.pi, 25)[:, None]
        ring = eye + 0.02 * ahead + 0.026 * np.cos(angle) * right + 0.021 * np.sin(angle) * up
        parts.append(tube(ring, radius, material))
    way = eyes[0] - eyes[1]
    outwards = way / np.linalg.norm(way)
    for eye, side in zip(eyes, (1, -1), strict=True):
        hinge = eye + 0.02 * ahead + side * 0.026 * outwards
        parts.append(tube(np.stack([hinge, hinge - 0.12 * ahead + 0.01 * up]), radius, material))
    bridge = [eyes[0] - 0.024 * outwards, eyes[1] + 0.024 * outwards]
    parts.append(tube(np.stack(bridge) + 0.022 * ahead, radius, material))
    return [replace(part, foreground=True) for part in parts]


def veil(person: PosedPerson, yaw: float, rng: np.random.Generator) -> Mesh:
    """A piece of thin cloth that hangs from the head, open at the front."""
    head = person.joints["Head"]
    half = float(rng.uniform(1.3, 2.4))
    around = np.linspace(np.pi - half, np.pi + half, 41) + yaw
    down = np.linspace(0, 1, 31)
    folds, drop = int(rng.integers(4, 12)), float(rng.uniform(0.3, 0.8))
    flare = float(rng.uniform(0.05, 0.25))
    ripple = float(rng.uniform(0.005, 0.03))
    radius = 0.13 + flare * down[:, None] + ripple * down[:, None] * np.sin(folds * around)
    y = head[1] + 0.19 - drop * down[:, None] ** 1.2 + 0 * around
    x, z = head[0] + radius * np.sin(around), head[2] + radius * np.cos(around)
    return sheet(np.stack([x, y, z], -1), Material(color=_color(rng, 0.1, 1.0), gloss=0.1))


def _veiled(
    renderer: Rasterizer,
    meshes: Sequence[Mesh],
    strands: Sequence[Strands],
    cloth: Mesh,
    rng: np.random.Generator,
) -> Draw:
    opacity = float(rng.uniform(0.2, 0.75))

    def draw(camera: Camera, view: Viewpoint, lighting: Lighting) -> Picture:
        body = renderer.draw(camera, view, meshes, lighting, strands)
        cover = renderer.draw(camera, view, [cloth], replace(lighting, occlusion=0.0))
        return over(cover, body, opacity)

    return draw


def over(cloth: Picture, body: Picture, opacity: float) -> Picture:
    """Translucent cloth and a body, each before the other where it is nearer.

    A depth camera looks through the cloth, but sees it where nothing is behind.
    """
    thin = cloth.coverage * opacity
    nearer = (cloth.depth > 0) & ((body.depth <= 0) | (cloth.depth < body.depth))
    front = np.where(nearer, thin, body.coverage)
    back = np.where(nearer, body.coverage, thin)
    cloth_in_front = nearer[..., None]
    front_color = np.where(cloth_in_front, cloth.color, body.color).astype(np.float32)
    back_color = np.where(cloth_in_front, body.color, cloth.color).astype(np.float32)
    behind = back * (1 - front)
    total = front + behind
    mixed = front_color * front[..., None] + back_color * behind[..., None]
    straight = mixed / np.maximum(total, 1e-6)[..., None]
    depth = np.where(body.depth > 0, body.depth, cloth.depth)
    return Picture(
        np.clip(np.rint(straight), 0, 255).astype(np.uint8),
        total.astype(np.float32),
        total.astype(np.float32),
        depth.astype(np.float32),
    )


def _blurred(
    renderer: Rasterizer,
    moments: Sequence[PosedPerson],
    things: Sequence[Mesh],
    strands: Sequence[Strands],
) -> Draw:
    """A shutter that is open while somebody goes through some poses."""

    def draw(camera: Camera, view: Viewpoint, lighting: Lighting) -> Picture:
        pictures = [
            renderer.draw(camera, view, [*moment.meshes, *things], lighting, strands)
            for moment in moments
        ]
        return averaged(pictures)

    return draw


def averaged(pictures: Sequence[Picture]) -> Picture:
    """The mean of several pictures; the depth is that of the one in the middle, or any."""
    coverage = np.mean([p.coverage for p in pictures], axis=0)
    mixed = np.mean([p.color * p.coverage[..., None] for p in pictures], axis=0)
    straight = mixed / np.maximum(coverage, 1e-6)[..., None]
    depth = pictures[len(pictures) // 2].depth
    for picture in pictures:
        depth = np.where(depth > 0, depth, picture.depth)
    return Picture(
        np.clip(np.rint(straight), 0, 255).astype(np.uint8),
        coverage.astype(np.float32),
        coverage.astype(np.float32),
        depth.astype(np.float32),
    )


def draw_thing(
    renderer: Rasterizer, kind: str, limit: int, rng: np.random.Generator
) -> _Drawn | None:
    """One of :data:`THINGS`, at the size at which its wires are some pixels wide, or less."""
    material = Material(color=_color(rng, 0.05, 0.9), gloss=float(rng.uniform(0, 0.6)))
    meshes, strands = _BUILDERS[kind](material, rng)
    meshes = [replace(mesh, foreground=True) for mesh in meshes]
    goal = int(rng.uniform(0.4, 0.8) * limit)
    distance = float(rng.uniform(0.7, 2.5))
    return cut_out(renderer, meshes, strands, rng, goal, distance, -1.0, "object")


def _poles(material: Material, rng: np.random.Generator) -> tuple[list[Mesh], list[Strands]]:
    meshes = []
    for _ in range(int(rng.integers(1, 4))):
        foot = np.array([rng.uniform(-0.3, 0.3), 0.0, rng.uniform(-0.2, 0.2)])
        lean = np.array([rng.uniform(-0.3, 0.3), rng.uniform(0.8, 1.8), rng.uniform(-0.2, 0.2)])
        meshes.append(rod(foot, foot + lean, float(rng.uniform(0.002, 0.012)), material))
        if rng.random() < 0.5:
            top, way = foot + lean, rng.uniform(-0.3, 0.3, 3)
            meshes.append(rod(top, top + way, float(rng.uniform(0.002, 0.02)), material))
    return meshes, []


def _cable(material: Material, rng: np.random.Generator) -> tuple[list[Mesh], list[Strands]]:
    meshes = []
    for _ in range(int(rng.integers(1, 4))):
        t = np.linspace(0, 1, 60)
        start, end = rng.uniform(-0.5, 0.5, 3), rng.uniform(-0.5, 0.5, 3)
        points = start + (end - start) * t[:, None]
        for harmonic in range(1, 4):
            wave = np.sin(np.pi * harmonic * t)[:, None]
            points = points + wave * rng.normal(0, 0.25 / harmonic, 3)
        points[:, 1] += 1.2
        meshes.append(tube(points, float(rng.uniform(0.0012, 0.005)), material))
    return meshes, []


def _wheel(material: Material, rng: np.random.Generator) -> tuple[list[Mesh], list[Strands]]:
    radius, spokes = float(rng.uniform(0.2, 0.35)), int(rng.integers(8, 33))
    turn = float(rng.uniform(-1.1, 1.1))
    axis = np.array([np.cos(turn), 0.0, np.sin(turn)])
    up = np.array([0.0, 1.0, 0.0])
    middle = np.array([0.0, radius + 0.02, 0.0])
    angle = np.linspace(0, 2 * np.pi, 61)[:, None]
    rim = middle + radius * (np.cos(angle) * axis + np.sin(angle) * up)
    meshes = [tube(rim, float(rng.uniform(0.006, 0.02)), material)]
    wire = float(rng.uniform(0.0008, 0.0025))
    shiny = Material(color=_color(rng, 0.4, 0.9), gloss=0.7)
    for a in np.linspace(0, 2 * np.pi, spokes, endpoint=False):
        outer = middle + radius * (np.cos(a) * axis + np.sin(a) * up)
        meshes.append(rod(middle, outer, wire, shiny))
    return meshes, []


def _rack(material: Material, rng: np.random.Generator) -> tuple[list[Mesh], list[Strands]]:
    width, height = float(rng.uniform(0.3, 0.8)), float(rng.uniform(0.3, 1.0))
    wire = float(rng.uniform(0.0008, 0.004))
    turn = float(rng.uniform(-0.8, 0.8))
    axis = np.array([np.cos(turn), 0.0, np.sin(turn)])
    meshes = []
    for x in np.linspace(-width / 2, width / 2, int(rng.integers(4, 20))):
        meshes.append(rod(x * axis, x * axis + np.array([0, height, 0]), wire, material))
    for y in np.linspace(0, height, int(rng.integers(2, 12))):
        level = np.array([0, y, 0])
        meshes.append(rod(level - width / 2 * axis, level + width / 2 * axis, wire, material))
    return meshes, []


def _fringe(material: Material, rng: np.random.Generator) -> tuple[list[Mesh], list[Strands]]:
    width, length = float(rng.uniform(0.3, 0.7)), float(rng.uniform(0.1, 0.4))
    count = int(rng.uniform(1500, 9000))
    bar = rod(np.array([-width / 2, 1.0, 0]), np.array([width / 2, 1.0, 0]), 0.012, material)
    x = np.repeat(np.sort(rng.uniform(-width / 2, width / 2, max(2, count // 40))), 40)
    start = np.stack([x, np.full_like(x, 1.0), rng.normal(0, 0.004, len(x))], -1)
    drop = np.linspace(0, 1, 7)[None, :, None]
    sway = rng.normal(0, 0.02, (len(x) // 40, 1, 3)).repeat(40, 0) + rng.normal(
        0, 0.006, (len(x), 1, 3)
    )
    sway[..., 1] = -length * rng.uniform(0.8, 1.1, (len(x), 1))
    points = start[:, None] + drop * sway + drop**2 * rng.normal(0, 0.01, (len(x), 1, 3))
    colors = np.array(material.color) * rng.uniform(0.7, 1.2, (len(x), 1))
    group = Strands(
        points.astype(np.float32),
        np.clip(colors, 0.02, 1).astype(np.float32),
        float(rng.uniform(0.0002, 0.0006)),
    )
    # The bar alone tells how large all of it is.
    weight = rod(np.array([0, 1.0 - length, 0]), np.array([0.001, 1.0 - length, 0]), 1e-4, material)
    return [bar, weight], [group]


_BUILDERS: dict[str, Callable[[Material, np.random.Generator], Any]] = {
    "poles": _poles,
    "cable": _cable,
    "wheel": _wheel,
    "rack": _rack,
    "fringe": _fringe,
}


def _color(rng: np.random.Generator, low: float, high: float) -> tuple[float, float, float]:
    grey = rng.uniform(low, high)
    tint: NDArray[np.float64] = np.clip(grey * rng.uniform(0.7, 1.3, 3), 0.02, 1)
    return float(tint[0]), float(tint[1]), float(tint[2])

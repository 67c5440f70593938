"""A library of cut-out people and things with soft alpha and relief, for making training data.

Each foreground is ``NAME.webp`` (RGBA, straight alpha, color bled out under alpha 0) and
``NAME.depth.png`` (8 bit, half the size: ``v`` means ``(v - 128) * 0.008`` metres behind the
foreground's reference distance, bled out as well). ``foregrounds.json`` lists them.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from dart_ros.values import Camera
from tools.datagen.furniture import Catalog, Piece
from tools.datagen.glb import Rig, read_person
from tools.datagen.hair import grow_hair
from tools.datagen.mesh import Mesh, Strands, bounds
from tools.datagen.pose import POSES, PosedPerson, apply_pose
from tools.datagen.rasterizer import (
    Light,
    Lighting,
    Picture,
    Rasterizer,
    Viewpoint,
)

DEPTH_STEP = 0.008
# Never in a foreground that is trained on: the demo and the evaluation show them.
HELD_OUT = (
    "AIAN_F_1_Busi",
    "Asian_M_2_Casual",
    "Black_F_2_Casual",
    "Hispanic_M_2_Busi",
    "MENA_F_1_Casual",
    "NHPI_M_1_Casual",
    "White_F_1_Casual",
    "White_M_2_Casual",
)
AVATAR_CREDIT = "People: VALID virtual avatar library, (c) 2022 Tiffany Do, MIT License."
FURNITURE_CREDIT = (
    "Objects: Sweet Home 3D furniture libraries (Scopia, Andrew Kator & Jennifer Legaz: "
    "CC-BY 3.0; Blend Swap contributors: CC-BY 3.0 and CC0), rendered and relit."
)
_OBJECTS = (
    "Chair", "Armchair", "Office chair", "Stool", "Box", "Cardboard box", "Open cardboard box",
    "Plant", "Ficus", "Indoor plant", "Little plant", "Yucca", "Spathiphyllum", "Bamboo",
    "Decorative plant", "Lamp", "Desk lamp", "Laptop", "Backpack", "Briefcase", "Handbag",
    "Suitcase", "Umbrella", "Teddy bear", "Basketball", "Soccer ball", "Book", "Coffee mug",
    "Vase", "Radio", "Electric guitar", "Folding chair", "Dustbin", "Table fan", "Shopping basket",
    "Broom", "Bottle", "Speaker", "Bike", "Step ladder", "Cactus", "Headphones", "Stroller",
)  # fmt: skip
_HELD = (
    "Box", "Cardboard box", "Open cardboard box", "Laptop", "Book", "Teddy bear", "Basketball",
    "Soccer ball", "Little plant", "Coffee mug", "Tablet", "Radio", "Briefcase", "Handbag",
)  # fmt: skip
_SEATS = ("Chair", "Stool", "Folding chair", "Class seat")


@dataclass(frozen=True)
class Foreground:
    """An entry of ``foregrounds.json``.

    Attributes:
        name: File name without its ending.
        kind: "person" or "object".
        identity: Avatar or furniture model.
        width: Pixels.
        height: Pixels.
        focal_px: Focal length of the rendering, pixels.
        distance_m: Depth that the relief counts from, metres.
        height_m: Height of what is in the foreground, metres.
        cut: Sides at which the crop goes through the body.
        soft: Its outlines are as soft as they are meant to be, at its full size.
    """

    name: str
    kind: str
    identity: str
    width: int
    height: int
    focal_px: float
    distance_m: float
    height_m: float
    cut: tuple[str, ...]
    soft: bool = False


Draw = Callable[[Camera, Viewpoint, Lighting], Picture]
"""Draws a picture in a way of its own."""


def bleed(values: NDArray[np.uint8], known: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Fill unknown pixels with smoothly spread colors of the known ones.

    Args:
        values: H×W or H×W×C uint8.
        known: H×W, True where ``values`` counts.

    Returns:
        A copy with every pixel filled; known pixels are unchanged.
    """
    if not known.any():
        return values.copy()
    filled = values.copy()
    spread = _pyramid_fill(values.astype(np.float32), known.astype(np.float32))
    filled[~known] = np.clip(np.rint(spread), 0, 255).astype(np.uint8)[~known]
    return filled


def _pyramid_fill(values: NDArray[np.float32], weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Push-pull: average down until all is known, then fill each level from the coarser one."""
    height, width = weight.shape
    shown = weight if values.ndim == 2 else weight[..., None]
    if weight.min() > 0 or max(height, width) <= 1:
        return values
    size = ((width + 1) // 2, (height + 1) // 2)
    coarse_weight = cv2.resize(weight, size, interpolation=cv2.INTER_AREA)
    sums = cv2.resize(values * shown, size, interpolation=cv2.INTER_AREA)
    divisor = coarse_weight if values.ndim == 2 else coarse_weight[..., None]
    coarse = np.asarray(sums / np.maximum(divisor, 1e-6), np.float32)
    known = np.asarray(coarse_weight > 1e-6, np.float32)
    below = _pyramid_fill(coarse, known)
    grown = cv2.resize(below, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(np.where(shown > 0, values, grown), np.float32)


def encode_depth(
    depth: NDArray[np.float32], reference: float, size: tuple[int, int]
) -> NDArray[np.uint8]:
    """Relief of a foreground as stored.

    Args:
        depth: H×W metres, 0 where nothing is.
        reference: The foreground's distance, metres.
        size: Width and height of the stored relief.

    Returns:
        uint8 relief, bled beyond the silhouette.
    """
    offset = np.clip(np.rint((depth - reference) / DEPTH_STEP) + 128, 0, 255).astype(np.uint8)
    filled = bleed(offset, depth > 0)
    # Every second pixel, not a mean: a mean over a depth step is a place where nothing is.
    rows = np.minimum(np.arange(size[1]) * 2, depth.shape[0] - 1)
    columns = np.minimum(np.arange(size[0]) * 2, depth.shape[1] - 1)
    return np.ascontiguousarray(filled[rows][:, columns])


def random_lighting(rng: np.random.Generator, height: float, distance: float) -> Lighting:
    """One to two lamps of random color and place around someone at the origin facing +z."""

    def tint(kelvin: float) -> NDArray[np.float64]:
        warm = np.clip((6500 - kelvin) / 4000, -0.4, 1)
        return np.array([1 + 0.18 * warm, 1.0, 1 - 0.42 * warm])

    ambient = rng.uniform(0.15, 0.75) * tint(rng.uniform(3200, 7500))
    bounce = rng.uniform(0.35, 0.9) * ambient * rng.uniform(0.85, 1.1, 3)
    lamps = []
    for k in range(int(rng.integers(1, 3))):
        around, up = rng.uniform(-1.9, 1.9), rng.uniform(0.2, 1.25)
        away = rng.uniform(2.0, 4.0) + 0.2 * distance
        place = (
            away * np.sin(around) * np.cos(up),
            0.55 * height + away * np.sin(up),
            away * np.cos(around) * np.cos(up),
        )
        power = rng.uniform(0.25, 1.1) * (1.0 if k == 0 else 0.5)
        red, green, blue = power * tint(rng.uniform(2800, 7000))
        lamps.append(
            Light(
                place,
                (0.0, 0.5 * height, 0.0),
                (float(red), float(green), float(blue)),
                size=float(rng.uniform(0.1, 0.8)),
                angle=float(np.rad2deg(2 * np.arctan(0.75 * max(height, 0.6) / away)) + 8),
            )
        )
    return Lighting(
        sky=(float(ambient[0]), float(ambient[1]), float(ambient[2])),
        ground=(float(bounce[0]), float(bounce[1]), float(bounce[2])),
        lights=tuple(lamps),
        occlusion=float(rng.uniform(0.3, 0.7)),
    )


def exposed(
    renderer: Rasterizer,
    view: Viewpoint,
    camera: Camera,
    meshes: Sequence[Mesh],
    lighting: Lighting,
    goal: float,
) -> Lighting:
    """The same lighting at the exposure that makes the picture's mean grey value ``goal``.

    Bright parts are held below white, so dark clothes don't burn out a face.
    """
    small = Camera(
        camera.width // 8, camera.height // 8, camera.fx / 8, camera.fy / 8,
        camera.cx / 8, camera.cy / 8,
    )  # fmt: skip
    found = lighting
    for _ in range(2):
        picture = renderer.draw(small, view, meshes, replace(found, occlusion=0.0))
        covered = picture.coverage > 0.5
        if not covered.any():
            return lighting
        gray = picture.color[covered].mean(-1) / 255
        gain = min(goal / max(float(gray.mean()), 0.02), 0.85 / float(np.quantile(gray, 0.96)))
        factor = gain**2.2
        found = replace(found, exposure=found.exposure * float(np.clip(factor, 0.1, 8)))
    return found


def _loose_hair(person: PosedPerson, rng: np.random.Generator, female: bool) -> list[Strands]:
    """Usually a few loose hairs, sometimes many; longer on most women of the library."""
    if rng.random() < 0.15:
        return []
    long = female and rng.random() < 0.7
    length = rng.uniform(0.05, 0.13) if long else rng.uniform(0.008, 0.03)
    strands = grow_hair(
        person,
        rng,
        count=int(rng.uniform(500, 4000)),
        length=float(length),
        curl=float(rng.uniform(0.05, 0.8)),
        width=float(rng.uniform(0.0003, 0.0009)),
    )
    return [] if strands is None else [strands]


def _place_on(meshes: list[Mesh], height: float) -> list[Mesh]:
    """Pieces that belong to the foreground, ``height`` metres above the floor."""
    return [replace(m.moved((0.0, height, 0.0)), foreground=True) for m in meshes]


def held_object(
    catalog: Catalog, person: PosedPerson, yaw: float, rng: np.random.Generator
) -> list[Mesh]:
    """Something between the hands of somebody who holds them before the body."""
    pieces = [p for p in catalog.find(*_HELD) if max(p.size) < 0.6 and max(p.size) > 0.1]
    piece = pieces[int(rng.integers(len(pieces)))]
    middle = 0.5 * (person.joints["LeftHand"] + person.joints["RightHand"])
    forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    middle = middle + forward * (0.06 + 0.5 * min(piece.size[2], 0.3))
    offset = middle - np.array([0.0, 0.5 * piece.size[1], 0.0])
    turned = yaw + (np.pi if rng.random() < 0.5 else 0.0)
    return [replace(m.moved(offset, turned), foreground=True) for m in catalog.load(piece)]


def _seat(
    catalog: Catalog, person: PosedPerson, yaw: float, rng: np.random.Generator
) -> list[Mesh]:
    pieces = [p for p in catalog.find(*_SEATS) if 0.35 < p.size[0] < 0.7 and p.size[1] < 1.2]
    piece = pieces[int(rng.integers(len(pieces)))]
    hips = person.joints["Hips"]
    forward = np.array([np.sin(yaw), 0.0, np.cos(yaw)])
    offset = hips * np.array([1.0, 0.0, 1.0]) + forward * 0.06
    return [replace(m.moved(offset, yaw), foreground=True) for m in catalog.load(piece)]


def cut_out(
    renderer: Rasterizer,
    meshes: Sequence[Mesh],
    strands: Sequence[Strands],
    rng: np.random.Generator,
    goal_height: int,
    distance: float,
    floor_cut: float,
    kind: str,
    draw: Draw | None = None,
) -> tuple[Picture, dict[str, object]] | None:
    """Draw something at the origin and crop the picture to it.

    Args:
        goal_height: Wished height of the foreground, pixels.
        distance: From the camera, metres.
        floor_cut: What is lower than this (metres) is cropped away.
        kind: Decides how high the camera stands.
        draw: Draws the picture; None for the renderer, once.

    Returns:
        The cropped picture and its numbers, or None when nothing is seen.
    """
    low, high = bounds(list(meshes))
    middle_x = float(low[0] + high[0]) / 2
    middle_z = float(low[2] + high[2]) / 2
    bottom = max(float(low[1]), floor_cut)
    top = float(high[1])
    span = max(top - bottom, 0.05)
    reach = float(max(high[0] - low[0], 0.2))
    focal = goal_height * distance / span
    margin = 1.25
    width = int(min(max(reach, span * 0.3) / distance * focal * margin + 24, 1100))
    height = int(goal_height * margin + 24)
    eye = rng.uniform(0.9, 1.75) if kind == "person" else rng.uniform(0.5, 1.7) * max(span, 0.6)
    aim = (bottom + top) / 2
    # Keep the line of sight within 20 degrees: a steeper one would distort the height.
    eye = float(np.clip(eye, aim - 0.36 * distance, aim + 0.36 * distance))
    view = Viewpoint(
        (middle_x, eye, middle_z + distance), (middle_x, aim, middle_z), float(rng.normal(0, 0.02))
    )
    camera = Camera(width, height, focal, focal, (width - 1) / 2, (height - 1) / 2)
    lighting = random_lighting(rng, top, distance)
    lighting = exposed(renderer, view, camera, meshes, lighting, rng.uniform(0.25, 0.55))
    if draw is None:
        picture = renderer.draw(camera, view, meshes, lighting, strands)
    else:
        picture = draw(camera, view, lighting)
    seen = picture.coverage > 0.02
    cut: list[str] = []
    if floor_cut > low[1]:
        # The crop's lower edge is where the cut height projects to at the middle.
        drop = (aim - bottom) * focal / distance
        last = int(height / 2 + drop)
        if last < height and seen[last:].any():
            seen[last:] = False
            cut.append("bottom")
    if not seen.any():
        return None
    rows, columns = np.where(seen.any(1))[0], np.where(seen.any(0))[0]
    box = (rows[0], rows[-1] + 1, columns[0], columns[-1] + 1)
    sides = {"top": rows[0] == 0, "left": columns[0] == 0, "right": columns[-1] == width - 1}
    cut += [side for side, touched in sides.items() if touched]
    window = np.s_[box[0] : box[1], box[2] : box[3]]
    crop = Picture(
        picture.color[window],
        picture.coverage[window],
        picture.foreground[window],
        picture.depth[window],
    )
    solid = crop.depth[(crop.coverage > 0.5) & (crop.depth > 0)]
    if len(solid) < 200:
        return None
    reference = float(np.median(solid))
    numbers: dict[str, object] = {
        "focal_px": round(focal, 2),
        "distance_m": round(reference, 3),
        "height_m": round(crop.color.shape[0] * reference / focal, 3),
        "cut": tuple(cut),
    }
    return crop, numbers


def save_foreground(folder: Path, foreground: Foreground, picture: Picture, quality: int) -> None:
    """Write the two files of a foreground.

    Raises:
        FitError: The folder can't be written.
    """
    known = picture.coverage > 1 / 255
    color = bleed(picture.color, known)
    alpha = np.rint(picture.coverage * 255).astype(np.uint8)
    bgra = np.dstack([color[..., ::-1], alpha])
    depth = np.where(picture.coverage > 0.25, picture.depth, 0).astype(np.float32)
    size = ((foreground.width + 1) // 2, (foreground.height + 1) // 2)
    relief = encode_depth(depth, foreground.distance_m, size)
    _write_webp(folder / f"{foreground.name}.webp", bgra, quality)
    if not cv2.imwrite(
        str(folder / f"{foreground.name}.depth.png"), relief, [cv2.IMWRITE_PNG_COMPRESSION, 9]
    ):
        raise FitError(f"{folder} can't be written: check the space and the rights.")


def _write_webp(path: Path, bgra: NDArray[np.uint8], quality: int) -> None:
    """WebP with ``exact``: the colors under alpha 0 are kept, which OpenCV's writer drops."""
    try:
        from PIL import Image
    except ImportError as error:
        raise FitError("Writing foregrounds needs Pillow: pip install pillow") from error
    rgba = np.ascontiguousarray(bgra[..., [2, 1, 0, 3]])
    image = Image.fromarray(rgba, "RGBA")
    image.save(path, "WEBP", quality=quality, method=4, exact=True, alpha_quality=95)


def _framing(rng: np.random.Generator, tall: float) -> tuple[str, float, float]:
    """Kind of framing, where it cuts (metres above the floor) and the distance (metres)."""
    choice = str(rng.choice(["full", "knees", "bust"], p=[0.5, 0.2, 0.3]))
    if choice == "full":
        return choice, -1.0, float(rng.uniform(2.0, 4.5))
    if choice == "knees":
        return choice, tall * float(rng.uniform(0.3, 0.42)), float(rng.uniform(1.4, 2.8))
    return choice, tall * float(rng.uniform(0.5, 0.68)), float(rng.uniform(0.7, 1.5))


def _draw_person(
    renderer: Rasterizer,
    rig: Rig,
    catalog: Catalog,
    female: bool,
    pose_name: str,
    limit: int,
    rng: np.random.Generator,
) -> tuple[Picture, dict[str, object]] | None:
    yaw = float(rng.normal(0, 0.5) if rng.random() < 0.7 else rng.uniform(-np.pi, np.pi))
    person = apply_pose(rig, POSES[pose_name](rng), yaw)
    meshes = list(person.meshes)
    if pose_name == "hold":
        meshes += held_object(catalog, person, yaw, rng)
    if pose_name == "sit" and rng.random() < 0.5:
        meshes += _seat(catalog, person, yaw, rng)
    _, high = bounds(list(person.meshes))
    _, floor_cut, distance = _framing(rng, float(person.joints["Head"][1]) + 0.2)
    # Close-ups must keep a raised hand inside a picture of sensible width.
    goal = int(rng.uniform(0.45, 0.97) * limit)
    distance = max(distance, 0.55 + float(high[2]))
    return cut_out(
        renderer, meshes, _loose_hair(person, rng, female), rng, goal, distance, floor_cut, "person"
    )


def make_foregrounds(
    avatars: Sequence[Path],
    catalog: Catalog,
    output: Path,
    people: int,
    objects: int,
    limit: int = 640,
    quality: int = 85,
    seed: int = 0,
    progress: bool = True,
) -> list[Foreground]:
    """Render a foreground library.

    Args:
        avatars: GLB files; the held-out identities are left out.
        catalog: Furniture for objects, seats and things to hold.
        output: Folder, made if missing.
        people: Number of people foregrounds, spread evenly over the identities.
        objects: Number of object foregrounds.
        limit: Largest height of a foreground, pixels.
        quality: WebP quality of the colors, 0 to 100.
        seed: Same seed, same foregrounds.
        progress: Show a progress bar.

    Returns:
        The entries written to ``foregrounds.json``.

    Raises:
        FitError: No usable avatars, or the folder can't be written.
    """
    chosen = [path for path in sorted(avatars) if path.stem not in HELD_OUT]
    if not chosen:
        raise FitError(
            "There are no .glb people to make foregrounds of: check the avatars' folder."
        )
    output.mkdir(parents=True, exist_ok=True)
    foregrounds: list[Foreground] = []

    def keep(name: str, kind: str, identity: str, drawn: tuple[Picture, dict[str, object]]) -> None:
        picture, numbers = drawn
        height, width = picture.coverage.shape
        entry = Foreground(name, kind, identity, width, height, **numbers)  # type: ignore[arg-type]
        save_foreground(output, entry, picture, quality)
        foregrounds.append(entry)

    with Rasterizer(samples=3) as renderer:
        for identity, number in _shares(chosen, people, progress):
            rig = read_person(identity)
            female = "_F_" in identity.stem
            rng = np.random.default_rng([seed, zlib.crc32(identity.stem.encode())])
            names = rng.permutation(list(POSES))
            made = 0
            for attempt in range(3 * number):
                if made == number:
                    break
                pose_name = str(names[attempt % len(names)])
                drawn = _draw_person(renderer, rig, catalog, female, pose_name, limit, rng)
                if drawn is not None and len(drawn[0].coverage) <= limit:
                    name = f"{identity.stem}_{made:02d}_{pose_name}"
                    keep(name, "person", identity.stem, drawn)
                    made += 1
            renderer.forget_textures()
        for index, piece in enumerate(_pick_objects(catalog, objects, seed)):
            rng = np.random.default_rng([seed, 7, index])
            yaw = float(rng.uniform(-0.9, 0.9))
            meshes = [m.moved(yaw=yaw) for m in catalog.load(piece)]
            meshes = _place_on(meshes, 0.0)
            tall = max(piece.size)
            goal = int(
                np.clip(rng.uniform(0.4, 0.9) * limit * tall / 1.2, 0.12 * limit, 0.85 * limit)
            )
            distance = float(rng.uniform(1.2, 3.0) + 0.5 * tall)
            drawn = cut_out(renderer, meshes, [], rng, goal, distance, -1.0, "object")
            if drawn is not None and len(drawn[0].coverage) <= limit:
                keep(f"object_{index:02d}_{piece.key.split('/')[1]}", "object", piece.key, drawn)
            renderer.forget_textures()
    document = {
        "depth_step_m": DEPTH_STEP,
        "foregrounds": [asdict(foreground) for foreground in foregrounds],
        "credits": [AVATAR_CREDIT, FURNITURE_CREDIT, *_object_credits(catalog, foregrounds)],
    }
    (output / "foregrounds.json").write_text(json.dumps(document, indent=1) + "\n")
    return foregrounds


def _shares(paths: Sequence[Path], people: int, progress: bool) -> Iterable[tuple[Path, int]]:
    from tqdm import tqdm

    numbers = [people // len(paths) + (k < people % len(paths)) for k in range(len(paths))]
    pairs = [(p, n) for p, n in zip(paths, numbers, strict=True) if n]
    return tqdm(pairs, desc="people", unit="person", disable=not progress)


def _pick_objects(catalog: Catalog, count: int, seed: int) -> list[Piece]:
    rng = np.random.default_rng([seed, 5])
    pieces = [p for p in catalog.find(*_OBJECTS) if 0.08 < max(p.size) < 2.0]
    order = rng.permutation(len(pieces))
    # At most two of a name, or chairs would fill the library.
    taken: dict[str, int] = {}
    chosen: list[Piece] = []
    for k in order:
        name = pieces[k].name
        if taken.get(name, 0) < 2 and len(chosen) < count:
            taken[name] = taken.get(name, 0) + 1
            chosen.append(pieces[k])
    return chosen


def _object_credits(catalog: Catalog, foregrounds: Sequence[Foreground]) -> list[str]:
    used = {foreground.identity for foreground in foregrounds if foreground.kind == "object"}
    pieces = {p.key: p for p in catalog.pieces if p.key in used}
    return [f"{p.name} ({key}) by {p.creator}, {p.license}." for key, p in sorted(pieces.items())]

"""Furnished rooms: backgrounds with clean depth for training, and the set of the demo."""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from dart_ros.values import Camera
from tools.datagen import textures
from tools.datagen.foregrounds import exposed
from tools.datagen.furniture import Catalog, Piece
from tools.datagen.mesh import Material, Mesh, box, quad
from tools.datagen.rasterizer import Light, Lighting, Picture, Rasterizer, Viewpoint

KINDS = ("living", "office", "booth", "corridor", "bedroom")
_BESIDE_WALL = {
    "living": (
        "Sofa", "Couch", "Bookcase", "Full bookcase", "Shelves", "Vertical shelves", "TV stand",
        "Television cabinet", "Armchair", "Plant", "Ficus", "Upright piano", "Dresser with drawers",
        "Indoor plant", "Yucca", "Fireplace", "Sofa 2 seats", "Sofa 3 seats", "Burlap sofa",
        "Clear sofa", "Futon couch", "Radiator", "Lamp", "Bamboo", "Aquarium", "Cupboard",
    ),
    "office": (
        "Desk", "Filing cabinet", "Bookcase", "Full bookcase", "Water cooler", "Plant", "Ficus",
        "Technical table", "Safe", "Wooden desk", "Desk table", "Shelves", "Dustbin", "Radiator",
        "Recycling bin", "Spathiphyllum", "Chair", "Wooden table", "Vertical shelves",
    ),
    "booth": ("Plant", "Stool", "Speaker", "Radiator", "Chair", "Lamp", "Ficus"),
    "corridor": ("Plant", "Radiator", "Bench", "Dustbin", "Cupboard", "Locked locker", "Yucca"),
    "bedroom": (
        "Bed", "Wardrobe", "Bedside table", "Chest", "Dresser with drawers", "Dressing table",
        "Iron bed", "Chair", "Teddy bear", "Armchair", "Lamp", "Cupboard", "Plant", "Clothes rack",
    ),
}  # fmt: skip
_FREE = {
    "living": ("Coffee table", "Round table", "Armchair", "Puff", "Chair", "Modern armchair"),
    "office": ("Chair", "Table", "Wooden table", "Dustbin", "Armchair"),
    "booth": ("Chair", "Stool"),
    "corridor": (),
    "bedroom": ("Puff", "Chair", "Rocking horse"),
}
_ON_TOP = (
    "Laptop", "Book", "Vase", "Desk lamp", "Little lamp", "Little plant", "Cactus", "Coffee mug",
    "Radio", "Apple iMac 2004", "TV", "TV 16:9", "Phone", "Penbox", "Letter tray", "Orchids",
    "Mini stereo", "Speaker", "Succulent plant", "Tulips", "Bonsai tree", "Apple iBook", "Clock",
    "Inkjet printer and scanner", "Chessboard", "Glass", "Wine bottle", "Camera", "Screen",
)  # fmt: skip
_ON_WALL = (
    "Wall flat TV", "Clock", "Cuckoo clock", "Frame Chambord", "Frame Hôi An", "White board",
    "Wall light", "Air conditioning - Internal unit", "Square double switch", "Thermometer",
    "Wall hanger", "Emergency sign", "Extinguisher", "Calendar", "Dart game",
)  # fmt: skip


@dataclass
class Room:
    """A furnished room; x from 0 to ``width``, z from 0 (back wall) to ``depth``, y up, metres."""

    kind: str
    width: float
    height: float
    depth: float
    meshes: list[Mesh] = field(default_factory=list)
    lighting: Lighting = field(default_factory=Lighting)
    taken: list[tuple[float, float, float, float]] = field(default_factory=list)
    pieces: list[Piece] = field(default_factory=list)

    def is_free(self, low: tuple[float, float], high: tuple[float, float]) -> bool:
        """True when the floor between two corners (x, z) is inside the room and empty."""
        inside = low[0] >= 0 and low[1] >= 0 and high[0] <= self.width and high[1] <= self.depth
        return inside and not any(
            low[0] < x1 and high[0] > x0 and low[1] < z1 and high[1] > z0
            for x0, z0, x1, z1 in self.taken
        )


def for_demo(piece: Piece) -> bool:
    """True for the sixth of the furniture that no training room shows."""
    return zlib.crc32(piece.key.encode()) % 6 == 0


def _choose(
    catalog: Catalog, names: tuple[str, ...], rng: np.random.Generator, demo: bool
) -> Piece | None:
    """A random piece; first a name, so that a name with many models doesn't win."""
    for name in rng.permutation(np.array(names, dtype=object)):
        found = [p for p in catalog.find(str(name)) if for_demo(p) == demo]
        if found:
            return found[int(rng.integers(len(found)))]
    return None


def _add(
    room: Room, meshes: list[Mesh], piece: Piece, place: NDArray[np.float64], yaw: float
) -> None:
    room.meshes += [m.moved(place, yaw) for m in meshes]
    room.pieces.append(piece)


def _footprint(piece: Piece, x: float, z: float, yaw: float) -> tuple[tuple[float, float], ...]:
    """Two corners of the floor under a piece turned by a multiple of a right angle."""
    wide, _, deep = piece.size
    if abs(np.sin(yaw)) > 0.7:
        wide, deep = deep, wide
    return (x - wide / 2, z - deep / 2), (x + wide / 2, z + deep / 2)


def _along_wall(
    room: Room, piece: Piece, rng: np.random.Generator
) -> tuple[float, float, float] | None:
    """A free place with the back to a wall: x, z and yaw."""
    wide, _, deep = piece.size
    for _ in range(12):
        wall = str(rng.choice(["back", "left", "right"], p=[0.5, 0.25, 0.25]))
        gap = 0.02 + 0.5 * deep
        if wall == "back":
            if wide + 0.1 > room.width:
                continue
            x, z, yaw = rng.uniform(wide / 2, room.width - wide / 2), gap, 0.0
        else:
            if wide + 0.1 > room.depth:
                continue
            z = rng.uniform(wide / 2, room.depth - wide / 2)
            x, yaw = (gap, np.pi / 2) if wall == "left" else (room.width - gap, -np.pi / 2)
        low, high = _footprint(piece, x, z, yaw)
        if room.is_free(low, high):
            room.taken.append((low[0], low[1], high[0], high[1]))
            return float(x), float(z), float(yaw)
    return None


def _decorate_top(
    room: Room, catalog: Catalog, piece: Piece, place: tuple[float, float, float],
    rng: np.random.Generator, demo: bool,
) -> None:  # fmt: skip
    """Small things on a table or cabinet."""
    x, z, yaw = place
    if not 0.35 < piece.top < 1.3 or piece.size[0] < 0.4 or min(piece.size[0], piece.size[2]) < 0.3:
        return
    used: list[float] = []
    for _ in range(int(rng.integers(0, 4))):
        small = _choose(catalog, _ON_TOP, rng, demo)
        if small is None or small.size[0] > 0.7 * piece.size[0] or small.size[2] > piece.size[2]:
            continue
        slack = (piece.size[0] - small.size[0]) / 2
        along = float(rng.uniform(-slack, slack))
        if any(abs(along - other) < 0.3 for other in used):
            continue
        used.append(along)
        offset = np.array([x + along * np.cos(yaw), piece.top, z - along * np.sin(yaw)])
        _add(room, catalog.load(small), small, offset, yaw + float(rng.normal(0, 0.2)))


def _wall_point(
    room: Room, wall: str, along: float, height: float, out: float
) -> NDArray[np.float64]:
    if wall == "back":
        return np.array([along, height, out])
    if wall == "left":
        return np.array([out, height, along])
    return np.array([room.width - out, height, along])


_WALL_YAW = {"back": 0.0, "left": np.pi / 2, "right": -np.pi / 2}


def _hang(room: Room, catalog: Catalog, rng: np.random.Generator, demo: bool, count: int) -> None:
    """Pictures, a window, a door and small things on the walls."""
    used: dict[str, list[tuple[float, float]]] = {"back": [], "left": [], "right": []}

    def spot(size: float, walls: tuple[str, ...]) -> tuple[str, float] | None:
        for _ in range(10):
            wall = str(rng.choice(list(walls)))
            long = room.width if wall == "back" else room.depth
            if size + 0.1 > long:
                continue
            along = float(rng.uniform(size / 2 + 0.05, long - size / 2 - 0.05))
            if all(abs(along - a) > (size + s) / 2 + 0.05 for a, s in used[wall]):
                used[wall].append((along, size))
                return wall, along
        return None

    openings = [p for p in catalog.pieces if p.opening and for_demo(p) == demo and p.size[0] < 2.0]
    openings = [p for p in openings if "levator" not in p.name and "arage" not in p.name]
    if not openings:
        openings = [p for p in catalog.find("Door", "Turn window") if p.opening]
    for _ in range(2 if room.kind != "booth" else int(rng.integers(0, 2))):
        piece = openings[int(rng.integers(len(openings)))]
        found = spot(piece.size[0], ("left", "right", "back"))
        if found is None or piece.elevation + piece.size[1] > room.height:
            continue
        wall, along = found
        # Frames reach into the wall: what stands out of it is at most 13 cm deep.
        out = piece.size[2] / 2 - max(0.06, piece.size[2] - 0.13)
        base = _wall_point(room, wall, along, piece.elevation, out)
        shown = [m for m in catalog.load(piece) if m.material.opacity > 0.6]
        if not shown:
            continue
        _add(room, shown, piece, base, _WALL_YAW[wall])
        if "window" in piece.name.lower() or "glass" in piece.name.lower():
            pane = Material(texture=textures.outside(rng), glow=float(rng.uniform(0.8, 2.2)))
            wide, high = 0.94 * piece.size[0], 0.94 * piece.size[1]
            sheet = quad((-wide / 2, 0.0, 0.0), (wide, 0, 0), (0, high, 0), pane, (1, 1), False)
            low = _wall_point(room, wall, along, piece.elevation + 0.03 * high, 0.008)
            room.meshes.append(sheet.moved(low, _WALL_YAW[wall]))
    for _ in range(count):
        if rng.random() < 0.65:
            high = float(rng.uniform(0.25, 0.9))
            art = textures.artwork(rng)
            wide = high * art.shape[1] / art.shape[0]
            found = spot(wide, ("back", "back", "left", "right"))
            if found is None:
                continue
            wall, along = found
            center = _wall_point(room, wall, along, float(rng.uniform(1.3, 1.75)), 0.0)
            frame = Material(color=_triple(textures.muted(rng, 0.05, 0.95, 0.5)), gloss=0.15)
            border = float(rng.uniform(0.0, 0.05))
            parts = box((0, 0, 0.012), (wide + 2 * border, high + 2 * border, 0.024), frame)
            paper = Material(texture=art, gloss=float(rng.choice([0.0, 0.2])))
            parts.append(quad((-wide / 2, -high / 2, 0.026), (wide, 0, 0), (0, high, 0), paper))
            room.meshes += [m.moved(center, _WALL_YAW[wall]) for m in parts]
        else:
            thing = _choose(catalog, _ON_WALL, rng, demo)
            if thing is None:
                continue
            found = spot(thing.size[0], ("back", "back", "left", "right"))
            if found is None:
                continue
            wall, along = found
            height = thing.elevation if thing.elevation > 0.3 else float(rng.uniform(1.1, 1.6))
            base = _wall_point(room, wall, along, height, thing.size[2] / 2)
            _add(room, catalog.load(thing), thing, base, _WALL_YAW[wall])
    if rng.random() < 0.3:
        found = spot(0.9, ("back", "left", "right"))
        if found is not None:
            room.meshes.append(_curtain(room, *found, rng))


def _curtain(room: Room, wall: str, along: float, rng: np.random.Generator) -> Mesh:
    """A hanging cloth with folds."""
    wide, high = float(rng.uniform(0.5, 1.1)), float(rng.uniform(1.8, min(2.4, room.height - 0.05)))
    s = np.linspace(-wide / 2, wide / 2, 80)
    folds = 2 * np.pi / rng.uniform(0.09, 0.2)
    out = 0.06 + 0.025 * np.sin(folds * s + 0.7 * np.sin(5 * s))
    slope = np.gradient(out, s)
    positions = np.concatenate([np.stack([s, np.full_like(s, y), out], 1) for y in (0.0, high)])
    normals = np.stack([-slope, np.zeros_like(s), np.ones_like(s)], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    k = np.arange(len(s) - 1)
    n = len(s)
    triangles = np.concatenate(
        [np.stack([k, k + 1, n + k + 1], 1), np.stack([k, n + k + 1, n + k], 1)]
    )
    cloth = Mesh(
        positions=positions.astype(np.float32),
        normals=np.concatenate([normals, normals]).astype(np.float32),
        uvs=np.zeros((2 * n, 2), np.float32),
        triangles=triangles.astype(np.int32),
        material=Material(color=_triple(textures.muted(rng, 0.3, 0.95, 0.6)), gloss=0.0),
    )
    base = _wall_point(room, wall, along, room.height - high - 0.04, 0.0)
    return cloth.moved(base, _WALL_YAW[wall])


def _triple(color: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(color[0]), float(color[1]), float(color[2])


def _wall_texture(rng: np.random.Generator, plain: bool) -> NDArray[np.uint8]:
    color = textures.muted(rng, 0.45, 0.97, 0.35)
    choice = rng.random()
    if plain or choice < 0.55:
        return textures.paint(rng, color)
    if choice < 0.8:
        return textures.wallpaper(rng, color)
    if choice < 0.88:
        return textures.bricks(rng)
    if choice < 0.94:
        return textures.planks(rng, textures.muted(rng, 0.4, 0.85, 0.5))
    return textures.concrete(rng)


def _floor_texture(rng: np.random.Generator) -> NDArray[np.uint8]:
    wood = np.array([0.62, 0.43, 0.27]) * rng.uniform(0.45, 1.35)
    choice = rng.random()
    if choice < 0.45:
        return textures.planks(rng, np.clip(wood, 0, 0.95))
    if choice < 0.65:
        return textures.tiles(rng, textures.muted(rng, 0.35, 0.9, 0.25))
    if choice < 0.9:
        return textures.carpet(rng, textures.muted(rng, 0.2, 0.7, 0.4))
    return textures.concrete(rng)


def _shell(room: Room, rng: np.random.Generator, color: tuple[float, float, float] | None) -> None:
    """Walls, floor, ceiling and skirting boards."""
    w, h, d = room.width, room.height, room.depth
    wall = _wall_texture(rng, room.kind == "booth")
    if color is not None:
        wall = textures.paint(rng, np.array(color))
    main = Material(texture=wall, gloss=0.01)
    side = main if rng.random() < 0.6 else Material(texture=_wall_texture(rng, True), gloss=0.01)
    floor = Material(texture=_floor_texture(rng), gloss=float(rng.choice([0.0, 0.05, 0.25])))
    top = Material(texture=textures.paint(rng, textures.muted(rng, 0.85, 0.97, 0.05)))
    tile = float(rng.uniform(1.2, 2.4))
    room.meshes += [
        quad((0, 0, 0), (w, 0, 0), (0, h, 0), main, (w / tile, h / tile), False),
        quad((0, 0, d), (0, 0, -d), (0, h, 0), side, (d / tile, h / tile), False),
        quad((w, 0, 0), (0, 0, d), (0, h, 0), side, (d / tile, h / tile), False),
        quad((w, 0, d), (-w, 0, 0), (0, h, 0), side, (w / tile, h / tile), False),
        quad((0, 0, d), (w, 0, 0), (0, 0, -d), floor, (w / 1.6, d / 1.6), False),
        quad((0, h, 0), (w, 0, 0), (0, 0, d), top, (w / 2, d / 2), False),
    ]
    if rng.random() < 0.75:
        board = Material(color=_triple(textures.muted(rng, 0.25, 0.95, 0.3)), gloss=0.1)
        high = float(rng.uniform(0.05, 0.13))
        for center, size in (
            ((w / 2, high / 2, 0.008), (w, high, 0.016)),
            ((0.008, high / 2, d / 2), (0.016, high, d)),
            ((w - 0.008, high / 2, d / 2), (0.016, high, d)),
        ):
            room.meshes += box(center, size, board)


def _room_lighting(room: Room, rng: np.random.Generator) -> Lighting:
    """A ceiling lamp, often daylight from a side, sometimes a strong lamp."""

    def tint(kelvin: float, power: float) -> tuple[float, float, float]:
        warm = float(np.clip((6500 - kelvin) / 4000, -0.4, 1))
        return power * (1 + 0.18 * warm), power, power * (1 - 0.42 * warm)

    w, h, d = room.width, room.height, room.depth
    lights = [
        Light(
            (float(rng.uniform(0.25, 0.75) * w), h - 0.12, float(rng.uniform(0.3, 0.8) * d)),
            (w / 2, 0.0, 0.4 * d),
            tint(rng.uniform(2700, 5500), float(rng.uniform(0.25, 0.9))),
            size=float(rng.uniform(0.08, 0.7)),
            angle=140.0,
        )
    ]
    if rng.random() < 0.7:
        side = -1.3 if rng.random() < 0.5 else w + 1.3
        lights.append(
            Light(
                (side, float(rng.uniform(1.5, 2.6)), float(rng.uniform(0.3, 0.9) * d)),
                (w / 2, 0.5, 0.3 * d),
                tint(rng.uniform(5000, 8500), float(rng.uniform(0.3, 1.0))),
                size=float(rng.uniform(0.5, 1.4)),
                angle=100.0,
            )
        )
    ambient = tint(rng.uniform(3500, 6500), float(rng.uniform(0.25, 0.6)))
    bounce = float(rng.uniform(0.7, 1.05))
    return Lighting(
        sky=ambient,
        ground=(ambient[0] * bounce, ambient[1] * bounce * 0.96, ambient[2] * bounce * 0.9),
        lights=tuple(lights),
        occlusion=float(rng.uniform(0.5, 0.9)),
    )


def furnish(
    catalog: Catalog,
    kind: str,
    rng: np.random.Generator,
    demo: bool = False,
    size: tuple[float, float, float] | None = None,
    clear: tuple[float, float, float, float] | None = None,
    wall: tuple[float, float, float] | None = None,
) -> Room:
    """Build a random room.

    Args:
        catalog: Where the furniture comes from.
        kind: One of ``KINDS``.
        rng: Same state, same room.
        demo: Take only furniture that training rooms never show, or only the rest.
        size: Width, height and depth in metres; random if None.
        clear: x0, z0, x1, z1 of floor to leave empty; a strip before the camera if None.
        wall: RGB of a painted back wall in [0, 1]; a random wall if None.

    Returns:
        The room with its light.
    """
    spans = {
        "living": ((3.4, 5.5), (2.8, 5.0)),
        "office": ((3.0, 6.0), (2.5, 5.0)),
        "booth": ((2.2, 3.6), (1.9, 3.4)),
        "corridor": ((1.5, 2.4), (4.0, 6.0)),
        "bedroom": ((3.0, 4.5), (2.8, 4.5)),
    }
    wide, deep = spans[kind]
    if size is None:
        size = (rng.uniform(*wide), rng.uniform(2.35, 3.0), rng.uniform(*deep))
    room = Room(kind, *size)
    _shell(room, rng, wall)
    mid, near = room.width / 2, room.depth
    # The camera and the people before it need some floor.
    room.taken.append(clear or (mid - 0.55, 0.45 * near, mid + 0.55, near))
    wished = {"living": 11, "office": 11, "booth": 2, "corridor": 4, "bedroom": 8}[kind]
    for _ in range(int(rng.integers(wished // 2, wished + 3))):
        piece = _choose(catalog, _BESIDE_WALL[kind], rng, demo)
        if piece is None or piece.size[1] > room.height:
            continue
        place = _along_wall(room, piece, rng)
        if place is None:
            continue
        x, z, yaw = place
        _add(room, catalog.load(piece), piece, np.array([x, 0.0, z]), yaw)
        _decorate_top(room, catalog, piece, place, rng, demo)
    for _ in range(int(rng.integers(0, 4)) if _FREE[kind] else 0):
        piece = _choose(catalog, _FREE[kind], rng, demo)
        if piece is None:
            continue
        reach = 0.5 * float(np.hypot(piece.size[0], piece.size[2]))
        x, z = rng.uniform(0, room.width), rng.uniform(0, 0.9 * room.depth)
        if room.is_free((x - reach, z - reach), (x + reach, z + reach)):
            room.taken.append((x - reach, z - reach, x + reach, z + reach))
            yaw = float(rng.uniform(-np.pi, np.pi))
            _add(room, catalog.load(piece), piece, np.array([x, 0.0, z]), yaw)
            _decorate_top(room, catalog, piece, (float(x), float(z), yaw), rng, demo)
    _hang(room, catalog, rng, demo, int(rng.integers(0, 3 if kind == "booth" else 7)))
    room.lighting = _room_lighting(room, rng)
    return room


def look(room: Room, rng: np.random.Generator, width: int, height: int) -> tuple[Camera, Viewpoint]:
    """A camera near the open side of a room, of 55 to 75 degrees across, 0.8 to 1.8 m high."""
    focal = 0.5 * width / float(np.tan(np.deg2rad(rng.uniform(55, 75)) / 2))
    camera = Camera(
        width, height, focal, focal,
        (width - 1) / 2 + float(rng.normal(0, 4)), (height - 1) / 2 + float(rng.normal(0, 4)),
    )  # fmt: skip
    eye = float(rng.uniform(0.8, 1.8))
    x = float(rng.uniform(0.35, 0.65) * room.width)
    z = room.depth - float(rng.uniform(0.05, 0.3))
    aim = (
        float(np.clip(x + rng.normal(0, 0.22) * room.width, 0.1, room.width - 0.1)),
        float(np.clip(eye + rng.normal(-0.1, 0.2), 0.6, 1.7)),
        0.0,
    )
    return camera, Viewpoint((x, eye, z), aim, float(rng.normal(0, 0.012)))


def draw_room(
    renderer: Rasterizer, room: Room, camera: Camera, view: Viewpoint, goal: float
) -> tuple[Picture, Lighting]:
    """Draw a room at the exposure that gives the mean grey value ``goal`` in [0, 1]."""
    lighting = exposed(renderer, view, camera, room.meshes, room.lighting, goal)
    return renderer.draw(camera, view, room.meshes, lighting), lighting


def make_rooms(
    catalog: Catalog,
    output: Path,
    count: int,
    seed: int = 0,
    width: int = 640,
    height: int = 480,
    progress: bool = True,
) -> None:
    """Render views of random rooms: ``room_%03d.jpg``, ``room_%03d.png`` (mm), ``rooms.json``.

    Args:
        catalog: Where the furniture comes from.
        output: Folder, made if missing.
        count: Number of views, two of each room.
        seed: Same seed, same rooms.
        width: Pixels.
        height: Pixels.
        progress: Show a progress bar.

    Raises:
        FitError: The folder can't be written.
    """
    from tqdm import tqdm

    output.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, object]] = []
    with Rasterizer(samples=3) as renderer:
        bar = tqdm(total=count, desc="rooms", unit="view", disable=not progress)
        number = 0
        while len(entries) < count:
            rng = np.random.default_rng([seed, 11, number])
            kind = KINDS[number % len(KINDS)]
            room = furnish(catalog, kind, rng)
            number += 1
            for _ in range(2):
                if len(entries) == count:
                    break
                camera, view = look(room, rng, width, height)
                picture, _ = draw_room(renderer, room, camera, view, rng.uniform(0.3, 0.6))
                if float((picture.depth < 0.7).mean()) > 0.06:
                    continue  # a piece of furniture stands right before the camera
                name = f"room_{len(entries):03d}"
                color = np.ascontiguousarray(picture.color[..., ::-1])
                depth = np.rint(picture.depth * 1000).astype(np.uint16)
                jpeg = [cv2.IMWRITE_JPEG_QUALITY, 95]
                if not (
                    cv2.imwrite(str(output / f"{name}.jpg"), color, jpeg)
                    and cv2.imwrite(str(output / f"{name}.png"), depth)
                ):
                    raise FitError(f"{output} can't be written: check the space and the rights.")
                matrix = [camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1]
                entries.append({"name": name, "kind": kind, "K": matrix})
                bar.update()
            renderer.forget_textures()
            catalog.forget()
        bar.close()
    document = {"width": width, "height": height, "depth_unit": 0.001, "views": entries}
    (output / "rooms.json").write_text(json.dumps(document, indent=1) + "\n")

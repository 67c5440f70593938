"""Read furniture from Sweet Home 3D libraries (``.sh3f``: a zip of OBJ models and a catalog).

Debian's package ``sweethome3d-furniture`` installs such libraries; their models are CC-BY 3.0 or
CC0 and each entry names its creator.
"""

from __future__ import annotations

import posixpath
import re
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from tools.datagen.glb import to_rgba
from tools.datagen.mesh import Material, Mesh

_ENTRY = re.compile(r"^(\w+)#(\d+)=(.*)$")
_TEXTURE_SIZE = 512


@dataclass(frozen=True)
class Piece:
    """One entry of a furniture catalog.

    Attributes:
        key: Library and model, unique.
        name: English name, such as "Armchair".
        category: English category, such as "Living room".
        creator: Whom to credit.
        license: "CC0", "CC-BY 3.0" or "CC-BY 3.0 US".
        size: Width (x), height (y), depth (z), metres.
        library: The ``.sh3f`` file.
        model: Path of the OBJ inside the library.
        rotation: 3×3 turn from the model's axes to the catalog's.
        elevation: Height at which it usually hangs, metres.
        top: Height at which small things stand on it, metres; 0 where nothing can.
        opening: True for doors and windows.
    """

    key: str
    name: str
    category: str
    creator: str
    license: str
    size: tuple[float, float, float]
    library: Path
    model: str
    rotation: tuple[float, ...]
    elevation: float
    top: float
    opening: bool


_LICENSES = {
    "BlendSwap-CC-0": "CC0",
    "BlendSwap-CC-BY": "CC-BY 3.0",
    "KatorLegaz": "CC-BY 3.0 US",
    "Reallusion": "CC-BY 3.0 US",
    "Scopia": "CC-BY 3.0",
}
_PROVIDERS = {
    "KatorLegaz": "Andrew Kator & Jennifer Legaz",
    "Reallusion": "Reallusion",
    "Scopia": "Scopia",
}


class Catalog:
    """The furniture of all libraries in a folder.

    Args:
        folder: Holds ``.sh3f`` files, also in folders of its own, as ``/usr/share/sweethome3d``.

    Raises:
        FitError: There is no library in the folder.
    """

    def __init__(self, folder: Path) -> None:
        libraries = sorted(folder.rglob("*.sh3f"))
        if not libraries:
            raise FitError(
                f"{folder} holds no .sh3f furniture: install Debian's sweethome3d-furniture."
            )
        self._archives = {path: zipfile.ZipFile(path) for path in libraries}
        self.pieces = tuple(p for path in libraries for p in self._entries(path))
        self._models: dict[str, list[Mesh]] = {}

    def find(self, *names: str) -> list[Piece]:
        """Pieces of the given English names (any of them, ignoring case)."""
        wanted = {name.lower() for name in names}
        return [piece for piece in self.pieces if piece.name.lower() in wanted]

    def load(self, piece: Piece) -> list[Mesh]:
        """Meshes of a piece, standing on y = 0 around x = z = 0, front towards +z, metres.

        Raises:
            FitError: The model can't be read.
        """
        if piece.key not in self._models:
            archive = self._archives[piece.library]
            try:
                meshes = read_obj(archive, piece.model)
            except (KeyError, ValueError, IndexError) as error:
                raise FitError(f"{piece.model} in {piece.library} is broken: leave it.") from error
            self._models[piece.key] = _fit(meshes, piece)
        return self._models[piece.key]

    def forget(self) -> None:
        """Drop the loaded models."""
        self._models.clear()

    def _entries(self, path: Path) -> list[Piece]:
        text = self._archives[path].read("PluginFurnitureCatalog.properties").decode("latin-1")
        entries: dict[int, dict[str, str]] = defaultdict(dict)
        for line in text.splitlines():
            match = _ENTRY.match(line.strip())
            if match:
                value = match[3].strip()
                if "\\u" in value:
                    value = value.encode("latin-1").decode("unicode_escape")
                entries[int(match[2])][match[1]] = value
        pieces = []
        for entry in entries.values():
            model = entry.get("model", "").lstrip("/")
            if not model.lower().endswith(".obj"):
                continue
            rotation = entry.get("modelRotation", "1 0 0 0 1 0 0 0 1").split()
            library = path.stem
            pieces.append(
                Piece(
                    key=f"{library}/{posixpath.splitext(posixpath.basename(model))[0]}",
                    name=entry.get("name", ""),
                    category=entry.get("category", ""),
                    creator=entry.get("creator", _PROVIDERS.get(library, library)),
                    license=_LICENSES.get(library, "see the library's LICENSE.TXT"),
                    size=(
                        float(entry["width"]) / 100,
                        float(entry["height"]) / 100,
                        float(entry["depth"]) / 100,
                    ),
                    library=path,
                    model=model,
                    rotation=tuple(float(v) for v in rotation),
                    elevation=float(entry.get("elevation", 0)) / 100,
                    top=max(float(entry.get("dropOnTopElevation", entry["height"])) / 100, 0.0),
                    opening=entry.get("doorOrWindow", "false").lower() == "true",
                )
            )
        return pieces


def _fit(meshes: list[Mesh], piece: Piece) -> list[Mesh]:
    turn = np.array(piece.rotation).reshape(3, 3)
    turned = [m.positions @ turn.T for m in meshes]
    low = np.min([t.min(0) for t in turned], axis=0)
    high = np.max([t.max(0) for t in turned], axis=0)
    scale = np.array(piece.size) / np.maximum(high - low, 1e-9)
    base = np.array([(low[0] + high[0]) / 2, low[1], (low[2] + high[2]) / 2])
    fitted = []
    for mesh, positions in zip(meshes, turned, strict=True):
        normals = (mesh.normals @ turn.T) / scale
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        fitted.append(
            Mesh(
                positions=((positions - base) * scale).astype(np.float32),
                normals=normals.astype(np.float32),
                uvs=mesh.uvs,
                triangles=mesh.triangles,
                material=mesh.material,
            )
        )
    return fitted


def read_obj(archive: zipfile.ZipFile, path: str) -> list[Mesh]:
    """Read an OBJ with its materials out of a zip.

    Args:
        archive: The zip.
        path: The ``.obj`` inside it.

    Returns:
        One mesh a material, in the model's own units and axes.

    Raises:
        KeyError, ValueError, IndexError: The model or a file it names is broken.
    """
    folder = posixpath.dirname(path)
    places: list[list[float]] = []
    uvs: list[list[float]] = []
    normals: list[list[float]] = []
    faces: dict[str, list[tuple[str, str, str]]] = defaultdict(list)
    materials: dict[str, Material] = {}
    current = ""
    for line in archive.read(path).decode("latin-1").replace("\\\n", " ").splitlines():
        words = line.split()
        if not words:
            continue
        kind = words[0]
        if kind == "v":
            places.append([float(w) for w in words[1:4]])
        elif kind == "vt":
            uvs.append([float(w) for w in words[1:3]])
        elif kind == "vn":
            normals.append([float(w) for w in words[1:4]])
        elif kind == "f":
            corners = words[1:]
            for k in range(1, len(corners) - 1):
                faces[current].append((corners[0], corners[k], corners[k + 1]))
        elif kind == "usemtl":
            current = " ".join(words[1:])
        elif kind == "mtllib":
            materials |= _read_mtl(archive, posixpath.join(folder, " ".join(words[1:])))
    parts = []
    for name, triangles in faces.items():
        part = _part(triangles, places, uvs, normals, materials.get(name, Material()))
        if part is not None:
            parts.append(part)
    if not parts:
        raise ValueError(f"{path} holds no triangles")
    return parts


def _part(
    triangles: Sequence[tuple[str, str, str]],
    places: list[list[float]],
    uvs: list[list[float]],
    normals: list[list[float]],
    material: Material,
) -> Mesh | None:
    corners: dict[str, int] = {}
    index = np.array(
        [[corners.setdefault(c, len(corners)) for c in triangle] for triangle in triangles],
        np.int32,
    )
    counts = (len(places), len(uvs), len(normals))
    picks = np.full((len(corners), 3), -1)
    for row, text in enumerate(corners):
        for column, part in enumerate(text.split("/")[:3]):
            if part:
                value = int(part)
                picks[row, column] = value - 1 if value > 0 else counts[column] + value
    position = np.array(places, np.float32)[picks[:, 0]]
    uv = np.zeros((len(corners), 2), np.float32)
    if uvs and (picks[:, 1] >= 0).all():
        uv = np.array(uvs, np.float32)[picks[:, 1]] * np.array([1, -1], np.float32)
    if normals and (picks[:, 2] >= 0).all():
        normal = np.array(normals, np.float32)[picks[:, 2]]
        if not normal.any():
            return None
        return Mesh(position, normal, uv, index, material)
    # Without normals: flat faces, each with corners of its own.
    flat = position[index].reshape(-1, 3)
    edges = flat.reshape(-1, 3, 3)
    face = np.cross(edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0])
    face /= np.maximum(np.linalg.norm(face, axis=1, keepdims=True), 1e-12)
    return Mesh(
        flat,
        np.repeat(face, 3, 0).astype(np.float32),
        uv[index].reshape(-1, 2),
        np.arange(len(flat), dtype=np.int32).reshape(-1, 3),
        material,
    )


def _read_mtl(archive: zipfile.ZipFile, path: str) -> dict[str, Material]:
    path = posixpath.normpath(path)
    if path not in archive.namelist():
        return {}
    found: dict[str, dict[str, list[str]]] = {}
    for line in archive.read(path).decode("latin-1").splitlines():
        words = line.split()
        if words and words[0] == "newmtl":
            found[" ".join(words[1:])] = {}
        elif words and found:
            found[next(reversed(found))][words[0]] = words[1:]
    folder = posixpath.dirname(path)
    return {name: _material(archive, folder, entry) for name, entry in found.items()}


def _material(archive: zipfile.ZipFile, folder: str, entry: dict[str, list[str]]) -> Material:
    red, green, blue = (float(v) for v in entry.get("Kd", ["0.8", "0.8", "0.8"])[:3])
    texture: NDArray[np.uint8] | None = None
    if entry.get("map_Kd"):
        name = posixpath.normpath(posixpath.join(folder, entry["map_Kd"][-1]))
        if name in archive.namelist():
            raw = np.frombuffer(archive.read(name), np.uint8)
            pixels = cv2.imdecode(raw, cv2.IMREAD_UNCHANGED)
            if pixels is not None:
                texture = _shrink(to_rgba(np.asarray(pixels, np.uint8)))
                # Sweet Home 3D shows a texture as it is, whatever the diffuse color.
                red = green = blue = 1.0
    shine = float(np.mean([float(v) for v in entry.get("Ks", ["0"])[:3]]))
    return Material(
        color=(min(red, 0.95), min(green, 0.95), min(blue, 0.95)),
        opacity=float(entry.get("d", ["1"])[0]),
        texture=texture,
        gloss=0.4 * min(max(shine, 0.0), 1.0),
    )


def _shrink(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _TEXTURE_SIZE / max(pixels.shape[:2])
    if scale >= 1:
        return pixels
    size = (max(1, int(pixels.shape[1] * scale)), max(1, int(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)

"""Read rigged people from binary glTF files (GLB).

Understands what the VALID avatars use: one skeleton, quantised attributes
(``KHR_mesh_quantization``), ``EXT_meshopt_compression`` and WebP textures.
"""

from __future__ import annotations

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FitError
from tools.datagen.mesh import Material

_COMPONENTS: dict[int, type[np.generic]] = {
    5120: np.int8,
    5121: np.uint8,
    5122: np.int16,
    5123: np.uint16,
    5125: np.uint32,
    5126: np.float32,
}
BONES = ("Hips", "Head", "LeftHand", "RightHand", "LeftFoot", "RightFoot")
"""What a skeleton must have to be put into poses, to be given hair and things to hold."""

_BROKEN = (OSError, KeyError, IndexError, ValueError, TypeError, struct.error, cv2.error)
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT4": 16}


@dataclass(frozen=True)
class SkinnedMesh:
    """A piece of a person in the bind pose (metres, y up, facing +z).

    Attributes:
        name: Name of the piece in the file.
        positions: N×3 float32.
        normals: N×3 float32, unit length.
        uvs: N×2 float32.
        triangles: M×3 int32.
        joints: N×4 indices into ``Rig.names``.
        weights: N×4 float32, each row sums to 1.
        material: Color and textures.
    """

    name: str
    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    triangles: NDArray[np.int32]
    joints: NDArray[np.int64]
    weights: NDArray[np.float32]
    material: Material


@dataclass(frozen=True)
class Rig:
    """A skeleton in the bind pose and the meshes that hang on it.

    Attributes:
        names: Bone names; parents come before children.
        parents: Index of each bone's parent, -1 for a root.
        origins: B×3 float32, where each bone starts in the bind pose, metres.
        meshes: The pieces of the person.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    origins: NDArray[np.float32]
    meshes: tuple[SkinnedMesh, ...]


class _File:
    """The JSON part and the decoded buffers of one GLB."""

    def __init__(self, path: Path) -> None:
        self._path = path
        data = path.read_bytes()
        if data[:4] != b"glTF":
            raise FitError(f"{path} is not a binary glTF file: give a folder of .glb people.")
        length = struct.unpack_from("<I", data, 12)[0]
        self.document: dict[str, Any] = json.loads(data[20 : 20 + length])
        self._binary = data[28 + length :]
        self._views: dict[int, bytes] = {}

    def view(self, index: int) -> bytes:
        """Bytes of a buffer view, decompressed."""
        if index not in self._views:
            view = self.document["bufferViews"][index]
            packed = view.get("extensions", {}).get("EXT_meshopt_compression")
            source = packed or view
            start = source.get("byteOffset", 0)
            raw = self._binary[start : start + source["byteLength"]]
            if packed:
                raw = _decode_meshopt(raw, packed)
            self._views[index] = raw
        return self._views[index]

    def accessor(self, index: int) -> NDArray[Any]:
        """Array of an accessor; normalised integers become floats in [-1, 1]."""
        entry = self.document["accessors"][index]
        kind = np.dtype(_COMPONENTS[entry["componentType"]])
        columns = _WIDTHS[entry["type"]]
        view = self.document["bufferViews"][entry["bufferView"]]
        packed = view.get("extensions", {}).get("EXT_meshopt_compression", {})
        row = kind.itemsize * columns
        stride = view.get("byteStride") or packed.get("byteStride") or row
        # Index streams are packed at the index size whatever the view says.
        stride = max(stride, row)
        count, start = entry["count"], entry.get("byteOffset", 0)
        raw = np.frombuffer(self.view(entry["bufferView"]), np.uint8)
        # NumPy doesn't look where such rows end.
        if start + (count - 1) * stride + row > raw.size:
            raise ValueError("cut short")
        rows = np.lib.stride_tricks.as_strided(raw[start:], (count, row), (stride, 1))
        values = np.ascontiguousarray(rows).view(kind).reshape(count, columns)
        if entry.get("normalized"):
            return np.maximum(values.astype(np.float32) / np.iinfo(kind).max, -1.0)
        return values

    def image(self, texture: int) -> NDArray[np.uint8]:
        """Decoded texture, H×W×4 RGBA."""
        entry = self.document["textures"][texture]
        source = entry.get("source")
        if source is None:
            source = entry["extensions"]["EXT_texture_webp"]["source"]
        raw = self.view(self.document["images"][source]["bufferView"])
        pixels = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
        if pixels is None:
            raise FitError(f"A texture of {self._path} can't be decoded: fetch the file again.")
        return to_rgba(np.asarray(pixels, np.uint8))


def to_rgba(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """OpenCV's grey, BGR or BGRA as H×W×4 RGBA."""
    if pixels.ndim == 2:
        return np.asarray(cv2.cvtColor(pixels, cv2.COLOR_GRAY2RGBA), np.uint8)
    code = cv2.COLOR_BGRA2RGBA if pixels.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return np.asarray(cv2.cvtColor(pixels, code), np.uint8)


def _decode_meshopt(raw: bytes, packed: dict[str, Any]) -> bytes:
    try:
        import meshopt
    except ImportError as error:
        raise FitError("Compressed people need the meshopt package: pip install meshopt") from error
    decoded = meshopt.decode_gltf_buffer(
        raw, packed["count"], packed["byteStride"], packed["mode"], packed.get("filter", "NONE")
    )
    if packed["mode"] != "ATTRIBUTES":
        decoded = decoded.astype(np.uint16 if packed["byteStride"] == 2 else np.uint32)
    return bytes(decoded.tobytes())


def _local_matrix(node: dict[str, Any]) -> NDArray[np.float64]:
    if "matrix" in node:
        return np.array(node["matrix"], np.float64).reshape(4, 4).T
    matrix = np.eye(4)
    x, y, z, w = node.get("rotation", (0, 0, 0, 1))
    matrix[:3, :3] = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    matrix[:3, :3] *= np.array(node.get("scale", (1, 1, 1)))
    matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return matrix


def read_glb(path: Path, texture_size: int = 1024) -> Rig:
    """Read a rigged person.

    Bone names may have a prefix that ends with a colon, as in ``mixamorig:Head``.

    Args:
        path: A ``.glb`` file.
        texture_size: Textures are scaled down to at most this many pixels a side.

    Returns:
        The skeleton with its meshes in the bind pose, in metres.

    Raises:
        FitError: The file is no GLB or broken, holds no skeleton, or a needed package is missing;
            the text names the file.
    """
    try:
        return _rig(path, texture_size)
    except _BROKEN as error:
        raise FitError(
            f"{path} is broken or holds what can't be read here ({error!r}): export it again, as "
            "one rigged person, or take it out of the folder."
        ) from error


def read_person(path: Path, texture_size: int = 1024) -> Rig:
    """Like :func:`read_glb`; FitError as well if the skeleton lacks one of :data:`BONES`."""
    rig = read_glb(path, texture_size)
    missing = [bone for bone in BONES if bone not in rig.names]
    if missing or not rig.meshes:
        lacks = f"the bones {', '.join(missing)}" if missing else "a mesh on its skeleton"
        raise FitError(
            f"{path} lacks {lacks}: give people whose skeletons have Mixamo's names, or take it "
            "out of the folder."
        )
    return rig


def _rig(path: Path, texture_size: int) -> Rig:
    file = _File(path)
    document = file.document
    nodes = document["nodes"]
    if not document.get("skins"):
        raise FitError(f"{path} holds no skeleton: give rigged people.")

    parent = {child: i for i, node in enumerate(nodes) for child in node.get("children", ())}
    world: dict[int, NDArray[np.float64]] = {}

    def place(index: int) -> NDArray[np.float64]:
        if index not in world:
            local = _local_matrix(nodes[index])
            world[index] = place(parent[index]) @ local if index in parent else local
        return world[index]

    def depth(index: int) -> int:
        return 0 if index not in parent else 1 + depth(parent[index])

    bones = sorted({j for skin in document["skins"] for j in skin["joints"]}, key=depth)
    order = {bone: i for i, bone in enumerate(bones)}
    materials = [_material(file, entry, texture_size) for entry in document.get("materials", [])]
    meshes = []
    for node in nodes:
        if "mesh" not in node or "skin" not in node:
            continue
        skin = document["skins"][node["skin"]]
        inverse = file.accessor(skin["inverseBindMatrices"]).reshape(-1, 4, 4)
        bind = np.stack(
            [
                place(j) @ m.T.astype(np.float64)
                for j, m in zip(skin["joints"], inverse, strict=True)
            ]
        )
        lookup = np.array([order[j] for j in skin["joints"]])
        for primitive in document["meshes"][node["mesh"]]["primitives"]:
            meshes.append(_skinned(file, primitive, str(node.get("name")), bind, lookup, materials))
    return Rig(
        names=tuple(str(nodes[b].get("name", b)).rpartition(":")[2] for b in bones),
        parents=tuple(order.get(parent.get(b, -1), -1) for b in bones),
        origins=np.stack([place(b)[:3, 3] for b in bones]).astype(np.float32),
        meshes=tuple(meshes),
    )


def _material(file: _File, entry: dict[str, Any], size: int) -> Material:
    metal = entry.get("pbrMetallicRoughness", {})
    textures = []
    for slot in (metal.get("baseColorTexture"), entry.get("normalTexture")):
        image = None if slot is None else file.image(slot["index"])
        if image is not None and max(image.shape[:2]) > size:
            scale = size / max(image.shape[:2])
            shape = (int(image.shape[1] * scale), int(image.shape[0] * scale))
            image = np.asarray(cv2.resize(image, shape, interpolation=cv2.INTER_AREA), np.uint8)
        textures.append(image)
    red, green, blue, alpha = metal.get("baseColorFactor", (1.0, 1.0, 1.0, 1.0))
    return Material(
        color=(red, green, blue),
        opacity=alpha,
        texture=textures[0],
        normal_map=textures[1],
        gloss=0.05,
    )


def _skinned(
    file: _File,
    primitive: dict[str, Any],
    name: str,
    bind: NDArray[np.float64],
    lookup: NDArray[np.int64],
    materials: list[Material],
) -> SkinnedMesh:
    attributes = primitive["attributes"]
    local = file.accessor(attributes["POSITION"]).astype(np.float64)
    normals = file.accessor(attributes["NORMAL"]).astype(np.float64)
    joints = file.accessor(attributes["JOINTS_0"]).astype(np.int64)
    weights = file.accessor(attributes["WEIGHTS_0"]).astype(np.float64)
    weights /= np.maximum(weights.sum(1, keepdims=True), 1e-9)
    # The file's own rest pose brings the quantised numbers to metres.
    matrices = np.einsum("nk,nkij->nij", weights, bind[joints])
    positions = np.einsum("nij,nj->ni", matrices[:, :3, :3], local) + matrices[:, :3, 3]
    normals = np.einsum("nij,nj->ni", matrices[:, :3, :3], normals)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
    uvs = np.zeros((len(local), 2))
    if "TEXCOORD_0" in attributes:
        uvs = file.accessor(attributes["TEXCOORD_0"])
    material = materials[primitive["material"]] if "material" in primitive else Material()
    return SkinnedMesh(
        name=name,
        positions=positions.astype(np.float32),
        normals=normals.astype(np.float32),
        uvs=uvs.astype(np.float32),
        triangles=file.accessor(primitive["indices"]).reshape(-1, 3).astype(np.int32),
        joints=lookup[joints],
        weights=weights.astype(np.float32),
        material=material,
    )

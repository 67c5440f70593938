"""A tiny rigged GLB made here, and a renderer where this machine has one."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import FitError
from tools.datagen.rasterizer import Rasterizer

BONES = ("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head")


def write_column(path: Path) -> None:
    """A square column 1.8 m high on a chain of six bones, with quantised positions."""
    heights = np.linspace(0.0, 1.8, 19)
    corners = np.array([[-0.1, -0.1], [0.1, -0.1], [0.1, 0.1], [-0.1, 0.1]])
    positions = np.array([[x, y, z] for y in heights for x, z in corners])
    normals = np.array([[x, 0, z] for _ in heights for x, z in corners]) / np.hypot(0.1, 0.1)
    faces = []
    for ring in range(len(heights) - 1):
        for k in range(4):
            a, b = 4 * ring + k, 4 * ring + (k + 1) % 4
            faces += [[a, b, b + 4], [a, b + 4, a + 4]]
    starts = np.array([0.9, 1.0, 1.15, 1.3, 1.45, 1.55])
    bone = np.clip(np.searchsorted(starts, positions[:, 1] + 1e-6) - 1, 0, 5)
    joints = np.zeros((len(positions), 4), np.uint8)
    joints[:, 0] = bone
    weights = np.zeros((len(positions), 4), np.uint8)
    weights[:, 0] = 255
    # Positions are stored as int16 for a mesh node that is scaled by 2.
    stored = np.zeros((len(positions), 4), np.int16)
    stored[:, :3] = np.rint(positions / 2 * 32767)
    inverse = np.zeros((6, 4, 4), np.float32)
    for k, start in enumerate(starts):
        # Bind: mesh space (halved metres) to the bone; glTF stores columns.
        matrix = np.eye(4) * 2.0
        matrix[3, 3] = 1.0
        matrix[1, 3] = -start
        inverse[k] = matrix.T
    chunks = [
        stored.tobytes(),
        normals.astype(np.float32).tobytes(),
        joints.tobytes(),
        weights.tobytes(),
        np.array(faces, np.uint16).tobytes(),
        inverse.tobytes(),
    ]
    views, offset = [], 0
    for k, chunk in enumerate(chunks):
        view = {"buffer": 0, "byteOffset": offset, "byteLength": len(chunk)}
        if k == 0:
            view["byteStride"] = 8
        views.append(view)
        offset += len(chunk)
    count = len(positions)
    accessors = [
        {"bufferView": 0, "componentType": 5122, "count": count, "type": "VEC3"},
        {"bufferView": 1, "componentType": 5126, "count": count, "type": "VEC3"},
        {"bufferView": 2, "componentType": 5121, "count": count, "type": "VEC4"},
        {"bufferView": 3, "componentType": 5121, "count": count, "type": "VEC4"},
        {"bufferView": 4, "componentType": 5123, "count": 3 * len(faces), "type": "SCALAR"},
        {"bufferView": 5, "componentType": 5126, "count": 6, "type": "MAT4"},
    ]
    accessors[0]["normalized"] = accessors[3]["normalized"] = True
    nodes: list[dict[str, object]] = []
    for k, name in enumerate(BONES):
        rise = starts[k] - (starts[k - 1] if k else 0.0)
        node: dict[str, object] = {"name": name, "translation": [0.0, float(rise), 0.0]}
        if k < 5:
            node["children"] = [k + 1]
        nodes.append(node)
    nodes.append({"name": "h_wig", "mesh": 0, "skin": 0, "scale": [2.0, 2.0, 2.0]})
    attributes = {"POSITION": 0, "NORMAL": 1, "JOINTS_0": 2, "WEIGHTS_0": 3}
    document = {
        "asset": {"version": "2.0"},
        "nodes": nodes,
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 4, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [0.2, 0.4, 0.6, 1.0]}}],
        "skins": [{"joints": list(range(6)), "inverseBindMatrices": 5}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": offset}],
    }
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary = b"".join(chunks)
    binary += b"\0" * (-len(binary) % 4)
    total = 12 + 8 + len(text) + 8 + len(binary)
    path.write_bytes(
        struct.pack("<4sII", b"glTF", 2, total)
        + struct.pack("<I4s", len(text), b"JSON")
        + text
        + struct.pack("<I4s", len(binary), b"BIN\0")
        + binary
    )


@pytest.fixture(scope="session")
def column(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("glb") / "Nobody_F_1.glb"
    write_column(path)
    return path


@pytest.fixture(scope="session")
def renderer() -> Iterator[Rasterizer]:
    try:
        made = Rasterizer(samples=3)
    except FitError as error:
        pytest.skip(f"this machine can't render: {error}")
    yield made
    made.release()

from __future__ import annotations

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import FitError
from tools.datagen.glb import read_glb, read_person, to_rgba

AVATARS = Path(__file__).parents[4] / "shared" / "avatars"


def test_reads_quantised_positions_as_metres(column: Path) -> None:
    rig = read_glb(column)
    mesh = rig.meshes[0]
    assert np.allclose(mesh.positions.min(0), [-0.1, 0.0, -0.1], atol=2e-4)
    assert np.allclose(mesh.positions.max(0), [0.1, 1.8, 0.1], atol=2e-4)
    assert mesh.triangles.shape == (18 * 8, 3)
    assert mesh.material.color == (0.2, 0.4, 0.6)


def test_bones_come_after_their_parents_at_their_places(column: Path) -> None:
    rig = read_glb(column)
    assert rig.names == ("Hips", "Spine", "Spine1", "Spine2", "Neck", "Head")
    assert all(parent < i for i, parent in enumerate(rig.parents))
    assert np.allclose(rig.origins[:, 1], [0.9, 1.0, 1.15, 1.3, 1.45, 1.55], atol=1e-6)


def test_says_when_a_file_is_no_glb(tmp_path: Path) -> None:
    path = tmp_path / "x.glb"
    path.write_bytes(b"this is no model")
    with pytest.raises(FitError, match=r"x\.glb is not a binary glTF"):
        read_glb(path)


def test_rgba_of_grey_bgr_and_bgra() -> None:
    grey = np.full((2, 2), 7, np.uint8)
    assert to_rgba(grey)[0, 0].tolist() == [7, 7, 7, 255]
    bgr = np.array([[[1, 2, 3]]], np.uint8)
    assert to_rgba(bgr)[0, 0].tolist() == [3, 2, 1, 255]
    assert to_rgba(np.dstack([bgr, bgr[..., :1]]))[0, 0].tolist() == [3, 2, 1, 1]


def test_reads_a_compressed_avatar() -> None:
    pytest.importorskip("meshopt", reason="the meshopt package is not installed")
    if not AVATARS.is_dir():
        pytest.skip("the VALID avatars are not beside the repository")
    rig = read_glb(sorted(AVATARS.glob("*.glb"))[0], texture_size=64)
    body = max(rig.meshes, key=lambda m: len(m.positions))
    span = body.positions.max(0) - body.positions.min(0)
    # A grown person in a T-pose: about as wide as high, feet on the floor.
    assert 1.4 < span[1] < 2.1
    assert 0.8 < span[0] / span[1] < 1.2
    assert abs(float(body.positions[:, 1].min())) < 0.03
    assert np.allclose(body.weights.sum(1), 1, atol=1e-5)
    assert body.material.texture is not None
    assert body.material.texture.shape == (64, 64, 4)


def test_a_broken_file_is_named(column: Path, tmp_path: Path) -> None:
    whole = column.read_bytes()
    path = tmp_path / "cut.glb"
    for length in (14, 100, len(whole) // 2, len(whole) - 2000):
        path.write_bytes(whole[:length])
        with pytest.raises(FitError, match=r"cut\.glb is broken"):
            read_glb(path)


def test_bones_may_have_a_prefix_and_must_be_those_of_a_person(
    column: Path, tmp_path: Path
) -> None:
    data = column.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    document = json.loads(data[20 : 20 + length])
    names = ("Hips", "LeftHand", "RightHand", "LeftFoot", "RightFoot", "Head")
    for node, name in zip(document["nodes"], names, strict=False):
        node["name"] = f"mixamorig:{name}"
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    path = tmp_path / "prefixed.glb"
    path.write_bytes(
        data[:12] + struct.pack("<I", len(text)) + data[16:20] + text + data[20 + length :]
    )
    assert read_person(path).names == names
    with pytest.raises(FitError, match=r"Nobody_F_1\.glb lacks the bones LeftHand"):
        read_person(column)

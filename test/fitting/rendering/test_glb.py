from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import FitError
from dart_ros.fitting.rendering.glb import read_glb, to_rgba

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

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tools.datagen.glb import read_glb
from tools.datagen.hair import grow_hair
from tools.datagen.mesh import rotation_x, rotation_z
from tools.datagen.pose import POSES, apply_pose, blend, walk


def test_rest_pose_is_the_bind_pose(column: Path) -> None:
    rig = read_glb(column)
    person = apply_pose(rig, {})
    assert np.allclose(person.meshes[0].positions, rig.meshes[0].positions, atol=1e-5)


def test_a_bone_turns_what_hangs_on_it_about_its_joint(column: Path) -> None:
    rig = read_glb(column)
    quarter = apply_pose(rig, {"Head": rotation_z(np.pi / 2)})
    top = rig.meshes[0].positions[:, 1] > 1.79
    moved = quarter.meshes[0].positions[top]
    # 0.25 m above the head's joint (1.55 m) becomes 0.25 m to the right of it.
    assert np.allclose(moved[:, 0], -0.25, atol=1e-3)
    assert np.allclose(moved[:, 1].mean(), 1.55, atol=1e-3)
    below = rig.meshes[0].positions[:, 1] < 1.5
    assert np.allclose(
        quarter.meshes[0].positions[below], rig.meshes[0].positions[below], atol=1e-5
    )


def test_rotations_add_up_along_the_chain(column: Path) -> None:
    rig = read_glb(column)
    person = apply_pose(rig, {"Neck": rotation_x(0.3), "Head": rotation_x(0.4)})
    assert np.allclose(person.turns["Head"], rotation_x(0.7))


@settings(deadline=None, max_examples=30)
@given(yaw=st.floats(-3.2, 3.2), x=st.floats(-2, 2), z=st.floats(-2, 2), bend=st.floats(-1.5, 1.5))
def test_whole_body_moves_rigidly_and_stands_on_the_floor(
    column: Path, yaw: float, x: float, z: float, bend: float
) -> None:
    rig = read_glb(column)
    pose = {"Spine": rotation_x(bend)}
    here, there = apply_pose(rig, pose), apply_pose(rig, pose, yaw, (x, z))
    a, b = here.meshes[0].positions, there.meshes[0].positions
    assert abs(float(b[:, 1].min())) < 1e-5
    assert np.allclose(
        np.linalg.norm(a - a[0], axis=1), np.linalg.norm(b - b[0], axis=1), atol=1e-5
    )
    assert np.allclose(np.linalg.norm(there.meshes[0].normals, axis=1), 1, atol=1e-5)


@pytest.mark.parametrize("name", sorted(POSES))
def test_poses_hold_proper_rotations(name: str) -> None:
    for seed in range(5):
        for turn in POSES[name](np.random.default_rng(seed)).values():
            assert np.allclose(turn @ turn.T, np.eye(3), atol=1e-9)
            assert np.isclose(np.linalg.det(turn), 1)


def test_walking_repeats_after_a_cycle_and_mirrors_after_half() -> None:
    first, again, half = walk(0.2), walk(1.2), walk(0.7)
    assert all(np.allclose(first[k], again[k]) for k in first)
    assert np.allclose(first["LeftLeg"], half["RightLeg"])
    assert not np.allclose(first["LeftLeg"], first["RightLeg"])


def test_blend_goes_half_way() -> None:
    half = blend({"Head": np.eye(3)}, {"Head": rotation_x(0.8), "Neck": rotation_x(0.2)}, 0.5)
    assert np.allclose(half["Head"], rotation_x(0.4))
    assert np.allclose(half["Neck"], rotation_x(0.1))


def test_hair_grows_from_the_head_and_is_repeatable(column: Path) -> None:
    person = apply_pose(read_glb(column), {})
    first = grow_hair(person, np.random.default_rng(3), count=50, length=0.05)
    again = grow_hair(person, np.random.default_rng(3), count=50, length=0.05)
    assert first is not None and again is not None
    assert np.array_equal(first.points, again.points)
    lengths = np.linalg.norm(np.diff(first.points, axis=1), axis=2).sum(1)
    assert 0.01 < float(lengths.mean()) < 0.08
    root = first.points[:, 0]
    assert np.abs(root[:, [0, 2]]).max() < 0.12 and root[:, 1].max() < 1.81

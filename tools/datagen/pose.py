"""Bend a rig into poses that people take in front of a camera.

A pose maps bone names to rotations. Each rotation is given in the axes of the T-pose
(x to the person's left, y up, z forward) and is carried along by the parent bone, so the same
pose fits any rig with Mixamo-like names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.datagen.glb import Rig
from tools.datagen.mesh import Mesh, rotation_x, rotation_y, rotation_z

Pose = Mapping[str, NDArray[np.float64]]
_FINGERS = ("Index", "Middle", "Ring", "Pinky")


@dataclass(frozen=True, eq=False)
class PosedPerson:
    """A person in a pose, standing on y = 0.

    Attributes:
        meshes: World-space triangles, metres.
        names: The file's name of each mesh.
        joints: Bone name to its place, metres.
        turns: Bone name to its 3×3 rotation away from the T-pose.
    """

    meshes: tuple[Mesh, ...]
    names: tuple[str, ...]
    joints: Mapping[str, NDArray[np.float64]]
    turns: Mapping[str, NDArray[np.float64]]


def apply_pose(
    rig: Rig,
    pose: Pose,
    yaw: float = 0.0,
    place: tuple[float, float] = (0.0, 0.0),
    sink: float = 0.0,
) -> PosedPerson:
    """Linear blend skinning of the whole person.

    Args:
        rig: Skeleton and meshes in the bind pose.
        pose: Bone rotations.
        yaw: Turn of the whole person about y, radians; 0 faces +z.
        place: Where the person's origin stands on the floor, (x, z) metres.
        sink: How far below the floor the lowest point lies, metres.

    Returns:
        The posed meshes, lowered or raised so that the lowest point is on the floor.
    """
    count = len(rig.names)
    turns = np.zeros((count, 3, 3))
    joints = np.zeros((count, 3))
    base = rotation_y(yaw)
    for i, (name, parent) in enumerate(zip(rig.names, rig.parents, strict=True)):
        above = turns[parent] if parent >= 0 else base
        start = joints[parent] if parent >= 0 else np.zeros(3)
        anchor = rig.origins[parent] if parent >= 0 else np.zeros(3)
        joints[i] = start + above @ (rig.origins[i] - anchor)
        turns[i] = above @ pose[name] if name in pose else above
    # x' = R (x - origin) + joint, blended over the bones of each vertex.
    shifts = joints - np.einsum("bij,bj->bi", turns, rig.origins)
    skinned = []
    for mesh in rig.meshes:
        turn = np.einsum("nk,nkij->nij", mesh.weights, turns[mesh.joints])
        shift = np.einsum("nk,nki->ni", mesh.weights, shifts[mesh.joints])
        positions = np.einsum("nij,nj->ni", turn, mesh.positions) + shift
        normals = np.einsum("nij,nj->ni", turn, mesh.normals)
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        skinned.append((mesh, positions, normals))
    floor = min(positions[:, 1].min() for _, positions, _ in skinned) + sink
    offset = np.array([place[0], -floor, place[1]])
    return PosedPerson(
        meshes=tuple(
            Mesh(
                positions=(positions + offset).astype(np.float32),
                normals=normals.astype(np.float32),
                uvs=mesh.uvs,
                triangles=mesh.triangles,
                material=mesh.material,
                foreground=True,
            )
            for mesh, positions, normals in skinned
        ),
        names=tuple(mesh.name for mesh, _, _ in skinned),
        joints={n: joints[i] + offset for i, n in enumerate(rig.names)},
        turns={n: turns[i] for i, n in enumerate(rig.names)},
    )


def _rad(degrees: float) -> float:
    return float(np.deg2rad(degrees))


def arm(
    side: str, lower: float, forward: float = 0.0, twist: float = 0.0, elbow: float = 10.0
) -> dict[str, NDArray[np.float64]]:
    """One arm, angles in degrees.

    Args:
        side: "Left" or "Right".
        lower: 0 = straight out to the side, 80 = hanging, -90 = straight up.
        forward: Swing of the whole arm to the front about the vertical (raised arm).
        twist: Turn about the arm's own axis; positive brings a bent forearm up.
        elbow: 0 = straight; at twist 0 a hanging arm bends to the front.
    """
    sign = 1.0 if side == "Left" else -1.0
    upper = rotation_y(-sign * _rad(forward)) @ rotation_z(-sign * _rad(lower))
    return {
        f"{side}Arm": upper @ rotation_x(-_rad(twist)),
        f"{side}ForeArm": rotation_y(-sign * _rad(elbow)),
    }


def hanging_arm(
    side: str, out: float = 10.0, swing: float = 0.0, elbow: float = 12.0, twist: float = 0.0
) -> dict[str, NDArray[np.float64]]:
    """An arm that hangs ``out`` degrees off the body and swings to the front by ``swing``."""
    sign = 1.0 if side == "Left" else -1.0
    upper = rotation_x(-_rad(swing)) @ rotation_z(-sign * _rad(90.0 - out))
    return {
        f"{side}Arm": upper @ rotation_x(-_rad(twist)),
        f"{side}ForeArm": rotation_y(-sign * _rad(elbow)),
    }


def fingers(side: str, curl: float) -> dict[str, NDArray[np.float64]]:
    """Fingers of one hand, each joint bent by ``curl`` degrees."""
    sign = 1.0 if side == "Left" else -1.0
    bend = rotation_z(-sign * _rad(curl))
    return {f"{side}Hand{finger}{k}": bend for finger in _FINGERS for k in (1, 2, 3)}


def leg(side: str, hip: float, knee: float, out: float = 0.0) -> dict[str, NDArray[np.float64]]:
    """A leg: hip bent forward, knee bent back, spread to the side, degrees."""
    sign = 1.0 if side == "Left" else -1.0
    return {
        f"{side}UpLeg": rotation_z(sign * _rad(out)) @ rotation_x(-_rad(hip)),
        f"{side}Leg": rotation_x(_rad(knee)),
        f"{side}Foot": rotation_x(_rad(hip - knee)) @ rotation_z(-sign * _rad(out)),
    }


def torso(
    bend: float = 0.0, lean: float = 0.0, turn: float = 0.0, nod: float = 0.0, look: float = 0.0
) -> dict[str, NDArray[np.float64]]:
    """Spine and head: bend forward, lean to the left, turn left; head nods down, looks left."""
    part = rotation_y(_rad(turn / 3)) @ rotation_z(-_rad(lean / 3)) @ rotation_x(_rad(bend / 3))
    head = rotation_y(_rad(look / 2)) @ rotation_x(_rad(nod / 2))
    return {"Spine": part, "Spine1": part, "Spine2": part, "Neck": head, "Head": head}


def walk(phase: float, stride: float = 1.0) -> dict[str, NDArray[np.float64]]:
    """A walking cycle.

    Args:
        phase: Place in the cycle in turns; the left foot strikes at 0, the right at 0.5.
        stride: Scale of the swing of arms and legs, 1 = an ordinary walk.
    """
    pose: dict[str, NDArray[np.float64]] = torso(
        bend=3, turn=-6 * stride * float(np.cos(2 * np.pi * phase))
    )
    for side, shift in (("Left", 0.0), ("Right", 0.5)):
        t = 2 * np.pi * (phase + shift)
        hip = 4.0 + 21.0 * stride * float(np.cos(t))
        # The knee is bent most in mid swing and a little while it takes the weight.
        swing = max(0.0, float(np.cos(t + 0.5 * np.pi + 0.35)))
        knee = 5.0 + stride * (54.0 * swing**1.6 + 6.0 * max(0.0, float(np.sin(t))))
        foot = hip - knee
        push = 18.0 * stride * max(0.0, float(np.cos(t + np.pi - 0.5))) ** 3
        toes = 10.0 * stride * max(0.0, float(np.cos(t))) ** 3
        pose |= leg(side, hip, knee)
        pose[f"{side}Foot"] = rotation_x(_rad(0.8 * foot + push - toes))
        arm_swing = -18.0 * stride * float(np.cos(t))
        pose |= hanging_arm(side, out=9, swing=arm_swing, elbow=18 + 0.4 * max(0.0, arm_swing))
        pose |= fingers(side, 18)
    return pose


def blend(first: Pose, second: Pose, share: float) -> dict[str, NDArray[np.float64]]:
    """Pose between two poses; ``share`` 0 gives the first, 1 the second."""
    from scipy.spatial.transform import Rotation, Slerp

    mixed = {}
    for name in {*first, *second}:
        ends = np.stack([first.get(name, np.eye(3)), second.get(name, np.eye(3))])
        mixed[name] = Slerp([0.0, 1.0], Rotation.from_matrix(ends))([share]).as_matrix()[0]
    return mixed


def _both(curl: float) -> dict[str, NDArray[np.float64]]:
    return fingers("Left", curl) | fingers("Right", curl)


def stand(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Standing at ease, arms hanging."""
    shift = rng.uniform(-6, 6)
    return (
        torso(
            rng.uniform(0, 6), rng.uniform(-4, 4), rng.uniform(-12, 12), look=rng.uniform(-25, 25)
        )
        | leg("Left", rng.uniform(0, 6) + max(0, shift), rng.uniform(2, 8), rng.uniform(1, 7))
        | leg("Right", rng.uniform(0, 6) + max(0, -shift), rng.uniform(2, 8), rng.uniform(1, 7))
        | hanging_arm("Left", rng.uniform(7, 16), rng.uniform(-5, 12), rng.uniform(8, 30))
        | hanging_arm("Right", rng.uniform(7, 16), rng.uniform(-5, 12), rng.uniform(8, 30))
        | _both(rng.uniform(10, 28))
    )


def walking(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """A moment of walking."""
    return walk(rng.uniform(0, 1), rng.uniform(0.7, 1.2))


def gesture(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Talking with both hands before the body."""
    pose = stand(rng)
    for side in ("Left", "Right"):
        pose |= hanging_arm(
            side,
            rng.uniform(12, 35),
            rng.uniform(0, 40),
            rng.uniform(50, 115),
            rng.uniform(-35, 20),
        )
    return pose | _both(rng.uniform(5, 25))


def akimbo(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Hands on the hips, a gap between arm and body."""
    pose = stand(rng)
    for side in ("Left", "Right"):
        if side == "Left" or rng.random() < 0.7:
            pose |= hanging_arm(side, rng.uniform(42, 52), rng.uniform(-22, -8), 95, -78)
    return pose | _both(25)


def wave(rng: np.random.Generator, tilt: float | None = None) -> dict[str, NDArray[np.float64]]:
    """Waving with one raised hand; ``tilt`` is the sway of the forearm, degrees."""
    pose = stand(rng)
    side = str(rng.choice(["Left", "Right"]))
    sway = rng.uniform(-20, 25) if tilt is None else tilt
    pose |= arm(side, rng.uniform(-5, 25), rng.uniform(10, 30), 88, 85 + sway)
    return pose | fingers(side, 3)


def point(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Pointing at something."""
    pose = stand(rng)
    side = str(rng.choice(["Left", "Right"]))
    pose |= arm(side, rng.uniform(-25, 15), rng.uniform(-5, 75), 0, rng.uniform(0, 20))
    pose |= fingers(side, 60)
    for k in (1, 2, 3):
        pose[f"{side}HandIndex{k}"] = np.eye(3)
    return pose


def crossed(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Arms folded before the chest."""
    pose = stand(rng)
    for side, swing in (("Left", 32), ("Right", 22)):
        pose |= hanging_arm(side, 12, swing + rng.uniform(-3, 6), rng.uniform(86, 96), -62)
    return pose | _both(15)


def reach_up(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Both arms raised."""
    pose = stand(rng)
    for side in ("Left", "Right"):
        pose |= arm(side, rng.uniform(-75, -30), rng.uniform(0, 25), 60, rng.uniform(5, 70))
    return pose


def sit(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Sitting, hands on or above the thighs."""
    pose: dict[str, NDArray[np.float64]] = torso(
        rng.uniform(-8, 12), rng.uniform(-5, 5), rng.uniform(-15, 15), look=rng.uniform(-25, 25)
    )
    for side in ("Left", "Right"):
        pose |= leg(side, rng.uniform(80, 88), rng.uniform(80, 95), rng.uniform(2, 12))
        pose |= hanging_arm(
            side, rng.uniform(6, 18), rng.uniform(5, 30), rng.uniform(45, 90), rng.uniform(-5, 25)
        )
    return pose | _both(rng.uniform(10, 25))


def crouch(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Squatting down."""
    deep = rng.uniform(60, 105)
    pose: dict[str, NDArray[np.float64]] = torso(
        rng.uniform(25, 45), look=rng.uniform(-20, 20), nod=-25
    )
    for side in ("Left", "Right"):
        pose |= leg(side, deep + rng.uniform(-5, 5), 1.15 * deep, rng.uniform(5, 15))
        pose |= hanging_arm(side, 14, rng.uniform(30, 70), rng.uniform(15, 60))
    return pose | _both(20)


def bow(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Bending forward, as to pick something up."""
    pose = stand(rng) | torso(rng.uniform(30, 65), rng.uniform(-8, 8), rng.uniform(-25, 25))
    for side in ("Left", "Right"):
        pose |= hanging_arm(side, 10, rng.uniform(20, 60), rng.uniform(5, 30))
    return pose


def hold(rng: np.random.Generator) -> dict[str, NDArray[np.float64]]:
    """Both hands before the body, as around a box."""
    pose = stand(rng) | torso(rng.uniform(-4, 6))
    for side in ("Left", "Right"):
        pose |= hanging_arm(side, 12, 12, 78, -10)
    return pose | _both(18)


POSES: dict[str, Callable[[np.random.Generator], dict[str, NDArray[np.float64]]]] = {
    "stand": stand,
    "walk": walking,
    "gesture": gesture,
    "akimbo": akimbo,
    "wave": wave,
    "point": point,
    "crossed": crossed,
    "reach": reach_up,
    "sit": sit,
    "crouch": crouch,
    "bow": bow,
    "hold": hold,
}

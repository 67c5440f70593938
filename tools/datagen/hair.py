"""Loose hairs around a head: the avatars' hair is a closed surface with a hard edge."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tools.datagen.mesh import Mesh, Strands
from tools.datagen.pose import PosedPerson

_POINTS = 7


def _texture_color(mesh: Mesh, uvs: NDArray[np.float32]) -> NDArray[np.float32]:
    texture = mesh.material.texture
    if texture is None:
        return np.repeat(np.array([mesh.material.color], np.float32), len(uvs), 0)
    height, width = texture.shape[:2]
    columns = (uvs[:, 0] % 1 * (width - 1)).astype(int)
    rows = (uvs[:, 1] % 1 * (height - 1)).astype(int)
    return texture[rows, columns, :3].astype(np.float32) / 255.0


def _root(person: PosedPerson) -> tuple[Mesh, NDArray[np.float64]] | None:
    """The mesh that hair grows on and how much of it each of its triangles gets."""
    wigs = [
        mesh
        for mesh, name in zip(person.meshes, person.names, strict=True)
        if "wig" in name.lower() or "hair" in name.lower()
    ]
    mesh = max(wigs or person.meshes, key=lambda m: len(m.positions))
    corners = mesh.positions[mesh.triangles]
    areas = np.linalg.norm(
        np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
    ).astype(np.float64)
    if not wigs:
        # Hair that is only painted on: the skull above the eyes and behind the ears.
        middle = corners.mean(1) - person.joints["Head"]
        local = middle @ person.turns["Head"]
        crown = (local[:, 1] > 0.09) & (local[:, 2] < 0.06 + 0.6 * (local[:, 1] - 0.14))
        # Not the arms, which may be raised beside the head.
        areas *= crown & (np.linalg.norm(local, axis=1) < 0.24) & (np.abs(local[:, 0]) < 0.12)
    return (mesh, areas) if areas.sum() > 0 else None


def grow_hair(
    person: PosedPerson,
    rng: np.random.Generator,
    count: int = 900,
    length: float = 0.03,
    curl: float = 0.3,
    width: float = 0.0005,
    locks: int = 0,
) -> Strands | None:
    """Let loose hairs grow out of a person's hair.

    Args:
        person: A posed person. Hairs grow out of the mesh whose name holds "wig" or "hair", else
            out of the top and back of the head.
        rng: The same seed gives the same hairs in every pose.
        count: Number of hairs.
        length: Mean length, metres; from about 0.06 the hairs hang down.
        curl: 0 = straight, 1 = frizzy.
        width: Metres.
        locks: Hairs go their way in so many locks; 0 = each goes its own.

    Returns:
        The hairs, or None for a person without a head.
    """
    root = _root(person)
    if root is None:
        return None
    mesh, areas = root
    faces = rng.choice(len(areas), count, p=areas / areas.sum())
    mix = rng.dirichlet((1.0, 1.0, 1.0), count).astype(np.float32)
    picked = mesh.triangles[faces]
    start = np.einsum("nk,nkd->nd", mix, mesh.positions[picked])
    normal = np.einsum("nk,nkd->nd", mix, mesh.normals[picked])
    uvs = np.einsum("nk,nkd->nd", mix, mesh.uvs[picked]).astype(np.float32)
    # Some wigs have normals that point inwards; away from the head is what counts.
    head = person.joints["Head"] + person.turns["Head"] @ np.array([0.0, 0.07, 0.02])
    outward = start - head
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    normal = np.where(np.sum(normal * outward, 1, keepdims=True) < 0, -normal, normal)
    turn = person.turns["Head"].T
    drift = rng.normal(0, 1, (count, 3)) @ turn
    lock = _locks(start, min(locks, count), rng) if locks else None
    if lock is not None:
        drift = 0.35 * drift + 0.9 * (rng.normal(0, 1, (locks, 3)) @ turn)[lock]
    down = np.array([0.0, -1.0, 0.0])
    lengths = length * rng.gamma(5.0, 1 / 5.0, count)
    # Hairs of the forehead are short, or they would hang over the face.
    front = (outward @ person.turns["Head"])[:, 2]
    lengths *= np.clip(1.0 - 1.6 * front, 0.25, 1.0)
    heavy = np.clip(lengths / 0.05, 0.15, 1.6)[:, None]
    way = 0.55 * normal + 0.35 * drift + 0.6 * heavy * down
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    wobble = rng.normal(0, curl, (count, _POINTS, 3)) @ turn
    if lock is not None:
        wobble = 0.3 * wobble + 0.95 * (rng.normal(0, curl, (locks, _POINTS, 3)) @ turn)[lock]
    points = np.empty((count, _POINTS, 3))
    points[:, 0] = start - 0.004 * normal
    step = (lengths / (_POINTS - 1))[:, None]
    for k in range(1, _POINTS):
        points[:, k] = points[:, k - 1] + step * way
        way = way + 0.55 * heavy * down + 0.5 * wobble[:, k]
        # Hairs lie on the head, they don't grow into it.
        inward = np.minimum(np.sum(way * outward, 1, keepdims=True), 0.0)
        way = way - 0.85 * inward * outward
        way /= np.linalg.norm(way, axis=1, keepdims=True)
    colors = _texture_color(mesh, uvs) * rng.uniform(0.8, 1.25, (count, 1))
    if lock is not None:
        colors = colors * rng.uniform(0.8, 1.25, (locks, 1))[lock]
    return Strands(
        points=points.astype(np.float32),
        colors=np.clip(colors, 0.02, 1).astype(np.float32),
        width=width,
    )


def _locks(start: NDArray[np.float64], locks: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Number of the lock that each hair belongs to: that of the nearest of some of the hairs."""
    from scipy.spatial import cKDTree

    middles = start[rng.choice(len(start), locks, replace=False)]
    return np.asarray(cKDTree(middles).query(start)[1], np.intp)


def grow_fur(
    meshes: Sequence[Mesh],
    rng: np.random.Generator,
    between: tuple[float, float],
    around: tuple[float, float],
    count: int,
    length: float,
    color: NDArray[np.float64],
    width: float,
    hanging: bool,
) -> Strands | None:
    """Let fur or fringes grow out of clothes.

    Args:
        meshes: Of a posed person.
        rng: The same seed gives the same fur.
        between: Heights above the floor between which it grows, metres.
        around: x and z of the neck, away from which it grows no farther than 0.35 metres.
        count: Number of hairs.
        length: Mean length, metres.
        color: RGB in [0, 1].
        width: Metres.
        hanging: Fringes, which hang down, instead of fur, which stands off.

    Returns:
        The hairs, or None where no mesh is.
    """
    starts, normals, areas = [], [], []
    for mesh in meshes:
        corners = mesh.positions[mesh.triangles].astype(np.float64)
        middle = corners.mean(1)
        size = np.linalg.norm(
            np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1
        )
        away = np.hypot(middle[:, 0] - around[0], middle[:, 2] - around[1])
        inside = (middle[:, 1] > between[0]) & (middle[:, 1] < between[1]) & (away < 0.35)
        starts.append(corners[inside])
        normals.append(mesh.normals[mesh.triangles].astype(np.float64)[inside])
        areas.append(size[inside])
    corners, directions = np.concatenate(starts), np.concatenate(normals)
    shares = np.concatenate(areas)
    if shares.sum() <= 0:
        return None
    faces = rng.choice(len(shares), count, p=shares / shares.sum())
    mix = rng.dirichlet((1.0, 1.0, 1.0), count)
    start = np.einsum("nk,nkd->nd", mix, corners[faces])
    normal = np.einsum("nk,nkd->nd", mix, directions[faces])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-9)
    down = np.array([0.0, -1.0, 0.0])
    pull = 1.0 if hanging else 0.25
    lengths = length * rng.gamma(5.0, 1 / 5.0, (count, 1))
    way = normal + 0.4 * rng.normal(0, 1, (count, 3)) + pull * down
    points = np.empty((count, _POINTS, 3))
    points[:, 0] = start - 0.002 * normal
    for k in range(1, _POINTS):
        way /= np.linalg.norm(way, axis=1, keepdims=True)
        points[:, k] = points[:, k - 1] + lengths / (_POINTS - 1) * way
        way = way + pull * down + 0.2 * rng.normal(0, 1, (count, 3))
        # It lies on the clothes, it doesn't grow into them.
        inward = np.minimum(np.sum(way * normal, 1, keepdims=True), 0.0)
        way = way - 0.9 * inward * normal
    colors = np.clip(color * rng.uniform(0.7, 1.3, (count, 1)), 0.02, 1)
    return Strands(points.astype(np.float32), colors.astype(np.float32), width)

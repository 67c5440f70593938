"""Triangles with a material: what the rasterizer draws."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Material:
    """How a surface looks.

    Attributes:
        color: RGB factor in [0, 1], display space (gamma coded).
        opacity: 1 = opaque. The rasterizer leaves out what is clearer than glass (below 0.35).
        texture: H×W×4 RGBA uint8 multiplied onto ``color``; alpha below one half is cut out.
        normal_map: H×W×4 uint8 tangent-space normals.
        gloss: Strength of the highlight in [0, 1].
        glow: Light that the surface gives off by itself, as a factor of its color.
        strength: How strongly the normal map bends the light, 1 = as stored.
    """

    color: tuple[float, float, float] = (0.8, 0.8, 0.8)
    opacity: float = 1.0
    texture: NDArray[np.uint8] | None = None
    normal_map: NDArray[np.uint8] | None = None
    gloss: float = 0.05
    glow: float = 0.0
    strength: float = 1.0


@dataclass(frozen=True, eq=False)
class Mesh:
    """Triangles in world space (metres, y up).

    Attributes:
        positions: N×3 float32.
        normals: N×3 float32, unit length.
        uvs: N×2 float32, v down as in glTF.
        triangles: M×3 int32.
        material: Look of the surface.
        foreground: True for what the matte is to keep.
        casts_shadow: False for the walls of a room, which would darken it whole.
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    uvs: NDArray[np.float32]
    triangles: NDArray[np.int32]
    material: Material = field(default_factory=Material)
    foreground: bool = False
    casts_shadow: bool = True

    def moved(
        self,
        offset: NDArray[np.floating] | tuple[float, float, float] = (0.0, 0.0, 0.0),
        yaw: float = 0.0,
        scale: float = 1.0,
    ) -> Mesh:
        """The mesh scaled, turned about the y axis (radians), then shifted (metres)."""
        turn = rotation_y(yaw)
        positions = (self.positions * scale) @ turn.T + np.asarray(offset)
        return replace(
            self,
            positions=positions.astype(np.float32),
            normals=(self.normals @ turn.T).astype(np.float32),
        )


@dataclass(frozen=True, eq=False)
class Strands:
    """Thin hairs, drawn as lines over the meshes.

    Attributes:
        points: S×P×3 float32, P points along each of S hairs, metres.
        colors: S×3 float32 RGB in [0, 1].
        width: Width of a hair (or of a few sticking together), metres.
        foreground: True for what the matte is to keep.
    """

    points: NDArray[np.float32]
    colors: NDArray[np.float32]
    width: float = 0.0004
    foreground: bool = True


def rotation_x(angle: float) -> NDArray[np.float64]:
    """3×3 rotation about x by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])


def rotation_y(angle: float) -> NDArray[np.float64]:
    """3×3 rotation about y by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def rotation_z(angle: float) -> NDArray[np.float64]:
    """3×3 rotation about z by ``angle`` radians."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def bounds(meshes: list[Mesh]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Smallest and largest corner of all meshes, two arrays of 3, metres."""
    low = np.min([m.positions.min(0) for m in meshes], axis=0)
    high = np.max([m.positions.max(0) for m in meshes], axis=0)
    return low, high


def quad(
    corner: tuple[float, float, float],
    right: tuple[float, float, float],
    up: tuple[float, float, float],
    material: Material,
    repeat: tuple[float, float] = (1.0, 1.0),
    casts_shadow: bool = True,
) -> Mesh:
    """A rectangle from its lower left corner and two edges (metres), seen from right × up."""
    c, r, u = (np.asarray(v, np.float32) for v in (corner, right, up))
    normal = np.cross(r, u)
    normal = normal / np.linalg.norm(normal)
    across, along = repeat
    return Mesh(
        positions=np.stack([c, c + r, c + r + u, c + u]).astype(np.float32),
        normals=np.repeat(normal[None], 4, 0).astype(np.float32),
        uvs=np.array([[0, along], [across, along], [across, 0], [0, 0]], np.float32),
        triangles=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        material=material,
        casts_shadow=casts_shadow,
    )


def box(
    center: tuple[float, float, float], size: tuple[float, float, float], material: Material
) -> list[Mesh]:
    """Six rectangles around ``center``, ``size`` metres along x, y and z."""
    x, y, z = center
    w, h, d = (s / 2 for s in size)
    sides = [
        ((x - w, y - h, z + d), (2 * w, 0, 0), (0, 2 * h, 0)),
        ((x + w, y - h, z - d), (-2 * w, 0, 0), (0, 2 * h, 0)),
        ((x + w, y - h, z + d), (0, 0, -2 * d), (0, 2 * h, 0)),
        ((x - w, y - h, z - d), (0, 0, 2 * d), (0, 2 * h, 0)),
        ((x - w, y + h, z + d), (2 * w, 0, 0), (0, 0, -2 * d)),
        ((x - w, y - h, z - d), (2 * w, 0, 0), (0, 0, 2 * d)),
    ]
    return [quad(corner, right, up, material) for corner, right, up in sides]


def tube(points: NDArray[np.floating], radius: float, material: Material, sides: int = 7) -> Mesh:
    """A wire along N×3 points (metres)."""
    points = np.asarray(points, np.float64)
    along = np.gradient(points, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    # The axis that the wire runs along least, so that nothing is parallel to it.
    hint = np.eye(3)[np.argmin(np.abs(along).max(axis=0))]
    across = np.cross(along, hint)
    across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-9)
    third = np.cross(along, across)
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)[None, :, None]
    normals = np.cos(angle) * across[:, None] + np.sin(angle) * third[:, None]
    positions = points[:, None] + radius * normals
    rows, columns = np.meshgrid(np.arange(len(points) - 1), np.arange(sides), indexing="ij")
    a, b = rows * sides + columns, rows * sides + (columns + 1) % sides
    triangles = np.concatenate(
        [np.stack([a, b, a + sides], -1), np.stack([b, b + sides, a + sides], -1)]
    )
    count = len(points) * sides
    return Mesh(
        positions.reshape(count, 3).astype(np.float32),
        normals.reshape(count, 3).astype(np.float32),
        np.zeros((count, 2), np.float32),
        triangles.reshape(-1, 3).astype(np.int32),
        material,
    )


def rod(
    start: NDArray[np.floating], end: NDArray[np.floating], radius: float, material: Material
) -> Mesh:
    """A straight wire between two points (metres)."""
    return tube(np.linspace(start, end, 3), radius, material)


def sheet(points: NDArray[np.floating], material: Material) -> Mesh:
    """A piece of cloth through a grid of R×C×3 points (metres)."""
    points = np.asarray(points, np.float64)
    rows, columns = points.shape[:2]
    normal = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-9)
    i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
    a = i * columns + j
    triangles = np.concatenate(
        [
            np.stack([a, a + 1, a + columns], -1).reshape(-1, 3),
            np.stack([a + 1, a + columns + 1, a + columns], -1).reshape(-1, 3),
        ]
    )
    v, u = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    return Mesh(
        points.reshape(-1, 3).astype(np.float32),
        normal.reshape(-1, 3).astype(np.float32),
        np.stack([u, v], -1).reshape(-1, 2).astype(np.float32),
        triangles.astype(np.int32),
        material,
        foreground=True,
    )

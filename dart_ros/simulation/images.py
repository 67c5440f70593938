"""Operations on images that the parts of a composition share."""

from __future__ import annotations

import functools
import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.simulation.foregrounds import Foreground


@functools.cache
def bicubic(cells: int, size: int, device: torch.device) -> Tensor:
    """size×cells: bicubic interpolation along one axis.

    Two products with it take a CPU a tenth of the time of torch's interpolation along both.
    """
    one_hot = torch.eye(cells, device=device)[None, None]
    return F.interpolate(one_hot, (size, cells), mode="bicubic", align_corners=False)[0, 0]


@functools.cache
def triangles(size: int, width: int, device: torch.device) -> Tensor:
    """size×size: a blur along one axis, as of two boxes ``width`` pixels wide."""
    place = torch.arange(size, device=device)
    return (width - (place[:, None] - place).abs()).clamp(min=0) / width**2


def highest(image: Tensor, size: int) -> Tensor:
    """The highest of the size×size pixels around each pixel, C×H×W; along one axis at a time."""
    across = F.max_pool2d(image[None], (1, size), 1, (0, size // 2))
    return F.max_pool2d(across, (size, 1), 1, (size // 2, 0))[0]


def steepness(depth: Tensor, focal: float) -> Tensor:
    """Tangent of the angle at which a surface is seen, 0 where it faces the camera; 1×H×W."""
    # Over several pixels: depth that was magnified has steps.
    right = F.pad((depth[..., 4:] - depth[..., :-4]).abs(), (2, 2, 0, 0))
    down = F.pad((depth[..., 4:, :] - depth[..., :-4, :]).abs(), (0, 0, 2, 2))
    return torch.maximum(right, down) / 4 * focal / depth.clamp(min=0.1)


def nearness_of(depth: Tensor) -> Tensor:
    """1/m, 0 where unknown."""
    return torch.where(depth > 0, 1 / depth.clamp(min=1e-3), 0.0)


def displaced(image: Tensor, rows: int, columns: int, beyond: str = "constant") -> Tensor:
    """Moves an image down and right; 0 comes in, or what it shows at its borders ("replicate")."""
    height, width = image.shape[-2:]
    reach = max(abs(rows), abs(columns))
    padded = F.pad(image[None], (reach,) * 4, mode=beyond)[0]
    top, left = reach - rows, reach - columns
    return padded[..., top : top + height, left : left + width]


def level_of(subject: Foreground, scale: float) -> int:
    """The level of a subject's pyramid that is sampled without aliasing at a scale."""
    level = 0
    while level + 1 < len(subject.levels) and scale * 2**level < 0.7:
        level += 1
    return level


def warp(
    subject: Foreground,
    scale: float,
    center: tuple[float, float],
    size: tuple[int, int],
    flat: float = 1.0,
    shear: float = 0.0,
    roll: float = 0.0,
    mirror: float = 1.0,
    bend: Tensor | None = None,
) -> Tensor:
    """Samples a subject onto a canvas.

    Args:
        scale: pixels of the canvas per pixel of the subject.
        center: (x, y) of the subject's middle on the canvas in pixels.
        size: (height, width) of the canvas.
        flat: vertical squeeze.
        shear: horizontal displacement per unit of height (a shadow's direction).
        roll: rotation in radians.
        mirror: -1 mirrors left and right.
        bend: 2×H×W, pixels down and right by which the canvas's pixels are displaced.

    Returns:
        5×H×W float32 on the scale 0..255: RGB, alpha and depth, all multiplied by alpha.
    """
    source = subject.levels[level_of(subject, scale * min(1.0, flat * 2))].float()
    source = torch.cat([source[:4], source[4:] * (source[3:4] / 255)])
    height, width = size
    subject_height, subject_width = subject.size
    xs = torch.arange(width, dtype=torch.float32, device=source.device) + 0.5 - center[0]
    ys = torch.arange(height, dtype=torch.float32, device=source.device) + 0.5 - center[1]
    x = xs[None, :] + shear * ys[:, None]
    y = (ys / flat)[:, None].expand(height, width)
    if bend is not None:
        x, y = x - bend[1], y - bend[0]
    cosine, sine = math.cos(roll), math.sin(roll)
    u = mirror * (cosine * x + sine * y) * (2 / (subject_width * scale))
    v = (cosine * y - sine * x) * (2 / (subject_height * scale))
    grid = torch.stack([u, v], dim=-1)[None]
    return F.grid_sample(source[None], grid, mode="bilinear", align_corners=False)[0]

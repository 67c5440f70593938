"""What people look like in a frame: in another light, in the color of the wall, in patterns."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.simulation.dice import Dice
from dart_ros.simulation.placement import Layer


@dataclass(frozen=True)
class AppearanceChances:
    """How often people look otherwise than they were rendered.

    Attributes:
        dark: all of somebody is dark.
        dark_at_border: the same at a blind border.
        walls_color: all of somebody has the color of what is behind.
        pale: less contrast.
        camouflage: parts of somebody have the color of what is just behind.
        camouflage_at_border: the same at a blind border.
        pattern: stripes, checks or a print.
        pattern_of_wall: a pattern is in the color of what is behind.
    """

    dark: float = 0.08
    dark_at_border: float = 0.6
    walls_color: float = 0.2
    pale: float = 0.3
    camouflage: float = 0.25
    camouflage_at_border: float = 0.5
    pattern: float = 0.2
    pattern_of_wall: float = 0.6


def recolored(
    dice: Dice, chances: AppearanceChances, layer: Layer, plate: Tensor, often_dark: bool
) -> Tensor:
    """The subject's premultiplied colors in another light; sometimes those of the wall."""
    gain = math.exp(0.25 * float(dice.normal()))
    tint = 1 + 0.06 * dice.normal(3, 1, 1)
    rgb = layer.rgb * gain * tint
    if dice.chance(chances.dark_at_border if often_dark else chances.dark):
        rgb = rgb * dice.uniform(0.05, 0.5)
    weight = layer.alpha.sum().clamp(min=1)
    if dice.chance(chances.walls_color):
        own = rgb.sum(dim=(1, 2), keepdim=True) / weight
        wall = (plate * layer.alpha).sum(dim=(1, 2), keepdim=True) / weight
        rgb = rgb + (wall - own) * dice.uniform(0.5, 1.0) * layer.alpha
    if dice.chance(chances.pale):
        contrast = dice.uniform(0.4, 1.0)
        own = rgb.sum(dim=(1, 2), keepdim=True) / weight
        rgb = rgb * contrast + own * (1 - contrast) * layer.alpha
    return torch.minimum(rgb.clamp(min=0), layer.alpha)


def camouflaged(dice: Dice, rgb: Tensor, alpha: Tensor, plate: Tensor) -> Tensor:
    """Parts of somebody in the color of what is behind just there, without its texture."""
    height, width = alpha.shape[-2:]
    cells = math.exp(dice.uniform(math.log(4.0), math.log(20.0)))
    where = (2 * dice.smooth_noise(height, width, round(cells))).clamp(0, 1)
    coarse = (math.ceil(height / 16), math.ceil(width / 16))
    small = F.interpolate(plate[None], coarse, mode="area")
    behind = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)[0]
    tint = 1 + 0.04 * dice.normal(3, 1, 1)
    return torch.minimum(rgb * (1 - where) + behind * tint * alpha * where, alpha)


def patterned(
    dice: Dice, chances: AppearanceChances, rgb: Tensor, layer: Layer, plate: Tensor
) -> Tensor:
    """Clothes with stripes, checks or a print, often in the color of what is behind."""
    alpha = layer.alpha
    height, width = alpha.shape[-2:]
    # Relative to the body, with which a pattern moves.
    down = (torch.arange(height, device=dice.device) - layer.center[1]) / layer.extent
    across = (torch.arange(width, device=dice.device) - layer.center[0]) / layer.extent
    slant = 0.0 if dice.chance(0.5) else math.pi / 2 if dice.chance(0.6) else 0.8
    period = 0.04 * math.exp(dice.uniform(-1.0, 1.2))
    duty, kind = dice.uniform(-0.6, 0.6), dice.uniform(0, 1)
    u = (down[:, None] * math.cos(slant) + across * math.sin(slant)) * (2 * math.pi / period)
    v = (across * math.cos(slant) - down[:, None] * math.sin(slant)) * (2 * math.pi / period)
    if kind < 0.5:
        wave = torch.sin(u)
    elif kind < 0.75:
        wave = torch.maximum(torch.sin(u), torch.sin(v))
    else:  # a print: blots
        wave = torch.sin(u + 1.5 * torch.sin(0.7 * v)) * torch.sin(v + torch.sin(0.6 * u))
    edge = period * layer.extent / 6
    where = ((wave - duty) * edge + 0.5).clamp(0, 1)
    top, length = dice.uniform(-0.4, 0.2), dice.uniform(0.15, 0.6)
    inside = torch.minimum(down - top, top + length - down) * layer.extent + 0.5
    where = (where * inside.clamp(0, 1)[:, None])[None]
    if dice.chance(chances.pattern_of_wall):
        coarse = (math.ceil(height / 16), math.ceil(width / 16))
        small = F.interpolate(plate[None], coarse, mode="area")
        dye = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)[0]
        dye = dye * (1 + 0.04 * dice.normal(3, 1, 1))
    else:
        dye = torch.sigmoid(1.5 * dice.normal(3, 1, 1))
    # What is left of the shading is the cloth's folds.
    gray = (rgb.mean(dim=0, keepdim=True) / alpha.clamp(min=1e-3)).clamp(0, 1)
    mean = (gray * alpha).sum() / alpha.sum().clamp(min=1)
    folds = (gray / mean.clamp(min=0.05)).clamp(0.5, 1.5) ** 0.5
    return torch.minimum(rgb * (1 - where) + dye * folds * alpha * where, alpha)

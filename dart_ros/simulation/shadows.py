"""Shadows of people: on floor and wall, at the feet, under the soles."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.simulation.dice import Dice
from dart_ros.simulation.foregrounds import Foreground
from dart_ros.simulation.images import triangles, warp


@dataclass(frozen=True)
class ShadowChances:
    """How often people cast which shadow.

    Attributes:
        on_floor: one on the floor.
        on_wall: one on the wall.
        at_feet: a soft one around the feet.
        under_soles: the darkest, under soles and hems.
    """

    on_floor: float = 0.6
    on_wall: float = 0.5
    at_feet: float = 0.6
    under_soles: float = 0.6


def cast_shadow(
    dice: Dice,
    chances: ShadowChances,
    subject: Foreground,
    scale: float,
    center: tuple[float, float],
    mirror: float,
    size: tuple[int, int],
) -> Tensor:
    """1×H×W factor in (0, 1]: shadows on floor and wall, at the feet, under the soles."""
    height, width = size
    # Shadows are never as sharp as outlines: half of the resolution is enough.
    small = (math.ceil(height / 2), math.ceil(width / 2))
    middle_x, middle_y = center[0] / 2, center[1] / 2
    half_scale = scale / 2
    shade = torch.ones(1, *small, device=dice.device)
    extent = subject.size[0] * half_scale
    if dice.chance(chances.on_floor):
        flat = dice.uniform(0.15, 0.6)
        shear = dice.uniform(-1.2, 1.2)
        middle = (
            middle_x + shear * extent * flat / 2,
            middle_y + extent / 2 - extent * flat / 2,
        )
        cast = warp(subject, half_scale, middle, small, flat=flat, shear=shear, mirror=mirror)
        shade = shade * _soften(dice, cast[3:4] / 255, _softness(dice, 6.0))
    if dice.chance(chances.on_wall):
        away = dice.uniform(0.02, 0.25) * extent
        middle = (
            middle_x + away * (1 if dice.chance(0.5) else -1),
            middle_y + dice.uniform(-0.05, 0.1) * extent,
        )
        grown = half_scale * dice.uniform(0.95, 1.25)
        cast = warp(subject, grown, middle, small, mirror=mirror)
        shade = shade * _soften(dice, cast[3:4] / 255, _softness(dice, 8.0))
    if dice.chance(chances.at_feet):
        feet = (middle_x, middle_y + extent / 2)
        cast = warp(subject, half_scale, feet, small, flat=0.12, mirror=mirror)
        shade = shade * _soften(dice, cast[3:4] / 255, 4.0)
    if dice.chance(chances.under_soles):
        # Under soles and hems, of a foot in the air as well, it is darkest.
        drop, aside = dice.uniform(0.0, 0.04) * extent, dice.uniform(-0.03, 0.03) * extent
        below = (middle_x + aside, middle_y + drop)
        cast = warp(subject, half_scale, below, small, mirror=mirror)[3:4] / 255
        part = dice.uniform(0.05, 0.25) * extent
        rows = torch.arange(small[0], device=dice.device) - (middle_y + extent / 2 - part)
        cast = cast * (rows / (0.3 * part)).clamp(0, 1)[:, None]
        wider = min(12, round(dice.uniform(0.0, 0.02) * extent))
        cast = F.max_pool2d(cast, (1, 2 * wider + 1), 1, (0, wider))
        shade = shade * _soften(dice, cast, _softness(dice, 4.0), darkest=0.9)
    return F.interpolate(shade[None], size, mode="bilinear", align_corners=False)[0]


def _softness(dice: Dice, highest: float) -> float:
    """Half-size pixels by which a shadow blurs; hard shadows are as frequent as soft ones."""
    return math.exp(dice.uniform(math.log(0.3), math.log(highest)))


def _soften(dice: Dice, cast: Tensor, sigma: float, darkest: float = 0.7) -> Tensor:
    """A silhouette to a soft factor."""
    strength = dice.uniform(0.08, darkest)
    width = 2 * round(2 * sigma) + 1
    height, columns = cast.shape[-2:]
    down = triangles(height, width, dice.device)
    return 1 - strength * (down @ cast @ triangles(columns, width, dice.device))

"""Who is in a frame, and where."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.simulation.dice import Dice
from dart_ros.simulation.foregrounds import DEPTH_STEP, Foreground
from dart_ros.simulation.images import level_of, warp
from dart_ros.simulation.shadows import ShadowChances, cast_shadow


@dataclass(frozen=True)
class PlacementChances:
    """Who stands where, as probabilities.

    Attributes:
        object: of a thing beside people.
        on_floor: somebody stands where the floor is seen.
        bust: somebody who is cut at the lower side fills the picture, as in a video call.
        sharpened: magnified outlines are made as sharp as a camera sees them.
        motion_blur: all of somebody is blurred.
        limbs_in_motion: parts of somebody are blurred by a motion of their own.
        before_all: somebody comes nearer where the scene would stand before them.
        still: somebody stands still between the frames of a pair.
        sways: somebody sways a little; the others walk.
        cut: people jump from one frame of a pair to the next, as after a gap.
    """

    object: float = 0.25
    on_floor: float = 0.6
    bust: float = 0.35
    sharpened: float = 0.8
    motion_blur: float = 0.1
    limbs_in_motion: float = 0.15
    before_all: float = 0.6
    still: float = 0.4
    sways: float = 0.35
    cut: float = 0.06


class Layer(NamedTuple):
    """One subject placed on the canvas: premultiplied RGB, alpha and depth, each C×H×W.

    ``center`` (x, y) and ``extent``, the height, are in pixels.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    center: tuple[float, float]
    extent: float


class Motion(NamedTuple):
    """Where somebody is relative to moment 0: pixels, a factor of their size, radians, and pixels
    down and right by which each pixel of the canvas (2×H×W) is moved besides."""

    down: float
    across: float
    growth: float
    turn: float
    bend: Tensor | None


def cast(
    dice: Dice,
    chances: PlacementChances,
    people: Sequence[Foreground],
    objects: Sequence[Foreground],
) -> list[Foreground]:
    """Who is in the frame: mostly one to three people, sometimes nobody, sometimes objects."""
    pick = dice.uniform(0, 1)
    number = 0 if pick < 0.08 else 1 if pick < 0.6 else 2 if pick < 0.88 else 3
    chosen = [people[dice.integer(len(people))] for _ in range(number)]
    if objects and dice.chance(chances.object):
        chosen.append(objects[dice.integer(len(objects))])
    return chosen


def motion_of(dice: Dice, chances: PlacementChances, height: int, width: int) -> Motion:
    """How far somebody is from where they are at moment 0: most stand still or sway a little,
    some walk."""
    kind = dice.uniform(0, 1)
    time = dice.time
    along, across, growth, turn = (float(dice.normal()) for _ in range(4))
    fastest = dice.uniform(math.log(2.0), math.log(0.03 * max(height, width)))
    bends = dice.chance(0.6)
    if kind < chances.still or not time:
        return Motion(0.0, 0.0, 1.0, 0.0, None)
    walks = kind > chances.still + chances.sways
    speed = math.exp(fastest) if walks else 1.0
    bend = None
    if bends:
        # Limbs and clothes move by themselves.
        reach = time * min(speed, 0.008 * max(height, width))
        bend = reach * torch.cat([dice.smooth_noise(height, width, 7) for _ in range(2)])
    return Motion(
        0.3 * speed * along * time,
        speed * across * time,
        math.exp(0.01 * growth * time) if walks else 1.0,
        0.01 * turn * time if walks else 0.002 * turn * time,
        bend,
    )


def place(
    dice: Dice,
    chances: PlacementChances,
    shadows: ShadowChances,
    subject: Foreground,
    reach: Tensor,
    focal: float,
    columns: range,
    motion: Motion,
) -> tuple[Layer, Tensor]:
    """Puts a subject somewhere it could stand, and computes the shadow that it casts."""
    height, width = reach.shape[-2:]
    near = 0.5 if "bottom" in subject.cut else 0.9
    column = columns[dice.integer(len(columns))]
    farthest = float(reach[0, :, column].max())
    distance = math.exp(dice.uniform(math.log(near), math.log(max(near * 1.3, farthest))))
    floor = _floor_rows(reach[0, :, column]) if "bottom" not in subject.cut else []
    spot = floor[dice.integer(len(floor))] if len(floor) and dice.chance(chances.on_floor) else None
    if spot is not None:
        # Somebody who stands where the floor is seen: depth can't tell shoes from shadows.
        distance = max(near, float(reach[0, spot, column]))
    scale = (focal / subject.focal) * (subject.distance / distance)
    if "bottom" in subject.cut and dice.chance(chances.bust):
        # A bust, as in a video call: heads of a third of the picture's height and more.
        nearer = dice.uniform(0.8, 1.8) * height / (subject.size[0] * scale)
        nearer = min(max(1.0, nearer), max(1.0, distance / 0.35))
        scale, distance = scale * nearer, distance / nearer
    subject_height = subject.size[0] * scale
    if "bottom" in subject.cut:
        hidden = max(0.15, 1 - dice.uniform(0.85, 1.2) * height / subject_height)
        bottom = height + dice.uniform(0, hidden) * subject_height
    elif spot is not None:
        bottom = float(spot)
    elif dice.chance(0.75):
        # Feet go to the lowest row of this column whose depth is the subject's.
        gap = (reach[0, :, column] - distance).abs() / distance
        rows = torch.nonzero(gap < 0.08)
        bottom = float(rows.max()) if len(rows) else height + 0.3 * subject_height
    else:
        bottom = dice.uniform(0.6, 1.3) * height
    scale, distance = scale * motion.growth, distance / motion.growth
    center = (column + 0.5 + motion.across, bottom - subject_height / 2 + motion.down)
    roll = (dice.uniform(-0.06, 0.06) if dice.chance(0.3) else 0.0) + motion.turn
    mirror = -1.0 if dice.chance(0.5) else 1.0
    placed = warp(
        subject,
        scale,
        center,
        (height, width),
        roll=roll,
        mirror=mirror,
        bend=motion.bend,
    )
    alpha = placed[3:4] / 255
    offset = (placed[4:5] / alpha.clamp(min=1e-3) - 128) * DEPTH_STEP
    sharpened = dice.chance(chances.sharpened)
    if sharpened and not subject.soft:
        # Magnified outlines are as soft as they are large; a camera would see sharp ones.
        width_now = scale * 2 ** level_of(subject, scale)
        slope = min(4.0, max(1.0, width_now * dice.uniform(0.9, 2.0)))
        sharp = ((alpha - 0.5) * slope + 0.5).clamp(0, 1)
        placed = placed * (sharp / alpha.clamp(min=1e-3))
        alpha = sharp
    depth = distance + torch.where(alpha > 0.02, offset, 0.0).clamp(-1, 1)

    rgb = placed[:3] / 255
    if dice.chance(chances.motion_blur):
        # Rare, for it blurs all of somebody: with much of it all outlines come out soft.
        longest = (0.08 if dice.chance(0.12) else 0.02) * max(height, width)
        rgb, alpha = _blur_motion(dice, rgb, alpha, longest)
    if dice.chance(chances.limbs_in_motion):
        rgb, alpha = _blur_parts(dice, rgb, alpha, 0.06 * max(height, width))
    overlap = alpha > 0.5
    if bool(overlap.any()) and dice.chance(chances.before_all):
        # Nothing of the scene stands before this one: come nearer where something would.
        excess = float(torch.quantile((depth / reach)[overlap], 0.98))
        depth = depth / max(1.0, excess * 1.02)
    else:
        seen = F.avg_pool2d((depth < reach + 0.03).float(), 3, stride=1, padding=1)
        rgb, alpha = rgb * seen, alpha * seen
    shadow = cast_shadow(dice, shadows, subject, scale, center, mirror, (height, width))
    return Layer(rgb, alpha, depth, center, subject.size[0] * scale), shadow


def _blur_motion(dice: Dice, rgb: Tensor, alpha: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """Blur along a line of up to ``longest`` pixels, as of a moving arm or a slow shutter."""
    height, width = alpha.shape[-2:]
    length = math.exp(dice.uniform(math.log(3.0), math.log(max(3.0, longest))))
    angle = dice.uniform(-0.5, 0.5) if dice.chance(0.7) else dice.uniform(0, math.pi)
    steps, reach = round(length), math.ceil(length / 2)
    # Who is cut by the picture's edge goes on beyond it.
    stack = F.pad(torch.cat([rgb, alpha])[None], (reach,) * 4, mode="replicate")[0]
    total = torch.zeros_like(torch.cat([rgb, alpha]))
    for step in range(steps):
        way = (step + 0.5) / steps - 0.5
        row = reach + round(way * length * math.sin(angle))
        column = reach + round(way * length * math.cos(angle))
        total += stack[:, row : row + height, column : column + width]
    total /= steps
    return total[:3], total[3:]


def _blur_parts(dice: Dice, rgb: Tensor, alpha: Tensor, longest: float) -> tuple[Tensor, Tensor]:
    """Blur of some parts along lines of up to ``longest`` pixels, as of arms that wave while the
    body stands: the mean of several moments of a motion that is smooth over the picture."""
    height, width = alpha.shape[-2:]
    length = math.exp(dice.uniform(math.log(4.0), math.log(max(4.0, longest))))
    angle = dice.uniform(0, 2 * math.pi)
    moving = (dice.smooth_noise(height, width, 5) * 1.5 - 0.3).clamp(0, 1)
    across, down = length * math.cos(angle) * moving[0], length * math.sin(angle) * moving[0]
    rows = torch.arange(height, device=alpha.device, dtype=alpha.dtype)[:, None]
    columns = torch.arange(width, device=alpha.device, dtype=alpha.dtype)[None, :]
    stack, steps = torch.cat([rgb, alpha])[None], min(24, round(length))
    total = torch.zeros_like(stack)
    for step in range(steps):
        way = (step + 0.5) / steps - 0.5
        x, y = columns + way * across, rows + way * down
        grid = torch.stack([(2 * x + 1) / width - 1, (2 * y + 1) / height - 1], dim=-1)[None]
        total += F.grid_sample(stack, grid, padding_mode="border", align_corners=False)
    total /= steps
    return total[0, :3], total[0, 3:]


def _floor_rows(depth: Tensor) -> list[int]:
    """Rows of a column (H metres, from above) at which a floor comes nearer, in the lower part."""
    step = max(1, len(depth) // 80)
    nearer = depth[:-step] / depth[step:] - 1
    slopes = (nearer > 0.006) & (nearer < 0.08)
    rows = torch.nonzero(slopes[:-step] & slopes[step:])[:, 0] + step
    return [row for row in rows.tolist() if row >= 0.4 * len(depth)]

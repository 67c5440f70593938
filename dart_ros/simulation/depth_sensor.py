"""The depth sensor in training: what it loses, displaces and quantises, drawn anew for each scene.

For playback :mod:`dart_ros.simulation.sensor_noise` has the errors of one sensor, frame by frame.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.method.blind_sides import extrapolate_depth
from dart_ros.method.depth_background import STD_FLOOR
from dart_ros.simulation.background import View
from dart_ros.simulation.dice import Dice
from dart_ros.simulation.frames import sides_of
from dart_ros.simulation.images import displaced, highest, nearness_of, steepness
from dart_ros.simulation.sensors import SENSORS


@dataclass(frozen=True)
class DepthChances:
    """How often any depth sensor errs; what a kind of sensor does is in :data:`SENSORS`.

    Attributes:
        hidden: bands beside the scene's own edges are unknown.
        edges_moved: edges of the background are measured at another place than in the capture.
        misregistered: depth of people lies beside their color.
        poorly_registered: then by up to ten pixels for those who are near.
        near_lost: nothing is seen of what is too near.
        people_lost: nothing is seen of anybody.
        pixels_lost: single pixels are lost.
        all_lost: depth is lost altogether.
    """

    hidden: float = 0.6
    edges_moved: float = 0.7
    misregistered: float = 0.75
    poorly_registered: float = 0.3
    near_lost: float = 0.12
    people_lost: float = 0.08
    pixels_lost: float = 0.6
    all_lost: float = 0.1


def sense(
    dice: Dice,
    chances: DepthChances,
    view: View,
    front: Tensor,
    frame: Tensor,
    margin: Tensor,
    reflecting: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What the depth sensor makes of the empty scene and of the frame.

    It sees nothing in ``margin``; where the scene isn't ``reflecting`` it sees people, and the
    scene by luck.

    Returns:
        live depth (-1 unknown, or a guess, see
        :func:`dart_ros.method.blind_sides.extrapolate_depth`), background mean, background
        deviation, background known.
    """
    depth, std = view.depth, view.std
    captured, measured, max_depth = std is not None, view.live_depth, view.max_depth
    height, width = depth.shape[-2:]
    sensor = list(SENSORS.values())[dice.integer(len(SENSORS))]
    noise, step = (
        math.exp(dice.uniform(math.log(low), math.log(high)))
        for low, high in (sensor.noise, sensor.step)
    )
    near = dice.uniform(0.2, 0.5)

    known = (depth > 0) & (depth < max_depth) & reflecting
    if not captured:
        for cells, level in ((6, dice.uniform(1.2, 3.5)), (25, dice.uniform(1.5, 3.5))):
            known = known & (dice.smooth_noise(height, width, cells) < level)
        if dice.chance(0.5 * sensor.dark):
            known = known & (view.color.mean(dim=0, keepdim=True) > dice.uniform(0.03, 0.15))
        if dice.chance(sensor.steep):
            known = known & (steepness(depth, view.focal) < dice.uniform(4.0, 12.0))
        if dice.chance(sensor.far):
            weak = depth > dice.uniform(0.5, 1.0) * max_depth
            known = known & ~(weak & (dice.smooth_noise(height, width, 40) > 0))
        if dice.chance(chances.hidden):
            known = known & ~_hidden(dice, depth)
    deviation = std if std is not None else noise * depth.clamp(min=0) ** 2
    average, empty = depth, torch.where(depth > 0, depth, 0.0)
    if not captured and dice.chance(sensor.mixed):
        average, spread, empty = _mixed_edges(dice, depth)
        deviation = torch.maximum(deviation, spread)
    deviation = torch.maximum(deviation, STD_FLOOR * depth.clamp(min=0.1))
    mean = torch.where(known, average, max_depth)
    deviation = torch.where(known, deviation, 0.01 * max_depth)

    person = torch.isfinite(front)
    person_depth = torch.where(person, front, 0.0)
    nearness = float(1 / front[person].mean().clamp(min=0.5)) if bool(person.any()) else 0.0
    if dice.chance(chances.misregistered):
        person, person_depth = _misregister(dice, chances, person, person_depth, nearness)
    if measured is not None:
        empty = measured
    elif dice.chance(chances.edges_moved):
        # Edges of the background are never measured twice at the same place.
        shift = (dice.integer(5) - 2, dice.integer(5) - 2)
        moved = dice.smooth_noise(height, width, 40, fresh=0.7) > 0.3
        empty = torch.where(moved, displaced(empty, *shift), empty)
    live = torch.where(person, person_depth, empty)
    invented = person if measured is not None else torch.ones_like(person)
    if dice.chance(sensor.drift):
        # Structured light and time of flight drift by some per cent when the view changes.
        drift = dice.uniform(0.0, 0.025) * dice.smooth_noise(height, width, 4).clamp(-2, 2)
        live = live * (1 + drift)
    lucky = (empty > 0) & (dice.smooth_noise(height, width, 30, fresh=0.7) > dice.uniform(1.0, 3.0))
    seen = person | (known | lucky if measured is None else empty > 0)
    flicker = dice.smooth_noise(height, width, 60, fresh=1.0) > dice.uniform(1.8, 4.0)
    seen = seen & ~(flicker & invented)
    for cells, low in ((8, 1.6), (30, 1.8)):
        # Dark or shiny clothes and hair, seen by the sensor as nothing.
        missed = dice.smooth_noise(height, width, cells, fresh=0.4) > dice.uniform(low, 4)
        seen = seen & ~(person & missed)
    if dice.chance(sensor.dark):
        # Black clothes and hair give nothing back at all.
        black = frame.mean(dim=0, keepdim=True) < dice.uniform(0.05, 0.35)
        seen = seen & ~(black & person)
    if dice.chance(chances.near_lost):
        # Too near for the sensor.
        seen = seen & ~(person & (person_depth < dice.uniform(0.4, 1.5)))
    if dice.chance(chances.people_lost):
        seen = seen & ~person
    if dice.chance(sensor.dark):
        dark = frame.mean(dim=0, keepdim=True) < dice.uniform(0.03, 0.2)
        seen = seen & ~(dark & person & (dice.smooth_noise(height, width, 20, fresh=0.4) > 0))
    if dice.chance(chances.pixels_lost):
        # Single pixels are lost as well, of people who are dark more than of what is behind.
        lost = dice.fresh_uniform(seen.shape)
        often, seldom = dice.uniform(0.0, 0.5), dice.uniform(0.0, 0.05)
        darkness = (1 - 2 * frame.mean(dim=0, keepdim=True)).clamp(0, 1)
        seen = seen & (lost > torch.where(person, often * darkness, seldom * invented))
    if dice.chance(sensor.shadow):
        seen = seen & ~_occlusion_shadow(dice, person, nearness)
    if dice.chance(chances.all_lost):
        seen = torch.zeros_like(seen)  # depth lost altogether: color must do

    axial = dice.fresh_normal(1, height, width)
    if dice.chance(0.5):
        grains = dice.smooth_noise(height, width, max(height, width) // 5, fresh=1.0)
        axial = 0.5 * axial + grains
    spread = torch.where(person | (std is None), noise * live**2, deviation * 0.7)
    live = live + axial * spread * invented
    quantum = (step * live**2).clamp(min=0.001)
    live = torch.round(live / quantum) * quantum
    seen = seen & ~margin & (live > near) & (live < max_depth)
    live = torch.where(seen, live, -1.0)
    guessed = torch.from_numpy(extrapolate_depth(live[0].cpu().numpy(), sides_of(margin)))
    return guessed[None].to(dice.device), mean, deviation, known.float()


def _hidden(dice: Dice, depth: Tensor) -> Tensor:
    """The bands beside the scene's own edges that a projector or second eye can't see."""
    length = 1 + dice.integer(8)
    side = (length, 0) if dice.chance(0.5) else (0, length)
    padded = F.pad(nearness_of(depth)[None], (*side, 0, 0), mode="replicate")
    nearest = F.max_pool2d(padded, (1, length + 1), 1)[0]
    return depth * nearest > 1.05


def _mixed_edges(dice: Dice, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Edges of the scene that are measured now near and now far.

    Returns:
        mean and deviation over the capture, and the depth in the frame (0 unknown), metres.
    """
    height, width = depth.shape[-2:]
    size = 3 + 2 * dice.integer(2)
    near = 1 / highest(nearness_of(depth), size)
    edge = depth > 1.05 * near
    share = dice.smooth_noise(height, width, 40).clamp(-1, 1) * 0.5 + 0.5
    gap = torch.where(edge, depth - near, 0.0)
    low = dice.fresh_uniform(share.shape) < share
    frame = torch.where(edge & low, near, depth).clamp(min=0)
    return depth - share * gap, torch.sqrt(share * (1 - share)) * gap, frame


def _misregister(
    dice: Dice, chances: DepthChances, person: Tensor, depth: Tensor, nearness: float
) -> tuple[Tensor, Tensor]:
    """Shifts the sensor's view of the people by some pixels and widens its outline.

    Both by more, the nearer (1/m) they are, where the depth is registered for farther away.
    """
    shift = (dice.integer(5) - 2, dice.integer(7) - 3)
    poor = dice.chance(chances.poorly_registered)
    if poor:
        reach = 10 * min(1.0, nearness)
        shift = (round(dice.uniform(-0.6, 0.6) * reach), round(dice.uniform(-1, 1) * reach))
    person = displaced(person.float(), *shift, beyond="replicate") > 0.5
    depth = displaced(depth, *shift, beyond="replicate")
    if dice.chance(0.6):
        size = 3 + 2 * dice.integer(4 if poor else 2)
        depth, person = highest(depth, size), highest(person.float(), size) > 0.5
    if dice.chance(0.7):
        # Outlines of depth images are ragged.
        height, width = person.shape[-2:]
        cells = max(height, width) // 6
        ragged = dice.smooth_noise(height, width, cells, fresh=0.7) > 0.3
        inner = highest(1 - person.float(), 5) < 0.5
        person = inner | (person & ragged)
    return person, torch.where(person, depth, 0.0)


def _occlusion_shadow(dice: Dice, person: Tensor, nearness: float) -> Tensor:
    """The band beside near objects that the sensor's projector or second eye can't see.

    It is the wider, the nearer (1/m) they are.
    """
    length = 2 + dice.integer(10 + round(24 * min(1.0, nearness)))
    side = 1 if dice.chance(0.5) else -1
    band = person.clone()
    reached = 1
    while reached < length:
        jump = min(reached, length - reached)
        band = band | displaced(band, 0, side * jump)
        reached += jump
    return band & ~person

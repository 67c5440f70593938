"""Composes training frames: foregrounds before RGB-D backgrounds, with shadows, light and a sensor.

What a real camera does is simulated in this order: the light changes between the capture and the
frame, the people cast shadows, they cover the background, the color sensor adds noise, and the
depth sensor quantises, loses and displaces what it sees. Each part has a file of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from dart_ros.method.network import Background
from dart_ros.simulation.appearance import (
    AppearanceChances,
    camouflaged,
    patterned,
    recolored,
)
from dart_ros.simulation.background import (
    BackgroundChances,
    Border,
    border_of,
    view_of,
    with_dark_things,
    with_restless_place,
    with_screen,
)
from dart_ros.simulation.camera import CameraChances, bleached, exposed, relit, toned
from dart_ros.simulation.depth_sensor import DepthChances, sense
from dart_ros.simulation.dice import Dice
from dart_ros.simulation.foregrounds import Foreground
from dart_ros.simulation.frames import (
    MAX_DEPTH,
    Batch,
    Previous,
    RgbdBackground,
    blind_columns,
)
from dart_ros.simulation.placement import PlacementChances, cast, motion_of, place
from dart_ros.simulation.shadows import ShadowChances


@dataclass(frozen=True)
class Chances:
    """How often anything happens in composed frames, by its subject."""

    background: BackgroundChances = field(default_factory=BackgroundChances)
    placement: PlacementChances = field(default_factory=PlacementChances)
    shadows: ShadowChances = field(default_factory=ShadowChances)
    appearance: AppearanceChances = field(default_factory=AppearanceChances)
    camera: CameraChances = field(default_factory=CameraChances)
    depth: DepthChances = field(default_factory=DepthChances)


class Composer:
    """Makes batches of frames with truth.

    Args:
        foregrounds: what can stand in front.
        backgrounds: where it can stand.
        size: (height, width) of the frames; None keeps the size of the background, uncropped.
        max_depth: the sensor's range in metres.
        seed: the same seed gives the same batches on devices of the same kind.
        device: where foregrounds and backgrounds lie and frames are composed; None for the CPU.
        pairs: whether each frame comes with the one before it.
        chances: how often what happens.
    """

    def __init__(
        self,
        foregrounds: Sequence[Foreground],
        backgrounds: Sequence[RgbdBackground],
        size: tuple[int, int] | None = None,
        max_depth: float = MAX_DEPTH,
        seed: int = 0,
        device: torch.device | None = None,
        pairs: bool = False,
        chances: Chances | None = None,
    ) -> None:
        if not foregrounds or not backgrounds:
            raise ValueError("composing needs at least one foreground and one background")
        self._device = device or torch.device("cpu")
        foregrounds = [subject.to(self._device) for subject in foregrounds]
        backgrounds = [background.to(self._device) for background in backgrounds]
        self._people = [s for s in foregrounds if s.kind == "person"] or list(foregrounds)
        self._objects = [s for s in foregrounds if s.kind != "person"]
        self._backgrounds = backgrounds
        self._blind = [blind_columns(background) for background in backgrounds]
        self._size = size
        self._max_depth = max_depth
        self._pairs = pairs
        self._seeds = torch.Generator().manual_seed(seed)
        self._chances = chances or Chances()
        self._dice = Dice(self._device)
        self._things: tuple[Tensor, Tensor, Tensor]

    @property
    def device(self) -> torch.device:
        """Where the frames are."""
        return self._device

    def batch(self, count: int) -> Batch:
        """Composes ``count`` frames."""
        return self.frames(torch.randint(1 << 32, (count,), generator=self._seeds).tolist())

    def frames(self, seeds: Sequence[int]) -> Batch:
        """Composes a frame for each seed, which alone decides it; 32 bits each."""
        frames, earlier = [], []
        for seed in seeds:
            frames.append(self._moment(seed, 0, seed))
            if self._pairs:
                earlier.append(self._before(seed))
        batch = _stack(frames)
        if not self._pairs:
            return batch
        before = _stack(earlier)
        previous = Previous(before.color, before.depth, before.alpha, before.weight)
        return batch._replace(previous=previous)

    def _before(self, seed: int) -> tuple[Tensor, ...]:
        """The frame before that of a seed; people have jumped since then at times."""
        self._dice.start(seed, -1, seed)
        self._dice.begin("cut")
        jumped = self._dice.chance(self._chances.placement.cut)
        return self._moment(seed, -1, self._dice.integer(1 << 31) if jumped else seed)

    def _moment(self, seed: int, moment: int, people: int) -> tuple[Tensor, ...]:
        """A frame of a scene.

        Args:
            seed: of the scene.
            moment: number of the frame, 0 or before; noise and where people are depend on it.
            people: the seed of who is there.
        """
        self._dice.start(seed, moment, people)
        return self._sample()

    def _sample(self) -> tuple[Tensor, ...]:
        dice, chances = self._dice, self._chances
        dice.begin("background")
        number = dice.integer(len(self._backgrounds))
        view = view_of(
            *(dice, chances.background, self._backgrounds[number], self._blind[number]),
            *(self._size, self._max_depth),
        )
        color, depth, live, restless = view.color, view.depth, view.live, view.restless
        captured, varied = view.std is not None, view.varied
        height, width = depth.shape[-2:]
        dice.begin("border")
        border = (
            Border(view.blind, torch.zeros_like(depth), 0.0, None)
            if captured
            else border_of(dice, chances.background, height, width)
        )
        reach = torch.where(depth > 0, depth, view.max_depth)
        placed = []
        dice.begin("cast", of_people=True)
        for number, subject in enumerate(
            cast(dice, chances.placement, self._people, self._objects)
        ):
            dice.begin("motion", number, of_people=True)
            motion = motion_of(dice, chances.placement, height, width)
            dice.begin("place", number, of_people=True)
            at = border.columns if number == 0 and border.columns else range(width)
            placed.append(
                place(
                    dice, chances.placement, chances.shadows, subject, reach, view.focal, at, motion
                )
            )
        reflecting = ~border.margin
        dice.begin("scene")
        if not captured and dice.chance(
            chances.background.dark_things_at_border
            if border.columns
            else chances.background.dark_things
        ):
            people = [layer for layer, _ in placed]
            if not dice.time:
                # Where they are depends on where people are: the frame before has the same.
                self._things = with_dark_things(
                    *(dice, chances.background, color, depth, border.columns, people)
                )
            color, depth, lost = self._things
            reflecting, live = reflecting & ~lost, color
        dice.begin("screen")
        if varied and dice.chance(chances.background.screen):
            color, live, restless = with_screen(dice, chances.background, color, live, restless)
        dice.begin("restless")
        if varied and dice.chance(chances.background.restless):
            live, restless = with_restless_place(dice, chances.background, live, restless)
        plate = border.over(color)
        dice.begin("light")
        live = relit(dice, chances.camera, live)
        if varied and dice.chance(chances.camera.tone):
            live = toned(dice, live)
        live = border.over(live)

        alpha = color.new_zeros(1, height, width)
        foreground = color.new_zeros(3, height, width)
        front = color.new_full((1, height, width), math.inf)
        shade = color.new_ones(1, height, width)
        for number, (layer, shadow) in enumerate(placed):
            shade = shade * shadow
            dice.begin("look", number, of_people=True)
            at_border = number == 0 and border.columns is not None
            rgb = recolored(dice, chances.appearance, layer, plate, often_dark=at_border)
            if varied and dice.chance(
                chances.appearance.camouflage_at_border
                if at_border
                else chances.appearance.camouflage
            ):
                rgb = camouflaged(dice, rgb, layer.alpha, plate)
            if varied and dice.chance(chances.appearance.pattern):
                rgb = patterned(dice, chances.appearance, rgb, layer, plate)
            nearer = layer.depth <= front
            over = foreground * (1 - layer.alpha) + rgb
            foreground = torch.where(nearer, over, foreground + rgb * (1 - alpha))
            alpha = alpha + layer.alpha * (1 - alpha)
            front = torch.where((layer.alpha > 0.5) & (layer.depth < front), layer.depth, front)
        truth = foreground / alpha.clamp(min=1e-3)
        # Whatever stands between the scene and the camera hides people and takes no shadow.
        bare = 1 - border.ledge
        foreground, alpha, shade = foreground * bare, alpha * bare, 1 - (1 - shade) * bare
        frame = foreground + live * shade * (1 - alpha)

        dice.begin("depth")
        live_depth, mean, deviation, known = sense(
            *(dice, chances.depth, view._replace(color=plate, depth=depth)),
            *(front, frame, border.margin, reflecting),
        )
        dice.begin("exposure")
        if not captured and dice.chance(
            chances.camera.bleached_at_ledge if border.level > 0.5 else chances.camera.bleached
        ):
            frame, plate, truth = bleached(dice, frame, plate, truth)
        taken, taken_plate, truth = exposed(dice, chances.camera, frame, plate, truth)
        if view.live_depth is None:
            frame, plate = taken, taken_plate
        else:
            # What is behind has the sensor's own noise.
            frame = frame + alpha * (taken - frame)
        return frame, live_depth, plate, mean, deviation, known, restless, alpha, truth.clamp(0, 1)


def _stack(samples: Sequence[tuple[Tensor, ...]]) -> Batch:
    color, depth, plate, mean, std, known, restless, alpha, foreground = (
        torch.stack(parts) for parts in zip(*samples, strict=True)
    )
    background = Background(plate, mean, std, known, restless)
    return Batch(color, depth, background, alpha, foreground, torch.ones_like(alpha))

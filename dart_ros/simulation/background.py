"""The place of a frame: what of it is seen, its borders, and what is changed about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.simulation.dice import Dice
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.placement import Layer


@dataclass(frozen=True)
class BackgroundChances:
    """How places vary, as probabilities but for ``zoom``.

    Attributes:
        mirror: left and right are changed over.
        zoom: highest magnification.
        border: something is special along one border: a blind margin, a ledge.
        ledge_beside: of a ledge along a border at the left or right.
        ledge_above: of one along the upper or lower border.
        dark_things: things as dark as hair and clothes.
        dark_things_at_border: the same where somebody stands at a blind border.
        dark_things_lost: the depth sensor gets nothing back from such a thing.
        screen: a screen shows something else in each frame.
        screen_was_off: such a screen was dark when the scene was captured.
        screen_played: one that was on showed several things during the capture.
        restless: the color of a place varies, in the capture as well: leaves, a window.
        restless_still: such a place keeps still in the frame.
    """

    mirror: float = 0.5
    zoom: float = 1.8
    border: float = 0.4
    ledge_beside: float = 0.35
    ledge_above: float = 0.75
    dark_things: float = 0.15
    dark_things_at_border: float = 0.8
    dark_things_lost: float = 0.5
    screen: float = 0.15
    screen_was_off: float = 0.3
    screen_played: float = 0.7
    restless: float = 0.15
    restless_still: float = 0.3


class View(NamedTuple):
    """A background as it is in a frame: colors 3×H×W in [0, 1], the rest 1×H×W, depth in metres.

    ``std`` and ``blind`` (where the sensor never sees anything) are those of a captured scene.
    ``live`` is the color of the empty scene when the frame is taken, before its light changes;
    ``live_depth`` (0 unknown) is given where a frame of the sensor's own is used. ``max_depth`` is
    the sensor's range in metres. ``varied``: whether all may happen there, as in a long training;
    a minute's fit with it let more of a ledge into the matte. ``restless``: 1 where the color
    varied during the capture, else 0.
    """

    color: Tensor
    depth: Tensor
    focal: float
    std: Tensor | None
    blind: Tensor
    live: Tensor
    live_depth: Tensor | None
    max_depth: float
    varied: bool
    restless: Tensor

    def mirrored(self) -> View:
        """Left and right changed over."""
        return self._replace(
            color=self.color.flip(-1),
            depth=self.depth.flip(-1),
            std=None if self.std is None else self.std.flip(-1),
            blind=self.blind.flip(-1),
            live=self.live.flip(-1),
            live_depth=None if self.live_depth is None else self.live_depth.flip(-1),
            restless=self.restless.flip(-1),
        )


class Border(NamedTuple):
    """What is special along the borders of a picture.

    ``margin`` 1×H×W bool: the depth image has nothing there, as its camera stands elsewhere.
    ``ledge`` 1×H×W, 0 to 1: coverage by something so near the color camera that only this one has
    it, out of focus; ``level`` is its brightness. ``columns``: where somebody stands at it.
    """

    margin: Tensor
    ledge: Tensor
    level: float
    columns: range | None

    def over(self, color: Tensor) -> Tensor:
        """The ledge before a 3×H×W picture in [0, 1]."""
        return (color * (1 - self.ledge) + self.level * self.ledge).clamp(0, 1)


def view_of(
    dice: Dice,
    chances: BackgroundChances,
    scene: RgbdBackground,
    blind: Tensor,
    size: tuple[int, int] | None,
    max_depth: float,
) -> View:
    """What a frame shows of a place.

    Args:
        dice: random numbers.
        chances: of changes.
        scene: the place.
        blind: 1×H×W bool, see :func:`dart_ros.simulation.frames.blind_columns`.
        size: (height, width) of the frame; None for the place's.
        max_depth: range in metres of a sensor that isn't the place's own.
    """
    window, zoom = _window(dice, chances, scene, size)
    color = _resampled(scene.color, window, size, smoothly=True).clamp(0, 255) / 255
    depth = _resampled(scene.depth[None], window, size)
    blind = _resampled(blind, window, size) > 0
    std = None if scene.std is None else _resampled(scene.std[None], window, size)
    live, live_depth = color, None
    if scene.samples is not None:
        colors, depths = scene.samples
        sample = (dice.integer(len(colors)) + dice.time) % len(colors)
        live = _resampled(colors[sample], window, size, smoothly=True).clamp(0, 255) / 255
        live_depth = _resampled(depths[sample][None], window, size).clamp(min=0)
    max_depth = scene.max_depth or max_depth
    varied = scene.varied or not scene.captured
    focal = scene.focal * zoom
    restless = torch.zeros_like(depth)
    if scene.restless is not None:
        restless = _resampled(scene.restless[None], window, size)
    view = View(color, depth, focal, std, blind, live, live_depth, max_depth, varied, restless)
    return _varied(dice, chances, view) if size is not None and varied else view


def _varied(dice: Dice, chances: BackgroundChances, view: View) -> View:
    """A place mirrored and in another light; where no sensor has measured, it is as far away
    as it likes."""
    if dice.chance(chances.mirror):
        view = view.mirrored()
    gains = [dice.uniform(0.85, 1.15) for _ in range(3)]
    gain = torch.tensor(gains, device=dice.device)[:, None, None]
    gain = gain * dice.uniform(0.6, 1.2)
    color, live = ((x * gain).clamp(0, 1) for x in (view.color, view.live))
    if view.std is not None:
        return view._replace(color=color, live=live)
    return view._replace(color=color, live=color, depth=view.depth * dice.uniform(0.8, 1.25))


def _window(
    dice: Dice, chances: BackgroundChances, scene: RgbdBackground, size: tuple[int, int] | None
) -> tuple[tuple[slice, slice], float]:
    """Rows and columns of a background that a frame shows, and by how much it magnifies."""
    height, width = scene.depth.shape
    if size is None:
        return (slice(height), slice(width)), 1.0
    out_height, out_width = size
    fit = max(out_height / height, out_width / width)
    # A captured scene is only ever seen as it is.
    varied = scene.varied or not scene.captured
    zoom = fit * chances.zoom ** dice.uniform(0, 1) if varied else max(fit, 1.0)
    rows, columns = int(out_height / zoom), int(out_width / zoom)
    top, left = dice.integer(height - rows + 1), dice.integer(width - columns + 1)
    return (slice(top, top + rows), slice(left, left + columns)), zoom


def _resampled(
    image: Tensor,
    window: tuple[slice, slice],
    size: tuple[int, int] | None,
    smoothly: bool = False,
) -> Tensor:
    """A window of a C×H×W image at the frames' size, float32."""
    image = image[:, window[0], window[1]].float()
    if size is None:
        return image
    if not smoothly:
        return F.interpolate(image[None], size, mode="nearest")[0]
    return F.interpolate(image[None], size, mode="bilinear", align_corners=False, antialias=True)[0]


def border_of(dice: Dice, chances: BackgroundChances, height: int, width: int) -> Border:
    """What is special along one border of the picture, if anything."""
    nothing = torch.zeros(1, height, width, dtype=torch.bool, device=dice.device)
    if not dice.chance(chances.border):
        return Border(nothing, nothing.float(), 0.0, None)
    # The cameras stand side by side, so it is mostly the left or the right that is lost.
    beside = dice.chance(0.75)
    side = dice.integer(2)
    along, across = (height, width) if beside else (width, height)
    inwards = torch.arange(across, device=dice.device).float()
    if side:
        inwards = inwards.flip(0)
    lost = across * math.exp(dice.uniform(math.log(0.004), math.log(0.08)))
    if beside and dice.chance(0.6):
        lost = across * dice.uniform(0.02, 0.09)
    ledge = torch.zeros(along, across, device=dice.device)
    if dice.chance(chances.ledge_beside if beside else chances.ledge_above):
        # Other eyes see past it: depth may know what it hides.
        edge = max(0.0, lost + dice.uniform(-0.01, 0.07) * across)
        # Never sharp: that, and that it goes on along the border, tells it from dark things.
        softness = across * math.exp(dice.uniform(math.log(0.0024), math.log(0.0125)))
        slope = torch.arange(along, device=dice.device) - along / 2
        steepest = 0.01 if dice.chance(0.5) else 0.08
        slope = slope[:, None] * dice.uniform(-steepest, steepest)
        ledge = torch.sigmoid((edge + slope - inwards) / softness)
    margin = (inwards < lost).expand(along, across)
    if not beside:
        ledge, margin = ledge.T, margin.T
    level = dice.uniform(0.9, 1.3) if dice.chance(0.5) else dice.uniform(0.0, 0.1)
    columns = None
    if beside and dice.chance(0.75):
        reach = round(0.15 * width)
        columns = range(width - reach, width) if side else range(reach)
    return Border(margin[None], ledge[None], level, columns)


def with_dark_things(
    dice: Dice,
    chances: BackgroundChances,
    color: Tensor,
    depth: Tensor,
    columns: range | None,
    people: Sequence[Layer],
) -> tuple[Tensor, Tensor, Tensor]:
    """Screens, cupboards and the like, as dark as hair and clothes, in a scene.

    ``columns``: where they are. Half of them are where the first of ``people`` covers them at
    least in part.

    Returns:
        color, depth, and where the depth sensor gets nothing back, as from half of them; these
        stand somewhat nearer than what is around, but behind people.
    """
    height, width = depth.shape[-2:]
    places = columns or range(width)
    rows = torch.arange(height, device=dice.device)[:, None]
    along = torch.arange(width, device=dice.device)
    hidden = people[0].alpha if people else torch.zeros_like(depth)
    behind = torch.nonzero(hidden[0, :, places.start : places.stop] > 0.9)
    nearest = torch.zeros_like(depth)
    for layer in people:
        solid = torch.where(layer.alpha > 0.5, layer.depth + 0.05, 0.0)
        nearest = torch.maximum(nearest, torch.minimum(solid, depth))
    lost = torch.zeros_like(depth, dtype=torch.bool)
    for _ in range(1 + dice.integer(3)):
        tall, wide = dice.uniform(0.04, 0.6) * height, dice.uniform(0.03, 0.2) * width
        row = dice.uniform(0.0, 1.0) * height
        column = float(places[dice.integer(len(places))])
        if len(behind) and dice.chance(0.5):
            spot = behind[dice.integer(len(behind))].tolist()
            row = spot[0] + dice.uniform(-0.4, 0.4) * tall
            column = places.start + spot[1] + dice.uniform(-0.4, 0.4) * wide
        softness = dice.uniform(0.3, 1.0)
        inside = torch.minimum(tall / 2 - (rows - row).abs(), wide / 2 - (along - column).abs())
        cover = torch.sigmoid(inside / softness)[None]
        level = dice.uniform(0.0, 0.15) * (1 + 0.1 * dice.normal(3, 1, 1))
        texture = 1 + 0.15 * dice.smooth_noise(height, width, 12)
        color = color * (1 - cover) + (level * texture).clamp(0, 1) * cover
        if dice.chance(chances.dark_things_lost):
            lost = lost | (cover > 0.5)
            nearer = torch.maximum(depth * dice.uniform(0.75, 1.0), nearest)
            depth = torch.where(cover > 0.5, nearer, depth)
    return color, depth, lost


def with_screen(
    dice: Dice, chances: BackgroundChances, color: Tensor, live: Tensor, restless: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """A screen in the scene that shows something else in each frame.

    Returns:
        ``color``, ``live`` and ``restless`` with the screen.
    """
    height, width = color.shape[-2:]
    tall = round(dice.uniform(0.08, 0.35) * height)
    wide = min(width, round(tall * dice.uniform(1.0, 1.8)))
    top, left = dice.integer(height - tall + 1), dice.integer(width - wide + 1)
    place = (..., slice(top, top + tall), slice(left, left + wide))
    level, contrast = dice.uniform(0.2, 0.7), dice.uniform(0.05, 0.3)
    cells = 3 + dice.integer(20)
    lit = dice.chance(chances.screen_was_off)
    changes = 1.0 if dice.chance(0.3) else 0.2
    shown = [
        torch.cat([dice.smooth_noise(tall, wide, cells, fresh) for _ in range(3)])
        for fresh in (0.0, changes)
    ]
    color, live = color.clone(), live.clone()
    for image, content in zip((color, live), shown, strict=True):
        image[place] = (level + contrast * content).clamp(0, 1)
    if lit:  # it was off when the scene was captured
        color[place] = 0.05 * level
    elif dice.chance(chances.screen_played):
        restless = restless.clone()
        restless[place] = 1.0
    return color, live, restless


def with_restless_place(
    dice: Dice, chances: BackgroundChances, live: Tensor, restless: Tensor
) -> tuple[Tensor, Tensor]:
    """A place whose color varies, as leaves and what is behind a window do.

    Returns:
        ``live`` and ``restless`` with it.
    """
    height, width = live.shape[-2:]
    place = dice.smooth_noise(height, width, 3 + dice.integer(6)) > dice.uniform(0.8, 1.8)
    moves = not dice.chance(chances.restless_still)
    rows, columns = (4 * dice.fresh_normal(2).tanh()).round().int().tolist()
    moved = live.roll((rows, columns), dims=(-2, -1))
    contrast = dice.uniform(0.0, 0.15)
    texture = 1 + contrast * dice.smooth_noise(height, width, 30, fresh=0.7)
    if moves:
        live = torch.where(place, (moved * texture).clamp(0, 1), live)
    return live, torch.maximum(restless, place.to(restless.dtype))

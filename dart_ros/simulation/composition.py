"""Composes training frames: foregrounds before RGB-D backgrounds, with shadows, light and a sensor.

What a real camera does is simulated in this order: the light changes between the capture and the
frame, the people cast shadows, they cover the background, the color sensor adds noise, and the
depth sensor quantises, loses and displaces what it sees.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.method.blind_sides import BlindSides, blind_sides, continued
from dart_ros.method.depth_background import STD_FLOOR
from dart_ros.method.network import Background
from dart_ros.simulation.foregrounds import DEPTH_STEP, Foreground

MAX_DEPTH = 5.46
"""Range in metres of the sensor in the paper, an Azure Kinect (d_max)."""


@dataclass(frozen=True)
class RgbdBackground:
    """An empty scene.

    ``color`` 3×H×W uint8, ``depth`` H×W float32 metres (-1 unknown), ``focal`` in pixels.
    ``std`` (H×W metres) is given for a captured scene: the sensor's own holes and noise are
    then kept, else they are invented. With ``samples``, N further frames of a captured scene as
    they came, color N×3×H×W uint8 and depth N×H×W float32 metres (-1 unknown), people stand before
    these: the noise from frame to frame is the sensor's own, too. ``max_depth`` is that sensor's
    range in metres, None for the composer's. A captured scene is only ever seen as it is, unless
    it is ``varied``: then it is mirrored, magnified and seen in another light, as rooms are.
    """

    color: Tensor
    depth: Tensor
    focal: float
    std: Tensor | None = None
    samples: tuple[Tensor, Tensor] | None = None
    max_depth: float | None = None
    varied: bool = False

    @property
    def captured(self) -> bool:
        """Whether the depth is a real sensor's, with its own holes and noise."""
        return self.std is not None

    def to(self, device: torch.device) -> RgbdBackground:
        """The same on a device."""
        std, samples = self.std, self.samples
        return replace(
            self,
            color=self.color.to(device),
            depth=self.depth.to(device),
            std=None if std is None else std.to(device),
            samples=None if samples is None else (samples[0].to(device), samples[1].to(device)),
        )


class Previous(NamedTuple):
    """The frame before each training frame, in the same scene and light, with its truth.

    ``color`` B×3×H×W in [0, 1], ``depth`` B×1×H×W metres with guesses, ``alpha`` B×1×H×W in [0, 1],
    ``weight`` B×1×H×W as in :class:`Batch`.
    """

    color: Tensor
    depth: Tensor
    alpha: Tensor
    weight: Tensor


class Batch(NamedTuple):
    """Training frames with their truth, B×C×H×W float32, colors in [0, 1], depth in metres with the
    guesses of :func:`dart_ros.method.blind_sides.continued`.

    ``weight`` (1 channel, not negative) is how much each pixel's truth counts in the loss, 0 where
    it isn't known. ``previous`` is given where frames come in pairs.
    """

    color: Tensor
    depth: Tensor
    background: Background
    alpha: Tensor
    foreground: Tensor
    weight: Tensor
    previous: Previous | None = None

    def map(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """The batch with every one of its images changed alike."""
        color, depth, alpha, foreground, weight = map(
            change, (self.color, self.depth, self.alpha, self.foreground, self.weight)
        )
        background = Background(*map(change, self.background))
        previous = None if self.previous is None else Previous(*map(change, self.previous))
        return Batch(color, depth, background, alpha, foreground, weight, previous)

    def to(self, device: torch.device) -> Batch:
        """The batch on a device; no copy where it is there already."""
        return self.map(lambda image: image.to(device))


_CUT = 0.06
"""How often people have jumped from one frame of a pair to the next, as after a gap."""

_STILL, _SWAYS = 0.4, 0.35
"""How many people stand still and sway from one frame of a pair to the next; the others walk."""

_EXPOSURE_STEP = 0.15
"""How often the exposure differs between the frames of a pair."""


_SCREEN = 0.15
"""How often a screen in the scene shows something else in each frame."""

_ALL_NEAR_LOST, _PEOPLE_LOST = 0.12, 0.08
"""How often the sensor sees nothing of what is near, and nothing of anybody."""


class _View(NamedTuple):
    """A background as it is in a frame: colors 3×H×W in [0, 1], the rest 1×H×W, depth in metres.

    ``std`` and ``blind`` (where the sensor never sees anything) are those of a captured scene.
    ``live`` is the color of the empty scene when the frame is taken, before its light changes;
    ``live_depth`` (0 unknown) is given where a frame of the sensor's own is used. ``max_depth`` is
    the sensor's range in metres. ``varied``: whether all may happen there, as in a long training;
    a minute's fit with it let more of a ledge into the matte.
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

    def mirrored(self) -> _View:
        """Left and right changed over."""
        return self._replace(
            color=self.color.flip(-1),
            depth=self.depth.flip(-1),
            std=None if self.std is None else self.std.flip(-1),
            blind=self.blind.flip(-1),
            live=self.live.flip(-1),
            live_depth=None if self.live_depth is None else self.live_depth.flip(-1),
        )


class _Layer(NamedTuple):
    """One subject placed on the canvas: premultiplied RGB, alpha and depth, each C×H×W.

    ``center`` (x, y) and ``extent``, the height, are in pixels.
    """

    rgb: Tensor
    alpha: Tensor
    depth: Tensor
    center: tuple[float, float]
    extent: float


class _Motion(NamedTuple):
    """Where somebody is relative to moment 0: pixels, a factor of their size, radians, and pixels
    down and right by which each pixel of the canvas (2×H×W) is moved besides."""

    down: float
    across: float
    growth: float
    turn: float
    bend: Tensor | None


class _Sensor(NamedTuple):
    """How a kind of depth sensor errs.

    ``noise`` and ``step`` are ranges of the noise's deviation and of the quantisation, both over
    z² (1/m). The rest says how often a frame has an error at all: a ``shadow`` beside people, the
    scene's edges ``mixed`` of near and far, a ``drift``, and holes on what is ``dark``, seen at a
    ``steep`` angle or ``far`` away.
    """

    noise: tuple[float, float]
    step: tuple[float, float]
    shadow: float
    mixed: float
    drift: float
    dark: float
    steep: float
    far: float


_SENSORS = (
    # structured light
    _Sensor((0.001, 0.003), (0.001, 0.003), 0.9, 0.4, 0.6, 0.3, 0.6, 0.3),
    # stereo
    _Sensor((0.0015, 0.004), (0.0003, 0.001), 0.8, 0.4, 0.5, 0.15, 0.4, 0.2),
    # time of flight
    _Sensor((0.0007, 0.0015), (0.0003, 0.0004), 0.4, 0.7, 0.7, 0.45, 0.5, 0.5),
)


class _Border(NamedTuple):
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
    ) -> None:
        if not foregrounds or not backgrounds:
            raise ValueError("composing needs at least one subject and one background")
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
        # What decides the course of a frame is drawn on the CPU, or each draw would wait for the
        # device; noise is drawn where it is used. Frames of a pair differ by what is drawn afresh.
        self._generator = torch.Generator()
        on_cpu = self._device.type == "cpu"
        self._noise = self._generator if on_cpu else torch.Generator(self._device)
        self._fresh = torch.Generator(self._device)
        self._scene_seed = self._people_seed = self._time = 0
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

    # -- random numbers -------------------------------------------------------------------

    def _before(self, seed: int) -> tuple[Tensor, ...]:
        """The frame before that of a seed; people have jumped since then at times."""
        self._generator.manual_seed(seed)
        people = self._integer(1 << 31) if self._chance(_CUT) else seed
        return self._moment(seed, -1, people)

    def _moment(self, seed: int, moment: int, people: int) -> tuple[Tensor, ...]:
        """A frame of a scene.

        Args:
            seed: of the scene.
            moment: number of the frame, 0 or before; noise and where people are depend on it.
            people: the seed of who is there.
        """
        self._scene_seed, self._people_seed, self._time = seed, people, moment
        self._fresh.manual_seed(_mixed(seed, "fresh", moment))
        return self._sample()

    def _begin(self, stage: str, number: int = 0, of_people: bool = False) -> None:
        """Random numbers for a part of the frame, whatever was drawn for the parts before it."""
        seed = _mixed(self._people_seed if of_people else self._scene_seed, stage, number)
        self._generator.manual_seed(seed)
        if self._noise is not self._generator:
            self._noise.manual_seed(seed)

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def _chance(self, probability: float) -> bool:
        return float(torch.rand((), generator=self._generator)) < probability

    def _integer(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self._generator))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._noise, device=self._device)

    def _fresh_normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._fresh, device=self._device)

    def _fresh_uniform(self, shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=self._fresh, device=self._device)

    def _smooth_noise(self, height: int, width: int, cells: int, fresh: float = 0.0) -> Tensor:
        """1×H×W smooth noise of about unit variance, ``cells`` blobs across the longer side.

        ``fresh``, 0 to 1: how much of it is another in each frame of a pair.
        """
        unit = max(height, width) / cells
        shape = 1, math.ceil(height / unit) + 3, math.ceil(width / unit) + 3
        grid = self._normal(*shape)
        if fresh:
            grid = math.sqrt(1 - fresh**2) * grid + fresh * self._fresh_normal(*shape)
        down = _bicubic(grid.shape[-2], height, self._device)
        across = _bicubic(grid.shape[-1], width, self._device)
        return down @ grid @ across.T * 1.4

    # -- one frame ------------------------------------------------------------------------

    def _sample(self) -> tuple[Tensor, ...]:
        self._begin("background")
        view = self._background()
        color, depth, live = view.color, view.depth, view.live
        captured, varied = view.std is not None, view.varied
        height, width = depth.shape[-2:]
        self._begin("border")
        border = (
            _Border(view.blind, torch.zeros_like(depth), 0.0, None)
            if captured
            else self._border(height, width)
        )
        reach = torch.where(depth > 0, depth, view.max_depth)
        placed = []
        self._begin("cast", of_people=True)
        for number, subject in enumerate(self._cast()):
            self._begin("motion", number, of_people=True)
            motion = self._motion(height, width)
            self._begin("place", number, of_people=True)
            at = border.columns if number == 0 and border.columns else range(width)
            placed.append(self._place(subject, reach, view.focal, at, motion))
        reflecting = ~border.margin
        self._begin("scene")
        if not captured and self._chance(0.8 if border.columns else 0.15):
            people = [layer for layer, _ in placed]
            if not self._time:
                # Where they are depends on where people are: the frame before has the same.
                self._things = self._with_dark_things(color, depth, border.columns, people)
            color, depth, lost = self._things
            reflecting, live = reflecting & ~lost, color
        self._begin("screen")
        if varied and self._chance(_SCREEN):
            color, live = self._with_screen(color, live)
        plate = border.over(color)
        self._begin("light")
        live = self._relight(live)
        if varied and self._chance(0.3):
            live = self._tone(live)
        live = border.over(live)

        alpha = color.new_zeros(1, height, width)
        foreground = color.new_zeros(3, height, width)
        front = color.new_full((1, height, width), math.inf)
        shade = color.new_ones(1, height, width)
        for number, (layer, shadow) in enumerate(placed):
            shade = shade * shadow
            self._begin("look", number, of_people=True)
            at_border = number == 0 and border.columns is not None
            rgb = self._recolor(layer, plate, often_dark=at_border)
            if varied and self._chance(0.5 if at_border else 0.25):
                rgb = self._camouflage(rgb, layer.alpha, plate)
            if varied and self._chance(0.2):
                rgb = self._pattern(rgb, layer, plate)
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

        self._begin("depth")
        live_depth, mean, deviation, known = self._sense(
            view._replace(color=plate, depth=depth), front, frame, border.margin, reflecting
        )
        self._begin("exposure")
        if not captured and self._chance(0.6 if border.level > 0.5 else 0.2):
            frame, plate, truth = self._bleach(frame, plate, truth)
        exposed, exposed_plate, truth = self._expose(frame, plate, truth)
        if view.live_depth is None:
            frame, plate = exposed, exposed_plate
        else:
            # What is behind has the sensor's own noise.
            frame = frame + alpha * (exposed - frame)
        return frame, live_depth, plate, mean, deviation, known, alpha, truth.clamp(0, 1)

    def _background(self) -> _View:
        number = self._integer(len(self._backgrounds))
        scene = self._backgrounds[number]
        window, zoom = self._window(scene)
        color = self._resampled(scene.color, window, smoothly=True).clamp(0, 255) / 255
        depth = self._resampled(scene.depth[None], window)
        blind = self._resampled(self._blind[number], window) > 0
        std = None if scene.std is None else self._resampled(scene.std[None], window)
        live, live_depth = color, None
        if scene.samples is not None:
            colors, depths = scene.samples
            sample = (self._integer(len(colors)) + self._time) % len(colors)
            live = self._resampled(colors[sample], window, smoothly=True).clamp(0, 255) / 255
            live_depth = self._resampled(depths[sample][None], window).clamp(min=0)
        max_depth = scene.max_depth or self._max_depth
        varied = scene.varied or not scene.captured
        focal = scene.focal * zoom
        view = _View(color, depth, focal, std, blind, live, live_depth, max_depth, varied)
        return self._varied(view) if self._size is not None and varied else view

    def _varied(self, view: _View) -> _View:
        """A place mirrored and in another light; where no sensor has measured, it is as far away
        as it likes."""
        if self._chance(0.5):
            view = view.mirrored()
        gains = [self._uniform(0.85, 1.15) for _ in range(3)]
        gain = torch.tensor(gains, device=self._device)[:, None, None]
        gain = gain * self._uniform(0.6, 1.2)
        color, live = ((x * gain).clamp(0, 1) for x in (view.color, view.live))
        if view.std is not None:
            return view._replace(color=color, live=live)
        return view._replace(color=color, live=color, depth=view.depth * self._uniform(0.8, 1.25))

    def _window(self, scene: RgbdBackground) -> tuple[tuple[slice, slice], float]:
        """Rows and columns of a background that a frame shows, and by how much it magnifies."""
        height, width = scene.depth.shape
        if self._size is None:
            return (slice(height), slice(width)), 1.0
        out_height, out_width = self._size
        fit = max(out_height / height, out_width / width)
        # A captured scene is only ever seen as it is.
        varied = scene.varied or not scene.captured
        zoom = fit * 1.8 ** self._uniform(0, 1) if varied else max(fit, 1.0)
        rows, columns = int(out_height / zoom), int(out_width / zoom)
        top, left = self._integer(height - rows + 1), self._integer(width - columns + 1)
        return (slice(top, top + rows), slice(left, left + columns)), zoom

    def _resampled(
        self, image: Tensor, window: tuple[slice, slice], smoothly: bool = False
    ) -> Tensor:
        """A window of a C×H×W image at the frames' size, float32."""
        image = image[:, window[0], window[1]].float()
        if self._size is None:
            return image
        if not smoothly:
            return F.interpolate(image[None], self._size, mode="nearest")[0]
        return F.interpolate(
            image[None], self._size, mode="bilinear", align_corners=False, antialias=True
        )[0]

    def _border(self, height: int, width: int) -> _Border:
        """What is special along one border of the picture, if anything."""
        nothing = torch.zeros(1, height, width, dtype=torch.bool, device=self._device)
        if not self._chance(0.4):
            return _Border(nothing, nothing.float(), 0.0, None)
        # The cameras stand side by side, so it is mostly the left or the right that is lost.
        beside = self._chance(0.75)
        side = self._integer(2)
        along, across = (height, width) if beside else (width, height)
        inwards = torch.arange(across, device=self._device).float()
        if side:
            inwards = inwards.flip(0)
        lost = across * math.exp(self._uniform(math.log(0.004), math.log(0.08)))
        if beside and self._chance(0.6):
            lost = across * self._uniform(0.02, 0.09)
        ledge = torch.zeros(along, across, device=self._device)
        if self._chance(0.35 if beside else 0.75):
            # Other eyes see past it: depth may know what it hides.
            edge = max(0.0, lost + self._uniform(-0.01, 0.07) * across)
            # Never sharp: that, and that it goes on along the border, tells it from dark things.
            softness = across * math.exp(self._uniform(math.log(0.0024), math.log(0.0125)))
            slope = torch.arange(along, device=self._device) - along / 2
            steepest = 0.01 if self._chance(0.5) else 0.08
            slope = slope[:, None] * self._uniform(-steepest, steepest)
            ledge = torch.sigmoid((edge + slope - inwards) / softness)
        margin = (inwards < lost).expand(along, across)
        if not beside:
            ledge, margin = ledge.T, margin.T
        level = self._uniform(0.9, 1.3) if self._chance(0.5) else self._uniform(0.0, 0.1)
        columns = None
        if beside and self._chance(0.75):
            reach = round(0.15 * width)
            columns = range(width - reach, width) if side else range(reach)
        return _Border(margin[None], ledge[None], level, columns)

    def _with_dark_things(
        self, color: Tensor, depth: Tensor, columns: range | None, people: Sequence[_Layer]
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
        rows = torch.arange(height, device=self._device)[:, None]
        along = torch.arange(width, device=self._device)
        hidden = people[0].alpha if people else torch.zeros_like(depth)
        behind = torch.nonzero(hidden[0, :, places.start : places.stop] > 0.9)
        nearest = torch.zeros_like(depth)
        for layer in people:
            solid = torch.where(layer.alpha > 0.5, layer.depth + 0.05, 0.0)
            nearest = torch.maximum(nearest, torch.minimum(solid, depth))
        lost = torch.zeros_like(depth, dtype=torch.bool)
        for _ in range(1 + self._integer(3)):
            tall, wide = self._uniform(0.04, 0.6) * height, self._uniform(0.03, 0.2) * width
            row = self._uniform(0.0, 1.0) * height
            column = float(places[self._integer(len(places))])
            if len(behind) and self._chance(0.5):
                spot = behind[self._integer(len(behind))].tolist()
                row = spot[0] + self._uniform(-0.4, 0.4) * tall
                column = places.start + spot[1] + self._uniform(-0.4, 0.4) * wide
            softness = self._uniform(0.3, 1.0)
            inside = torch.minimum(tall / 2 - (rows - row).abs(), wide / 2 - (along - column).abs())
            cover = torch.sigmoid(inside / softness)[None]
            level = self._uniform(0.0, 0.15) * (1 + 0.1 * self._normal(3, 1, 1))
            texture = 1 + 0.15 * self._smooth_noise(height, width, 12)
            color = color * (1 - cover) + (level * texture).clamp(0, 1) * cover
            if self._chance(0.5):
                lost = lost | (cover > 0.5)
                nearer = torch.maximum(depth * self._uniform(0.75, 1.0), nearest)
                depth = torch.where(cover > 0.5, nearer, depth)
        return color, depth, lost

    def _cast(self) -> list[Foreground]:
        """Who is in the frame: mostly one to three people, sometimes nobody, sometimes objects."""
        pick = self._uniform(0, 1)
        people = 0 if pick < 0.08 else 1 if pick < 0.6 else 2 if pick < 0.88 else 3
        cast = [self._people[self._integer(len(self._people))] for _ in range(people)]
        if self._objects and self._chance(0.25):
            cast.append(self._objects[self._integer(len(self._objects))])
        return cast

    def _relight(self, color: Tensor) -> Tensor:
        """The empty scene under the light of the live frame."""
        height, width = color.shape[-2:]
        if self._chance(0.8):
            # Automatic exposure and white balance answer to whoever walks in.
            gain = math.exp((0.15 if self._chance(0.4) else 0.05) * float(self._normal()))
            tint = 1 + 0.03 * self._normal(3, 1, 1)
            lift = 0.03 * float(self._normal()) if self._chance(0.4) else 0.0
            color = color * (gain * tint) + lift
        if self._chance(0.4):
            color = color * (1 + 0.05 * self._smooth_noise(height, width, 3).clamp(-2, 2))
        if self._chance(0.1):
            # Glints on floors and furniture go and come with whoever stands in their light.
            cells, fewest = 6 + self._integer(20), self._uniform(1.2, 2.2)
            glint = (self._smooth_noise(height, width, cells) - fewest).clamp(0, 1)
            color = color + self._uniform(-0.2, 0.5) * glint
        if self._chance(0.25):
            shift = [self._integer(3) - 1, self._integer(3) - 1]
            weight = self._uniform(0, 0.8)
            color = color * (1 - weight) + weight * torch.roll(color, shift, dims=(-2, -1))
        return color.clamp(0, 1)

    def _recolor(self, layer: _Layer, plate: Tensor, often_dark: bool) -> Tensor:
        """The subject's premultiplied colors in another light; sometimes those of the wall."""
        gain = math.exp(0.25 * float(self._normal()))
        tint = 1 + 0.06 * self._normal(3, 1, 1)
        rgb = layer.rgb * gain * tint
        if self._chance(0.6 if often_dark else 0.08):
            rgb = rgb * self._uniform(0.05, 0.5)
        weight = layer.alpha.sum().clamp(min=1)
        if self._chance(0.2):
            own = rgb.sum(dim=(1, 2), keepdim=True) / weight
            wall = (plate * layer.alpha).sum(dim=(1, 2), keepdim=True) / weight
            rgb = rgb + (wall - own) * self._uniform(0.5, 1.0) * layer.alpha
        if self._chance(0.3):
            contrast = self._uniform(0.4, 1.0)
            own = rgb.sum(dim=(1, 2), keepdim=True) / weight
            rgb = rgb * contrast + own * (1 - contrast) * layer.alpha
        return torch.minimum(rgb.clamp(min=0), layer.alpha)

    def _camouflage(self, rgb: Tensor, alpha: Tensor, plate: Tensor) -> Tensor:
        """Parts of somebody in the color of what is behind just there, without its texture."""
        height, width = alpha.shape[-2:]
        cells = math.exp(self._uniform(math.log(4.0), math.log(20.0)))
        where = (2 * self._smooth_noise(height, width, round(cells))).clamp(0, 1)
        coarse = (math.ceil(height / 16), math.ceil(width / 16))
        small = F.interpolate(plate[None], coarse, mode="area")
        behind = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)[0]
        tint = 1 + 0.04 * self._normal(3, 1, 1)
        return torch.minimum(rgb * (1 - where) + behind * tint * alpha * where, alpha)

    def _motion(self, height: int, width: int) -> _Motion:
        """How far somebody is from where they are at moment 0: most stand still or sway a little,
        some walk."""
        kind = self._uniform(0, 1)
        time = self._time
        along, across, growth, turn = (float(self._normal()) for _ in range(4))
        fastest = self._uniform(math.log(2.0), math.log(0.03 * max(height, width)))
        bends = self._chance(0.6)
        if kind < _STILL or not time:
            return _Motion(0.0, 0.0, 1.0, 0.0, None)
        walks = kind > _STILL + _SWAYS
        speed = math.exp(fastest) if walks else 1.0
        bend = None
        if bends:
            # Limbs and clothes move by themselves.
            reach = time * min(speed, 0.008 * max(height, width))
            bend = reach * torch.cat([self._smooth_noise(height, width, 7) for _ in range(2)])
        return _Motion(
            0.3 * speed * along * time,
            speed * across * time,
            math.exp(0.01 * growth * time) if walks else 1.0,
            0.01 * turn * time if walks else 0.002 * turn * time,
            bend,
        )

    def _pattern(self, rgb: Tensor, layer: _Layer, plate: Tensor) -> Tensor:
        """Clothes with stripes, checks or a print, often in the color of what is behind."""
        alpha = layer.alpha
        height, width = alpha.shape[-2:]
        # Relative to the body, with which a pattern moves.
        down = (torch.arange(height, device=self._device) - layer.center[1]) / layer.extent
        across = (torch.arange(width, device=self._device) - layer.center[0]) / layer.extent
        slant = 0.0 if self._chance(0.5) else math.pi / 2 if self._chance(0.6) else 0.8
        period = 0.04 * math.exp(self._uniform(-1.0, 1.2))
        duty, kind = self._uniform(-0.6, 0.6), self._uniform(0, 1)
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
        top, length = self._uniform(-0.4, 0.2), self._uniform(0.15, 0.6)
        inside = torch.minimum(down - top, top + length - down) * layer.extent + 0.5
        where = (where * inside.clamp(0, 1)[:, None])[None]
        if self._chance(0.6):
            coarse = (math.ceil(height / 16), math.ceil(width / 16))
            small = F.interpolate(plate[None], coarse, mode="area")
            dye = F.interpolate(small, (height, width), mode="bilinear", align_corners=False)[0]
            dye = dye * (1 + 0.04 * self._normal(3, 1, 1))
        else:
            dye = torch.sigmoid(1.5 * self._normal(3, 1, 1))
        # What is left of the shading is the cloth's folds.
        gray = (rgb.mean(dim=0, keepdim=True) / alpha.clamp(min=1e-3)).clamp(0, 1)
        mean = (gray * alpha).sum() / alpha.sum().clamp(min=1)
        folds = (gray / mean.clamp(min=0.05)).clamp(0.5, 1.5) ** 0.5
        return torch.minimum(rgb * (1 - where) + dye * folds * alpha * where, alpha)

    def _with_screen(self, color: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        """A screen in the scene that shows something else in each frame."""
        height, width = color.shape[-2:]
        tall = round(self._uniform(0.08, 0.35) * height)
        wide = min(width, round(tall * self._uniform(1.0, 1.8)))
        top, left = self._integer(height - tall + 1), self._integer(width - wide + 1)
        place = (..., slice(top, top + tall), slice(left, left + wide))
        level, contrast = self._uniform(0.2, 0.7), self._uniform(0.05, 0.3)
        cells = 3 + self._integer(20)
        lit = self._chance(0.5)
        changes = 1.0 if self._chance(0.3) else 0.2
        shown = [
            torch.cat([self._smooth_noise(tall, wide, cells, fresh) for _ in range(3)])
            for fresh in (0.0, changes)
        ]
        color, live = color.clone(), live.clone()
        for image, content in zip((color, live), shown, strict=True):
            image[place] = (level + contrast * content).clamp(0, 1)
        if lit:  # it was off when the scene was captured
            color[place] = 0.05 * level
        return color, live

    def _tone(self, color: Tensor) -> Tensor:
        """Another tone curve: dark parts grow brighter by another factor than bright ones."""
        gamma = math.exp(self._uniform(-0.5, 0.5))
        shoulder = self._uniform(0.5, 2.5)
        curved = color.clamp(min=0) ** gamma
        if self._chance(0.5):
            curved = (1 - torch.exp(-shoulder * curved)) / (1 - math.exp(-shoulder))
        return curved.clamp(0, 1)

    def _place(
        self, subject: Foreground, reach: Tensor, focal: float, columns: range, motion: _Motion
    ) -> tuple[_Layer, Tensor]:
        """Puts a subject somewhere it could stand, and computes the shadow that it casts."""
        height, width = reach.shape[-2:]
        near = 0.5 if "bottom" in subject.cut else 0.9
        column = columns[self._integer(len(columns))]
        farthest = float(reach[0, :, column].max())
        distance = math.exp(self._uniform(math.log(near), math.log(max(near * 1.3, farthest))))
        floor = _floor_rows(reach[0, :, column]) if "bottom" not in subject.cut else []
        spot = floor[self._integer(len(floor))] if len(floor) and self._chance(0.6) else None
        if spot is not None:
            # Somebody who stands where the floor is seen: depth can't tell shoes from shadows.
            distance = max(near, float(reach[0, spot, column]))
        scale = (focal / subject.focal) * (subject.distance / distance)
        if "bottom" in subject.cut and self._chance(0.35):
            # A bust, as in a video call: heads of a third of the picture's height and more.
            nearer = self._uniform(0.8, 1.8) * height / (subject.size[0] * scale)
            nearer = min(max(1.0, nearer), max(1.0, distance / 0.35))
            scale, distance = scale * nearer, distance / nearer
        subject_height = subject.size[0] * scale
        if "bottom" in subject.cut:
            hidden = max(0.15, 1 - self._uniform(0.85, 1.2) * height / subject_height)
            bottom = height + self._uniform(0, hidden) * subject_height
        elif spot is not None:
            bottom = float(spot)
        elif self._chance(0.75):
            # Feet go to the lowest row of this column whose depth is the subject's.
            gap = (reach[0, :, column] - distance).abs() / distance
            rows = torch.nonzero(gap < 0.08)
            bottom = float(rows.max()) if len(rows) else height + 0.3 * subject_height
        else:
            bottom = self._uniform(0.6, 1.3) * height
        scale, distance = scale * motion.growth, distance / motion.growth
        center = (column + 0.5 + motion.across, bottom - subject_height / 2 + motion.down)
        roll = (self._uniform(-0.06, 0.06) if self._chance(0.3) else 0.0) + motion.turn
        mirror = -1.0 if self._chance(0.5) else 1.0
        placed = _warp(
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
        sharpened = self._chance(0.8)
        if sharpened and not subject.soft:
            # Magnified outlines are as soft as they are large; a camera would see sharp ones.
            width_now = scale * 2 ** _level(subject, scale)
            slope = min(4.0, max(1.0, width_now * self._uniform(0.9, 2.0)))
            sharp = ((alpha - 0.5) * slope + 0.5).clamp(0, 1)
            placed = placed * (sharp / alpha.clamp(min=1e-3))
            alpha = sharp
        depth = distance + torch.where(alpha > 0.02, offset, 0.0).clamp(-1, 1)

        rgb = placed[:3] / 255
        if self._chance(0.1):
            # Rare, for it blurs all of somebody: with much of it all outlines come out soft.
            longest = (0.08 if self._chance(0.12) else 0.02) * max(height, width)
            rgb, alpha = self._blur_motion(rgb, alpha, longest)
        overlap = alpha > 0.5
        if bool(overlap.any()) and self._chance(0.6):
            # Nothing of the scene stands before this one: come nearer where something would.
            excess = float(torch.quantile((depth / reach)[overlap], 0.98))
            depth = depth / max(1.0, excess * 1.02)
        else:
            seen = F.avg_pool2d((depth < reach + 0.03).float(), 3, stride=1, padding=1)
            rgb, alpha = rgb * seen, alpha * seen
        shadow = self._shadow(subject, scale, center, mirror, (height, width))
        return _Layer(rgb, alpha, depth, center, subject.size[0] * scale), shadow

    def _blur_motion(self, rgb: Tensor, alpha: Tensor, longest: float) -> tuple[Tensor, Tensor]:
        """Blur along a line of up to ``longest`` pixels, as of a moving arm or a slow shutter."""
        height, width = alpha.shape[-2:]
        length = math.exp(self._uniform(math.log(3.0), math.log(max(3.0, longest))))
        angle = self._uniform(-0.5, 0.5) if self._chance(0.7) else self._uniform(0, math.pi)
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

    def _shadow(
        self,
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
        shade = torch.ones(1, *small, device=self._device)
        extent = subject.size[0] * half_scale
        if self._chance(0.6):
            flat = self._uniform(0.15, 0.6)
            shear = self._uniform(-1.2, 1.2)
            middle = (
                middle_x + shear * extent * flat / 2,
                middle_y + extent / 2 - extent * flat / 2,
            )
            cast = _warp(subject, half_scale, middle, small, flat=flat, shear=shear, mirror=mirror)
            shade = shade * self._soften(cast[3:4] / 255, self._softness(6.0))
        if self._chance(0.5):
            away = self._uniform(0.02, 0.25) * extent
            middle = (
                middle_x + away * (1 if self._chance(0.5) else -1),
                middle_y + self._uniform(-0.05, 0.1) * extent,
            )
            grown = half_scale * self._uniform(0.95, 1.25)
            cast = _warp(subject, grown, middle, small, mirror=mirror)
            shade = shade * self._soften(cast[3:4] / 255, self._softness(8.0))
        if self._chance(0.6):
            feet = (middle_x, middle_y + extent / 2)
            cast = _warp(subject, half_scale, feet, small, flat=0.12, mirror=mirror)
            shade = shade * self._soften(cast[3:4] / 255, 4.0)
        if self._chance(0.6):
            # Under soles and hems, of a foot in the air as well, it is darkest.
            drop, aside = self._uniform(0.0, 0.04) * extent, self._uniform(-0.03, 0.03) * extent
            below = (middle_x + aside, middle_y + drop)
            cast = _warp(subject, half_scale, below, small, mirror=mirror)[3:4] / 255
            part = self._uniform(0.05, 0.25) * extent
            rows = torch.arange(small[0], device=self._device) - (middle_y + extent / 2 - part)
            cast = cast * (rows / (0.3 * part)).clamp(0, 1)[:, None]
            wider = min(12, round(self._uniform(0.0, 0.02) * extent))
            cast = F.max_pool2d(cast, (1, 2 * wider + 1), 1, (0, wider))
            shade = shade * self._soften(cast, self._softness(4.0), darkest=0.9)
        return F.interpolate(shade[None], size, mode="bilinear", align_corners=False)[0]

    def _softness(self, highest: float) -> float:
        """Half-size pixels by which a shadow blurs; hard shadows are as frequent as soft ones."""
        return math.exp(self._uniform(math.log(0.3), math.log(highest)))

    def _soften(self, cast: Tensor, sigma: float, darkest: float = 0.7) -> Tensor:
        """A silhouette to a soft factor."""
        strength = self._uniform(0.08, darkest)
        width = 2 * round(2 * sigma) + 1
        height, columns = cast.shape[-2:]
        down = _triangles(height, width, self._device)
        return 1 - strength * (down @ cast @ _triangles(columns, width, self._device))

    # -- sensors --------------------------------------------------------------------------

    def _bleach(self, frame: Tensor, plate: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Longer exposure: what is bright is cut off later, all in the same white, without noise.

        White clothes before a white wall are one with it then, and depth alone tells them apart.
        """
        bright = torch.quantile(plate.amin(dim=0), self._uniform(0.5, 0.98))
        gain = (1 / bright.clamp(min=1e-3)).clamp(1, 4)
        return frame * gain, plate * gain, truth * gain

    def _expose(self, frame: Tensor, plate: Tensor, truth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Noise of the color sensor; the plate is a mean of frames and has less of it."""
        height, width = frame.shape[-2:]
        step = math.exp(0.1 * float(self._normal())) if self._chance(_EXPOSURE_STEP) else 1.0
        if self._time:
            # Automatic exposure answers a frame or two late.
            frame, truth = frame * step, truth * step
        if self._chance(0.3):
            gamma = math.exp(self._uniform(-0.25, 0.25))
            frame, plate, truth = (x.clamp(0, 1) ** gamma for x in (frame, plate, truth))
        level = self._uniform(0.0, 0.025)
        noise = self._fresh_normal(3, height, width) * level
        if self._chance(0.5):
            coarse = self._fresh_normal(3, math.ceil(height / 2), math.ceil(width / 2)) * level
            noise = noise + F.interpolate(coarse[None], (height, width), mode="bilinear")[0]
        plate_noise = self._normal(3, height, width) * (level * self._uniform(0.05, 0.4))
        if self._chance(0.2):
            blur = F.avg_pool2d(torch.stack([frame, plate]), 3, 1, 1, count_include_pad=False)
            frame, plate = blur[0], blur[1]
        frame, plate = (frame + noise).clamp(0, 1), (plate + plate_noise).clamp(0, 1)
        if self._chance(0.3):
            quality = 50 + self._integer(46)
            frame, plate = _compress(frame, quality), _compress(plate, quality)
        return frame, plate, truth

    def _sense(
        self,
        view: _View,
        front: Tensor,
        frame: Tensor,
        margin: Tensor,
        reflecting: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What the depth sensor makes of the empty scene and of the frame.

        It sees nothing in ``margin``; where the scene isn't ``reflecting`` it sees people, and the
        scene by luck.

        Returns:
            live depth (-1 unknown, or a guess, see :func:`dart_ros.method.blind_sides.continued`),
            background mean, background deviation, background known.
        """
        depth, std = view.depth, view.std
        captured, measured, max_depth = std is not None, view.live_depth, view.max_depth
        height, width = depth.shape[-2:]
        sensor = _SENSORS[self._integer(len(_SENSORS))]
        noise, step = (
            math.exp(self._uniform(math.log(low), math.log(high)))
            for low, high in (sensor.noise, sensor.step)
        )
        near = self._uniform(0.2, 0.5)

        known = (depth > 0) & (depth < max_depth) & reflecting
        if not captured:
            for cells, level in ((6, self._uniform(1.2, 3.5)), (25, self._uniform(1.5, 3.5))):
                known = known & (self._smooth_noise(height, width, cells) < level)
            if self._chance(0.5 * sensor.dark):
                known = known & (view.color.mean(dim=0, keepdim=True) > self._uniform(0.03, 0.15))
            if self._chance(sensor.steep):
                known = known & (_steepness(depth, view.focal) < self._uniform(4.0, 12.0))
            if self._chance(sensor.far):
                weak = depth > self._uniform(0.5, 1.0) * max_depth
                known = known & ~(weak & (self._smooth_noise(height, width, 40) > 0))
            if self._chance(0.6):
                known = known & ~self._hidden(depth)
        deviation = std if std is not None else noise * depth.clamp(min=0) ** 2
        average, empty = depth, torch.where(depth > 0, depth, 0.0)
        if not captured and self._chance(sensor.mixed):
            average, spread, empty = self._mixed_edges(depth)
            deviation = torch.maximum(deviation, spread)
        deviation = torch.maximum(deviation, STD_FLOOR * depth.clamp(min=0.1))
        mean = torch.where(known, average, max_depth)
        deviation = torch.where(known, deviation, 0.01 * max_depth)

        person = torch.isfinite(front)
        person_depth = torch.where(person, front, 0.0)
        nearness = float(1 / front[person].mean().clamp(min=0.5)) if bool(person.any()) else 0.0
        if self._chance(0.75):
            person, person_depth = self._misregister(person, person_depth, nearness)
        if measured is not None:
            empty = measured
        elif self._chance(0.7):
            # Edges of the background are never measured twice at the same place.
            shift = (self._integer(5) - 2, self._integer(5) - 2)
            moved = self._smooth_noise(height, width, 40, fresh=0.7) > 0.3
            empty = torch.where(moved, _displaced(empty, *shift), empty)
        live = torch.where(person, person_depth, empty)
        invented = person if measured is not None else torch.ones_like(person)
        if self._chance(sensor.drift):
            # Structured light and time of flight drift by some per cent when the view changes.
            drift = self._uniform(0.0, 0.025) * self._smooth_noise(height, width, 4).clamp(-2, 2)
            live = live * (1 + drift)
        lucky = (empty > 0) & (
            self._smooth_noise(height, width, 30, fresh=0.7) > self._uniform(1.0, 3.0)
        )
        seen = person | (known | lucky if measured is None else empty > 0)
        flicker = self._smooth_noise(height, width, 60, fresh=1.0) > self._uniform(1.8, 4.0)
        seen = seen & ~(flicker & invented)
        for cells, low in ((8, 1.6), (30, 1.8)):
            # Dark or shiny clothes and hair, seen by the sensor as nothing.
            missed = self._smooth_noise(height, width, cells, fresh=0.4) > self._uniform(low, 4)
            seen = seen & ~(person & missed)
        if self._chance(sensor.dark):
            # Black clothes and hair give nothing back at all.
            black = frame.mean(dim=0, keepdim=True) < self._uniform(0.05, 0.35)
            seen = seen & ~(black & person)
        if self._chance(_ALL_NEAR_LOST):
            # Too near for the sensor.
            seen = seen & ~(person & (person_depth < self._uniform(0.4, 1.5)))
        if self._chance(_PEOPLE_LOST):
            seen = seen & ~person
        if self._chance(sensor.dark):
            dark = frame.mean(dim=0, keepdim=True) < self._uniform(0.03, 0.2)
            seen = seen & ~(dark & person & (self._smooth_noise(height, width, 20, fresh=0.4) > 0))
        if self._chance(0.6):
            # Single pixels are lost as well, of people who are dark more than of what is behind.
            lost = self._fresh_uniform(seen.shape)
            often, seldom = self._uniform(0.0, 0.5), self._uniform(0.0, 0.05)
            darkness = (1 - 2 * frame.mean(dim=0, keepdim=True)).clamp(0, 1)
            seen = seen & (lost > torch.where(person, often * darkness, seldom * invented))
        if self._chance(sensor.shadow):
            seen = seen & ~self._occlusion_shadow(person, nearness)
        if self._chance(0.1):
            seen = torch.zeros_like(seen)  # depth lost altogether: color must do

        axial = self._fresh_normal(1, height, width)
        if self._chance(0.5):
            grains = self._smooth_noise(height, width, max(height, width) // 5, fresh=1.0)
            axial = 0.5 * axial + grains
        spread = torch.where(person | (std is None), noise * live**2, deviation * 0.7)
        live = live + axial * spread * invented
        quantum = (step * live**2).clamp(min=0.001)
        live = torch.round(live / quantum) * quantum
        seen = seen & ~margin & (live > near) & (live < max_depth)
        live = torch.where(seen, live, -1.0)
        guessed = torch.from_numpy(continued(live[0].numpy(), sides_of(margin)))
        return guessed[None], mean, deviation, known.float()

    def _hidden(self, depth: Tensor) -> Tensor:
        """The bands beside the scene's own edges that a projector or second eye can't see."""
        length = 1 + self._integer(8)
        side = (length, 0) if self._chance(0.5) else (0, length)
        padded = F.pad(_nearness(depth)[None], (*side, 0, 0), mode="replicate")
        nearest = F.max_pool2d(padded, (1, length + 1), 1)[0]
        return depth * nearest > 1.05

    def _mixed_edges(self, depth: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Edges of the scene that are measured now near and now far.

        Returns:
            mean and deviation over the capture, and the depth in the frame (0 unknown), metres.
        """
        height, width = depth.shape[-2:]
        size = 3 + 2 * self._integer(2)
        near = 1 / _highest(_nearness(depth), size)
        edge = depth > 1.05 * near
        share = self._smooth_noise(height, width, 40).clamp(-1, 1) * 0.5 + 0.5
        gap = torch.where(edge, depth - near, 0.0)
        low = self._fresh_uniform(share.shape) < share
        frame = torch.where(edge & low, near, depth).clamp(min=0)
        return depth - share * gap, torch.sqrt(share * (1 - share)) * gap, frame

    def _misregister(self, person: Tensor, depth: Tensor, nearness: float) -> tuple[Tensor, Tensor]:
        """Shifts the sensor's view of the people by some pixels and widens its outline.

        Both by more, the nearer (1/m) they are, where the depth is registered for farther away.
        """
        shift = (self._integer(5) - 2, self._integer(7) - 3)
        poor = self._chance(0.3)
        if poor:
            reach = 10 * min(1.0, nearness)
            shift = (round(self._uniform(-0.6, 0.6) * reach), round(self._uniform(-1, 1) * reach))
        person = _displaced(person.float(), *shift, beyond="replicate") > 0.5
        depth = _displaced(depth, *shift, beyond="replicate")
        if self._chance(0.6):
            size = 3 + 2 * self._integer(4 if poor else 2)
            depth, person = _highest(depth, size), _highest(person.float(), size) > 0.5
        if self._chance(0.7):
            # Outlines of depth images are ragged.
            height, width = person.shape[-2:]
            cells = max(height, width) // 6
            ragged = self._smooth_noise(height, width, cells, fresh=0.7) > 0.3
            inner = _highest(1 - person.float(), 5) < 0.5
            person = inner | (person & ragged)
        return person, torch.where(person, depth, 0.0)

    def _occlusion_shadow(self, person: Tensor, nearness: float) -> Tensor:
        """The band beside near objects that the sensor's projector or second eye can't see.

        It is the wider, the nearer (1/m) they are.
        """
        length = 2 + self._integer(10 + round(24 * min(1.0, nearness)))
        side = 1 if self._chance(0.5) else -1
        band = person.clone()
        reached = 1
        while reached < length:
            jump = min(reached, length - reached)
            band = band | _displaced(band, 0, side * jump)
            reached += jump
        return band & ~person


def _mixed(seed: int, part: str, number: int) -> int:
    """A seed of 32 bits for a part of what a seed decides."""
    return zlib.crc32(f"{seed} {part} {number}".encode())


def _stack(samples: Sequence[tuple[Tensor, ...]]) -> Batch:
    color, depth, plate, mean, std, known, alpha, foreground = (
        torch.stack(parts) for parts in zip(*samples, strict=True)
    )
    background = Background(plate, mean, std, known)
    return Batch(color, depth, background, alpha, foreground, torch.ones_like(alpha))


def _compress(image: Tensor, quality: int) -> Tensor:
    """What JPEG leaves of a 3×H×W picture in [0, 1]; ``quality`` from 1 to 100."""
    if image.device.type == "cpu":
        return _compress_on_cpu(image, quality)
    try:
        # Not before: kornia is for GPUs alone and takes its time to load.
        from kornia.enhance import jpeg_codec_differentiable
    except ImportError:
        # A robot that only fits does without it.
        return _compress_on_cpu(image.cpu(), quality).to(image.device)
    height, width = image.shape[-2:]
    padded = F.pad(image[None], (0, -width % 16, 0, -height % 16), mode="replicate")
    level = torch.tensor([float(quality)], device=image.device)
    compressed: Tensor = jpeg_codec_differentiable(padded, level)[0, :, :height, :width]
    return compressed.clamp(0, 1)


def blind_columns(background: RgbdBackground) -> Tensor:
    """Where a captured scene's sensor never sees anything at its sides, 1×H×W bool."""
    width = background.depth.shape[-1]
    sides = blind_sides((background.depth > 0).numpy()) if background.captured else BlindSides(0, 0)
    columns = torch.arange(width, device=background.depth.device)
    blind = (columns < sides.left) | (columns >= width - sides.right)
    return blind.expand(1, *background.depth.shape)


def sides_of(margin: Tensor) -> BlindSides:
    """The columns at the sides of a 1×H×W margin that are in it as a whole."""
    outside = torch.nonzero(~margin[0].all(dim=0))[:, 0]
    if not len(outside):
        return BlindSides(0, 0)
    return BlindSides(int(outside[0]), margin.shape[-1] - 1 - int(outside[-1]))


def _floor_rows(depth: Tensor) -> list[int]:
    """Rows of a column (H metres, from above) at which a floor comes nearer, in the lower part."""
    step = max(1, len(depth) // 80)
    nearer = depth[:-step] / depth[step:] - 1
    slopes = (nearer > 0.006) & (nearer < 0.08)
    rows = torch.nonzero(slopes[:-step] & slopes[step:])[:, 0] + step
    return [row for row in rows.tolist() if row >= 0.4 * len(depth)]


def _compress_on_cpu(image: Tensor, quality: int) -> Tensor:
    pixels = (image.permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()[..., ::-1]
    data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
    decoded = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.float32)[..., ::-1] / 255
    return torch.from_numpy(decoded).permute(2, 0, 1).contiguous()


@functools.cache
def _bicubic(cells: int, size: int, device: torch.device) -> Tensor:
    """size×cells: bicubic interpolation along one axis.

    Two products with it take a CPU a tenth of the time of torch's interpolation along both.
    """
    one_hot = torch.eye(cells, device=device)[None, None]
    return F.interpolate(one_hot, (size, cells), mode="bicubic", align_corners=False)[0, 0]


@functools.cache
def _triangles(size: int, width: int, device: torch.device) -> Tensor:
    """size×size: a blur along one axis, as of two boxes ``width`` pixels wide."""
    place = torch.arange(size, device=device)
    return (width - (place[:, None] - place).abs()).clamp(min=0) / width**2


def _highest(image: Tensor, size: int) -> Tensor:
    """The highest of the size×size pixels around each pixel, C×H×W; along one axis at a time."""
    across = F.max_pool2d(image[None], (1, size), 1, (0, size // 2))
    return F.max_pool2d(across, (size, 1), 1, (size // 2, 0))[0]


def _steepness(depth: Tensor, focal: float) -> Tensor:
    """Tangent of the angle at which a surface is seen, 0 where it faces the camera; 1×H×W."""
    # Over several pixels: depth that was magnified has steps.
    right = F.pad((depth[..., 4:] - depth[..., :-4]).abs(), (2, 2, 0, 0))
    down = F.pad((depth[..., 4:, :] - depth[..., :-4, :]).abs(), (0, 0, 2, 2))
    return torch.maximum(right, down) / 4 * focal / depth.clamp(min=0.1)


def _nearness(depth: Tensor) -> Tensor:
    """1/m, 0 where unknown."""
    return torch.where(depth > 0, 1 / depth.clamp(min=1e-3), 0.0)


def _displaced(image: Tensor, rows: int, columns: int, beyond: str = "constant") -> Tensor:
    """Moves an image down and right; 0 comes in, or what it shows at its borders ("replicate")."""
    height, width = image.shape[-2:]
    reach = max(abs(rows), abs(columns))
    padded = F.pad(image[None], (reach,) * 4, mode=beyond)[0]
    top, left = reach - rows, reach - columns
    return padded[..., top : top + height, left : left + width]


def _level(subject: Foreground, scale: float) -> int:
    """The level of a subject's pyramid that is sampled without aliasing at a scale."""
    level = 0
    while level + 1 < len(subject.levels) and scale * 2**level < 0.7:
        level += 1
    return level


def _warp(
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
    source = subject.levels[_level(subject, scale * min(1.0, flat * 2))].float()
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

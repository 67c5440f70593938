"""Real frames to train on: a recorded scene, its occupied frames labelled by depth alone."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.method.blind_sides import extrapolate_depth
from dart_ros.method.network import Background
from dart_ros.simulation.depth_labels import BACKGROUND, FOREGROUND, UNLABELLED
from dart_ros.simulation.frames import Batch, Previous, RgbdBackground, blind_columns, sides_of


@dataclass(frozen=True)
class RecordedScene:
    """A captured scene and frames that were taken in it afterwards, all of one size.

    ``background`` is the captured scene with its deviation, its sensor's range and, as ``samples``,
    the empty frames one by one. Of the N occupied frames: ``color`` N×3×H×W uint8, ``depth``
    N×H×W int16 millimetres (0 unknown), ``labels`` N×H×W uint8 (see
    :mod:`dart_ros.simulation.depth_labels`) and ``follows``, N bool: whether a frame shows the
    scene a moment after the one before it.
    """

    background: RgbdBackground
    color: Tensor
    depth: Tensor
    labels: Tensor
    follows: Tensor

    def part(self, frames: slice) -> RecordedScene:
        """The same scene with some of its occupied frames."""
        return replace(
            self,
            color=self.color[frames],
            depth=self.depth[frames],
            labels=self.labels[frames],
            follows=self.follows[frames] & (torch.arange(len(self.follows[frames])) > 0),
        )

    def digest(self) -> str:
        """SHA-256 of all images, hexadecimal."""
        digest = hashlib.sha256(repr(self.background.focal).encode())
        background = self.background
        captured = background.color, background.depth, background.std, background.restless
        images = *captured, *(background.samples or ())
        for image in (*images, self.color, self.depth, self.labels, self.follows):
            digest.update(b"-" if image is None else image.contiguous().numpy().tobytes())
        return digest.hexdigest()


@dataclass(frozen=True)
class RecordedChances:
    """How often real frames are changed, and by how much.

    Attributes:
        mirror: probability of left and right changed over.
        window: probability of a magnified window.
        zoom: highest magnification of a window.
        light: probability of another light than the recording's.
        gain: deviation of the logarithm of that light's gain.
        gamma: highest logarithm of its exponent.
        tint: deviation of its color.
        step: probability of an exposure that changes from one frame of a pair to the next.
        dark_lost: probability of depth lost on all that is dark before the background.
        parts_lost: probability of depth lost on parts of what is before the background.
        people_lost: probability of depth lost on all that is before the background.
        all_lost: probability of depth lost altogether.
        still: probability that frames of a pair differ by the sensor's noise alone, where the
            recording has a frame a moment before.
    """

    mirror: float = 0.5
    window: float = 0.5
    zoom: float = 1.6
    light: float = 0.5
    gain: float = 0.25
    gamma: float = 0.25
    tint: float = 0.04
    step: float = 0.15
    dark_lost: float = 0.2
    parts_lost: float = 0.3
    people_lost: float = 0.08
    all_lost: float = 0.03
    still: float = 0.5


UNCHANGED = RecordedChances(
    mirror=0.0,
    window=0.0,
    light=0.0,
    step=0.0,
    dark_lost=0.0,
    parts_lost=0.0,
    people_lost=0.0,
    all_lost=0.0,
)
"""Real frames as they are, for validation; still larger or smaller where the size asks for it."""


class _Light(NamedTuple):
    """Another light than the recording's: ``gain`` 3×1×1 and an exponent."""

    gain: Tensor
    gamma: float

    def __call__(self, color: Tensor) -> Tensor:
        """A color in [0, 1] in this light."""
        if self.gamma != 1:
            color = color**self.gamma
        return (color * self.gain).clamp(0, 1)


class _Shown(NamedTuple):
    """A frame as the sensor gave it: 3×H×W color in [0, 1], H×W depth in metres (0 unknown), and
    its H×W labels."""

    color: Tensor
    depth: Tensor
    labels: Tensor


class _Window(NamedTuple):
    """Part of a recorded picture that a frame shows."""

    rows: slice
    columns: slice
    size: tuple[int, int]
    mirrored: bool

    def of(self, image: Tensor, smoothly: bool = False) -> Tensor:
        """The window of a C×H×W image at the frame's size, float32."""
        part = image[:, self.rows, self.columns].float()
        if part.shape[-2:] != self.size:
            if smoothly:
                part = F.interpolate(
                    part[None], self.size, mode="bilinear", align_corners=False, antialias=True
                )[0]
            else:
                part = F.interpolate(part[None], self.size, mode="nearest")[0]
        return part.flip(-1) if self.mirrored else part


class RecordedFrames:
    """Makes training frames of recorded scenes.

    Args:
        scenes: where the frames come from; those of many frames more often.
        size: (height, width) of the frames.
        pairs: whether each comes with the frame before it.
        chances: of changes.

    Raises:
        ValueError: if there is no scene, or one without frames.
    """

    def __init__(
        self,
        scenes: Sequence[RecordedScene],
        size: tuple[int, int],
        pairs: bool = False,
        chances: RecordedChances | None = None,
    ) -> None:
        if not scenes or not all(len(scene.color) for scene in scenes):
            raise ValueError("frames need recorded scenes with at least one occupied frame each")
        self._scenes = list(scenes)
        self._blind = [blind_columns(scene.background) for scene in scenes]
        self._size = size
        self._pairs = pairs
        self._chances = chances or RecordedChances()
        # A long recording holds more than a short one, but its frames resemble each other.
        shares = torch.tensor([math.sqrt(len(scene.color)) for scene in scenes])
        self._shares = shares / shares.sum()
        self._generator = torch.Generator()

    def frames(self, seeds: Sequence[int]) -> Batch:
        """A frame for each seed, which alone decides it.

        ``weight`` is 0 where depth gives no label; ``foreground`` is the frame itself.
        """
        frames = []
        for seed in seeds:
            self._generator.manual_seed(seed)
            frames.append(self._frame())
        return join_batches(frames)

    def _uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def _chance(self, probability: float) -> bool:
        return float(torch.rand((), generator=self._generator)) < probability

    def _integer(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self._generator))

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._generator)

    def _frame(self) -> Batch:
        number = int(torch.multinomial(self._shares, 1, generator=self._generator))
        scene = self._scenes[number]
        position = self._integer(len(scene.color))
        window = self._window(scene)
        before, now = self._shown(scene, position)
        background = scene.background
        std, max_depth = background.std, background.max_depth
        assert std is not None and max_depth is not None
        plate = window.of(background.color, smoothly=True).clamp(0, 255) / 255
        mean, std = window.of(background.depth[None]), window.of(std[None])
        # Unknown depth has the range as its mean, whose deviation is a known share of it.
        known = mean > 0
        mean = torch.where(known, mean, max_depth)
        std = torch.where(known, std, 0.01 * max_depth)
        margin = window.of(self._blind[number].float()) > 0

        lost = self._lost(window, now)
        gains = self._light()
        pair = []
        for shown, gain in zip((before, now), gains, strict=True):
            color = gain(window.of(shown.color, smoothly=True).clamp(0, 1))
            labels = window.of(shown.labels[None])
            depth = window.of(shown.depth[None])
            gone = lost & (labels != BACKGROUND) if lost.dim() else lost
            depth = torch.where((depth > 0) & ~gone & ~margin, depth, -1.0)
            depth = torch.from_numpy(extrapolate_depth(depth[0].numpy(), sides_of(margin)))[None]
            alpha = (labels == FOREGROUND).float()
            pair.append((color, depth, alpha, (labels != UNLABELLED).float()))
        color, depth, alpha, weight = (image[None] for image in pair[1])
        restless = torch.zeros_like(mean)
        if background.restless is not None:
            restless = window.of(background.restless[None])
        captured = Background(
            *(image[None] for image in (plate, mean, std, known.float(), restless))
        )
        previous = Previous(*(image[None] for image in pair[0])) if self._pairs else None
        return Batch(color, depth, captured, alpha, color, weight, previous)

    def _window(self, scene: RecordedScene) -> _Window:
        height, width = scene.color.shape[-2:]
        out_height, out_width = self._size
        # A crop of a larger picture, as it is, unless it is to be another.
        fit = max(out_height / height, out_width / width)
        zoom = max(fit, 1.0)
        if self._chance(self._chances.window):
            zoom = fit * self._chances.zoom ** self._uniform(0, 1)
        rows, columns = int(out_height / zoom), int(out_width / zoom)
        top, left = self._integer(height - rows + 1), self._integer(width - columns + 1)
        mirrored = self._chance(self._chances.mirror)
        return _Window(slice(top, top + rows), slice(left, left + columns), self._size, mirrored)

    def _shown(self, scene: RecordedScene, position: int) -> tuple[_Shown, _Shown]:
        """The frame before and the frame."""
        still = self._chance(self._chances.still)
        first = self._integer(1 << 20)
        if not self._pairs:
            shown = self._plain(scene, position)
            return shown, shown
        if not still and bool(scene.follows[position]):
            return self._plain(scene, position - 1), self._plain(scene, position)
        # Somebody who stands still, with the sensor's own noise of frames that follow each other.
        return self._noisy(scene, position, first), self._noisy(scene, position, first + 1)

    def _plain(self, scene: RecordedScene, position: int) -> _Shown:
        return _Shown(
            scene.color[position].float() / 255,
            scene.depth[position].float() / 1000,
            scene.labels[position],
        )

    def _noisy(self, scene: RecordedScene, position: int, sample: int) -> _Shown:
        """A frame with an empty frame's noise: how it differs from the captured background."""
        shown = self._plain(scene, position)
        background = scene.background
        if background.samples is None:
            return shown
        colors, depths = background.samples
        sample %= len(colors)
        color = shown.color + (colors[sample].float() - background.color.float()) / 255
        mean = background.depth
        both = (mean > 0) & (depths[sample] > 0)
        share = torch.where(both, depths[sample] / mean.clamp(min=0.1) - 1, 0.0).clamp(-0.02, 0.02)
        # Noise grows with the square of the distance.
        depth = shown.depth * (1 + share * shown.depth / mean.clamp(min=0.1))
        missed = (mean > 0) & (depths[sample] <= 0) & (shown.labels == BACKGROUND)
        return _Shown(color.clamp(0, 1), torch.where(missed, 0.0, depth), shown.labels)

    def _light(self) -> list[_Light]:
        """The light of the frame before and of the frame."""
        chances = self._chances
        light = _Light(torch.ones(3, 1, 1), 1.0)
        if self._chance(chances.light):
            gain = math.exp(chances.gain * float(self._normal()))
            gamma = math.exp(self._uniform(-chances.gamma, chances.gamma))
            light = _Light(gain * (1 + chances.tint * self._normal(3, 1, 1)), gamma)
        before = light
        if self._chance(chances.step):
            before = light._replace(gain=light.gain * math.exp(0.1 * float(self._normal())))
        return [before, light]

    def _lost(self, window: _Window, shown: _Shown) -> Tensor:
        """Where what is before the background loses its depth; 1×H×W bool, or one for all."""
        chances = self._chances
        height, width = self._size
        if self._chance(chances.all_lost):
            return torch.tensor(True)
        if self._chance(chances.people_lost):
            return torch.ones(1, height, width, dtype=torch.bool)
        lost = torch.zeros(1, height, width, dtype=torch.bool)
        if self._chance(chances.dark_lost):
            gray = window.of(shown.color).mean(dim=0, keepdim=True)
            lost |= gray < self._uniform(0.1, 0.35)
        if self._chance(chances.parts_lost):
            cells = 3 + self._integer(20)
            grid = self._normal(1, 1, cells, math.ceil(cells * width / height))
            parts = F.interpolate(grid, (height, width), mode="bicubic", align_corners=False)[0]
            lost |= parts > self._uniform(0.3, 1.5)
        return lost


def join_batches(batches: Sequence[Batch]) -> Batch:
    """Several batches as one, all with previous frames or none."""

    def joined(images: Sequence[Tensor]) -> Tensor:
        return torch.cat(list(images))

    first = batches[0]
    previous = None
    if first.previous is not None:
        befores = [batch.previous for batch in batches if batch.previous is not None]
        previous = Previous(*map(joined, zip(*befores, strict=True)))
    return Batch(
        joined([batch.color for batch in batches]),
        joined([batch.depth for batch in batches]),
        Background(*map(joined, zip(*(batch.background for batch in batches), strict=True))),
        joined([batch.alpha for batch in batches]),
        joined([batch.foreground for batch in batches]),
        joined([batch.weight for batch in batches]),
        previous,
    )

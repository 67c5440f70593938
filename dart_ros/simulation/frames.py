"""Training frames with their truth, and the places that they are composed in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor

from dart_ros.method.blind_sides import BlindSides, blind_sides
from dart_ros.method.network import Background

MAX_DEPTH = 5.46
"""Range in metres of the sensor in the paper, an Azure Kinect (d_max)."""


@dataclass(frozen=True)
class RgbdBackground:
    """An empty scene.

    ``color`` 3×H×W uint8, ``depth`` H×W float32 metres (-1 unknown), ``focal`` in pixels.
    ``std`` (H×W metres) is given for a captured scene: the sensor's own holes and noise are
    then kept, else they are invented; ``restless`` (H×W bool) is where its color varied while it
    was captured, None for nowhere. With ``samples``, N further frames of a captured scene as
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
    restless: Tensor | None = None

    @property
    def captured(self) -> bool:
        """Whether the depth is a real sensor's, with its own holes and noise."""
        return self.std is not None

    def to(self, device: torch.device) -> RgbdBackground:
        """The same on a device."""
        std, samples, restless = self.std, self.samples, self.restless
        return replace(
            self,
            color=self.color.to(device),
            depth=self.depth.to(device),
            std=None if std is None else std.to(device),
            samples=None if samples is None else (samples[0].to(device), samples[1].to(device)),
            restless=None if restless is None else restless.to(device),
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
    guesses of :func:`dart_ros.method.blind_sides.extrapolate_depth`.

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


def blind_columns(background: RgbdBackground) -> Tensor:
    """Where a captured scene's sensor never sees anything at its sides, 1×H×W bool."""
    width = background.depth.shape[-1]
    sides = (
        blind_sides((background.depth > 0).cpu().numpy())
        if background.captured
        else BlindSides(0, 0)
    )
    columns = torch.arange(width, device=background.depth.device)
    blind = (columns < sides.left) | (columns >= width - sides.right)
    return blind.expand(1, *background.depth.shape)


def sides_of(margin: Tensor) -> BlindSides:
    """The columns at the sides of a 1×H×W margin that are in it as a whole."""
    outside = torch.nonzero(~margin[0].all(dim=0))[:, 0]
    if not len(outside):
        return BlindSides(0, 0)
    return BlindSides(int(outside[0]), margin.shape[-1] - 1 - int(outside[-1]))

"""Validation on frames that are composed once and that training never sees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from dart_ros.method.geometry import tile_count
from dart_ros.method.network import MattingNetwork, MattingOutput
from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import Foreground
from dart_ros.simulation.frames import Batch, RgbdBackground
from dart_ros.simulation.recorded import RecordedFrames

FRACTIONAL = 0.05
"""Alpha beyond which a pixel is neither background nor, as far below 1, foreground."""

SHOWN = 3
"""Frames of which pictures are made."""


class ValidationScores(NamedTuple):
    """Means over the frames: ``sad`` in thousands of pixels a frame, ``mse`` in thousandths, and
    the mean absolute ``error`` of alpha in thousandths, over all pixels and, as ``soft``, over
    those that are truly fractional, as in hair and blurred limbs; 0 where none is."""

    sad: float
    mse: float
    error: float
    soft: float


class ValidationSet:
    """Frames with truth, the same for the whole of a training.

    Args:
        foregrounds: people and objects held out from training.
        backgrounds: rooms held out from training, or the scene of a fit.
        sizes: (height, width) of the frames, in turn.
        frames: how many.
        max_depth: the sensor's range in metres.
        seed: the same seed gives the same frames.
        batch: frames that go through the network at a time.
        reduction: of the base network's input, None for what the frames' size asks for.
        recorded: makes real frames, of which there are half as many besides; None for none.
    """

    def __init__(
        self,
        foregrounds: Sequence[Foreground],
        backgrounds: Sequence[RgbdBackground],
        sizes: Sequence[tuple[int, int]],
        frames: int,
        max_depth: float,
        seed: int,
        batch: int = 4,
        reduction: int | None = None,
        recorded: RecordedFrames | None = None,
    ) -> None:
        composers = itertools.cycle(
            [Composer(foregrounds, backgrounds, size, max_depth, seed) for size in sizes]
        )
        counts = [min(batch, frames - first) for first in range(0, frames, batch)]
        self._batches = [next(composers).batch(count) for count in counts]
        if recorded is not None:
            half = range(max(1, frames // 2))
            self._batches += [
                recorded.frames(half[first : first + batch]) for first in half[::batch]
            ]
        self._reduction = reduction

    @torch.inference_mode()
    def score(self, network: MattingNetwork) -> ValidationScores:
        """Scores a network, which is in evaluation mode afterwards."""
        network.eval()
        device = next(network.parameters()).device
        absolute = squared = soft = 0.0
        frames, pixels, fractional = 0, 0.0, 0.0
        for batch in self._batches:
            moved = batch.to(device)
            difference = (self._alpha(network, moved) - moved.alpha) * moved.weight
            absolute += float(difference.abs().sum(dtype=torch.float64))
            squared += float(difference.square().sum(dtype=torch.float64))
            frames += len(difference)
            pixels += float(moved.weight.sum(dtype=torch.float64))
            part = _fractional(moved)
            soft += float((difference.abs() * part).sum(dtype=torch.float64))
            fractional += float((moved.weight * part).sum(dtype=torch.float64))
        return ValidationScores(
            absolute / frames / 1000,
            1000 * squared / pixels,
            1000 * absolute / pixels,
            1000 * soft / max(fractional, 1.0),
        )

    @torch.inference_mode()
    def pictures(self, network: MattingNetwork) -> list[Tensor]:
        """The frames with the most fractional pixels: frame, true alpha and alpha side by side.

        Args:
            network: is in evaluation mode afterwards.

        Returns:
            Up to :data:`SHOWN`, each 3×H×3W in [0, 1], on the CPU.
        """
        network.eval()
        device = next(network.parameters()).device
        places = [
            (float(count), number, frame)
            for number, batch in enumerate(self._batches)
            for frame, count in enumerate(_fractional(batch).sum(dim=(1, 2, 3)))
        ]
        made = []
        for _, number, frame in sorted(places, reverse=True)[:SHOWN]:
            batch = self._batches[number]
            alpha = self._alpha(network, batch.to(device))[frame].cpu()
            truth, alpha = (image.expand(3, -1, -1) for image in (batch.alpha[frame], alpha))
            made.append(torch.cat([batch.color[frame], truth, alpha], dim=2))
        return made

    def _alpha(self, network: MattingNetwork, batch: Batch) -> Tensor:
        tiles = tile_count(*batch.color.shape[-2:])
        output: MattingOutput = network(
            batch.color, batch.depth, batch.background, tiles=tiles, reduction=self._reduction
        )
        return output.alpha


def _fractional(batch: Batch) -> Tensor:
    """Where alpha is known and fractional, B×1×H×W bool."""
    alpha = batch.alpha
    return (alpha > FRACTIONAL) & (alpha < 1 - FRACTIONAL) & (batch.weight > 0)

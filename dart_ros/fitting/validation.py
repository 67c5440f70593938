"""Validation on frames that are composed once and that training never sees."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import NamedTuple

import torch

from dart_ros.method.geometry import tile_count
from dart_ros.method.network import MattingNetwork
from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import Foreground
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.recorded import RecordedFrames


class ValidationScores(NamedTuple):
    """Means over the frames: ``sad`` in thousands of pixels a frame, ``mse`` in thousandths, and
    ``error``, the mean absolute error of alpha in thousandths."""

    sad: float
    mse: float
    error: float


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
        absolute = squared = 0.0
        frames, pixels = 0, 0.0
        for batch in self._batches:
            moved = batch.to(device)
            tiles = tile_count(*moved.color.shape[-2:])
            output = network(
                moved.color,
                moved.depth,
                moved.background,
                tiles=tiles,
                reduction=self._reduction,
            )
            difference = (output.alpha - moved.alpha) * moved.weight
            absolute += float(difference.abs().sum(dtype=torch.float64))
            squared += float(difference.square().sum(dtype=torch.float64))
            frames += len(difference)
            pixels += float(moved.weight.sum(dtype=torch.float64))
        return ValidationScores(
            absolute / frames / 1000, 1000 * squared / pixels, 1000 * absolute / pixels
        )

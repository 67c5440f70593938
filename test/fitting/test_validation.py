from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from dart_ros.fitting.validation import FRACTIONAL, ValidationSet
from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.frames import Batch, RgbdBackground

SIZE, MAX_DEPTH, SEED, COUNT = (96, 128), 5.46, 4, 5
GUESS = 0.3


class Constant(nn.Module):
    """Alpha is the same everywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(GUESS))

    def forward(self, color: torch.Tensor, *_: Any, **__: Any) -> Any:
        return SimpleNamespace(alpha=self.value.expand(len(color), 1, *color.shape[-2:]))


@pytest.fixture(scope="module")
def made(library: Path) -> tuple[ValidationSet, Batch]:
    """A set and what is in it."""
    depth = torch.full(SIZE, 3.0)
    room = RgbdBackground(torch.full((3, *SIZE), 120, dtype=torch.uint8), depth, 110.0)
    foregrounds = load_foregrounds(library)
    scored = ValidationSet(foregrounds, [room], [SIZE], COUNT, MAX_DEPTH, SEED, batch=COUNT)
    return scored, Composer(foregrounds, [room], SIZE, MAX_DEPTH, SEED).batch(COUNT)


def test_the_scores_are_those_of_all_and_of_fractional_pixels(
    made: tuple[ValidationSet, Batch],
) -> None:
    scored, batch = made
    scores = scored.score(Constant())  # type: ignore[arg-type]
    truth = batch.alpha.numpy().astype(np.float64)
    error = np.abs(truth - np.float32(GUESS))
    fractional = error[(truth > FRACTIONAL) & (truth < 1 - FRACTIONAL)]
    assert 0 < fractional.size < truth.size / 4
    assert scores.sad == pytest.approx(error.sum() / COUNT / 1000, rel=1e-6)
    assert scores.mse == pytest.approx(1000 * (error**2).mean(), rel=1e-6)
    assert scores.error == pytest.approx(1000 * error.mean(), rel=1e-6)
    assert scores.soft == pytest.approx(1000 * fractional.mean(), rel=1e-5)


def test_the_frames_with_the_most_fractional_pixels_are_shown(
    made: tuple[ValidationSet, Batch],
) -> None:
    scored, batch = made
    pictures = scored.pictures(Constant())  # type: ignore[arg-type]
    soft = (batch.alpha > FRACTIONAL) & (batch.alpha < 1 - FRACTIONAL)
    softest = soft.sum(dim=(1, 2, 3)).argsort(descending=True)[: len(pictures)]
    assert len(pictures) == 3
    for picture, number in zip(pictures, softest, strict=True):
        frame, truth, alpha = picture.split(SIZE[1], dim=2)
        torch.testing.assert_close(frame, batch.color[number])
        torch.testing.assert_close(truth, batch.alpha[number].expand(3, -1, -1))
        assert alpha.unique().tolist() == pytest.approx([GUESS])

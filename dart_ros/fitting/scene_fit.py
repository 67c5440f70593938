"""Fits the network to one captured scene: artificial foregrounds before the real background."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torch.utils.data import DataLoader

from dart_ros.errors import FitError
from dart_ros.fitting.composition import Batch, Composer, RgbdBackground
from dart_ros.fitting.sprites import Sprite, load_sprites
from dart_ros.fitting.training import CompositionStream, training_step
from dart_ros.fitting.weights import network_with, weights_of
from dart_ros.method.network import STRIDE, MattingNetwork, tile_count

CROP = (352, 448)
"""Largest (height, width) of the frames that the fit trains on."""

BATCH = 4
RATE = 1e-4
MARGIN = 0.97
"""Of the error before: less of a gain than that is chance, and the generic weights stay."""

MEAN_DECAY = 0.95
"""Of the running mean of the weights, for each step."""

HELD_OUT = 5
"""Every so many identities are kept for validation."""

VALIDATION_BATCHES = 4
ROUNDS = 4
"""Validations within the given time."""


@dataclass(frozen=True)
class FitResult:
    """What a fit found.

    ``weights`` are the better of before and after; ``before`` and ``after`` are the mean absolute
    error of alpha in per mille on composites with people that the fit did not train on.
    """

    weights: dict[str, NDArray[np.float16]]
    improved: bool
    before: float
    after: float
    steps: int
    seconds: float


def sprites_path() -> Path:
    """Where the sprites that ship with the package lie."""
    return Path(str(files("dart_ros"))) / "data" / "sprites"


def fit_scene(
    background: RgbdBackground,
    max_depth: float,
    seconds: float,
    on_progress: Callable[[float, str], None],
    stop: Callable[[], bool],
    sprites: Path | None = None,
    seed: int = 0,
) -> FitResult:
    """Fine-tunes the generic weights on composites over one background.

    The better of before and after, judged on people held out from the fit, is returned, so a fit
    never makes a scene worse on them; a gain that may be chance doesn't count.

    Args:
        background: the captured scene with its depth's deviation.
        max_depth: the sensor's range in metres.
        seconds: how long to train; loading and validation come on top.
        on_progress: called with the share done in [0, 1] and what goes on in words.
        stop: asked between steps; True ends the fit early with what is best so far.
        sprites: a library other than the one that ships.
        seed: the same seed gives the same composites.

    Raises:
        FitError: if weights or sprites can't be read, or the time is not positive.
    """
    if not seconds > 0:
        raise FitError(f"a fit needs a positive number of seconds, not {seconds}")
    # Half the cores are left to the node: torch's threads wait for each other, so threads that
    # compete for a core are many times slower than fewer that don't.
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // 2))
    library = load_sprites(sprites or sprites_path())
    training, held_out = _split(library)
    size = _crop(*background.depth.shape)
    tiles = tile_count(*size)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    validation = [
        Composer(held_out, [background], size, max_depth, seed=seed + 1 + i).batch(BATCH)
        for i in range(VALIDATION_BATCHES)
    ]
    # torch's type hints lack this form of to().
    network = network_with(None)
    network = network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    before = _error(network, validation, tiles, device)
    on_progress(0.0, f"fitting: alpha error {before:.2f} per mille before")

    best, best_weights = before, weights_of(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=RATE, weight_decay=1e-4)
    _train_mode(network)
    # Few steps on few pictures are noisy; their running mean is not.
    mean = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(MEAN_DECAY), use_buffers=True)
    averaged = mean.module
    assert isinstance(averaged, MattingNetwork)
    stream = CompositionStream(training, [background], size, BATCH, seed, max_depth)
    loader = iter(DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=2))
    start = time.monotonic()
    spent, step, done_rounds = 0.0, 0, 0
    while spent < seconds and not stop():
        share = spent / seconds
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (step + 1) / 10) * 0.5 * (1 + math.cos(math.pi * share))
        training_step(network, optimizer, _to(next(loader), device), tiles)
        mean.update_parameters(network)
        step += 1
        spent = time.monotonic() - start
        if spent >= seconds * (done_rounds + 1) / ROUNDS:
            done_rounds += 1
            error = _error(averaged, validation, tiles, device)
            if error < min(best, MARGIN * before):
                best, best_weights = error, weights_of(averaged)
            start += time.monotonic() - start - spent
        on_progress(
            min(1.0, spent / seconds),
            f"fitting: step {step}, alpha error {before:.2f} -> {best:.2f} per mille",
        )
    return FitResult(best_weights, best < before, before, best, step, spent)


def _crop(height: int, width: int) -> tuple[int, int]:
    """Size of the crops: sides are multiples of the tile, which the loss of coarse maps needs."""
    rows, columns = (min(most, side) for most, side in zip(CROP, (height, width), strict=True))
    return max(STRIDE, rows // STRIDE * STRIDE), max(STRIDE, columns // STRIDE * STRIDE)


def _split(library: Sequence[Sprite]) -> tuple[list[Sprite], list[Sprite]]:
    """Sprites to train on and sprites of other people to validate on."""
    identities = sorted({sprite.identity for sprite in library if sprite.kind == "person"})
    kept = set(identities[::HELD_OUT])
    training = [sprite for sprite in library if sprite.identity not in kept]
    held_out = [sprite for sprite in library if sprite.identity in kept]
    if not training or not held_out:
        raise FitError(
            f"the sprites show {len(identities)} people: a fit needs two at least, one of them "
            "to validate on"
        )
    return training, held_out


def _train_mode(network: MattingNetwork) -> None:
    """Training with batch norm's statistics kept: a few small batches would spoil them."""
    network.train()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


@torch.inference_mode()
def _error(
    network: MattingNetwork, batches: Sequence[Batch], tiles: int | None, device: torch.device
) -> float:
    """Mean absolute error of alpha in per mille."""
    network.eval()
    total = 0.0
    for batch in batches:
        moved = _to(batch, device)
        output = network(moved.color, moved.depth, moved.background, tiles=tiles)
        total += float((output.alpha - moved.alpha).abs().mean())
    return 1000 * total / len(batches)


def _to(batch: Batch, device: torch.device) -> Batch:
    background = type(batch.background)(*(x.to(device) for x in batch.background))
    return Batch(
        batch.color.to(device),
        batch.depth.to(device),
        background,
        batch.alpha.to(device),
        batch.foreground.to(device),
    )

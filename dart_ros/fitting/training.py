"""Trains the generic weights: ``python -m dart_ros.fitting.training --sprites … --rooms …``."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Iterator
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from dart_ros.errors import FitError
from dart_ros.fitting.backgrounds import invent_room, load_rooms
from dart_ros.fitting.composition import MAX_DEPTH, Batch, Composer, RgbdBackground
from dart_ros.fitting.losses import matting_loss
from dart_ros.fitting.sprites import Sprite, load_sprites
from dart_ros.fitting.weights import load_network, save_network
from dart_ros.method.base_network import MobileNetV2Encoder, NetworkConfig
from dart_ros.method.network import MattingNetwork, tile_count

FIRST_WEIGHT = "features.0.0.weight"


class CompositionStream(IterableDataset[Batch]):
    """Endless batches, composed in a process of its own."""

    def __init__(
        self,
        sprites: list[Sprite],
        rooms: list[RgbdBackground],
        size: tuple[int, int],
        batch: int,
        seed: int,
        max_depth: float = MAX_DEPTH,
    ) -> None:
        self._arguments = (sprites, rooms, size, max_depth)
        self._batch = batch
        self._seed = seed

    def __iter__(self) -> Iterator[Batch]:
        torch.set_num_threads(1)
        info = torch.utils.data.get_worker_info()
        seed = self._seed * 1000 + (info.id if info else 0)
        sprites, rooms, size, max_depth = self._arguments
        composer = Composer(sprites, rooms, size, max_depth, seed)
        while True:
            yield composer.batch(self._batch)


def load_imagenet_encoder(encoder: MobileNetV2Encoder, path: Path) -> None:
    """Initialises the encoder from published ImageNet weights (``features.N.conv.K.x``).

    The first convolution sees more channels than RGB: it starts with the ImageNet filters of
    the difference between frame and plate; further channels start at zero.

    Raises:
        FitError: if the file can't be read or does not hold MobileNetV2.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise FitError(f"{path} can't be read as torch weights: {error}") from error
    ours = encoder.state_dict()
    theirs: dict[str, Tensor] = {}
    for name in ours:
        source = _flat_name(name)
        wanted = (32, 3, 3, 3) if name == FIRST_WEIGHT else ours[name].shape
        if source not in state or state[source].shape != wanted:
            raise FitError(f"{path} has no fitting {source}: not MobileNetV2 weights")
        theirs[name] = state[source]
    first = theirs[FIRST_WEIGHT]
    # ImageNet filters expect colors over their deviation; their mean is gone in the difference.
    first = first / torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]
    widened = torch.zeros_like(ours[FIRST_WEIGHT])
    widened[:, :3] = first
    widened[:, 3:6] = -first
    theirs[FIRST_WEIGHT] = widened
    encoder.load_state_dict(theirs)


def _flat_name(name: str) -> str:
    """``features.N.conv.B.P.x`` of ours in the flat naming of the published weights."""
    parts = name.split(".")
    if parts[2] != "conv":
        return name
    _, block, _, layer, part, leaf = parts
    return f"features.{block}.conv.{3 * int(layer) + int(part)}.{leaf}"


def training_step(
    network: MattingNetwork, optimizer: torch.optim.Optimizer, batch: Batch, tiles: int | None
) -> tuple[float, float]:
    """One step; returns the loss and the mean absolute error of alpha."""
    color = batch.color.contiguous(memory_format=torch.channels_last)
    output = network(color, batch.depth, batch.background, tiles=tiles)
    loss = matting_loss(output, batch)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return loss.item(), float((output.alpha.detach() - batch.alpha).abs().mean())


def train(
    network: MattingNetwork,
    stream: CompositionStream,
    seconds: float,
    size: tuple[int, int],
    output: Path,
    rate: float,
    refiner_only: bool = False,
) -> None:
    """Trains for a given time; the weights on disk are an exponential mean, saved as it goes.

    Args:
        network: what to train, changed in place.
        stream: where the batches come from.
        seconds: how long.
        size: (height, width) of the frames.
        output: the weights file.
        rate: highest learning rate; the encoder's is a fifth of it.
        refiner_only: leave the base network as it is (the paper's last stage).
    """
    if refiner_only:
        network.base.requires_grad_(False)
    slow = list(network.base.encoder.parameters())
    known = {id(p) for p in slow}
    fast = [p for p in network.parameters() if id(p) not in known]
    optimizer = torch.optim.AdamW(
        [{"params": slow, "lr": rate / 5}, {"params": fast, "lr": rate}], weight_decay=1e-4
    )
    highest = [group["lr"] for group in optimizer.param_groups]
    mean = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.998), use_buffers=True
    )
    tiles = tile_count(*size)
    network.train()
    if refiner_only:
        network.base.eval()
    start = saved = time.monotonic()
    running = 0.0
    bar = tqdm(total=round(seconds), unit="s", bar_format="{l_bar}{bar}| {elapsed} {postfix}")
    loader = DataLoader(stream, batch_size=None, num_workers=1, prefetch_factor=4)
    for step, batch in enumerate(loader):
        spent = time.monotonic() - start
        share = spent / seconds
        warm = min(1.0, (step + 1) / 100)
        for group, top in zip(optimizer.param_groups, highest, strict=True):
            group["lr"] = top * warm * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1, share))))
        loss, error = training_step(network, optimizer, batch, tiles)
        mean.update_parameters(network)
        running = error if step == 0 else 0.98 * running + 0.02 * error
        bar.n = round(min(spent, seconds))
        bar.set_postfix_str(f"step {step} loss {loss:.4f} mean |alpha error| {running:.4f}")
        bar.refresh() if step % 10 == 0 else None
        if share >= 1 or time.monotonic() - saved > 120:
            saved = time.monotonic()
            meta = {"steps": str(step + 1), "seconds": f"{spent:.0f}"}
            averaged = mean.module
            assert isinstance(averaged, MattingNetwork)
            save_network(averaged, output, meta)
        if share >= 1:
            break
    bar.close()


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sprites", type=Path, required=True)
    parser.add_argument("--rooms", type=Path, help="rendered rooms, beside the invented ones")
    parser.add_argument("--invented", type=int, default=60, help="number of invented rooms")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--size", type=int, nargs=2, default=(384, 448), metavar=("H", "W"))
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--imagenet", type=Path, help="MobileNetV2 weights to start from")
    parser.add_argument("--resume", type=Path, help="weights to go on from")
    parser.add_argument("--refiner-only", action="store_true", help="leave the base as it is")
    parser.add_argument("--color-base", action="store_true", help="the paper's color-only base")
    arguments = parser.parse_args()
    torch.manual_seed(arguments.seed)
    size = (arguments.size[0], arguments.size[1])
    if arguments.resume:
        network = load_network(arguments.resume)
    else:
        network = MattingNetwork(NetworkConfig(depth_in_base=not arguments.color_base))
        if arguments.imagenet:
            assert isinstance(network.base.encoder, MobileNetV2Encoder)
            load_imagenet_encoder(network.base.encoder, arguments.imagenet)
    # torch's type hints lack this form of to().
    network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rooms = [invent_room(seed) for seed in range(arguments.invented)]
    if arguments.rooms:
        rooms += load_rooms(arguments.rooms)
    stream = CompositionStream(
        load_sprites(arguments.sprites),
        rooms,
        size,
        arguments.batch,
        arguments.seed,
    )
    train(
        network,
        stream,
        arguments.minutes * 60,
        size,
        arguments.output,
        arguments.rate,
        arguments.refiner_only,
    )


if __name__ == "__main__":
    main()

"""Batches: decided by seed and number, of each size in turn."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dart_ros.fitting.backgrounds import invent_room
from dart_ros.fitting.frame_pool import FramePool
from dart_ros.fitting.sprites import load_sprites
from dart_ros.fitting.stream import CompositionStream, _mix

SIZES = [(32, 48), (64, 96)]


def stream(library: Path, seed: int = 0, pools: list[FramePool] | None = None, **share: int):
    sprites, rooms = load_sprites(library), [invent_room(1, 96, 128)]
    return CompositionStream(sprites, rooms, SIZES, 2, seed, pools=pools, **share)


def test_batches_take_the_sizes_in_turn(library: Path) -> None:
    batches = [stream(library)[number] for number in range(4)]
    assert [tuple(batch.color.shape) for batch in batches] == [
        (2, 3, 32, 48), (2, 3, 64, 96), (2, 3, 32, 48), (2, 3, 64, 96)
    ]  # fmt: skip
    assert not torch.equal(batches[0].color, batches[2].color)


def test_a_batch_is_decided_by_seed_and_number(library: Path) -> None:
    one, later = stream(library), next(stream(library).batches(start=3))
    one[0]
    assert torch.equal(one[3].color, later.color)
    assert not torch.equal(stream(library, seed=1)[3].color, later.color)


def test_processes_share_out_a_batch(library: Path) -> None:
    whole = stream(library)[1]
    parts = [stream(library, rank=rank, world=2)[1] for rank in range(2)]
    assert torch.equal(torch.cat([part.color for part in parts]), whole.color)
    with pytest.raises(ValueError, match="can't be shared by 3"):
        stream(library, world=3)


def test_each_size_has_a_pool(library: Path, tmp_path: Path) -> None:
    pools = [FramePool(tmp_path / f"{size}", 2, seed=0) for size in SIZES]
    pooled = stream(library, pools=pools)
    first = [pooled[number] for number in range(2)]
    assert [batch.color.shape[-2:] for batch in first] == [torch.Size(size) for size in SIZES]
    # The pool's first round is in the order of the stream, and is stored as bytes.
    again, anew = stream(library, pools=pools)[1], stream(library)
    assert torch.equal(again.color, first[1].color)
    frames = anew._composers[1].frames
    assert (frames([_mix(0, 0)]).color - first[1].color[:1]).abs().max() < 0.5 / 255 + 1e-6
    assert sorted(path.name for path in (tmp_path / f"{SIZES[1]}").iterdir()) == [
        "000000.safetensors",
        "000001.safetensors",
    ]

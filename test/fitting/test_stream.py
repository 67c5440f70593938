"""Batches: decided by seed and number, of each size in turn."""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import recorded_example
import torch

from dart_ros.errors import FitError
from dart_ros.fitting import stream as module
from dart_ros.fitting.frame_pool import FramePool
from dart_ros.fitting.stream import CompositionStream, _mix
from dart_ros.simulation.backgrounds import invent_room
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.frames import Batch

SIZES = [(32, 48), (64, 96)]


def stream(library: Path, seed: int = 0, pools: list[FramePool] | None = None, **share: int):
    foregrounds, rooms = load_foregrounds(library), [invent_room(1, 96, 128)]
    return CompositionStream(foregrounds, rooms, SIZES, 2, seed, pools=pools, **share)


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


def test_real_frames_are_among_the_composed_ones(library: Path) -> None:
    whole = CompositionStream(
        load_foregrounds(library),
        [invent_room(0, *SIZES[0])],
        SIZES,
        8,
        seed=3,
        recorded=[recorded_example.scene()],
        recorded_share=0.5,
    )
    batch, again = whole[1], whole[1]
    assert isinstance(batch, Batch) and isinstance(again, Batch)
    assert batch.color.shape[-2:] == SIZES[1] and torch.equal(batch.color, again.color)
    # Real frames alone have pixels without a label.
    assert 0 < int((batch.weight == 0).flatten(1).any(dim=1).sum()) < 8


def test_each_size_has_a_pool(library: Path, tmp_path: Path) -> None:
    pools = [FramePool(tmp_path / f"{size}", 2, seed=0) for size in SIZES]
    pooled = stream(library, pools=pools)
    first = [pooled[number] for number in range(2)]
    assert [batch.color.shape[-2:] for batch in first] == [torch.Size(size) for size in SIZES]
    # The pool's first round is in the order of the stream, and is stored as bytes.
    again, anew = stream(library, pools=pools)[1], stream(library)
    assert torch.equal(again.color, first[1].color)
    frames, kept = anew._sources[1].frames, first[1].to(torch.device("cpu"))
    assert (frames([_mix(0, 0)]).color - kept.color[:1]).abs().max() < 0.5 / 255 + 1e-6
    assert sorted(path.name for path in (tmp_path / f"{SIZES[1]}").iterdir()) == [
        "000000.safetensors",
        "000001.safetensors",
    ]


@pytest.mark.parametrize("renewed", [False, True])
def test_a_size_that_comes_several_times_has_frames_of_its_own_each_time(
    library: Path, tmp_path: Path, renewed: bool
) -> None:
    sizes = [SIZES[0], SIZES[0], SIZES[1]]
    folders = [tmp_path / f"{height}" for height, _ in sizes]
    pools = [FramePool(folder, 40, seed=0, renewed=renewed) for folder in folders]
    foregrounds, rooms = load_foregrounds(library), [invent_room(1, 96, 128)]
    pooled = CompositionStream(foregrounds, rooms, sizes, 2, 0, pools=pools)
    if renewed:
        renewal = pooled.renewal(2)
        try:
            frames = [pooled[number] for number in range(9)]
        finally:
            renewal.end()
        counts = [len(list(folder.glob("*.safetensors"))) for folder in folders]
        assert counts[0] >= 40 and counts[2] >= 15
    else:
        frames = [pooled[number] for number in range(9)]
        assert len(list(folders[0].glob("*.safetensors"))) == 12
        assert len(list(folders[2].glob("*.safetensors"))) == 6
    small = [frame.color for frame in frames if frame.color.shape[-2:] == SIZES[0]]
    assert len(small) == 6
    alike = [torch.equal(a, b) for i, a in enumerate(small) for b in small[:i]]
    assert not any(alike)


def test_what_went_wrong_in_a_process_is_told_without_its_traceback(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_self: object, _number: int) -> None:
        raise FitError("frame 3 can't be written: free some disk space")

    monkeypatch.setattr(CompositionStream, "__getitem__", full)
    with pytest.raises(FitError, match=r"^frame 3 can't be written: free some disk space$"):
        next(stream(library).batches(workers=1))


def room_in_shared_memory(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _path: SimpleNamespace(free=free))


def loaders(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """For each loader that is made, how many batches it lets processes compose ahead."""
    made: list[int] = []

    def loader(_data: object, num_workers: int, prefetch_factor: int, **_: object) -> list[Batch]:
        made.append(num_workers * prefetch_factor)
        return []

    monkeypatch.setattr(module, "DataLoader", loader)
    return made


def test_too_little_shared_memory_composes_here(
    library: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made, whole = loaders(monkeypatch), stream(library)
    batch = whole[1]
    frame = batch.color, batch.depth, batch.alpha, batch.foreground, batch.weight
    images = *frame, *batch.background
    # Four ahead and the one in use, each of the largest size.
    needed = 5 * sum(image.nbytes for image in images)
    with caplog.at_level(logging.WARNING):
        room_in_shared_memory(monkeypatch, needed)
        whole.batches(workers=1)
        assert made == [4] and not caplog.records
        room_in_shared_memory(monkeypatch, needed - 1)
        here = whole.batches(start=1, workers=1)
    assert made == [4]
    assert torch.equal(next(here).color, batch.color)
    assert "--shm-size" in caplog.text and "--ipc=host" in caplog.text


def test_no_shared_memory_composes_here(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = loaders(monkeypatch)
    monkeypatch.setattr(module, "_SHARED_MEMORY", str(tmp_path / "missing"))
    next(stream(library).batches(workers=1))
    assert not made


def test_many_processes_compose_no_further_ahead(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = loaders(monkeypatch)
    room_in_shared_memory(monkeypatch, 10**12)
    for workers in (1, 2, 3, 14):
        stream(library).batches(workers=workers)
    assert made == [4, 4, 3, 14]


def hangs() -> None:
    time.sleep(5)


def dies() -> None:
    os._exit(1)


@pytest.mark.parametrize(
    ("fault", "patience", "told"),
    [(hangs, 0.5, "timed out"), (dies, 120.0, "exited unexpectedly")],
)
def test_processes_that_send_nothing_end_the_training(
    fault: Callable[[], None],
    patience: float,
    told: str,
    library: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", patience)
    monkeypatch.setattr(CompositionStream, "__getitem__", lambda _self, _number: fault())
    with pytest.raises(FitError, match=rf"send no more .*{told}.*--shm-size"):
        next(stream(library).batches(workers=1))


def test_a_bug_in_a_process_is_no_matter_of_memory(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def bug(_self: object, _number: int) -> None:
        raise RuntimeError("sizes do not match")

    monkeypatch.setattr(CompositionStream, "__getitem__", bug)
    with pytest.raises(RuntimeError, match="sizes do not match"):
        next(stream(library).batches(workers=1))

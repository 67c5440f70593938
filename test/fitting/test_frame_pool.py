from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
import waiting
from waiting import alive, wait_for

from dart_ros.errors import FitError
from dart_ros.fitting.frame_pool import FramePool, PackedBatch, Renewal, _packed, join_packed
from dart_ros.method.network import Background
from dart_ros.simulation.frames import Batch, Previous

HEIGHT, WIDTH = 5, 7
CPU = torch.device("cpu")


class Composing:
    """Makes a frame for each index, and remembers for which."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, index: int) -> Batch:
        self.asked.append(index)
        return frame_of(index)


def frame_of(index: int, alone: bool = False) -> Batch:
    """A frame whose pixels all differ."""
    generator = torch.Generator().manual_seed(index)

    def image(channels: int) -> torch.Tensor:
        return torch.rand(1, channels, HEIGHT, WIDTH, generator=generator)

    depth = 5 * image(1)
    depth[..., 0, :3] = -1
    depth[..., 1, :3] = -1 - depth[..., 1, 3:4]  # a guess
    depth_maps = image(3), 1 + 4 * image(1), 0.1 * image(1)
    background = Background(*depth_maps, *((image(1) > 0.5).float() for _ in range(2)))
    weight = 2 * image(1)
    previous = None if alone else Previous(image(3), depth.flip(-2), image(1), image(1))
    return Batch(image(3), depth, background, image(1), image(3), weight, previous)


def same(packed: PackedBatch, expected: Batch) -> bool:
    """Whether frames are the same but for what bytes and millimetres round off."""
    found = packed.to(CPU)
    pairs = [
        (found.color, expected.color, 1 / 255),
        (found.alpha, expected.alpha, 1 / 255),
        (found.foreground, expected.foreground, 1 / 255),
        (found.depth, expected.depth, 1e-3),
        (found.background.plate, expected.background.plate, 1 / 255),
        (found.background.mean, expected.background.mean, 1e-3),
        (found.background.std, expected.background.std, 1e-4),
        (found.background.known, expected.background.known, 0),
        (found.background.restless, expected.background.restless, 0),
        (found.weight, expected.weight, 1 / 64),
    ]
    if expected.previous is None:
        assert found.previous is None
    else:
        steps = (1 / 255, 1e-3, 1 / 255, 1 / 64)
        assert found.previous is not None
        pairs += zip(found.previous, expected.previous, steps, strict=True)
    return all((a - b).abs().max() <= 0.501 * step for a, b, step in pairs)


def mirrored(frame: Batch) -> Batch:
    return frame.map(lambda image: image.flip(-1))


def test_frames_alone_are_kept_too(tmp_path: Path) -> None:
    pool = FramePool(tmp_path, 2, seed=0)
    for _ in range(2):
        frames = [
            pool.frame(number, lambda index: frame_of(index, alone=True)) for number in (0, 1)
        ]
        joined = join_packed(frames).to(CPU)
        assert joined.previous is None and len(joined.color) == 2


def test_each_frame_is_composed_once_and_comes_round_mirrored(tmp_path: Path) -> None:
    pool, compose = FramePool(tmp_path / "pool", 6, seed=3), Composing()
    first = [pool.frame(number, compose) for number in range(6)]
    assert all(same(frame, frame_of(index)) for index, frame in enumerate(first))
    assert torch.all(first[0].to(CPU).depth[..., 0, :3] == -1)
    second = [pool.frame(6 + number, compose) for number in range(6)]
    third = [pool.frame(12 + number, compose) for number in range(6)]
    assert compose.asked == list(range(6))
    orders = []
    for turn, flip in ((second, True), (third, False)):
        found = [which(frame, range(6)) for frame in turn]
        order = [index for index, _ in found]
        assert sorted(order) == list(range(6)) and {flipped for _, flipped in found} == {flip}
        orders.append(order)
    assert orders[0] != orders[1]


def test_another_run_uses_the_same_frames_in_the_same_order(tmp_path: Path) -> None:
    FramePool(tmp_path, 4, seed=1).frame(2, Composing())
    compose = Composing()
    frames = [FramePool(tmp_path, 4, seed=1).frame(number, compose) for number in (2, 9, 9)]
    assert same(frames[0], frame_of(2)) and compose.asked != [] and 2 not in compose.asked
    assert torch.equal(frames[1].color, frames[2].color)


def test_a_broken_file_is_composed_again(tmp_path: Path) -> None:
    pool, compose = FramePool(tmp_path, 2, seed=0), Composing()
    whole = pool.frame(1, compose)
    file = tmp_path / "000001.safetensors"
    file.write_bytes(file.read_bytes()[:100])
    assert torch.equal(pool.frame(1, compose).depth, whole.depth)
    assert compose.asked == [1, 1]
    pool.frame(1, compose)
    assert compose.asked == [1, 1]


def test_a_full_disk_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    pool = FramePool(tmp_path, 2, seed=0)
    monkeypatch.setattr("dart_ros.fitting.frame_pool.save_file", full)
    with pytest.raises(FitError, match=r"000000.*No space left.*smaller pool"):
        pool.frame(0, Composing())
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FitError, match=r"file/pool.*choose another pool"):
        FramePool(tmp_path / "file" / "pool", 2, seed=0)


def test_frames_are_joined_to_a_batch() -> None:
    pool_frames = [frame_of(index) for index in range(2)]
    whole = join_packed([_packed(frame) for frame in pool_frames]).to(CPU)
    assert whole.color.shape == (2, 3, HEIGHT, WIDTH) and whole.depth.dtype == torch.float32
    assert (whole.alpha[1] - pool_frames[1].alpha[0]).abs().max() < 1 / 255


def test_a_pool_under_renewal_gives_what_is_there(tmp_path: Path) -> None:
    """In turn 0 what is missing is composed, later all; a step asks for no frame of its own."""
    pool, compose = FramePool(tmp_path, 5, seed=3, renewed=True), Composing()
    for index in range(5):
        pool.renew(index, 0, compose)
    pool.renew(2, 0, compose)
    assert compose.asked == [0, 1, 2, 3, 4]
    first = {which(pool.frame(number, compose), range(5)) for number in range(60)}
    assert first == {(index, flip) for index in range(5) for flip in (False, True)}
    for index in range(5):
        pool.renew(index, 1, compose)
    assert compose.asked[5:] == [5, 6, 7, 8, 9]
    second = {which(pool.frame(number, compose), range(5, 10))[0] for number in range(60)}
    assert second == {5, 6, 7, 8, 9} and len(compose.asked) == 10
    again = FramePool(tmp_path, 5, seed=3, renewed=True)
    assert torch.equal(again.frame(7, compose).color, pool.frame(7, compose).color)


def test_a_pool_that_nobody_fills_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dart_ros.fitting.frame_pool._PATIENCE", 0.5)
    pool = FramePool(tmp_path / "pool", 3, seed=0, renewed=True)
    with pytest.raises(FitError, match=r"nobody fills the pool .*pool\.renewing"):
        pool.frame(0, frame_of)
    for index in range(3):
        pool.renew(index, 0, frame_of)
    pool.frame(0, frame_of)
    shutil.rmtree(tmp_path / "pool")
    with pytest.raises(FitError, match="nobody fills the pool"):
        pool.frame(0, frame_of)


def which(frame: PackedBatch, indices: range) -> tuple[int, bool]:
    """Which frame it is, and whether it is mirrored."""
    for index in indices:
        for flip in (False, True):
            if same(frame, mirrored(frame_of(index)) if flip else frame_of(index)):
                return index, flip
    raise AssertionError("it is none of them")


def test_processes_renew_a_pool_until_they_are_ended(tmp_path: Path) -> None:
    small, large = (FramePool(tmp_path / name, 4, seed=0, renewed=True) for name in "ab")
    renewal = Renewal([(small, frame_of, 3), (large, frame_of, 1)], workers=2)
    try:
        last = tmp_path / "b" / "000003.safetensors"
        wait_for(last.exists, "the pools are not filled")
        assert small.frame(0, frame_of).color.shape == (1, 3, HEIGHT, WIDTH)
        old = last.read_bytes()
        wait_for(lambda: last.read_bytes() != old, "nothing is renewed")
        renewal.check()
    finally:
        renewal.end()
    old = last.read_bytes()
    time.sleep(0.3)
    assert last.read_bytes() == old
    with pytest.raises(FitError, match=r"ended with -15.*smaller pool"):
        renewal.check()


def test_a_renewal_that_fails_is_told(tmp_path: Path) -> None:
    def broken(_index: int) -> Batch:
        raise OSError(28, "No space left on device")

    renewal = Renewal([(FramePool(tmp_path, 4, 0, renewed=True), broken, 1)], workers=1)

    def failed() -> bool:
        try:
            renewal.check()
        except FitError:
            return True
        return False

    wait_for(failed, "nobody is told")
    renewal.end()


def test_a_renewal_ends_with_who_started_it(tmp_path: Path) -> None:
    """Also where that is killed."""
    script = (
        "import sys, time; sys.path[:0] = sys.argv[2:]\n"
        "from pathlib import Path\n"
        "from test_frame_pool import frame_of\n"
        "from dart_ros.fitting.frame_pool import FramePool, Renewal\n"
        "r = Renewal([(FramePool(Path(sys.argv[1]), 4, 0, True), frame_of, 1)], 1)\n"
        "print(r._processes[0].pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    folders = (str(Path(file).parent) for file in (__file__, waiting.__file__))
    command = [sys.executable, "-c", script, str(tmp_path), *folders]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        worker = int(started.stdout.readline())
        started.kill()
    wait_for(lambda: not alive(worker), "it goes on alone")

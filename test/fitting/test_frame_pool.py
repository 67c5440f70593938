from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dart_ros.errors import FitError
from dart_ros.fitting.composition import Batch
from dart_ros.fitting.frame_pool import FramePool
from dart_ros.method.network import Background

HEIGHT, WIDTH = 5, 7


class Composing:
    """Makes a frame for each index, and remembers for which."""

    def __init__(self) -> None:
        self.asked: list[int] = []

    def __call__(self, index: int) -> Batch:
        self.asked.append(index)
        return frame_of(index)


def frame_of(index: int) -> Batch:
    """A frame whose pixels all differ."""
    generator = torch.Generator().manual_seed(index)

    def image(channels: int) -> torch.Tensor:
        return torch.rand(1, channels, HEIGHT, WIDTH, generator=generator)

    depth = 5 * image(1)
    depth[..., 0, :3] = -1
    background = Background(image(3), 1 + 4 * image(1), 0.1 * image(1), (image(1) > 0.5).float())
    return Batch(image(3), depth, background, image(1), image(3))


def same(found: Batch, expected: Batch) -> bool:
    """Whether frames are the same but for what bytes and millimetres round off."""
    pairs = [
        (found.color, expected.color, 1 / 255),
        (found.alpha, expected.alpha, 1 / 255),
        (found.foreground, expected.foreground, 1 / 255),
        (found.depth, expected.depth, 1e-3),
        (found.background.plate, expected.background.plate, 1 / 255),
        (found.background.mean, expected.background.mean, 1e-3),
        (found.background.std, expected.background.std, 1e-4),
        (found.background.known, expected.background.known, 0),
    ]
    return all((a - b).abs().max() <= 0.5001 * step for a, b, step in pairs)


def mirrored(frame: Batch) -> Batch:
    flip = [x.flip(-1) for x in (frame.color, frame.depth, frame.alpha, frame.foreground)]
    background = Background(*(x.flip(-1) for x in frame.background))
    return Batch(flip[0], flip[1], background, flip[2], flip[3])


def test_each_frame_is_composed_once_and_comes_round_mirrored(tmp_path: Path) -> None:
    pool, compose = FramePool(tmp_path / "pool", 6, seed=3), Composing()
    first = [pool.frame(number, compose) for number in range(6)]
    assert all(same(frame, frame_of(index)) for index, frame in enumerate(first))
    assert torch.all(first[0].depth[..., 0, :3] == -1)
    second = [pool.frame(6 + number, compose) for number in range(6)]
    third = [pool.frame(12 + number, compose) for number in range(6)]
    assert compose.asked == list(range(6))
    orders = []
    for turn, flip in ((second, True), (third, False)):
        frames = [mirrored(frame) if flip else frame for frame in turn]
        order = [next(i for i in range(6) if same(f, frame_of(i))) for f in frames]
        assert sorted(order) == list(range(6))
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

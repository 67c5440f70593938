from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dart_ros.errors import FitError
from dart_ros.simulation.backgrounds import invent_room, load_pictures, load_rooms


def cut_short(name: str) -> Callable[[Path], object]:
    """OpenCV fills what is missing of such a JPEG with grey and says nothing."""

    def cut(folder: Path) -> None:
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) * 9 // 10])

    return cut


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    color = np.full((24, 32, 3), (200, 100, 20), np.uint8)  # blue, green, red
    depth = np.full((24, 32), 2500, np.uint16)
    depth[3, 4] = 0
    cv2.imwrite(str(tmp_path / "room_000.jpg"), color, [cv2.IMWRITE_JPEG_QUALITY, 100])
    cv2.imwrite(str(tmp_path / "room_000.png"), depth)
    view = {"name": "room_000", "K": [30.0, 0, 16, 0, 30, 12, 0, 0, 1]}
    (tmp_path / "rooms.json").write_text(json.dumps({"views": [view]}))
    return tmp_path


def test_a_rendered_room(folder: Path) -> None:
    (room,) = load_rooms(folder)
    assert room.color.shape == (3, 24, 32) and room.color.dtype == torch.uint8
    for channel, value in enumerate((20, 100, 200)):
        assert float((room.color[channel].float() - value).abs().max()) <= 3
    assert room.depth.dtype == torch.float32
    assert float(room.depth[3, 4]) == -1
    assert (room.depth == 2.5).sum() == 24 * 32 - 1
    assert room.focal == 30
    assert not room.captured


@pytest.mark.parametrize(
    ("break_it", "file"),
    [
        (lambda f: (f / "room_000.png").unlink(), "room_000.png"),
        (lambda f: (f / "room_000.jpg").write_bytes(b"no picture"), "room_000.jpg"),
        (
            lambda f: cv2.imwrite(str(f / "room_000.png"), np.zeros((24, 32), np.uint8)),
            "room_000.png",
        ),
        (
            lambda f: cv2.imwrite(str(f / "room_000.png"), np.ones((20, 32), np.uint16)),
            "room_000.png",
        ),
        (lambda f: (f / "rooms.json").unlink(), "rooms.json"),
        (lambda f: (f / "rooms.json").write_text("{}"), "rooms.json"),
        (lambda f: (f / "rooms.json").write_text('{"views": []}'), "rooms.json"),
        (lambda f: (f / "rooms.json").write_text('{"views": [{"name": "a"}]}'), "rooms.json"),
        (
            lambda f: (f / "rooms.json").write_text('{"views": [{"name": "a", "K": 5}]}'),
            "rooms.json",
        ),
        (lambda f: (f / "room_000.jpg").unlink(), "room_000.jpg"),
        (cut_short("room_000.jpg"), "room_000.jpg"),
        (cut_short("room_000.png"), "room_000.png"),
    ],
)
def test_what_is_broken_is_named(
    folder: Path, break_it: Callable[[Path], object], file: str
) -> None:
    break_it(folder)
    with pytest.raises(FitError, match=re.escape(str(folder / file))):
        load_rooms(folder)


def test_invented_rooms() -> None:
    rooms = [invent_room(seed, 60, 80) for seed in range(12)]
    for seed, room in enumerate(rooms):
        assert room.color.shape == (3, 60, 80) and room.color.dtype == torch.uint8
        assert room.depth.shape == (60, 80) and room.depth.dtype == torch.float32
        assert float(room.depth.min()) > 0.5 and float(room.depth.max()) < 8
        assert 0.75 * 80 <= room.focal <= 1.1 * 80
        again = invent_room(seed, 60, 80)
        assert torch.equal(room.color, again.color) and torch.equal(room.depth, again.depth)
    assert len({float(room.depth.sum()) for room in rooms}) == len(rooms)


def test_ones_own_pictures(tmp_path: Path) -> None:
    with pytest.raises(FitError, match="holds no picture"):
        load_pictures(tmp_path)
    cv2.imwrite(str(tmp_path / "hall.png"), np.full((30, 40, 3), (200, 100, 20), np.uint8))
    (room,) = load_pictures(tmp_path)
    assert room.color[:, 0, 0].tolist() == [20, 100, 200]
    assert room.depth.shape == (30, 40) and bool((room.depth > 0).all()) and not room.captured
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    with pytest.raises(FitError, match=r"broken\.jpg is broken"):
        load_pictures(tmp_path)

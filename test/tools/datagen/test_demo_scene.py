"""The shipped demo recording, and the way its actors move."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from tools.datagen.demo_scene import _travel

DEMO = Path(__file__).parents[3] / "dart_ros" / "data" / "demo"


def test_actors_slow_down_without_a_jump_and_arrive() -> None:
    way = np.array([_travel(t / 30, 1.6, 1.5) for t in range(60)])
    steps = np.diff(way)
    assert way[0] == 0.0 and way[-1] == pytest.approx(1.6)
    assert (steps >= -1e-12).all() and steps.max() <= 1.5 / 30 + 1e-9
    assert np.abs(np.diff(steps)).max() < 0.01


def test_recording_is_complete_and_small() -> None:
    document = json.loads((DEMO / "sequence.json").read_text())
    first, last = document["occupied_frames"]
    assert document["empty_frames"] == [[0, 0]] and first == 1 and last >= 80
    assert document["credits"]
    for frame in (0, 1, last // 2, last):
        color = cv2.imread(str(DEMO / f"color_{frame:04d}.webp"), cv2.IMREAD_UNCHANGED)
        depth = cv2.imread(str(DEMO / f"depth_{frame:04d}.png"), cv2.IMREAD_UNCHANGED)
        alpha = cv2.imread(str(DEMO / f"alpha_{frame:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert color is not None and color.shape == (480, 640, 3)
        assert depth is not None and depth.shape == (480, 640) and depth.dtype == np.uint16
        assert alpha is not None and alpha.shape == (480, 640) and alpha.dtype == np.uint8
        assert depth.min() > 0
    assert sum(path.stat().st_size for path in DEMO.iterdir()) < 5.5e6


def test_people_stand_before_the_empty_room_where_alpha_says_so() -> None:
    def depth(frame: int) -> np.ndarray:
        image = cv2.imread(str(DEMO / f"depth_{frame:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert image is not None
        return image.astype(int)

    last = json.loads((DEMO / "sequence.json").read_text())["occupied_frames"][1]
    empty = depth(0)
    for frame in (last // 2, last):
        alpha = cv2.imread(str(DEMO / f"alpha_{frame:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert alpha is not None
        now = depth(frame)
        assert (alpha == 255).mean() > 0.03
        assert (now[alpha == 255] < empty[alpha == 255]).mean() > 0.995
        # Shadows change the color, never the depth.
        assert np.array_equal(now[alpha == 0], empty[alpha == 0])
        color = cv2.imread(str(DEMO / f"color_{frame:04d}.webp"))
        plate = cv2.imread(str(DEMO / "color_0000.webp"))
        assert color is not None and plate is not None
        darker = plate.astype(int).sum(2) - color.astype(int).sum(2) > 60
        assert (darker & (alpha == 0)).mean() > 0.01

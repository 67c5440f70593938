"""A camera that moved is told once, and how far."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from dart_ros.session.motion_log import MotionLog


@pytest.fixture(scope="module")
def plate() -> np.ndarray:
    random = np.random.default_rng(3)
    coarse = random.integers(30, 220, (60, 80, 3), np.uint8)
    return cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC)


def test_a_camera_that_stands_says_nothing(plate: np.ndarray) -> None:
    log = MotionLog(plate)
    noise = np.random.default_rng(0)
    for position in range(30):
        noisy = plate.astype(int) + noise.integers(-4, 5, plate.shape)
        assert not log.look(position, noisy.clip(0, 255).astype(np.uint8))
    assert log.report() == ""


def test_a_camera_that_moved_is_told_once(plate: np.ndarray) -> None:
    log = MotionLog(plate)
    moved = np.roll(plate, 12, axis=1)
    told = [p for p in range(60) if log.look(p, plate if p < 23 else moved)]
    assert told == [30]
    text = log.report()
    assert "up to 12 pixels in 7 of 12 frames" in text and "from position 25 on" in text


def test_a_single_look_may_be_wrong(plate: np.ndarray) -> None:
    log = MotionLog(plate)
    moved = np.roll(plate, 12, axis=1)
    assert not any(log.look(p, moved if p == 10 else plate) for p in range(40))
    assert log.report() == ""

"""The composite's backdrop: colors at once, pictures as soon as they are read."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from waiting import PATIENCE, wait_for

from dart_ros.node.compositor import Compositor
from dart_ros.node.parameters import Settings
from dart_ros.values import Camera, Frame, Matte

SETTINGS = Settings.defaults()


def wait_for_color(compositor: Compositor, settings: Settings, red: int) -> None:
    """Wait until the backdrop has a color."""
    wait_for(lambda: compositor.backdrop(6, 2, settings)[0, 0, 0] == red)


def test_a_backdrop_is_made_once_for_each_choice_and_size() -> None:
    compositor = Compositor(pytest.fail)
    first = compositor.backdrop(4, 2, SETTINGS)
    assert first.shape == (2, 4, 3) and first[0, 0].tolist() == [0, 177, 64]
    assert compositor.backdrop(4, 2, SETTINGS) is first
    red = replace(SETTINGS, composite_color=(255, 0, 0))
    assert compositor.backdrop(4, 2, red)[0, 0].tolist() == [255, 0, 0]
    assert compositor.backdrop(6, 2, red).shape == (2, 6, 3)
    compositor.close()


def test_pictures_replace_each_other_and_leave_again(tmp_path: Path) -> None:
    compositor = Compositor(pytest.fail)
    for red in (50, 90):
        cv2.imwrite(str(tmp_path / f"{red}.png"), np.full((8, 8, 3), (7, 8, red), np.uint8))
        settings = replace(SETTINGS, composite_image=str(tmp_path / f"{red}.png"))
        wait_for_color(compositor, settings, red)
        assert compositor.backdrop(6, 2, settings)[0, 0].tolist() == [red, 8, 7]
    assert compositor.backdrop(6, 2, SETTINGS)[0, 0].tolist() == [0, 177, 64]
    wait_for_color(compositor, settings, 90)
    compositor.close()


def test_a_picture_that_breaks_later_is_told_and_the_color_stays(tmp_path: Path) -> None:
    told: list[str] = []
    compositor = Compositor(told.append)
    whole = cv2.imencode(".png", np.zeros((80, 80, 3), np.uint8))[1].tobytes()
    (tmp_path / "cut.png").write_bytes(whole[:60])
    for path in (tmp_path / "cut.png", tmp_path / "gone.png"):
        settings = replace(SETTINGS, composite_image=str(path))
        end = time.monotonic() + PATIENCE
        while not told:
            assert compositor.backdrop(6, 2, settings)[0, 0].tolist() == [0, 177, 64]
            assert time.monotonic() < end
            time.sleep(0.01)
        assert compositor.backdrop(6, 2, settings)[0, 0].tolist() == [0, 177, 64]
        assert "composite_image can't be shown" in told.pop()
    compositor.close()


def test_the_room_can_be_blurred_and_light_can_wrap() -> None:
    compositor = Compositor(pytest.fail)
    color = np.full((48, 64, 3), (20, 40, 220), np.uint8)
    alpha = np.zeros((48, 64), np.uint8)
    alpha[10:40, 20:44] = 255
    foreground = np.zeros((48, 64, 3), np.uint8)
    foreground[alpha > 0] = (200, 10, 10)
    color[alpha > 0] = (200, 10, 10)
    camera = Camera(64, 48, 50.0, 50.0, 32.0, 24.0)
    frame = Frame(color, np.ones((48, 64), np.float32), 0, camera)
    matte = Matte(alpha=alpha, foreground=foreground, trimap=None)
    room = compositor.composite(frame, matte, replace(SETTINGS, composite_blur=0.5))
    assert np.abs(room[2, 2].astype(int) - (20, 40, 220)).max() <= 2
    assert room[25, 30].tolist() == [200, 10, 10]
    white = replace(SETTINGS, composite_color=(255, 255, 255))
    plain = compositor.composite(frame, matte, white)
    wrapped = compositor.composite(frame, matte, replace(white, composite_light_wrap=1.0))
    assert (wrapped.astype(int) >= plain).all() and (wrapped[11, 30] > plain[11, 30]).any()
    cleaned = compositor.composite(frame, matte, replace(white, composite_clean_edges=True))
    assert np.abs(cleaned.astype(int) - plain).max() <= 2
    compositor.close()

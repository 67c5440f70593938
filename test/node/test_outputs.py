from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

pytest.importorskip("rclpy", reason="needs ROS 2")

from dart_ros.node.outputs import Backdrop, blend, cover
from dart_ros.node.parameters import Settings

images = hnp.arrays(np.uint8, (3, 5, 3))


@given(images, hnp.arrays(np.uint8, (3, 5)), images)
def test_blend_is_within_one_level_of_the_exact_composite(
    foreground: np.ndarray[Any, Any],
    alpha: np.ndarray[Any, Any],
    backdrop: np.ndarray[Any, Any],
) -> None:
    weight = alpha[..., None] / 255
    exact = weight * foreground + (1 - weight) * backdrop
    assert np.abs(blend(foreground, alpha, backdrop) - exact).max() <= 1


def test_blend_is_exact_where_alpha_is() -> None:
    foreground = np.full((1, 2, 3), 77, np.uint8)
    backdrop = np.full((1, 2, 3), 201, np.uint8)
    mixed = blend(foreground, np.array([[0, 255]], np.uint8), backdrop)
    assert mixed[0].tolist() == [[201] * 3, [77] * 3]


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 60), st.integers(1, 60))
def test_cover_fills_any_size(h: int, w: int, height: int, width: int) -> None:
    covered = cover(np.full((h, w, 3), 9, np.uint8), width, height)
    assert covered.shape == (height, width, 3) and covered.flags.c_contiguous
    assert (covered == 9).all()


def test_cover_keeps_the_middle_undistorted() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200  # the middle third
    assert (cover(image, 10, 10) == 200).all()


def test_backdrop_is_made_once_for_each_choice_and_size() -> None:
    backdrop, settings = Backdrop(), Settings.defaults()
    first = backdrop.of_size(4, 2, settings)
    assert first.shape == (2, 4, 3) and first[0, 0].tolist() == [0, 177, 64]
    assert backdrop.of_size(4, 2, settings) is first
    red = replace(settings, composite_color=(255, 0, 0))
    assert backdrop.of_size(4, 2, red)[0, 0].tolist() == [255, 0, 0]
    assert backdrop.of_size(6, 2, red).shape == (2, 6, 3)
    image = replace(red, composite_background=np.full((8, 8, 3), 5, np.uint8))
    assert (backdrop.of_size(6, 2, image) == 5).all()
    assert backdrop.of_size(6, 2, red)[0, 0].tolist() == [255, 0, 0]

"""Compositing: exact where it can be, and never a halo of the foreground in the room."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from dart_ros.session.compositing import (
    blend,
    blurred_room,
    cover,
    decontaminated,
    light_wrap,
)

RED, BLUE = (250, 10, 10), (20, 40, 220)


def flat(color: tuple[int, int, int], height: int = 96, width: int = 128) -> NDArray[np.uint8]:
    image = np.empty((height, width, 3), np.uint8)
    image[:] = color
    return image


def disc(height: int = 96, width: int = 128, radius: float = 25) -> NDArray[np.uint8]:
    """Alpha of a disc in the middle, with an edge of some pixels."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot(rows - height / 2, columns - width / 2)
    return (np.clip((radius - distance) / 4 + 0.5, 0, 1) * 255).round().astype(np.uint8)


def over(foreground: NDArray[np.uint8], alpha: NDArray[np.uint8], back: NDArray[np.uint8]):  # type: ignore[no-untyped-def]
    share = alpha[..., None] / 255.0
    return np.rint(foreground * share + back * (1 - share)).astype(np.uint8)


@pytest.mark.parametrize("strength", [0.05, 0.3, 1.0])
def test_the_blurred_room_has_nothing_of_the_foreground(strength: float) -> None:
    alpha = disc()
    frame = over(flat(RED), alpha, flat(BLUE))
    room = blurred_room(frame, alpha, strength)
    # A flat wall stays what it was everywhere, behind the person too.
    assert np.abs(room.astype(int) - BLUE).max() <= 3


def test_more_strength_leaves_less_detail_and_keeps_the_mean() -> None:
    stripes = np.zeros((96, 128, 3), np.uint8)
    stripes[:, ::8], stripes[:, 1::8], stripes[:, 2::8], stripes[:, 3::8] = (200,) * 4
    nobody = np.zeros((96, 128), np.uint8)
    deviations = [blurred_room(stripes, nobody, s).std() for s in (0.1, 0.4, 1.0)]
    assert stripes.std() > deviations[0] > deviations[1] > deviations[2]
    for strength in (0.1, 1.0):
        assert blurred_room(stripes, nobody, strength).mean() == pytest.approx(100, abs=3)


def test_a_picture_full_of_people_has_no_room() -> None:
    everybody = np.full((96, 128), 255, np.uint8)
    assert not blurred_room(flat(RED), everybody, 0.5).any()


@given(st.integers(1, 90), st.integers(1, 90), st.floats(0.01, 1.0))
@settings(max_examples=25, deadline=None)
def test_any_size_is_blurred(height: int, width: int, strength: float) -> None:
    generator = np.random.default_rng(height * 100 + width)
    color = generator.integers(0, 256, (height, width, 3), np.uint8)
    alpha = generator.integers(0, 256, (height, width), np.uint8)
    room = blurred_room(color, alpha, strength)
    assert room.shape == color.shape and room.dtype == np.uint8
    assert decontaminated(color, alpha).shape == color.shape
    wrapped = light_wrap(color, alpha, room, strength)
    # Light is only ever added; products of bytes are rounded.
    assert (wrapped.astype(int) >= color.astype(int) - 2).all()


def test_light_reaches_the_outline_and_not_the_middle() -> None:
    alpha, backdrop = disc(), flat((255, 255, 255))
    composite = blend(flat((20, 20, 20)), alpha, backdrop)
    wrapped = light_wrap(composite, alpha, backdrop, 1.0)
    assert np.abs(wrapped[48, 64].astype(int) - composite[48, 64]).max() <= 2
    inside_the_edge = (alpha == 255) & (cv2.erode(alpha, np.ones((7, 7))) < 255)
    gained = wrapped[inside_the_edge].astype(int) - composite[inside_the_edge]
    assert gained.mean() > 10


def test_edges_lose_the_old_background_and_the_rest_stays() -> None:
    alpha = disc()
    # An estimate that left the blue wall in the soft edge.
    stained = over(flat(RED), alpha, flat(BLUE))
    clean = decontaminated(stained, alpha)
    edge = (alpha > 20) & (alpha < 200)
    before = np.abs(stained[edge].astype(int) - RED).mean()
    after = np.abs(clean[edge].astype(int) - RED).mean()
    assert after < 0.5 * before
    assert (clean[alpha == 255] == stained[alpha == 255]).all()
    nobody = np.zeros_like(alpha)
    assert (decontaminated(stained, nobody) == stained).all()


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=25, deadline=None)
def test_cover_fills_any_size(h: int, w: int, height: int, width: int) -> None:
    covered = cover(np.full((h, w, 3), 9, np.uint8), width, height)
    assert covered.shape == (height, width, 3) and (covered == 9).all()


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


def test_cover_keeps_the_middle_undistorted() -> None:
    image = np.zeros((10, 30, 3), np.uint8)
    image[:, 10:20] = 200  # the middle third
    assert (cover(image, 10, 10) == 200).all()

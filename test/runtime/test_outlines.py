"""Outlines without specks and frays."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import ndimage

from dart_ros.runtime.outlines import LARGEST_SPECK, smoothed, without_specks

SIZES = [(480, 640), (720, 1280), (61, 97), (4, 4), (1, 1)]


def person(size: tuple[int, int] = (480, 640), edge: float = 1.2) -> NDArray[np.uint8]:
    """An ellipse whose outline is as wide as a camera's."""
    height, width = size
    rows, columns = np.mgrid[:height, :width]
    away = np.hypot((columns - width / 2) / 1.0, (rows - height / 2) / 1.6) - 0.2 * height
    return np.rint(255 * (0.5 - away / edge).clip(0, 1)).astype(np.uint8)


def frayed(alpha: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """The same with noise along its outline, and specks beside it."""
    random = np.random.default_rng(seed)
    near = ndimage.binary_dilation((alpha > 2) & (alpha < 253), iterations=3)
    noisy = alpha.copy()
    turned = near & (random.random(alpha.shape) < 0.12)
    noisy[turned] = 255 - noisy[turned]
    return noisy


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("level", [0, 127, 128, 255])
def test_an_even_matte_stays_as_it_is(size: tuple[int, int], level: int) -> None:
    alpha = np.full(size, level, np.uint8)
    assert np.abs(smoothed(alpha).astype(int) - level).max() <= 1
    assert np.array_equal(without_specks(alpha), alpha)


@pytest.mark.parametrize(("level", "wanted"), [(3, 0), (8, 0), (247, 255), (252, 255)])
def test_haze_goes_and_what_is_nearly_opaque_becomes_so(level: int, wanted: int) -> None:
    alpha = np.full((120, 160), level, np.uint8)
    assert np.abs(smoothed(alpha).astype(int) - wanted).max() <= 3


@pytest.mark.parametrize("size", [*SIZES, (3, 5000), (480, 1)])
def test_any_matte_gives_a_matte(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    for made in (smoothed(noise), without_specks(noise), without_specks(smoothed(noise))):
        assert made.shape == size and made.dtype == np.uint8


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000))
def test_noise_along_an_outline_goes_and_the_outline_stays(seed: int) -> None:
    truth = person()
    noisy = frayed(truth, seed)
    cleaned = without_specks(smoothed(without_specks(noisy)))
    before, after = (np.abs(x.astype(int) - truth).sum() for x in (noisy, cleaned))
    assert after < 0.5 * before
    pieces, _ = cv2.connectedComponents((cleaned > 25).astype(np.uint8))
    assert pieces == 2, "no ghosts of specks are left"


def test_an_outline_without_noise_hardly_moves() -> None:
    truth = person()
    found = without_specks(smoothed(truth))
    assert np.abs(found.astype(int) - truth).max() < 64
    moved = (found > 127) != (truth > 127)
    assert moved.sum() < 0.01 * ((truth > 2) & (truth < 253)).sum()


def test_soft_alpha_stays_soft() -> None:
    soft = person(edge=40.0)
    assert np.abs(smoothed(soft).astype(int) - soft).max() <= 16
    hair = (np.random.default_rng(0).uniform(0.1, 0.9, (480, 640)) * 255).astype(np.uint8)
    assert np.array_equal(smoothed(hair), hair)


@pytest.mark.parametrize("size", [(480, 640), (720, 1280)])
def test_small_pieces_and_holes_go_and_larger_ones_stay(size: tuple[int, int]) -> None:
    most = LARGEST_SPECK * round(size[1] / 640) ** 2
    alpha = person(size)
    middle = size[0] // 2, size[1] // 2
    for rows, large in ((0, False), (60, True)):
        length = most // 2 + large
        hole = slice(middle[0] + rows, middle[0] + rows + 2), slice(middle[1], middle[1] + length)
        speck = slice(20 + rows, 22 + rows), slice(20, 20 + length)
        alpha[hole], alpha[speck] = 10, 250
        cleaned = without_specks(alpha)
        assert (cleaned[hole] == (10 if large else 255)).all()
        assert (cleaned[speck] == (250 if large else 0)).all()


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("level", [128, 255])
def test_a_thin_line_stays(width: int, level: int) -> None:
    alpha = np.zeros((480, 640), np.uint8)
    cv2.line(alpha, (100, 50), (140, 400), level, width, cv2.LINE_8)
    found = smoothed(without_specks(alpha))
    share = found.sum(dtype=np.int64) / alpha.sum(dtype=np.int64)
    # A line of half of alpha looks like a soft outline.
    assert (0.9 if level == 255 else 0.6) < share < 1.1


@pytest.mark.parametrize("side", [3, 4])
def test_a_ring_goes_as_a_whole_and_an_island_in_a_hole_too(side: int) -> None:
    ring = np.zeros((60, 80), np.uint8)
    ring[20 : 20 + side, 30 : 30 + side] = 255
    ring[21 : 19 + side, 31 : 29 + side] = 0
    assert not without_specks(ring).any()
    assert (without_specks(255 - ring) == 255).all()


def test_outlines_do_not_change_with_what_is_far_away() -> None:
    alpha = frayed(person(), 3)
    other = alpha.copy()
    other[3:9, 5:11] = 255
    found, wanted = smoothed(other), smoothed(alpha)
    assert np.array_equal(found[60:], wanted[60:])


def test_noise_everywhere_is_left_as_it_is() -> None:
    alpha = np.zeros((1080, 1920), np.uint8)
    alpha[::2, ::2] = 255
    assert np.array_equal(without_specks(alpha), alpha)


def test_what_is_given_is_not_changed() -> None:
    alpha = frayed(person(), 1)
    kept = alpha.copy()
    without_specks(smoothed(alpha))
    assert np.array_equal(alpha, kept)

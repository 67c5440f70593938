from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dart_ros.method.filters import gaussian_blur, push_pull, remove_small_regions

SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12))


def picture(seed: int, height: int, width: int) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width))


def blur(image: np.ndarray, sigma: float) -> np.ndarray:
    return gaussian_blur(torch.from_numpy(image)[None, None], sigma)[0, 0].numpy()


def cleaned(image: np.ndarray, size: int = 3) -> np.ndarray:
    tensor = torch.from_numpy(np.asarray(image, np.float64))[None, None]
    return remove_small_regions(tensor, size)[0, 0].numpy()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), SIZES, st.floats(0.1, 4))
def test_blur_is_scipys(seed: int, size: tuple[int, int], sigma: float) -> None:
    image = picture(seed, *size)
    expected = ndimage.gaussian_filter(image, sigma, mode="nearest", radius=math.ceil(3 * sigma))
    np.testing.assert_allclose(blur(image, sigma), expected, atol=1e-12)


@pytest.mark.parametrize("sigma", [1.0, 2.0, 3.0])
def test_blur_is_scipys_cut_at_three_sigma(sigma: float) -> None:
    image = picture(1, 31, 23)
    expected = ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=3)
    np.testing.assert_allclose(blur(image, sigma), expected, atol=1e-12)


def test_blur_of_each_image_of_a_batch_is_its_own() -> None:
    images = torch.rand(3, 1, 6, 5, generator=torch.Generator().manual_seed(0))
    alone = torch.cat([gaussian_blur(image[None], 1.5) for image in images])
    assert torch.allclose(gaussian_blur(images, 1.5), alone, atol=1e-7)


def test_blur_by_nothing_changes_nothing() -> None:
    image = picture(2, 4, 4)
    assert np.array_equal(blur(image, 0), image)
    with pytest.raises(ValueError, match="negative"):
        blur(image, -0.1)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), SIZES, st.sampled_from([1, 3, 5]))
def test_small_regions_go_as_by_scipys_opening_and_closing(
    seed: int, size: tuple[int, int], square: int
) -> None:
    image = picture(seed, *size)
    # "nearest" adds to a window at the border only what it sees already.
    expected = ndimage.grey_opening(image, (square, square), mode="nearest")
    expected = ndimage.grey_closing(expected, (square, square), mode="nearest")
    assert np.array_equal(cleaned(image, square), expected)


def test_specks_and_holes_go_and_large_regions_stay() -> None:
    image = np.zeros((12, 20))
    image[2:10, 2:12] = 1
    image[5:7, 5:7] = 0  # a hole of 2x2
    image[4:6, 15:18] = 1  # a speck of 2x3
    expected = np.zeros((12, 20))
    expected[2:10, 2:12] = 1
    assert np.array_equal(cleaned(image), expected)


def test_a_region_cut_by_the_border_counts_as_going_on() -> None:
    image = np.zeros((10, 10))
    image[0:2, 3:7] = 1
    assert np.array_equal(cleaned(image), image)
    image = np.zeros((10, 10))
    image[1:3, 3:7] = 1
    assert not cleaned(image).any()


@pytest.mark.parametrize("size", [0, 2, -1])
def test_the_square_must_have_a_middle(size: int) -> None:
    with pytest.raises(ValueError, match="odd and positive"):
        cleaned(np.zeros((3, 3)), size)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1000), SIZES, st.floats(0, 1))
def test_holes_are_filled_within_the_range_of_what_is_known(
    seed: int, size: tuple[int, int], share: float
) -> None:
    image = torch.from_numpy(picture(seed, *size))[None, None]
    known = (torch.from_numpy(picture(seed + 1, *size))[None, None] <= share).double()
    found = push_pull(image, known)
    assert found.shape == image.shape
    torch.testing.assert_close(found[known > 0], image[known > 0])
    if known.any():
        seen = image[known > 0]
        assert seen.min() - 1e-9 <= found.min() and found.max() <= seen.max() + 1e-9
    else:
        assert (found == 0).all()


def test_a_hole_is_filled_from_what_is_near() -> None:
    image = torch.zeros(1, 1, 32, 64, dtype=torch.float64)
    image[..., 32:] = 1
    known = torch.ones_like(image)
    known[..., 12:20, 4:12] = 0
    known[..., 12:20, 50:58] = 0
    found = push_pull(image, known)
    assert found[..., 12:20, 4:12].max() < 0.1 and found[..., 12:20, 50:58].min() > 0.9

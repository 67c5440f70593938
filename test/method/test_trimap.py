from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from dart_ros.method.trimap import depth_corrected_alpha, trimap

ALPHAS = st.floats(0, 1, width=32)
MEANS = st.floats(2.0**-6, 100, width=32)
STDS = st.floats(2.0**-20, 100, width=32)
DEPTHS = st.one_of(st.just(-1.0), st.floats(2.0**-10, 100, width=32))


def corrected(
    alpha: float, depth: float, mean: float, std: float, dtype: torch.dtype = torch.float64
) -> float:
    values = (torch.tensor(v, dtype=dtype) for v in (alpha, depth, mean, std))
    return float(depth_corrected_alpha(*values))


def test_corrected_alpha_by_hand() -> None:
    # Person at 1 m before a wall at 2 m +- 2 cm: p(d|F) + zeta = 0.501, p(d|B) + zeta = 0.001.
    # A = 0.3: 0.501 * 0.3 / (0.501 * 0.3 + 0.001 * 0.7) = 0.1503 / 0.151.
    assert corrected(0.3, 1.0, 2.0, 0.02) == pytest.approx(0.1503 / 0.151, rel=1e-9)
    # On the wall: p(d|B) = 1 / (0.02 sqrt(2 pi)) = 19.947114.
    # A = 0.9: 0.501 * 0.9 / (0.501 * 0.9 + 19.948114 * 0.1) = 0.4509 / 2.4457114.
    assert corrected(0.9, 2.0, 2.0, 0.02) == pytest.approx(0.4509 / 2.4457114, rel=1e-7)


@settings(deadline=None)
@given(ALPHAS, st.sampled_from([-1.0, 0.0]), MEANS, STDS)
def test_unknown_depth_leaves_alpha_exactly(
    alpha: float, unknown: float, mean: float, std: float
) -> None:
    assert corrected(alpha, unknown, mean, std, torch.float32) == alpha


@settings(deadline=None)
@given(DEPTHS, MEANS, STDS)
def test_certain_alpha_stays_certain(depth: float, mean: float, std: float) -> None:
    assert corrected(0.0, depth, mean, std, torch.float32) == 0
    assert corrected(1.0, depth, mean, std, torch.float32) == 1


@settings(deadline=None)
@given(ALPHAS, DEPTHS, MEANS, STDS)
def test_equals_the_formula_with_scipys_density(
    alpha: float, depth: float, mean: float, std: float
) -> None:
    front = back = 1e-3
    if depth > 0:
        front += 1 / mean if depth <= mean else 0
        back += stats.truncnorm.pdf(depth, -mean / std, np.inf, loc=mean, scale=std)
    expected = front * alpha / (front * alpha + back * (1 - alpha))
    assert corrected(alpha, depth, mean, std) == pytest.approx(expected, rel=1e-6, abs=1e-12)
    assert 0 <= corrected(alpha, depth, mean, std, torch.float32) <= 1


@settings(deadline=None)
@given(DEPTHS, MEANS, STDS)
def test_more_alpha_stays_more(depth: float, mean: float, std: float) -> None:
    found = [corrected(alpha / 20, depth, mean, std) for alpha in range(21)]
    assert found == sorted(found)


@pytest.mark.parametrize(
    ("level", "expected"),
    [(0, 0), (0.24, 0), (0.249, 0), (0.251, 0.5), (0.5, 0.5), (0.799, 0.5), (0.801, 1), (1, 1)],
)
def test_thresholds(level: float, expected: float) -> None:
    found = trimap(torch.full((2, 1, 7, 9), float(level)))
    assert found.shape == (2, 1, 7, 9)
    assert bool((found == expected).all())


def test_an_edge_leaves_a_band_of_the_width_that_the_blur_makes() -> None:
    # A step between columns 9 and 10, blurred by sigma 1.5, is the normal distribution at
    # (column - 9.5) / 1.5: 0.16, 0.37, 0.63, 0.84 for columns 8 to 11.
    image = torch.zeros(1, 1, 5, 20)
    image[..., 10:] = 1
    by_hand = [0.0] * 9 + [0.5, 0.5] + [1.0] * 9
    for row in trimap(image)[0, 0].tolist():
        assert row == by_hand


def test_equals_thresholds_of_scipys_blur() -> None:
    image = np.random.default_rng(5).random((40, 50))
    image = ndimage.gaussian_filter(image, 2)
    image = (image - image.min()) / np.ptp(image)
    blurred = ndimage.gaussian_filter(image, 1.5, mode="nearest", radius=5)
    expected = np.where(blurred < 0.25, 0, np.where(blurred > 0.8, 1, 0.5))
    assert set(np.unique(expected)) == {0, 0.5, 1}
    found = trimap(torch.from_numpy(image)[None, None])[0, 0].numpy()
    assert np.array_equal(found, expected)

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, ndimage, stats
from torch import Tensor

from dart_ros.method.config import DEPTH_CHANNELS
from dart_ros.method.posterior import (
    background_density,
    depth_channels,
    foreground_density,
    foreground_posterior,
    guessed_background,
    posterior_map,
)

DEPTHS = st.one_of(st.just(-1.0), st.floats(2.0**-10, 100, width=32))
MEANS = st.floats(2.0**-6, 100, width=32)
STDS = st.floats(2.0**-20, 100, width=32)


def tensors(*values: float, dtype: torch.dtype = torch.float64) -> list[Tensor]:
    return [torch.tensor(value, dtype=dtype) for value in values]


def truncated_normal(depth: np.ndarray, mean: float, std: float) -> np.ndarray:
    return stats.truncnorm.pdf(depth, -mean / std, np.inf, loc=mean, scale=std)


# The last four have a deviation comparable to the mean, where the truncation matters.
BACKGROUNDS = [(3.0, 0.03), (0.5, 0.02), (5.46, 0.0546), (1, 0.4), (0.5, 0.5), (0.5, 1), (0.2, 2)]


@pytest.mark.parametrize(("mean", "std"), BACKGROUNDS)
def test_background_density_is_scipys_truncated_normal(mean: float, std: float) -> None:
    depth = np.concatenate([np.linspace(1e-3, 8, 400), mean + std * np.linspace(-0.2, 4, 50)])
    expected = truncated_normal(depth, mean, std)
    for dtype, tolerance in ((torch.float64, 1e-10), (torch.float32, 2e-3)):
        found = background_density(
            torch.from_numpy(depth).to(dtype),
            torch.full((), mean, dtype=dtype),
            torch.full((), std, dtype=dtype),
        )
        np.testing.assert_allclose(found.numpy(), expected, rtol=tolerance, atol=1e-12 / std)


def test_truncation_matters_where_it_is_tested() -> None:
    full = stats.norm.pdf(0.6, 0.5, 1)
    assert float(background_density(*tensors(0.6, 0.5, 1.0))) > 1.4 * full


@pytest.mark.parametrize(("mean", "std"), BACKGROUNDS)
def test_densities_integrate_to_one_per_metre(mean: float, std: float) -> None:
    def back(depth: float) -> float:
        return float(background_density(*tensors(depth, mean, std)))

    def front(depth: float) -> float:
        return float(foreground_density(*tensors(depth, mean)))

    highest = mean + 12 * std
    near = [p for p in (mean - 5 * std, mean, mean + 5 * std) if 0 < p < highest]
    assert integrate.quad(back, 0, highest, points=near, limit=200)[0] == pytest.approx(1, abs=1e-6)
    assert integrate.quad(front, 0, mean)[0] == pytest.approx(1, abs=1e-6)


def test_foreground_density_is_uniform_up_to_the_background() -> None:
    depth = torch.tensor([-1.0, 0.0, 1e-6, 1.0, 2.0, 4.0, 4.000001, 9.0])
    found = foreground_density(depth, torch.tensor(4.0))
    assert found.tolist() == [0, 0, 0.25, 0.25, 0.25, 0.25, 0, 0]


def test_background_density_is_zero_where_depth_is_not_known() -> None:
    found = background_density(torch.tensor([-1.0, 0.0]), torch.tensor(0.5), torch.tensor(1.0))
    assert found.tolist() == [0, 0]


def test_a_clear_foreground_pixel_by_hand() -> None:
    # Wall at 3 m, person at 1 m: p(d|F) = 1/3, p(d|B) = 0, so
    # (1/6 + 0.0005) / (1/6 + 0.001) = 0.1671667 / 0.1676667 = 0.997018.
    found = float(foreground_posterior(*tensors(1.0, 3.0, 0.03)))
    assert found == pytest.approx(0.997018, abs=1e-6)
    # The same in millimetres with the same zeta would be
    # (1/6000 + 0.0005) / (1/6000 + 0.001) = 0.5714: densities are per metre.
    found = float(foreground_posterior(*tensors(1000.0, 3000.0, 30.0)))
    assert found == pytest.approx(0.571429, abs=1e-6)


def test_a_clear_background_pixel_by_hand() -> None:
    # On the wall, 3 m +- 3 cm: p(d|B) = 1 / (0.03 sqrt(2 pi)) = 13.298076, p(d|F) = 1/3:
    # (0.1666667 + 0.0005) / (0.1666667 + 6.649038 + 0.001) = 0.1671667 / 6.8167047.
    found = float(foreground_posterior(*tensors(3.0, 3.0, 0.03)))
    assert found == pytest.approx(0.0245231, abs=1e-6)
    # Just behind the wall p(d|F) is 0: 0.0005 / (6.649038 exp(-1/2) + 0.001).
    found = float(foreground_posterior(*tensors(3.03, 3.0, 0.03)))
    assert found == pytest.approx(0.0005 / (6.649038 * 0.6065307 + 0.001), rel=1e-5)


def test_far_behind_the_wall_nothing_is_known() -> None:
    assert float(foreground_posterior(*tensors(4.0, 3.0, 0.03), prior=0.3)) == pytest.approx(0.3)


def test_a_prior_other_than_a_half_by_hand() -> None:
    # P_F = 0.2, wall at 2 m, person at 1 m: (0.1 + 0.0002) / (0.1 + 0.001).
    found = float(foreground_posterior(*tensors(1.0, 2.0, 0.02), prior=0.2))
    assert found == pytest.approx(0.1002 / 0.101, rel=1e-9)


@settings(deadline=None)
@given(st.floats(0, 1), st.sampled_from([-1.0, 0.0]), MEANS, STDS)
def test_unknown_depth_gives_exactly_the_prior(
    prior: float, unknown: float, mean: float, std: float
) -> None:
    for dtype in (torch.float32, torch.float64):
        values = tensors(unknown, mean, std, dtype=dtype)
        found = foreground_posterior(*values, prior=prior)
        assert torch.equal(found, torch.tensor(prior, dtype=dtype))


@settings(deadline=None)
@given(DEPTHS, MEANS, STDS, st.floats(0, 1))
def test_finite_and_in_range_for_any_scene(
    depth: float, mean: float, std: float, prior: float
) -> None:
    found = float(
        foreground_posterior(*tensors(depth, mean, std, dtype=torch.float32), prior=prior)
    )
    assert 0 <= found <= 1


@settings(deadline=None)
@given(DEPTHS, MEANS, STDS, st.floats(0, 1))
def test_equals_the_formula_with_scipys_density(
    depth: float, mean: float, std: float, prior: float
) -> None:
    found = float(foreground_posterior(*tensors(depth, mean, std), prior=prior))
    front = 1 / mean if 0 < depth <= mean else 0
    back = float(truncated_normal(np.array(depth), mean, std)) if depth > 0 else 0
    expected = (front + 1e-3) * prior / (front * prior + back * (1 - prior) + 1e-3)
    assert found == pytest.approx(expected, rel=1e-6, abs=1e-12)


@settings(deadline=None)
@given(MEANS, st.floats(0.005, 2))
def test_nearer_is_more_foreground(mean: float, ratio: float) -> None:
    depth = torch.linspace(1e-3, 1, 200, dtype=torch.float64) * mean
    found = foreground_posterior(depth, *tensors(mean, ratio * mean))
    assert bool((found.diff() <= 1e-12).all())


@settings(deadline=None)
@given(MEANS, st.floats(0.005, 2))
def test_behind_the_background_is_never_foreground(mean: float, ratio: float) -> None:
    depth = mean + torch.linspace(1e-3, 5, 100, dtype=torch.float64)
    found = foreground_posterior(depth, *tensors(mean, ratio * mean))
    assert bool((found <= 0.5).all())


@settings(deadline=None)
@given(DEPTHS, MEANS, STDS)
def test_a_larger_prior_gives_a_larger_posterior(depth: float, mean: float, std: float) -> None:
    priors = [0.0, 0.1, 0.35, 0.5, 0.75, 1.0]
    values = tensors(depth, mean, std)
    found = [float(foreground_posterior(*values, prior=prior)) for prior in priors]
    assert found == sorted(found)
    assert found[0] == 0
    assert found[-1] == pytest.approx(1)


def test_map_is_opened_closed_and_blurred() -> None:
    random = np.random.default_rng(3)
    mean = random.uniform(2, 4, (20, 30))
    depth = np.where(random.random((20, 30)) < 0.3, -1, mean + random.normal(0, 0.05, (20, 30)))
    depth[5:14, 8:20] = 1.2
    depth[8:10, 12:14] = -1  # a small hole
    depth[16, 4] = 1.0  # a speck
    std = 0.01 * mean
    front = np.where((depth > 0) & (depth <= mean), 1 / mean, 0)
    back = np.where(depth > 0, stats.norm.pdf(depth, mean, std), 0)
    raw = (0.5 * front + 5e-4) / (0.5 * front + 0.5 * back + 1e-3)
    # scipy repeats the edge, so a window at the border sees what lies inside the image.
    smooth = ndimage.grey_opening(raw, (3, 3), mode="nearest")
    smooth = ndimage.grey_closing(smooth, (3, 3), mode="nearest")
    expected = ndimage.gaussian_filter(smooth, 0.7, mode="nearest", radius=3)
    found = posterior_map(*(torch.from_numpy(x)[None, None] for x in (depth, mean, std)))
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-7)
    assert found[0, 0, 8, 13] > 0.95
    assert found[0, 0, 16, 4] < 0.6


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_map_of_any_size_is_finite_and_in_range(seed: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    mean = 0.1 + 9 * torch.rand(2, 1, height, width, generator=generator)
    depth = mean * (0.2 + torch.rand(mean.shape, generator=generator))
    depth[torch.rand(mean.shape, generator=generator) < 0.3] = -1
    found = posterior_map(depth, mean, 0.005 * mean)
    assert found.shape == mean.shape
    assert bool((found >= 0).all()) and bool((found <= 1 + 1e-6).all())


def test_depth_channels_by_hand() -> None:
    """Known and unknown depth, a guess of 1.5 m, and a background that is not even guessed."""
    behind = torch.tensor([3.0, 3, 3, 3, 3, 3, 3, -1])[None, None, None]
    depth = torch.tensor([2.96, 2.5, 0.5, 3.03, -1.0, 1.0, -2.5, 1.0])[None, None, None]
    plate_known = torch.tensor([1.0, 1, 1, 1, 1, 0, 1, 0])[None, None, None]
    found = depth_channels(depth, behind, plate_known)
    assert found.shape == (1, DEPTH_CHANNELS, 1, 8)
    fine, coarse, known, plate = found[0, :, 0].tolist()
    assert fine == pytest.approx([0.4, 1, 1, -0.3, 0, 1, 1, 0], abs=1e-5)
    assert coarse == pytest.approx([0.04, 0.5, 1, -0.03, 0, 1, 1, 0], abs=1e-6)
    assert known == [1, 1, 1, 1, 0, 1, 0, 1]
    assert plate == [1, 1, 1, 1, 1, 0, 1, 0]


def test_the_background_is_guessed_from_around_it() -> None:
    """A hole in a wall that slants from 2 to 4 m, and a scene of which nothing is known."""
    mean = torch.linspace(2, 4, 40).expand(1, 1, 30, 40).clone().repeat(2, 1, 1, 1)
    known = torch.ones_like(mean)
    known[0, :, 10:18, 14:22] = 0
    known[1] = 0
    stored = torch.where(known > 0, mean, 5.46)
    found = guessed_background(stored, known)
    assert torch.equal(found[0][known[0] > 0], mean[0][known[0] > 0])
    assert (found[0] - mean[0]).abs().max() < 0.25
    assert (found[1] == -1).all()

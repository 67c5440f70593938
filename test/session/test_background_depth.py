"""Background depth: what it makes of steady, quantised, alternating and stray depths."""

from __future__ import annotations

import math
import resource
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.session.background_depth import (
    BackgroundDepth,
    BackgroundDepthAccumulator,
    DepthNoise,
)

D_MAX = 5.46
FINE = DepthNoise(absolute=1e-5, relative=0.0)


def accumulate(stack: np.ndarray, noise: DepthNoise | None = None) -> BackgroundDepth:
    accumulator = BackgroundDepthAccumulator(*stack.shape[1:], D_MAX, noise)
    for depth in stack:
        accumulator.add(depth.astype(np.float32))
    return accumulator.result()


def one_pixel(*depths: float, noise: DepthNoise | None = None) -> tuple[float, float, int]:
    result = accumulate(np.array(depths, np.float32).reshape(-1, 1, 1), noise)
    return float(result.mean[0, 0]), float(result.std[0, 0]), int(result.count[0, 0])


def test_never_known_takes_the_range_and_psi() -> None:
    assert one_pixel(-1, -1, -1, noise=FINE) == (pytest.approx(5.46), pytest.approx(0.0546), 0)
    empty = BackgroundDepthAccumulator(1, 1, 2.0).result()
    assert (float(empty.mean[0, 0]), int(empty.count[0, 0])) == (2.0, 0)


def test_a_steady_pixel_has_the_median_and_the_mads_deviation() -> None:
    rng = np.random.default_rng(0)
    stack = 3 + rng.normal(0, 0.02, (30, 20, 20))
    result = accumulate(stack, FINE)
    assert np.abs(result.mean - np.median(stack, axis=0)).max() < 0.02
    # Finer than a single frame by the square root of their number.
    assert np.abs(result.mean - 3).mean() < 0.004
    assert np.median(result.std) == pytest.approx(0.02, rel=0.15)
    assert (result.count == 30).all()


def test_outliers_change_nothing() -> None:
    steady = [3.0, 3.01, 2.99, 3.0, 3.02, 2.98, 3.0, 3.01, 2.99, 3.0, 3.01, 3.0]
    mean, std, count = one_pixel(*steady, 0.7, 4.9, noise=FINE)
    assert mean == pytest.approx(3.0, abs=0.01) and std < 0.03 and count == 14


@pytest.mark.parametrize("share", [0.3, 0.5, 0.7])
def test_the_far_one_of_two_modes_is_the_background(share: float) -> None:
    rng = np.random.default_rng(1)
    near = np.arange(40) < share * 40
    depths = np.where(rng.permutation(near), 1.5, 3.5) + rng.normal(0, 0.01, 40)
    mean, std, count = one_pixel(*depths, noise=FINE)
    assert mean == pytest.approx(3.5, abs=0.02) and count == 40
    # Both are the empty view: what is near is within two deviations.
    assert mean - 2.2 * std < 1.5


def test_two_stray_frames_of_26_are_no_plate() -> None:
    depths = [-1.0] * 24 + [4.0, 3.9]
    assert one_pixel(*depths)[2] == 0
    assert one_pixel(*depths)[0] == pytest.approx(D_MAX)
    assert one_pixel(*[-1.0] * 20, *[4.0] * 6)[2] == 6
    # Of few frames one is much.
    assert one_pixel(-1, -1, -1, 4.0)[2] == 1


def test_quantised_depth_keeps_its_step() -> None:
    # 16 bit millimetres of a sensor with steps of 3 cm, between two of which the wall lies.
    rng = np.random.default_rng(2)
    steps = 3.0 + 0.03 * rng.integers(0, 2, (32, 8, 8))
    result = accumulate(steps, FINE)
    assert (result.std >= 0.03 / math.sqrt(12) - 1e-4).all()
    assert np.abs(result.mean - 3.015).max() < 0.012  # finer than a step
    # One that repeats a value has the sensor's noise.
    assert one_pixel(2.0, 2.0, 2.0)[1] == pytest.approx(0.02)
    noise = DepthNoise(absolute=0.002, quadratic=0.003, relative=0.0)
    assert one_pixel(2.0, 2.0, 2.0, noise=noise)[1] == pytest.approx(0.014)


@pytest.mark.parametrize("unknown", [0.0, -1.0, -0.0, math.nan, math.inf, -math.inf, 1e9, 5.5])
def test_what_is_not_a_depth_counts_for_nothing(unknown: float) -> None:
    assert one_pixel(1.5, unknown, 1.7) == pytest.approx(one_pixel(1.5, 1.7))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 30), st.floats(0, 1))
def test_any_stack_gives_sane_statistics(seed: int, frames: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    stack = rng.uniform(0.3, 5, (1, 5, 7)) + rng.normal(0, rng.choice([0.001, 0.3]), (frames, 5, 7))
    stack = np.where(rng.random(stack.shape) < share, stack.clip(0.1, 5.4), -1).astype(np.float32)
    result = accumulate(stack)
    for row, column in np.ndindex(5, 7):
        known = stack[:, row, column][stack[:, row, column] > 0]
        if len(known) < max(1, math.ceil(0.12 * frames)):
            assert result.count[row, column] == 0 and result.mean[row, column] == np.float32(D_MAX)
            continue
        assert result.count[row, column] == len(known)
        assert known.min() - 1e-3 <= result.mean[row, column] <= known.max() + 1e-3
    assert (result.std >= 0.00999 * result.mean).all() and np.isfinite(result.std).all()
    assert result.mean.dtype == result.std.dtype == np.float32 and result.count.dtype == np.uint16


def test_many_frames_are_sampled_evenly() -> None:
    # The second half lies elsewhere: both halves are in the sample.
    depths = np.r_[np.full(100, 2.0), np.full(100, 3.0)]
    assert one_pixel(*depths)[0] == pytest.approx(3.0, abs=0.01)
    assert one_pixel(*depths[::-1])[0] == pytest.approx(3.0, abs=0.01)


def test_a_large_image_costs_little_time_and_memory() -> None:
    rng = np.random.default_rng(0)
    depth = rng.uniform(1, 4, (720, 1280)).astype(np.float32)
    accumulator = BackgroundDepthAccumulator(720, 1280, D_MAX)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    spent = []
    for _ in range(100):
        begun = time.process_time()
        accumulator.add(depth)
        spent.append(time.process_time() - begun)
    accumulator.result()
    # Seconds of one core; what else the machine does adds to some of them.
    assert np.quantile(spent, 0.25) < 0.010
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 150_000  # kB


def test_result_is_a_snapshot_and_adding_continues() -> None:
    accumulator = BackgroundDepthAccumulator(1, 1, D_MAX)
    accumulator.add(np.full((1, 1), 2.0, np.float32))
    before = accumulator.result()
    accumulator.add(np.full((1, 1), 2.04, np.float32))
    after = accumulator.result()
    assert (float(before.mean[0, 0]), int(before.count[0, 0])) == (pytest.approx(2.0), 1)
    assert float(after.mean[0, 0]) == pytest.approx(2.02, abs=1e-3)


def test_refuses_what_it_cannot_accumulate() -> None:
    with pytest.raises(ValueError, match="0x4"):
        BackgroundDepthAccumulator(4, 0, 1.0)
    for range_ in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="positive metres"):
            BackgroundDepthAccumulator(1, 1, range_)
    with pytest.raises(ValueError, match=r"\(3, 2\).*expected \(2, 3\)"):
        BackgroundDepthAccumulator(2, 3, 1.0).add(np.ones((3, 2), np.float32))


@pytest.mark.parametrize("parts", [(0, 0, 0), (-0.1, 0, 0.1), (math.nan, 0, 0), (0, math.inf, 0)])
def test_noise_must_be_some(parts: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="depth noise"):
        DepthNoise(*parts)

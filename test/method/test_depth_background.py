from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.method.depth_background import DepthBackground, DepthBackgroundAccumulator

D_MAX = 5.46


def accumulate(stack: np.ndarray, **options: float) -> DepthBackground:
    accumulator = DepthBackgroundAccumulator(*stack.shape[1:], max_depth=D_MAX, **options)
    for depth in stack:
        accumulator.add(depth)
    return accumulator.result()


def one_pixel(*depths: float, **options: float) -> tuple[float, float, int]:
    result = accumulate(np.array(depths, np.float32).reshape(-1, 1, 1), **options)
    return float(result.mean), float(result.std), int(result.count)


def test_never_known_takes_the_range_and_psi() -> None:
    mean, std, count = one_pixel(-1, -1, -1)
    assert mean == pytest.approx(5.46)
    assert std == pytest.approx(0.0546)  # psi d_max
    assert count == 0


def test_no_frame_at_all_is_never_known() -> None:
    result = DepthBackgroundAccumulator(1, 1, max_depth=2.0).result()
    assert (float(result.mean), int(result.count)) == (2.0, 0)
    assert float(result.std) == pytest.approx(0.02)


def test_known_once_takes_psi_of_its_depth() -> None:
    mean, std, count = one_pixel(-1, 3.0, -1)
    assert mean == pytest.approx(3.0)
    assert std == pytest.approx(0.03)
    assert count == 1


def test_known_often_takes_the_sample_deviation() -> None:
    # 2.0, 2.2 and 2.4: squared deviations 0.04 + 0 + 0.04 over n - 1 = 2 make 0.04.
    mean, std, count = one_pixel(2.0, -1, 2.2, 2.4)
    assert mean == pytest.approx(2.2)
    assert std == pytest.approx(0.2)
    assert count == 3


def test_two_frames_have_a_sample_deviation() -> None:
    # 1.0 and 1.2: 0.01 + 0.01 over 1.
    _, std, _ = one_pixel(1.0, 1.2)
    assert std == pytest.approx(math.sqrt(0.02))


def test_a_quantised_sensor_gets_the_floor() -> None:
    assert one_pixel(2.0, 2.0, 2.0)[1] == pytest.approx(0.01 * 2.0)
    assert one_pixel(2.0, 2.0, 2.0, std_floor=0.02)[1] == pytest.approx(0.04)
    assert one_pixel(4.0, std_floor=0.02)[1] == pytest.approx(0.08)
    assert one_pixel(-1, std_floor=0.02)[1] == pytest.approx(0.02 * D_MAX)


@pytest.mark.parametrize("unknown", [0.0, -1.0, -0.0, math.nan, math.inf, -math.inf])
def test_what_is_not_a_depth_counts_for_nothing(unknown: float) -> None:
    assert one_pixel(1.5, unknown, 1.7) == pytest.approx(one_pixel(1.5, 1.7))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.floats(0, 1))
def test_equals_numpy_on_the_whole_stack(seed: int, frames: int, share: float) -> None:
    random = np.random.default_rng(seed)
    stack = random.uniform(0.3, 5, (1, 5, 7)) + random.normal(0, 0.2, (frames, 5, 7))
    stack = np.where(random.random(stack.shape) < share, stack.clip(0.1), np.nan)
    result = accumulate(np.nan_to_num(stack, nan=-1).astype(np.float32))
    for row, column in np.ndindex(5, 7):
        values = stack[:, row, column]
        known = values[~np.isnan(values)].astype(np.float32).astype(np.float64)
        mean = np.mean(known) if len(known) else D_MAX
        std = np.std(known, ddof=1) if len(known) > 1 else 0.01 * mean
        assert int(result.count[row, column]) == len(known)
        assert float(result.mean[row, column]) == pytest.approx(mean, rel=1e-6)
        assert float(result.std[row, column]) == pytest.approx(max(std, 0.01 * mean), rel=1e-5)


def test_small_noise_on_a_far_wall_is_not_lost_to_rounding() -> None:
    random = np.random.default_rng(0)
    stack = (5.0 + random.normal(0, 1e-4, (500, 2, 2))).astype(np.float32)
    std = accumulate(stack, std_floor=0.0).std.numpy()
    np.testing.assert_allclose(std, stack.astype(np.float64).std(axis=0, ddof=1), rtol=1e-4)


def test_result_is_a_snapshot_and_adding_goes_on() -> None:
    accumulator = DepthBackgroundAccumulator(1, 1, max_depth=D_MAX)
    accumulator.add(np.full((1, 1), 2.0, np.float32))
    before = accumulator.result()
    accumulator.add(torch.full((1, 1), 2.4))
    after = accumulator.result()
    assert (float(before.mean), int(before.count)) == (2.0, 1)
    assert float(after.mean) == pytest.approx(2.2)
    assert int(after.count) == 2


def test_types_and_input_untouched() -> None:
    depth = np.array([[1.0, -1.0]], np.float32)
    depth.flags.writeable = False
    result = accumulate(depth[None])
    assert (result.mean.dtype, result.std.dtype) == (torch.float32, torch.float32)
    assert result.count.dtype == torch.int32
    assert result.mean.shape == result.std.shape == result.count.shape == (1, 2)


def test_refuses_what_it_cannot_accumulate() -> None:
    with pytest.raises(ValueError, match="0x4"):
        DepthBackgroundAccumulator(4, 0, max_depth=1)
    for range_ in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="positive metres"):
            DepthBackgroundAccumulator(1, 1, max_depth=range_)
    accumulator = DepthBackgroundAccumulator(2, 3, max_depth=1)
    with pytest.raises(ValueError, match=r"\(3, 2\).*expected \(2, 3\)"):
        accumulator.add(np.ones((3, 2), np.float32))

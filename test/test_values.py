"""Depth conventions: what is unknown, and in which unit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dart_ros.values import UNKNOWN_DEPTH, metres_from_sensor


def test_millimetres_and_metres_give_the_same() -> None:
    millimetres = np.array([[0, 1, 500, 5460, 5461, 65535]], np.uint16)
    expected = [[-1, 0.001, 0.5, 5.46, -1, -1]]
    np.testing.assert_allclose(metres_from_sensor(millimetres, 5.46), expected, atol=1e-6)
    metres = (millimetres / 1000.0).astype(np.float32)
    np.testing.assert_allclose(metres_from_sensor(metres, 5.46), expected, atol=1e-6)


def test_everything_that_is_no_distance_is_unknown() -> None:
    bad = np.array([[np.nan, np.inf, -np.inf, -0.5, 0.0, -0.0, 9.0]], np.float32)
    np.testing.assert_array_equal(metres_from_sensor(bad, 5.0), np.full((1, 7), UNKNOWN_DEPTH))


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=9),
        elements=st.floats(width=32, allow_nan=True, allow_infinity=True),
    ),
    st.floats(0.1, 100),
)
def test_metres_pass_bit_for_bit(depth: np.ndarray, max_depth: float) -> None:
    before = depth.copy()
    result = metres_from_sensor(depth, max_depth)
    # Pixel by pixel in plain Python, which shares nothing with the bit trick under test.
    limit = float(np.float32(max_depth))
    for here, there in zip(depth.flat, result.flat, strict=True):
        assert there == (here if 0 < float(here) <= limit else -1.0)
    np.testing.assert_array_equal(depth, before)
    assert result.dtype == np.float32


def test_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="int64"):
        metres_from_sensor(np.ones((2, 2), np.int64), 5.0)  # type: ignore[arg-type]

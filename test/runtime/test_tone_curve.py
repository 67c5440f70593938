"""Tones of frames that a camera has changed by more than one gain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dart_ros.runtime.tone_curve import (
    JUMP,
    KNOTS,
    SteadyTones,
    ToneCurve,
    in_table,
    inverse,
)

SIZE = 240, 320
Light = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def room(seed: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """A plate of many colors, and its depth."""
    random = np.random.default_rng(seed)
    plate = random.integers(30, 225, (*SIZE, 3), np.uint8)
    return plate, random.uniform(2, 4, SIZE).astype(np.float32)


def curve_of(plate: NDArray[np.uint8], mean: NDArray[np.float32]) -> ToneCurve:
    return ToneCurve(plate, mean, 0.01 * mean, mean > 0)


def lit(plate: NDArray[np.uint8], light: Light) -> NDArray[np.uint8]:
    return np.rint(255 * light(plate / 255).clip(0, 1)).astype(np.uint8)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.7, 1.4), st.floats(0.8, 1.2))
def test_a_gamma_is_taken_out_but_for_a_gain(gamma: float, gain: float) -> None:
    plate, mean = room()
    frame = lit(plate, lambda color: gain * color**gamma)
    curve = curve_of(plate, mean)
    factors = curve.factors(frame, mean)
    assert factors is not None and factors.shape == (3, KNOTS)
    table = curve.table(factors)
    middle = (plate > 60) & (plate < 200)
    spread = np.std(np.log((frame / plate)[middle]))
    if table is None:
        assert spread < 0.02
        return
    left = np.std(np.log((in_table(frame, table) / plate)[middle]))
    assert left < 0.4 * spread + 0.02


def test_one_gain_leaves_the_frame_as_it_is() -> None:
    plate, mean = room()
    curve = curve_of(plate, mean)
    factors = curve.factors(lit(plate, lambda color: 0.7 * color), mean)
    assert factors is not None and curve.table(factors) is None


def test_what_stands_before_the_background_tells_nothing() -> None:
    plate, mean = room()
    frame, depth = lit(plate, lambda color: color**1.2), mean.copy()
    expected = curve_of(plate, mean).factors(frame, depth)
    frame[:, 100:220], depth[:, 100:220] = 128, 1.0
    found = curve_of(plate, mean).factors(frame, depth)
    assert expected is not None and found is not None
    np.testing.assert_allclose(found, expected, rtol=0.02)


@pytest.mark.parametrize("why", ["no depth", "covered", "one tone", "unknown background"])
def test_too_little_background_tells_nothing(why: str) -> None:
    plate, mean = room()
    depth = mean.copy()
    if why == "no depth":
        depth[:] = -1
    elif why == "covered":
        depth[:] = 1.0
    elif why == "one tone":
        plate[:] = 120
    curve = ToneCurve(plate, mean, 0.01 * mean, (mean > 0) & (why != "unknown background"))
    assert curve.factors(plate, depth) is None


def test_white_stays_white_and_order_stays() -> None:
    plate, mean = room()
    curve = curve_of(plate, mean)
    for gamma in (0.6, 1.7):
        factors = curve.factors(lit(plate, lambda color, g=gamma: color**g), mean)
        assert factors is not None
        table = curve.table(factors)
        assert table is not None
        assert (table[255] == 255).all()
        assert (np.diff(table.astype(int), axis=0) >= 0).all()


def test_a_table_can_be_undone() -> None:
    plate, mean = room()
    frame = lit(plate, lambda color: color**1.4)
    curve = curve_of(plate, mean)
    factors = curve.factors(frame, mean)
    assert factors is not None
    table = curve.table(factors)
    assert table is not None
    back = in_table(in_table(frame, table), inverse(table))
    assert np.abs(back.astype(int) - frame).max() <= 2


def test_factors_are_steady_unless_light_jumps() -> None:
    steady = SteadyTones()
    one = np.ones((3, KNOTS))
    assert steady(None) is None
    assert np.array_equal(steady(one), one)  # type: ignore[arg-type]
    near = steady(1.1 * one)
    assert near is not None and 1.0 < near.max() < 1.05
    assert steady(None) is near, "a frame that tells nothing keeps the light before"
    far = np.exp(2 * JUMP) * one
    assert steady(far) is far
    steady.reset()
    assert steady(None) is None

"""Tones of frames that a camera has changed by more than one gain."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dart_ros.runtime.temporal_filter import LONGEST_GAP
from dart_ros.runtime.tone_curve import (
    JUMP,
    KNOTS,
    SteadyTones,
    ToneCurve,
    in_table,
    inverse,
    table,
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
    tones = curve_of(plate, mean).tones(frame, mean)
    assert tones is not None and tones.shape == (2, 3, KNOTS)
    levels = table(tones)
    middle = (plate > 60) & (plate < 200)
    spread = np.std(np.log((frame / plate)[middle]))
    if levels is None:
        assert spread < 0.02
        return
    left = np.std(np.log((in_table(frame, levels) / plate)[middle]))
    assert left < 0.4 * spread + 0.02


def test_one_gain_leaves_the_frame_as_it_is() -> None:
    plate, mean = room()
    tones = curve_of(plate, mean).tones(lit(plate, lambda color: 0.7 * color), mean)
    assert tones is not None and table(tones) is None


def test_a_table_fades_in() -> None:
    plate, mean = room()
    before, largest = np.arange(256)[:, None], []
    for gamma in np.linspace(1.0, 1.15, 31):
        tones = curve_of(plate, mean).tones(lit(plate, lambda color, g=gamma: color**g), mean)
        assert tones is not None
        levels = table(tones)
        now = np.arange(256)[:, None] if levels is None else levels.astype(int)
        largest.append(np.abs(now - before).max())
        before = now
    assert max(largest) <= 4 and (before != np.arange(256)[:, None]).any()


def test_what_stands_before_the_background_tells_nothing() -> None:
    plate, mean = room()
    frame, depth = lit(plate, lambda color: color**1.2), mean.copy()
    expected = curve_of(plate, mean).tones(frame, depth)
    frame[:, 100:220], depth[:, 100:220] = 128, 1.0
    found = curve_of(plate, mean).tones(frame, depth)
    assert expected is not None and found is not None
    np.testing.assert_allclose(found, expected, rtol=0.04)


@pytest.mark.parametrize("gamma", [0.7, 1.3])
def test_tones_are_of_what_is_seen(gamma: float) -> None:
    """A plate that is brighter to the right, of which somebody covers a part."""
    shade = np.linspace(40, 220, SIZE[1]).astype(np.uint8)
    plate = np.broadcast_to(shade[None, :, None], (*SIZE, 3)).copy()
    mean = np.full(SIZE, 3, np.float32)
    depth = mean.copy()
    depth[:, 40:90] = 1.0
    tones = curve_of(plate, mean).tones(lit(plate, lambda color: color**gamma), depth)
    assert tones is not None
    np.testing.assert_allclose(tones[1], tones[0] ** (gamma - 1), rtol=0.02)


@pytest.mark.parametrize("why", ["no depth", "covered", "one tone", "unknown", "restless"])
def test_too_little_background_tells_nothing(why: str) -> None:
    plate, mean = room()
    depth = mean.copy()
    if why == "no depth":
        depth[:] = np.nan
    elif why == "covered":
        depth[:] = 1.0
    elif why == "one tone":
        plate[:] = 120
    known, restless = (mean > 0) & (why != "unknown"), (mean > 0) & (why == "restless")
    curve = ToneCurve(plate, mean, 0.01 * mean, known, restless)
    assert curve.tones(plate, depth) is None


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (480, 1)])
def test_small_pictures_tell_nothing(size: tuple[int, int]) -> None:
    plate, mean = np.full((*size, 3), 90, np.uint8), np.ones(size, np.float32)
    assert curve_of(plate, mean).tones(plate, mean) is None


def test_a_lamp_and_a_flat_picture_are_no_curve() -> None:
    plate, mean = room()
    curve = curve_of(plate, mean)
    assert curve.tones(np.full_like(plate, 128), mean) is None
    screen = plate.copy()
    # Dark places light up, as when a screen turns on.
    screen[plate.mean(axis=2) < 110] = 200
    assert curve.tones(screen, mean) is None


@pytest.mark.parametrize("gamma", [0.6, 0.8, 1.4, 1.7])
def test_a_table_can_be_undone(gamma: float) -> None:
    plate, mean = room()
    tones = curve_of(plate, mean).tones(lit(plate, lambda color: color**gamma), mean)
    assert tones is not None
    levels = table(tones)
    assert levels is not None
    assert (levels[255] == 255).all() and (np.diff(levels.astype(int), axis=0) >= 0).all()
    every = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    back = in_table(in_table(every, levels), inverse(levels))
    assert np.abs(back.astype(int) - every).max() <= 2


def test_tones_are_steady_unless_light_jumps() -> None:
    steady = SteadyTones()
    one = np.ones((2, 3, KNOTS))
    assert steady(None, 0) is None
    assert steady(one, 1) is one
    near = steady(1.1 * one, 2)
    assert near is not None and 1.0 < near.max() < 1.05
    before, near = near, steady(near.copy(), 3)
    assert near is not None and np.array_equal(near, before), "to the last bit"
    assert steady(None, 3) is near, "a frame that tells nothing keeps the light before"
    far = np.exp(2 * JUMP) * one
    assert steady(far, 4) is far
    steady.reset()
    assert steady(None, 5) is None


@pytest.mark.parametrize("stamp", [5, 10 + LONGEST_GAP + 1], ids=["jump back", "gap"])
def test_tones_of_another_time_are_forgotten(stamp: int) -> None:
    steady = SteadyTones()
    steady(np.ones((2, 3, KNOTS)), 10)
    assert steady(None, stamp) is None

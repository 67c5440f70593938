"""What the depth camera doesn't see at the sides, and the guesses that take its place."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.method.blind_sides import BlindSides, blind_sides, extrapolate_depth
from dart_ros.method.posterior import metres_or_guess

HEIGHT, WIDTH = 40, 100


def seen(left: int, right: int) -> np.ndarray:
    known = np.ones((HEIGHT, WIDTH), bool)
    known[:, :left] = False
    known[:, WIDTH - right :] = False
    return known


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [(0, 0, (0, 0)), (4, 0, (4, 0)), (0, 9, (0, 9)), (3, 7, (3, 7)), (10, 4, (0, 4))],
)
def test_sides_of_a_scene(left: int, right: int, expected: tuple[int, int]) -> None:
    """From a tenth of the width on it is the distance in which nothing is seen."""
    assert blind_sides(seen(left, right)) == expected


def test_a_stray_pixel_is_no_sight() -> None:
    known = seen(6, 0)
    known[5, 2] = True
    assert blind_sides(known) == (6, 0)
    known[5:9, 3] = True
    assert blind_sides(known) == (3, 0)


def test_a_scene_without_depth_has_no_sides() -> None:
    assert blind_sides(np.zeros((HEIGHT, WIDTH), bool)) == (0, 0)


def by_hand(depth: np.ndarray, left: int, right: int) -> np.ndarray:
    found = depth.copy()
    reach = round(0.03 * depth.shape[1])
    for row, values in zip(found, depth, strict=True):
        for side, line, source in ((left, row, values), (right, row[::-1], values[::-1])):
            if not side:
                continue
            places = np.flatnonzero(source[: side + reach] > 0)
            if len(places):
                line[: places[0]] = -1 - source[places[0]]
    return found


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 1000), st.integers(0, 9), st.integers(0, 9), st.floats(0, 1))
def test_rows_are_continued_from_their_first_depth(
    seed: int, left: int, right: int, unknown: float
) -> None:
    random = np.random.default_rng(seed)
    depth = random.uniform(0.3, 5, (12, WIDTH)).astype(np.float32)
    depth[random.random(depth.shape) < unknown] = -1
    depth[:, :left] = -1
    depth[:, WIDTH - right :] = -1
    before = depth.copy()
    found = extrapolate_depth(depth, BlindSides(left, right))
    assert np.array_equal(depth, before) and found.dtype == np.float32
    np.testing.assert_array_equal(found, by_hand(depth, left, right))
    metres = metres_or_guess(torch.from_numpy(found)).numpy()
    assert (metres[depth > 0] == depth[depth > 0]).all()
    assert ((metres == 0) | (metres >= 0.29)).all()


def test_without_blind_sides_nothing_is_guessed() -> None:
    depth = np.full((5, WIDTH), -1.0, np.float32)
    depth[:, 3:] = 2.0
    assert np.array_equal(extrapolate_depth(depth, BlindSides(0, 0)), depth)

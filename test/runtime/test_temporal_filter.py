from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from dart_ros.runtime.depth_evidence import DepthEvidence
from dart_ros.runtime.temporal_filter import CHANGED, GAIN, LONGEST_GAP, SAME, TemporalFilter

HEIGHT, WIDTH = 48, 64
SIZE = (HEIGHT, WIDTH)
FRAME = 33_000_000


class Video:
    """A filter and frames for it: a gray wall without depth, unless told otherwise."""

    def __init__(self, size: tuple[int, int] = SIZE) -> None:
        self.size = size
        wall = np.full(size, 3.0, np.float32)
        self.plate = np.full((*size, 3), 120, np.uint8)
        self._evidence = DepthEvidence(self.plate, wall, 0.01 * wall, np.ones(size, bool))
        self._filter = TemporalFilter(size)
        self.unknown = np.full(size, -1, np.float32)
        self._stamp = 0

    def __call__(
        self,
        alpha: NDArray[np.uint8],
        color: NDArray[np.uint8] | None = None,
        depth: NDArray[np.float32] | None = None,
        after: int = FRAME,
    ) -> NDArray[np.uint8]:
        self._stamp += after
        color = self.plate if color is None else color
        evidence = self._evidence(color, self.unknown if depth is None else depth)
        return self._filter(color, evidence, alpha, self._stamp)


def full(level: int, size: tuple[int, int] = SIZE) -> NDArray[np.uint8]:
    return np.full(size, level, np.uint8)


def test_the_first_frame_is_as_it_comes() -> None:
    alpha = np.random.default_rng(0).integers(0, 256, SIZE).astype(np.uint8)
    found = Video()(alpha)
    assert np.array_equal(found, alpha)
    assert found is not alpha


def test_a_view_that_stands_still_is_the_same_matte_each_time() -> None:
    video = Video()
    alpha = np.random.default_rng(1).integers(0, 256, SIZE).astype(np.uint8)
    # Somebody in front in the middle, around whom depth is sure by degrees.
    depth = np.full(SIZE, 3.0, np.float32)
    depth[12:36, 16:48] = 1.5
    color = video.plate.copy()
    color[12:36, 16:48] = 30
    first = video(alpha, color, depth)
    assert not np.array_equal(first, alpha)  # depth has corrected it
    for _ in range(5):
        assert np.array_equal(video(alpha, color, depth), first)


def test_where_nothing_changes_alpha_follows_slowly() -> None:
    video = Video()
    video(full(0))
    found = [int(video(full(255))[20, 30]) for _ in range(30)]
    expected = [255 * (1 - (1 - GAIN) ** (n + 1)) for n in range(30)]
    np.testing.assert_allclose(found, expected, atol=1)
    assert found[-1] >= 254


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_noise_never_flips_a_pixel(seed: int) -> None:
    random = np.random.default_rng(seed)
    video, last = Video(), None
    for _ in range(5):
        color = np.clip(video.plate + random.normal(0, 2, video.plate.shape), 0, 255)
        found = video(random.integers(0, 256, SIZE).astype(np.uint8), color.astype(np.uint8))
        if last is not None:
            assert np.abs(found.astype(int) - last).max() < 128
        last = found.astype(int)


def test_a_moving_edge_does_not_lag() -> None:
    video = Video()
    for left in range(5, 50, 3):
        color, alpha = video.plate.copy(), full(0)
        color[:, left : left + 12] = (200, 40, 40)
        alpha[:, left : left + 12] = 255
        assert np.array_equal(video(alpha, color), alpha)


def test_somebody_in_the_walls_color_does_not_lag_where_depth_sees_the_change() -> None:
    video = Video()
    body, wall = np.full(SIZE, 1.5, np.float32), np.full(SIZE, 3.0, np.float32)
    assert np.all(video(full(255), depth=body) == 255)
    assert np.all(video(full(0), depth=wall) == 0)
    assert np.all(video(full(255), depth=body) == 255)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31))
def test_without_depth_it_is_a_recursion_over_all_pixels(seed: int) -> None:
    """What is left out makes no difference: a level at the most, by rounding."""
    random = np.random.default_rng(seed)
    video, memory = Video(), np.zeros(0)
    last = np.zeros(0)
    for turn in range(8):
        alpha, color = full(0), video.plate.copy()
        left = 4 * turn
        alpha[8:40, left : left + 20] = 255
        color[8:40, left : left + 20] = (200, 40, 40)
        edge = random.random(SIZE) < 0.1
        alpha[edge] = random.integers(0, 256, edge.sum())
        color = np.clip(color + random.normal(0, 3, color.shape), 0, 255).astype(np.uint8)
        found = video(alpha, color)
        # The mean and the maximum of each pixel's neighbors.
        beyond = np.pad(color.astype(float), ((1, 1), (1, 1), (0, 0)), "reflect")
        smooth = np.rint(sliding_window_view(beyond, (3, 3), (0, 1)).mean((3, 4)))
        if turn:
            change = np.pad(np.abs(smooth - last).max(2), 1)
            change = sliding_window_view(change, (3, 3)).max((2, 3))
            gain = GAIN + (1 - GAIN) * np.clip((change - SAME) / (CHANGED - SAME), 0, 1)
            memory = memory + gain * (alpha - memory)
        else:
            memory = alpha.astype(float)
        last = smooth
        assert np.abs(found - memory).max() < 1.01


def test_depth_that_comes_and_goes_is_noise() -> None:
    video = Video()
    video(full(0))
    assert video(full(255), depth=np.full(SIZE, 1.5, np.float32))[0, 0] > 0
    video = Video()
    strip = np.where(np.arange(WIDTH) % 8 < 4, 2.9, -1.0).astype(np.float32)
    video(full(100))
    assert video(full(200), depth=np.tile(strip, (HEIGHT, 1)))[20, 30] < 130


@pytest.mark.parametrize("after", [-FRAME, LONGEST_GAP + 1])
def test_after_a_jump_or_a_gap_it_begins_anew(after: int) -> None:
    video = Video()
    video(full(0))
    assert np.all(video(full(200), after=after) == 200)


def test_what_is_surely_in_front_is_opaque() -> None:
    found = Video()(full(0), depth=np.full(SIZE, 1.5, np.float32))
    assert np.all(found == 255)


def test_what_is_surely_behind_is_not_there() -> None:
    found = Video()(full(180), depth=np.full(SIZE, 3.0, np.float32))
    assert np.all(found == 0)


def test_results_are_the_callers_own() -> None:
    video = Video()
    first = video(full(10))
    kept = first.copy()
    video(full(250), np.full_like(video.plate, 10))
    assert np.array_equal(first, kept)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (61, 97), (722, 1282)])
def test_any_size(size: tuple[int, int]) -> None:
    video = Video(size)
    for level in (0, 90):
        found = video(full(level, size))
        assert found.shape == size and found.dtype == np.uint8

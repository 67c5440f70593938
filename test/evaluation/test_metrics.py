"""Metrics against hand-worked arrays and against slow, separately written loops.

Gradient: the 2-D kernel is built here entry by entry from the derivative of the Gaussian and
correlated in plain loops over replicated borders. Connectivity: regions are found by flood fill.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.metrics import (
    Scores,
    connectivity_error,
    flicker,
    gradient_error,
    mean_scores,
    mse,
    sad,
    score,
)

SMALL = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 255)
)


def test_sad_and_mse_by_hand() -> None:
    alpha = np.array([[0.0, 0.5], [1.0, 0.25]])
    truth = np.array([[0.0, 1.0], [0.0, 0.25]])
    assert sad(alpha, truth) == pytest.approx(1.5 / 1000)
    assert mse(alpha, truth) == pytest.approx((0.25 + 1.0) / 4 * 1000)


def test_false_foreground_by_hand() -> None:
    truth = np.array([[0, 0, 0, 0, 1, 255]], np.uint8)
    alpha = np.array([[127, 128, 255, 0, 255, 255]], np.uint8)
    assert score(alpha, truth).false_foreground == 2 / 6
    full = np.full((2, 2), 255, np.uint8)
    assert score(full, full).false_foreground == 0.0


def gradient_by_loops(matte: np.ndarray) -> np.ndarray:
    sigma = 1.4
    half = math.ceil(sigma * math.sqrt(-2 * math.log(math.sqrt(2 * math.pi) * sigma * 0.01)))

    def gauss(x: float) -> float:
        return math.exp(-(x**2) / (2 * sigma**2)) / (sigma * math.sqrt(2 * math.pi))

    size = 2 * half + 1
    kernel = np.zeros((size, size))
    for i in range(size):
        for j in range(size):
            kernel[i, j] = gauss(i - half) * -(j - half) * gauss(j - half) / sigma**2
    kernel /= math.sqrt((kernel**2).sum())
    height, width = matte.shape
    result = np.zeros_like(matte)
    for y in range(height):
        for x in range(width):
            across = down = 0.0
            for i in range(size):
                for j in range(size):
                    row = min(max(y + i - half, 0), height - 1)
                    column = min(max(x + j - half, 0), width - 1)
                    across += kernel[i, j] * matte[row, column]
                    down += kernel[j, i] * matte[row, column]
            result[y, x] = math.hypot(across, down)
    return result


def test_gradient_against_loops() -> None:
    rng = np.random.default_rng(0)
    alpha, truth = rng.random((9, 13)), rng.random((9, 13))
    spans = [(m - m.min()) / (m.max() - m.min()) for m in (alpha, truth)]
    difference = gradient_by_loops(spans[0]) - gradient_by_loops(spans[1])
    assert gradient_error(alpha, truth) == pytest.approx((difference**2).sum() / 1000, rel=1e-9)


def test_gradient_of_an_edge_by_hand() -> None:
    # Across a step the response is the Gaussian itself, times a constant that unit energy fixes.
    truth = np.zeros((40, 40))
    alpha = truth.copy()
    alpha[:, 20:] = 1.0
    x = np.arange(-4, 5)
    gauss = np.exp(-(x**2) / (2 * 1.4**2))
    slope = x * gauss
    gain = gauss.sum() / np.sqrt((gauss**2).sum()) / np.sqrt((slope**2).sum())
    # Pixel k steps right of the edge sums the slope's entries that still reach the bright side.
    response = [gain * abs(slope[x >= -k].sum()) for k in range(-12, 12)]
    expected = 40 * np.square(response).sum() / 1000
    assert gradient_error(alpha, truth) == pytest.approx(expected, rel=1e-6)


def connectivity_by_flood_fill(alpha: np.ndarray, truth: np.ndarray) -> float:
    height, width = alpha.shape
    level: dict[tuple[int, int], float | None] = {
        (y, x): None for y in range(height) for x in range(width)
    }
    for step in range(1, 11):
        threshold = step / 10
        left = {p for p in level if alpha[p] >= threshold and truth[p] >= threshold}
        regions: list[set[tuple[int, int]]] = []
        while left:
            region, border = set(), [min(left)]
            left.discard(border[0])
            while border:
                y, x = border.pop()
                region.add((y, x))
                for p in ((y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)):
                    if p in left:
                        left.discard(p)
                        border.append(p)
            regions.append(region)
        # Of equal regions the one that a scan by rows meets first counts.
        regions.sort(key=lambda r: (-len(r), min(r)))
        largest = regions[0] if regions else set()
        for p in level:
            if level[p] is None and p not in largest:
                level[p] = (step - 1) / 10
    total = 0.0
    for p, value in level.items():
        omega = 1.0 if value is None else value
        phi = [1 - (m[p] - omega if m[p] - omega >= 0.15 else 0.0) for m in (alpha, truth)]
        total += abs(phi[0] - phi[1])
    return total / 1000


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_connectivity_against_flood_fill(data: st.DataObject) -> None:
    truth = data.draw(SMALL)
    alpha = data.draw(hnp.arrays(np.uint8, truth.shape, elements=st.integers(0, 255)))
    a, t = alpha / 255.0, truth / 255.0
    # Where the excess is 0.15 to the last bit the two ways of rounding may differ; skip those.
    excess = (np.stack([a, t])[..., None] - np.arange(11) / 10) - 0.15
    if (np.abs(excess) < 1e-9).any():
        return
    assert connectivity_error(a, t) == pytest.approx(connectivity_by_flood_fill(a, t), abs=1e-12)


def test_connectivity_by_hand() -> None:
    truth = np.zeros((5, 9))
    truth[1:4, 1:4] = 1.0
    alpha = truth.copy()
    assert connectivity_error(alpha, truth) == 0.0
    # A lone blob of alpha 0.8 belongs to no region common to both: all of it counts.
    alpha[2, 7] = 0.8
    assert connectivity_error(alpha, truth) == pytest.approx(0.8 / 1000)
    # An excess below 0.15 is forgiven.
    alpha[2, 7] = 0.14
    assert connectivity_error(alpha, truth) == 0.0


@settings(max_examples=30, deadline=None)
@given(SMALL)
def test_a_perfect_matte_scores_nothing(truth: np.ndarray) -> None:
    assert score(truth, truth.copy()) == Scores(0.0, 0.0, 0.0, 0.0, false_foreground=0.0)


@settings(max_examples=30, deadline=None)
@given(SMALL, st.data())
def test_metrics_agree_with_each_other(truth: np.ndarray, data: st.DataObject) -> None:
    alpha = data.draw(hnp.arrays(np.uint8, truth.shape, elements=st.integers(0, 255)))
    result, reverse = score(alpha, truth), score(truth, alpha)
    for name in ("sad", "mse", "grad", "conn"):
        assert getattr(result, name) == pytest.approx(getattr(reverse, name), abs=1e-9)
    # A square of a difference of at most 1 is no more than the difference, and Jensen's inequality.
    share = 1000 * result.sad / truth.size
    assert share**2 - 1e-9 <= result.mse / 1000 <= share + 1e-9
    # Each pixel that is false foreground adds at least a half to SAD.
    assert 1000 * result.sad >= 0.5 * result.false_foreground * truth.size - 1e-9
    # Two stills change nothing; a truth that stands still leaves the alpha's own change.
    assert flicker(alpha, alpha, truth, truth) == 0.0
    blank = np.zeros_like(truth)
    assert flicker(alpha, blank, truth, truth) == pytest.approx(
        100 * math.sqrt(score(alpha, blank).mse / 1000)
    )


def test_flicker_by_hand() -> None:
    before, after = np.array([[0, 255]], np.uint8), np.array([[51, 255]], np.uint8)
    truth_before, truth_after = np.array([[0, 255]], np.uint8), np.array([[0, 102]], np.uint8)
    # Changes of 0.2 and 0 against 0 and -0.6: differences 0.2 and 0.6.
    expected = 100 * math.sqrt((0.04 + 0.36) / 2)
    assert flicker(after, before, truth_after, truth_before) == pytest.approx(expected)
    # An error that stays doesn't flicker.
    assert flicker(before, before, truth_before, truth_before) == 0.0
    with pytest.raises(EvaluationError, match="can't be compared"):
        flicker(before, before, truth_before, np.zeros((2, 2), np.uint8))


def test_gradient_stretches_a_faint_matte() -> None:
    truth = np.zeros((20, 20))
    truth[5:15, 5:15] = 1.0
    assert gradient_error(0.4 * truth, truth) == pytest.approx(0.0, abs=1e-12)
    assert gradient_error(np.zeros_like(truth), truth) > 0


def test_score_puts_the_parts_together() -> None:
    rng = np.random.default_rng(3)
    alpha = rng.integers(0, 256, (20, 30), np.uint8)
    truth = rng.integers(0, 256, (20, 30), np.uint8)
    result = score(alpha, truth)
    a, t = alpha / 255.0, truth / 255.0
    assert (result.sad, result.mse) == (sad(a, t), mse(a, t))
    assert (result.grad, result.conn) == (gradient_error(a, t), connectivity_error(a, t))


@pytest.mark.parametrize(
    ("alpha", "truth"),
    [
        (np.zeros((2, 3), np.uint8), np.zeros((3, 2), np.uint8)),
        (np.zeros((2, 3), np.float32), np.zeros((2, 3), np.uint8)),
        (np.zeros((2, 3, 1), np.uint8), np.zeros((2, 3, 1), np.uint8)),
    ],
)
def test_what_cannot_be_compared(alpha: np.ndarray, truth: np.ndarray) -> None:
    with pytest.raises(EvaluationError, match="can't be compared"):
        score(alpha, truth)


def test_mean() -> None:
    mean = mean_scores([Scores(1, 2, 3, 4, 0.5), Scores(3, 4, 5, 8, 0.0)])
    assert mean == Scores(2, 3, 4, 6, 0.25)
    with pytest.raises(EvaluationError, match="nothing to average"):
        mean_scores([])

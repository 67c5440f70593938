"""The unknown region beyond Eq. 13's band, on scenes whose truth is made here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dart_ros.runtime.depth_evidence import DepthEvidence
from dart_ros.runtime.unknown_region import reach_of, widened
from dart_ros.values import Camera

HEIGHT, WIDTH = 240, 640


def evidence(plate: NDArray[np.uint8]) -> DepthEvidence:
    mean = np.full((HEIGHT, WIDTH), 3, np.float32)
    return DepthEvidence(plate, mean, mean * np.float32(0.005), mean > 0)


def wall(seed: int = 0) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    columns = 110 + 60 * np.sin(np.arange(WIDTH) / 40)
    plate = columns[None, :, None] * np.array([1.0, 0.9, 0.7]) + rng.normal(
        0, 2, (HEIGHT, WIDTH, 1)
    )
    return np.clip(plate, 0, 255).astype(np.uint8)


def noisy(color: NDArray[np.floating], seed: int) -> NDArray[np.uint8]:
    rng = np.random.default_rng(seed)
    return np.clip(color + rng.normal(0, 3, color.shape), 0, 255).astype(np.uint8)


DEPTH = np.full((HEIGHT, WIDTH), 3, np.float32)


@settings(max_examples=6, deadline=None)
@given(light=st.floats(0.7, 1.3), shadow=st.floats(0.5, 1.0), seed=st.integers(0, 99))
def test_light_and_shadow_change_no_color(light: float, shadow: float, seed: int) -> None:
    plate = wall()
    frame = plate * light
    frame[100:, 300:400] *= shadow
    looked = evidence(plate)
    changed = looked.changed(looked(noisy(frame, seed), DEPTH))
    assert changed.mean() < 0.01


@given(st.integers(0, 99))
@settings(max_examples=6, deadline=None)
def test_hair_changes_it(seed: int) -> None:
    plate = wall()
    frame, truth = plate.astype(float), np.zeros((HEIGHT, WIDTH))
    # Every fourth column is a dark hair that covers a part of its pixels.
    truth[60:180, 200:260:4] = 0.6
    frame = frame * (1 - truth[..., None]) + np.array([20, 140, 60]) * truth[..., None]
    looked = evidence(plate)
    changed = looked.changed(looked(noisy(frame, seed), DEPTH))
    assert changed[17:43, 52:63].mean() > 0.9 and changed.mean() < 0.06


def test_it_is_unknown_just_beside_the_foreground() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[40:200, 300:400] = 255
    trimap = alpha.copy()
    changed = np.zeros((HEIGHT // 4, WIDTH // 4), bool)
    assert (widened(trimap.copy(), alpha, changed, 16.0) == trimap).all()
    changed[:, 100:] = True
    found = widened(trimap.copy(), alpha, changed, 16.0)
    assert (found[50:190, 402:412] == 128).all() and (found[50:190, 430:] == 0).all()
    assert (found[50:190, 308:380] == 255).all() and (found[50:190, :296] == 0).all()
    assert (widened(trimap.copy(), alpha, changed, 0.0) == trimap).all(), "nobody is near"


@pytest.mark.parametrize(("metres", "pixels"), [(3.0, 0), (1.7, 0), (0.9, 66.7), (0.3, 128)])
def test_hair_reaches_beside_somebody_near(metres: float, pixels: float) -> None:
    """12 cm, up to a fifth of the picture."""
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[40:200, 300:400] = 255
    depth = np.where(alpha > 0, np.float32(metres), np.float32(4)).astype(np.float32)
    depth[:, 340:360] = -1
    camera = Camera(WIDTH, HEIGHT, 500.0, 500.0, 320.0, 120.0)
    reach = reach_of(alpha, depth, camera)
    assert reach == pytest.approx(pixels, rel=0.01)
    if reach:
        changed = np.ones((HEIGHT // 4, WIDTH // 4), bool)
        found = widened(alpha.copy(), alpha, changed, reach) == 128
        assert abs(np.flatnonzero(found[120]).max() - 400 - pixels) < 9
    assert reach_of(0 * alpha, depth, camera) == 0
    assert reach_of(alpha, depth, Camera.uncalibrated(WIDTH, HEIGHT)) == 0


def test_soft_alpha_is_unknown_also_far_away() -> None:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[40:200, 300:400] = 255
    alpha[40:200, 400:440] = np.linspace(254, 0, 40).astype(np.uint8)
    alpha[40:200, 299] = 128
    changed = np.zeros((HEIGHT // 4, WIDTH // 4), bool)
    found = widened(np.where(alpha > 127, 255, 0).astype(np.uint8), alpha, changed, 0.0)
    assert (found[60:180, 410:430] == 128).all()
    assert (found[60:180, 299] != 128).all(), "an outline of a pixel is Eq. 13's"


@pytest.mark.parametrize("size", [(HEIGHT, WIDTH), (37, 51), (8, 8), (720, 1280)])
def test_fractional_alpha_is_unknown(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    alpha = np.where(rng.random(size) < 0.02, 128, 0).astype(np.uint8)
    cell = 4 * max(1, round(size[1] / 640))
    changed = np.zeros((max(1, size[0] // cell), max(1, size[1] // cell)), bool)
    found = widened(np.zeros(size, np.uint8), alpha, changed, 16.0)
    assert (found[alpha == 128] == 128).all()
    assert set(np.unique(found)) <= {0, 128}


def test_an_empty_view_has_nothing_unknown() -> None:
    changed = np.ones((HEIGHT // 4, WIDTH // 4), bool)
    empty = np.zeros((HEIGHT, WIDTH), np.uint8)
    assert not widened(empty.copy(), empty, changed, 16.0).any()

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.background_model import MOST_DRIFT, BackgroundModel, PatchBuilder
from dart_ros.session.depth_noise import DepthNoise

SIZE = 80, 120
EVERYWHERE = np.full(SIZE, 255, np.uint8)


def model(drift: float = 1.0) -> BackgroundModel:
    random = np.random.default_rng(0)
    mean = random.uniform(2, 4, SIZE).astype(np.float32)
    plate = random.integers(0, 256, (*SIZE, 3), np.uint8)
    known = random.random(SIZE) < 0.9
    background = CapturedBackground(plate, mean, (0.01 * mean).astype(np.float32), known)
    return BackgroundModel(background, None, DepthNoise(), 5.46, drift)


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1), st.integers(0, 255), st.integers(0, 2**31))
def test_color_goes_a_share_of_the_way_where_it_may(share: float, level: int, seed: int) -> None:
    learning = model()
    before = learning.plate.copy()
    where = (np.random.default_rng(seed).random(SIZE) < 0.5).astype(np.uint8)
    color = np.full((*SIZE, 3), level, np.uint8)
    learning.learn_color(color, where, share)
    expected = before + share * where[..., None] * (level - before)
    np.testing.assert_allclose(learning.plate, expected, atol=1e-2)
    assert (learning.deviation[where == 0] == 0).all()


@settings(max_examples=25, deadline=None)
@given(st.floats(0.01, 1), st.floats(0.5, 1.5))
def test_deviation_of_depth_stays_between_noise_and_its_bound(share: float, scale: float) -> None:
    learning = model()
    for _ in range(5):
        learning.learn_depth(learning.mean * np.float32(scale), EVERYWHERE, share)
        floor = DepthNoise().at(learning.mean)
        assert (learning.std >= np.minimum(floor, learning._widest) - 1e-6).all()
        assert (learning.std <= learning._widest + 1e-6).all()


def test_deviations_become_those_of_the_frames() -> None:
    learning = model()
    random = np.random.default_rng(1)
    wall, plate = learning.mean.copy(), learning.plate.copy()
    for _ in range(300):
        noisy = (wall + random.normal(0, 0.06, SIZE)).astype(np.float32)
        learning.learn_depth(noisy, EVERYWHERE, 0.03)
        color = np.clip(128 + random.normal(0, 8, (*SIZE, 3)), 0, 255).astype(np.uint8)
        learning.learn_color(color, EVERYWHERE, 0.03)
    assert np.median(learning.std) == pytest.approx(0.06, rel=0.15)
    # The channel that varies most of three.
    assert 8 < np.median(learning.deviation) < 16
    assert np.abs(learning.mean - wall).mean() < 0.02
    assert np.abs(learning.plate - 128).mean() < 2 < np.abs(plate - 128).mean()


def test_drift_scales_what_is_known_and_is_bounded() -> None:
    learning = model()
    before = learning.mean.copy()
    where = EVERYWHERE.copy()
    where[:, :50] = 0  # somebody stands there
    left = learning.learn_drift(before * np.float32(1.02), where, 0.5)
    assert learning.drift == pytest.approx(1.01, abs=1e-4)
    assert left == pytest.approx(1.02 / 1.01, abs=1e-4)
    known = learning.known
    np.testing.assert_allclose(learning.mean[known], 1.01 * before[known], rtol=1e-4)
    assert np.array_equal(learning.mean[~known], before[~known])
    for _ in range(50):
        learning.learn_drift(learning.mean * np.float32(1.2), EVERYWHERE, 1.0)
    assert learning.drift == pytest.approx(1 + MOST_DRIFT)
    where[:] = 0
    where[:4, :4] = 255
    assert learning.learn_drift(before * 2, where, 1.0) == 1.0, "a few pixels tell nothing"


def test_a_patch_comes_and_goes() -> None:
    learning = model()
    before = learning.background()
    place = slice(10, 30), slice(20, 50)
    builder = PatchBuilder(place)
    random = np.random.default_rng(2)
    for _ in range(8):
        color = np.clip(90 + random.normal(0, 4, (*SIZE, 3)), 0, 255).astype(np.uint8)
        depth = (1.5 + random.normal(0, 0.04, SIZE)).astype(np.float32)
        depth[:, 45:] = -1
        builder.add(color, depth)
    inside = np.zeros((20, 30), np.bool_)
    inside[5:15, 5:28] = True
    kept = learning.patch(place, inside)
    learning.put(builder.patch(inside))
    after = learning.background()
    changed = np.zeros(SIZE, np.bool_)
    changed[15:25, 25:48] = True
    assert np.abs(after.plate[changed].astype(int) - 90).max() < 10
    assert np.abs(after.mean[15:25, 25:45] - 1.5).max() < 0.08
    assert not after.known[15:25, 45:48].any() and (after.mean[15:25, 45:48] == 5.46).all()
    assert (after.std[changed] >= DepthNoise().at(after.mean[changed]) - 1e-6).all()
    for name in ("plate", "mean", "std", "known"):
        assert np.array_equal(getattr(after, name)[~changed], getattr(before, name)[~changed])
    learning.put(kept)
    back = learning.background()
    assert np.array_equal(back.plate, before.plate) and np.array_equal(back.known, before.known)
    np.testing.assert_array_equal(back.mean[back.known], before.mean[before.known])

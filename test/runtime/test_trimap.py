"""The fast trimap against the reference of the method, and against Eq. 12-13 pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from dart_ros.errors import EngineError
from dart_ros.method.trimap import depth_corrected_alpha, trimap
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.trimap import CpuTrimap

SIZE = (41, 56)


def scene(seed: int) -> tuple[CapturedBackground, np.ndarray, np.ndarray]:
    """Background, alpha with soft edges and live depth with holes."""
    random = np.random.default_rng(seed)
    mean = random.uniform(1.0, 5.0, SIZE).astype(np.float32)
    std = random.uniform(0.01, 0.2, SIZE).astype(np.float32)
    blobs = ndimage.gaussian_filter(random.normal(0, 12, SIZE), 3)
    alpha = (255 * np.clip(blobs + 0.5, 0, 1)).astype(np.uint8)
    depth = np.where(random.random(SIZE) < 0.4, mean + std * random.normal(0, 2, SIZE), 0.9)
    depth[random.random(SIZE) < 0.2] = -1
    # Some walls are so near, for their noise, that Eq. 6 is cut off at 0.
    std[:, :5] = mean[:, :5] / random.uniform(0.5, 5, (SIZE[0], 5))
    plate = np.zeros((*SIZE, 3), np.uint8)
    background = CapturedBackground(plate, mean, std, np.ones(SIZE, bool))
    return background, alpha, depth.astype(np.float32)


def trimap_of(background: CapturedBackground) -> CpuTrimap:
    return CpuTrimap(background.mean, background.std)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6))
def test_it_is_the_reference(seed: int) -> None:
    background, alpha, depth = scene(seed)
    corrected = depth_corrected_alpha(
        torch.from_numpy(alpha / np.float32(255))[None, None],
        torch.from_numpy(depth)[None, None],
        torch.from_numpy(background.mean)[None, None],
        torch.from_numpy(background.std)[None, None],
    )
    wanted = (trimap(corrected)[0, 0] * 255 + 0.5).byte().numpy()
    found = trimap_of(background)(alpha, depth)
    # A blur that falls just on a threshold may be rounded to either side of it.
    assert (found != wanted).sum() <= 2


def test_the_equations_pixel_by_pixel() -> None:
    background, alpha, depth = scene(3)
    mean, std = (x.astype(float) for x in (background.mean, background.std))
    prior = alpha / 255
    front = np.where((depth > 0) & (depth <= mean), 1 / mean, 0) + 0.001
    back = stats.truncnorm.pdf(depth, -mean / std, np.inf, mean, std) + 0.001
    posterior = front * prior / (front * prior + back * (1 - prior))
    blurred = ndimage.gaussian_filter(
        np.where(depth > 0, posterior, prior), 1.5, mode="nearest", radius=5
    )
    expected = np.where(blurred < 0.25, 0, np.where(blurred > 0.8, 255, 128))
    sure = (np.abs(blurred - 0.25) > 1e-3) & (np.abs(blurred - 0.8) > 1e-3)
    found = trimap_of(background)(alpha, depth)
    assert set(np.unique(found)) == {0, 128, 255}
    np.testing.assert_array_equal(found[sure], expected[sure])


def test_views_of_other_memory_are_taken() -> None:
    background, alpha, depth = scene(1)
    plain = trimap_of(background)(alpha, depth)
    alpha, depth = (np.flip(np.flip(x, 1).copy(), 1) for x in (alpha, depth))
    alpha.flags.writeable = depth.flags.writeable = False
    np.testing.assert_array_equal(trimap_of(background)(alpha, depth), plain)


def test_another_size_is_refused() -> None:
    background, alpha, depth = scene(0)
    with pytest.raises(EngineError, match="failed on a frame"):
        trimap_of(background)(alpha[1:], depth[1:])

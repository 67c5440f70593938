from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dart_ros.method.light import BRIGHTEST, DARKEST, MOST_GAIN, in_plate_light, light_gain
from dart_ros.method.network import Background, MattingNetwork

Scene = tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]


def scene(height: int, width: int, gain: list[float], batch: int = 1, seed: int = 0) -> Scene:
    """An empty room in another light, with noise and holes in its depth."""
    generator = torch.Generator().manual_seed(seed)
    plate = 0.2 + 0.2 * torch.rand(batch, 3, height, width, generator=generator)
    color = plate * torch.tensor(gain)[:, None, None]
    mean = 3 + torch.rand(batch, 1, height, width, generator=generator)
    std = 0.01 * mean
    depth = mean + std * torch.randn(mean.shape, generator=generator)
    depth[torch.rand(depth.shape, generator=generator) < 0.2] = -1
    known = (torch.rand(mean.shape, generator=generator) > 0.1).float()
    return color, plate, depth, mean, std, known


def by_hand(
    color: np.ndarray, plate: np.ndarray, depth: np.ndarray, std: np.ndarray, behind: np.ndarray
) -> list[float]:
    """The lower median, pixel after pixel, of one image that is small enough to be used whole."""
    ratios: list[np.ndarray] = []
    for row in range(depth.shape[0]):
        for column in range(depth.shape[1]):
            live, frame, empty = depth[row, column], color[:, row, column], plate[:, row, column]
            near = abs(live - behind[row, column]) <= 2 * std[row, column]
            lit = all(DARKEST < x < BRIGHTEST for x in (*frame, *empty))
            if live > 0 and behind[row, column] > 0 and near and lit:
                ratios.append(frame / empty)
    if len(ratios) < 0.05 * depth.size:
        return [1.0, 1.0, 1.0]
    return [sorted(channel)[(len(ratios) - 1) // 2] for channel in np.array(ratios).T]


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10**6))
def test_gain_is_the_median_by_hand(height: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    plate = random.uniform(0, 1, (3, height, width)).astype(np.float32)
    color = (plate * random.uniform(0.5, 1.5, plate.shape)).clip(0, 1).astype(np.float32)
    mean = random.uniform(1, 4, (height, width)).astype(np.float32)
    std = (0.02 * mean).astype(np.float32)
    depth = (mean + std * random.normal(0, 2, mean.shape)).astype(np.float32)
    depth[random.random(depth.shape) < random.random()] = -1
    known = random.random(depth.shape) > 0.3
    found = light_gain(
        *(torch.from_numpy(x)[None] for x in (color, plate)),
        *(torch.from_numpy(x.astype(np.float32))[None, None] for x in (depth, mean, std, known)),
    )
    expected = by_hand(color, plate, depth, std, np.where(known, mean, -1))
    np.testing.assert_allclose(found.flatten(), expected, rtol=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.5, 1.9), min_size=3, max_size=3), st.integers(0, 1000))
def test_a_person_does_not_count_however_large(gain: list[float], seed: int) -> None:
    color, plate, depth, mean, std, known = scene(120, 160, gain, seed=seed)
    # Nine tenths of the view are somebody in front, of any color.
    color[..., :144] = torch.rand(color[..., :144].shape)
    depth[..., :144] = 1.5
    found = light_gain(color, plate, depth, mean, std, known)
    np.testing.assert_allclose(found.flatten(), gain, rtol=1e-4)


def test_a_shadow_over_less_than_half_does_not_count() -> None:
    color, plate, *depths = scene(120, 160, [1.2, 1.1, 0.9])
    color[..., :64] *= 0.6
    found = light_gain(color, plate, *depths)
    np.testing.assert_allclose(found.flatten(), [1.2, 1.1, 0.9], rtol=1e-4)


@pytest.mark.parametrize("lost", ["live", "plate", "person", "dark", "bright"])
def test_too_little_background_leaves_the_light_as_it_is(lost: str) -> None:
    color, plate, depth, mean, std, known = scene(120, 160, [1.3, 1.3, 1.3])
    if lost == "live":
        depth[:] = -1
    elif lost == "plate":
        known[:] = 0
    elif lost == "person":
        depth[..., 4:] = 1.0
    elif lost == "dark":
        color, plate = 0.1 * color, 0.1 * plate
    else:
        color = (color + 0.8).clamp(max=1)
    found = light_gain(color, plate, depth, mean, std, known)
    assert found.flatten().tolist() == [1.0, 1.0, 1.0]


def test_the_gain_has_limits() -> None:
    color, plate, *depths = scene(24, 32, [1.0, 1.0, 1.0])
    color, plate = torch.full_like(color, 0.9), torch.full_like(plate, 0.1)
    assert light_gain(color, plate, *depths).flatten().tolist() == [MOST_GAIN] * 3
    found = light_gain(plate, color, *depths)
    assert found.flatten().tolist() == pytest.approx([1 / MOST_GAIN] * 3)


@pytest.mark.parametrize(("height", "width"), [(120, 160), (180, 320), (272, 480), (540, 960)])
def test_large_images_are_sampled(height: int, width: int) -> None:
    color, plate, *depths = scene(height, width, [0.8, 1.0, 1.25], batch=2)
    color[1] = plate[1]
    step = math.ceil(math.sqrt(height * width / 2048))
    off_grid = torch.ones(height, width, dtype=torch.bool)
    off_grid[step // 2 :: step, step // 2 :: step] = False
    color[..., off_grid] = 0.5
    found = light_gain(color, plate, *depths)
    np.testing.assert_allclose(found[0].flatten(), [0.8, 1.0, 1.25], rtol=1e-5)
    np.testing.assert_allclose(found[1].flatten(), [1, 1, 1], rtol=1e-5)


def test_what_is_cut_off_may_be_what_the_plate_has() -> None:
    color = torch.tensor([0.0, 0.5, 0.95, 0.975, 1.0, 1.0, 1.0])
    plate = torch.tensor([1.0, 1.0, 1.0, 1.0, 1.0, 0.9, 0.3])
    # 0.975 is half cut off: half way from 0.975 / 1.25 = 0.78 to the plate.
    found = in_plate_light(color, plate, torch.tensor(1.25))
    assert found.tolist() == pytest.approx([0, 0.4, 0.76, 0.89, 1, 0.9, 0.8], abs=1e-6)
    found = in_plate_light(255 * color, 255 * plate, torch.tensor(1.25), white=255)
    expected = [255 * x for x in (0, 0.4, 0.76, 0.89, 1, 0.9, 0.8)]
    assert found.tolist() == pytest.approx(expected, abs=1e-3)
    found = in_plate_light(color, plate, torch.tensor(0.8))
    assert found.tolist() == pytest.approx([0, 0.625, 1, 1, 1, 1, 1], abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(st.floats(1 / MOST_GAIN, MOST_GAIN), st.floats(0, 1))
def test_a_plate_in_other_light_is_the_plate_again(gain: float, plate: float) -> None:
    live = torch.tensor(min(1.0, gain * plate))
    found = float(in_plate_light(live, torch.tensor(plate), torch.tensor(gain)))
    assert found == pytest.approx(plate, abs=1e-5)


@torch.inference_mode()
def test_mattes_do_not_depend_on_the_light() -> None:
    torch.manual_seed(0)
    network = MattingNetwork().eval()
    height, width = 96, 128
    color, plate, depth, mean, std, known = scene(height, width, [1.0, 1.0, 1.0])
    person = (..., slice(24, 96), slice(40, 80))
    color[person] = 0.3 + 0.1 * torch.rand(color[person].shape)
    depth[person] = 1.5
    background = Background(plate, mean, std, known)
    gain = torch.tensor([1.4, 1.1, 0.8])[:, None, None]
    same = network(color, depth, background, tiles=12)
    other = network(color * gain, depth, background, tiles=12)
    np.testing.assert_allclose(other.alpha, same.alpha, atol=1e-4)
    np.testing.assert_allclose(other.coarse_residual, same.coarse_residual * gain, atol=1e-4)
    # The foreground keeps the light that it has.
    inside = (same.foreground > 0) & (same.foreground < 1)
    expected = (same.foreground * gain).clamp(0, 1)
    np.testing.assert_allclose(other.foreground[inside], expected[inside], atol=1e-4)
    assert float((color - plate).abs().max()) > 0.02 and inside.float().mean() > 0.5

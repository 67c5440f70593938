from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dart_ros.method.geometry import light_samples
from dart_ros.method.light import in_plate_light, light_gain
from dart_ros.method.light_limits import MOST_GAIN
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


def office(gain: list[float], seed: int) -> tuple[Scene, Tensor]:
    """A room in another light as cameras see it, and where its empty wall is in sight.

    A lamp that bleaches out, a black cupboard, somebody in front with a shadow on the wall, a chair
    that was moved, noise in color and depth, holes, and a window whose depth is never known.
    """
    height, width = 120, 160
    generator = torch.Generator().manual_seed(seed)

    def noise(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    plate = 0.3 + 0.2 * torch.rand(1, 3, height // 8, width // 8, generator=generator)
    plate = torch.nn.functional.interpolate(plate, size=(height, width), mode="bilinear")
    plate[..., :20, 70:90] = 1.0
    plate[..., 90:, :30] = 0.02
    color = plate * torch.tensor(gain)[:, None, None]
    mean = torch.full((1, 1, height, width), 3.0)
    std = 0.01 * mean
    depth = mean + std * noise(*mean.shape)
    wall = torch.ones(height, width, dtype=torch.bool)
    color[..., 30:, 60:66] *= 0.6
    for rows, columns, distance in (((30, 120), (66, 110), 1.5), ((80, 120), (130, 150), 2.4)):
        there = (..., slice(*rows), slice(*columns))
        color[there] = torch.rand(3, generator=generator)[:, None, None]
        depth[there] = distance + 0.02 * noise(*depth[there].shape)
        wall[there] = False
    known = torch.ones_like(mean)
    known[..., :40, 140:] = 0
    depth[torch.rand(depth.shape, generator=generator) < 0.15] = -1
    color = (color + 0.01 * noise(*color.shape)).clamp(0, 1)
    plate = (plate + 0.002 * noise(*plate.shape)).clamp(0, 1)
    return (color, plate, depth, mean, std, known), wall


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0.5, 1.7), min_size=3, max_size=3), st.integers(0, 1000))
def test_the_light_of_an_office_is_found(gain: list[float], seed: int) -> None:
    images, _ = office(gain, seed)
    np.testing.assert_allclose(light_gain(*images).flatten(), gain, rtol=0.02)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0.6, 1.6), min_size=3, max_size=3), st.integers(0, 1000))
def test_without_its_light_the_wall_is_the_plate(gain: list[float], seed: int) -> None:
    images, wall = office(gain, seed)
    color, plate = images[:2]
    found = in_plate_light(color, plate, light_gain(*images))
    difference = (found - plate).abs().amax(1)[0]
    wall[30:, 60:66] = False  # the shadow stays
    assert difference[wall].mean() < 0.025 and difference[30:60, 80:100].mean() > 0.05


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 10**6))
def test_where_pixels_lie_is_of_no_matter(height: int, width: int, seed: int) -> None:
    """Small images are looked at whole, so pixels in another order have the same light."""
    images = scene(height, width, [1.3, 0.9, 1.1], seed=seed)
    images[0][:] *= 1 + 0.2 * torch.rand(images[0].shape, generator=torch.manual_seed(seed))
    order = torch.randperm(height * width, generator=torch.manual_seed(seed))
    mixed = (image.flatten(2)[..., order].view(image.shape) for image in images)
    np.testing.assert_allclose(light_gain(*mixed), light_gain(*images), rtol=1e-6)


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
    sampled = torch.from_numpy(light_samples(height, width))
    assert 500 < len(sampled) <= 2048 < height * width
    off_grid = torch.ones(height * width, dtype=torch.bool)
    off_grid[sampled] = False
    off_grid = off_grid.view(height, width)
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
    background = Background(plate, mean, std, known, torch.zeros_like(known))
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

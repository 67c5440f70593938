from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from dart_ros.method.base_network import BaseOutput
from dart_ros.method.config import HIDDEN_CHANNELS, NetworkConfig
from dart_ros.method.geometry import TILE
from dart_ros.method.refiner import Refiner, gather_tiles, scatter_tiles

PICTURE = 10
ALPHA_IN_STAGE1 = HIDDEN_CHANNELS
PICTURE_IN_STAGE1 = HIDDEN_CHANNELS + 4
DEPTH_IN_STAGE1 = PICTURE_IN_STAGE1 + 36


def scene(seed: int, batch: int, rows: int, columns: int) -> tuple[BaseOutput, Tensor]:
    """Base output and picture of ``rows``×``columns`` tiles."""
    generator = torch.Generator().manual_seed(seed)
    size = (TILE * rows, TILE * columns)

    def rand(channels: int, scale: int = 1) -> Tensor:
        shape = (batch, channels, scale * size[0], scale * size[1])
        return torch.rand(shape, generator=generator)

    base = BaseOutput(rand(1), rand(3) - 0.5, rand(1), rand(HIDDEN_CHANNELS))
    return base, rand(PICTURE, 4)


@pytest.fixture(scope="module")
def refiner() -> Refiner:
    torch.manual_seed(1)
    refiner = Refiner(NetworkConfig())
    for module in refiner.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.2, 0.2)
            module.running_var.uniform_(0.5, 2)
    return refiner.eval()


def wired(*taps: tuple[int, int, int, int, int]) -> Refiner:
    """A refiner of zeros but for taps of 1: ``(convolution 0..2, out, in, row, column)``."""
    refiner = Refiner(NetworkConfig()).eval()
    blocks = [refiner.stage1[0], refiner.stage2[0], refiner.head]
    with torch.no_grad():
        for parameter in (b.weight for b in blocks):
            parameter.zero_()
        refiner.head.bias.zero_()
        for block, out, channel, row, column in taps:
            blocks[block].weight[out, channel, row, column] = 1
    for module in refiner.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eps = 0  # else the identity is one but for 1e-5
    return refiner


def bilinear(image: Tensor, scale: int) -> np.ndarray:
    """H×W upsampled by OpenCV."""
    height, width = image.shape
    size = (scale * width, scale * height)
    return cv2.resize(image.numpy(), size, interpolation=cv2.INTER_LINEAR)


def all_tiles(batch: int, rows: int, columns: int) -> Tensor:
    return torch.arange(rows * columns)[None].expand(batch, -1)


@pytest.mark.parametrize("chosen", [False, True])
@pytest.mark.parametrize("channel", [0, 5])
@pytest.mark.parametrize(("down", "right"), [(0, 0), (-1, 1), (1, 0)])
@torch.no_grad()
def test_full_size_pixels_stay_in_place(chosen: bool, channel: int, down: int, right: int) -> None:
    base, picture = scene(0, 2, 2, 3)
    # Residual 1 of each of the 2×2 pixels from a color of the same pixel, some half pixels away.
    taps = []
    for pixel in range(4):
        taps.append((0, pixel, PICTURE_IN_STAGE1 + 4 * channel + pixel, 1 + down, 1 + right))
        taps += [(1, pixel, pixel, 1, 1), (2, 4 * 2 + pixel, pixel, 0, 0)]
    found = wired(*taps)(base, picture, all_tiles(2, 2, 3) if chosen else None)
    for image, residual in zip(picture[:, channel].numpy(), found[:, 2].numpy(), strict=True):
        padded = np.pad(image, 2, mode="edge")
        height, width = image.shape
        top, left = 2 + 2 * down, 2 + 2 * right
        assert np.array_equal(residual, padded[top : top + height, left : left + width])
    assert not found[:, [0, 1, 3]].any()


@pytest.mark.parametrize("chosen", [False, True])
@torch.no_grad()
def test_coarse_alpha_is_doubled_by_repeating_pixels(chosen: bool) -> None:
    base, picture = scene(1, 1, 3, 2)
    head = [(2, pixel, 7, 0, 0) for pixel in range(4)]
    refiner = wired((0, 5, ALPHA_IN_STAGE1, 1, 1), (1, 7, 5, 1, 1), *head)
    found = refiner(base, picture, all_tiles(1, 3, 2) if chosen else None)
    expected = base.alpha[0, 0].numpy().repeat(4, 0).repeat(4, 1)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_the_refiner_sees_how_far_a_color_is_off() -> None:
    base, picture = scene(3, 1, 2, 2)
    taps = []
    for pixel in range(4):
        taps += [(0, pixel, PICTURE_IN_STAGE1 + 24 + 4 * 2 + pixel, 1, 1)]
        taps += [(1, pixel, pixel, 1, 1), (2, 4 + pixel, pixel, 0, 0)]
    found = wired(*taps)(base, picture, None)[0, 1].numpy()
    frame, plate = picture[0, 2].numpy(), picture[0, 5].numpy()
    np.testing.assert_allclose(found, np.minimum(4 * np.abs(frame - plate), 1), atol=1e-6)


@pytest.mark.parametrize("chosen", [False, True])
@torch.no_grad()
def test_depth_is_one_sample_of_two_by_two(chosen: bool) -> None:
    base, picture = scene(2, 1, 2, 2)
    head = [(2, 4 * 3 + pixel, 0, 0, 0) for pixel in range(4)]
    refiner = wired((0, 0, DEPTH_IN_STAGE1 + 1, 1, 1), (1, 0, 0, 1, 1), *head)
    found = refiner(base, picture, all_tiles(1, 2, 2) if chosen else None)
    sample = picture[0, 6 + 1, 1::2, 1::2].numpy()
    np.testing.assert_allclose(found[0, 3].numpy(), sample.repeat(2, 0).repeat(2, 1), atol=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_some_tiles_refined_and_the_rest_upsampled(refiner: Refiner, data: st.DataObject) -> None:
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    batch, total = data.draw(st.integers(1, 2)), rows * columns
    count = data.draw(st.integers(1, total))
    tiles = [data.draw(st.permutations(range(total)))[:count] for _ in range(batch)]
    base, picture = scene(data.draw(st.integers(0, 10**6)), batch, rows, columns)
    with torch.inference_mode():
        everything = refiner(base, picture, None).numpy()
        found = refiner(base, picture, torch.tensor(tiles)).numpy()
    coarse = torch.cat([base.alpha, base.residual], dim=1)
    for image in range(batch):
        expected = np.stack([bilinear(channel, 4) for channel in coarse[image]])
        for tile in tiles[image]:
            row, column = divmod(tile, columns)
            area = (..., slice(16 * row, 16 * row + 16), slice(16 * column, 16 * column + 16))
            expected[area] = everything[image][area]
        np.testing.assert_allclose(found[image], expected, atol=2e-6)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gather_is_a_crop_of_the_image_with_its_edge_repeated(data: st.DataObject) -> None:
    size, margin = data.draw(st.integers(1, 5)), data.draw(st.integers(0, 6))
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    tiles = data.draw(st.lists(st.integers(0, rows * columns - 1), min_size=1, max_size=6))
    image = torch.rand(2, 3, rows * size, columns * size)
    found = gather_tiles(image, torch.tensor([tiles, tiles[::-1]]), size, margin).numpy()
    padded = np.pad(image.numpy(), ((0, 0), (0, 0), (margin, margin), (margin, margin)), "edge")
    side = size + 2 * margin
    order = [(0, tile) for tile in tiles] + [(1, tile) for tile in tiles[::-1]]
    assert found.shape == (len(order), 3, side, side)
    for crop, (batch, tile) in zip(found, order, strict=True):
        top, left = tile // columns * size, tile % columns * size
        assert np.array_equal(crop, padded[batch, :, top : top + side, left : left + side])


def test_scatter_takes_tiles_in_half_precision() -> None:
    """As they come in mixed precision, while what they replace stays in single."""
    image, tiles = torch.zeros(2, 3, 8, 8), torch.tensor([[0], [3]])
    found = scatter_tiles(image, tiles, torch.ones(2, 3, 4, 4, dtype=torch.float16))
    assert found.dtype == torch.float32
    assert found.sum() == 2 * 3 * 16 and found[1, :, 4:, 4:].all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_scatter_puts_back_what_gather_took(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 5))
    rows, columns = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 4))
    total = rows * columns
    count = data.draw(st.integers(1, total))
    tiles = torch.tensor([data.draw(st.permutations(range(total)))[:count] for _ in range(2)])
    image, other = torch.rand(2, 2, 3, rows * size, columns * size)
    before = image.clone()
    assert torch.equal(scatter_tiles(image, tiles, gather_tiles(image, tiles, size, 0)), image)
    mixed = scatter_tiles(image, tiles, gather_tiles(other, tiles, size, 0))
    assert torch.equal(image, before)
    for batch, tile in np.ndindex(2, total):
        source = other if tile in tiles[batch] else image
        top, left = tile // columns * size, tile % columns * size
        area = (batch, ..., slice(top, top + size), slice(left, left + size))
        assert torch.equal(mixed[area], source[area])

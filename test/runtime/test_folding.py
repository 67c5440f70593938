from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dart_ros.export.stages import FoldedDecoder
from dart_ros.method.base_network import ConvNorm, Decoder
from dart_ros.runtime.folding import _decoder, bilinear_taps, fold_nearest, fold_norm


def test_batch_norm_is_folded_into_its_convolution() -> None:
    torch.manual_seed(0)
    block = ConvNorm(5, 7, activation=None).eval()
    block[1].running_mean.uniform_(-1, 1)
    block[1].running_var.uniform_(0.5, 2)
    with torch.no_grad():
        block[1].weight.uniform_(0.5, 2)
        block[1].bias.uniform_(-1, 1)
    state = {f"a.b.{name}": value.numpy() for name, value in block.state_dict().items()}
    weight, bias = map(torch.from_numpy, fold_norm(state, "a.b"))
    image = torch.rand(2, 5, 6, 6)
    torch.testing.assert_close(F.conv2d(image, weight, bias, padding=1), block(image))


def test_nearest_upsampling_is_folded() -> None:
    torch.manual_seed(2)
    image, weight = torch.rand(3, 4, 8, 7), torch.randn(5, 4, 3, 3)
    expected = F.conv2d(F.interpolate(image, scale_factor=2, mode="nearest"), weight)
    found = F.pixel_shuffle(F.conv2d(image, torch.from_numpy(fold_nearest(weight.numpy()))), 2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(("height", "width"), [(4, 8), (12, 20), (28, 36)])
def test_the_decoder_is_folded(height: int, width: int) -> None:
    torch.manual_seed(3)
    decoder = Decoder(6, (5, 4, 3, 2), (7, 6, 8), 9).eval()
    for block in decoder.blocks:
        block[1].running_mean.uniform_(-0.2, 0.2)
        block[1].running_var.uniform_(0.2, 0.6)
    sides = [(-(-height // s), -(-width // s)) for s in (16, 8, 4, 2, 1)]
    x, *skips = (torch.rand(2, c, *s) for c, s in zip((6, 5, 4, 3, 2), sides, strict=True))
    with torch.no_grad():
        state = {f"base.decoder.{k}": v.numpy() for k, v in decoder.state_dict().items()}
        weights = {k.removeprefix("decoder."): v for k, v in _decoder(state).items()}
        folded = FoldedDecoder(weights)
        folded.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        expected, found = decoder(x, skips), folded(x, skips)
    assert expected.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_bilinear_taps_by_hand() -> None:
    # Four pixels for one: centers at -3/8, -1/8, 1/8 and 3/8 of the source pixel.
    expected = [[0.375, 0.625, 0], [0.125, 0.875, 0], [0, 0.875, 0.125], [0, 0.625, 0.375]]
    np.testing.assert_allclose(bilinear_taps(4, 4, 4, 3), expected)


def test_too_few_sources() -> None:
    with pytest.raises(ValueError, match="2 pixels are too few"):
        bilinear_taps(4, 4, 4, 2)
    with pytest.raises(ValueError, match="too few"):
        bilinear_taps(4, 0, 4, 3)

from __future__ import annotations

import pytest
import torch
from torch import nn

from dart_ros.method.base_network import BaseNetwork, MobileNetV2Encoder, ResNet50Encoder
from dart_ros.method.config import HIDDEN_CHANNELS, EncoderName, NetworkConfig

ENCODERS: tuple[EncoderName, ...] = ("mobilenetv2", "resnet50")


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@pytest.mark.parametrize(
    ("encoder", "channels"),
    [(MobileNetV2Encoder(6), (16, 24, 32, 320)), (ResNet50Encoder(6), (64, 256, 512, 2048))],
    ids=ENCODERS,
)
@pytest.mark.parametrize(("height", "width"), [(64, 96), (32, 32), (37, 51), (4, 4)])
def test_strides_and_channels(
    encoder: nn.Module, channels: tuple[int, ...], height: int, width: int
) -> None:
    with torch.inference_mode():
        maps = encoder.eval()(torch.rand(1, 6, height, width))
    strides = (2, 4, 8, 16)
    for found, count, stride in zip(maps, channels, strides, strict=True):
        assert found.shape == (1, count, -(-height // stride), -(-width // stride))


def test_mobilenetv2_has_the_published_number_of_parameters() -> None:
    # 3,504,872 of the published network, less its classifier (1280 * 1000 + 1000) and its last
    # convolution to 1280 channels with its norm (320 * 1280 + 2 * 1280).
    assert parameters(MobileNetV2Encoder(3)) == 3_504_872 - 1_281_000 - 412_160
    # Three more input channels: 32 filters of 3x3 each.
    assert parameters(MobileNetV2Encoder(6)) == 1_811_712 + 3 * 32 * 9


def test_resnet50_has_the_published_number_of_parameters() -> None:
    # 25,557,032 of the published network, less its classifier (2048 * 1000 + 1000).
    assert parameters(ResNet50Encoder(3)) == 25_557_032 - 2_049_000 == 23_508_032
    assert parameters(ResNet50Encoder(6)) == 23_508_032 + 3 * 64 * 49


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(("depth", "channels"), [(True, 11), (False, 6)])
def test_maps_of_the_base_network(encoder: EncoderName, depth: bool, channels: int) -> None:
    config = NetworkConfig(encoder, depth_in_base=depth)
    assert config.base_channels == channels
    torch.manual_seed(0)
    network = BaseNetwork(config).eval()
    with torch.inference_mode():
        output = network(torch.rand(2, channels, 28, 44))
    assert output.alpha.shape == output.error.shape == (2, 1, 28, 44)
    assert output.residual.shape == (2, 3, 28, 44)
    assert output.hidden.shape == (2, HIDDEN_CHANNELS, 28, 44)
    for image in (output.alpha, output.error):
        assert float(image.min()) >= 0 and float(image.max()) <= 1
    assert float(output.hidden.min()) >= 0
    assert float(output.hidden.max()) > 0


def test_alpha_starts_undecided_so_that_nothing_is_cut_off() -> None:
    torch.manual_seed(0)
    network = BaseNetwork(NetworkConfig())
    alpha = network(torch.rand(2, 11, 32, 48)).alpha.detach()
    assert float(alpha.min()) > 0.2 and float(alpha.max()) < 0.8


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = BaseNetwork(NetworkConfig())
    output = network(torch.rand(2, 11, 32, 48))
    sum(image.square().mean() for image in output).backward()
    idle = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"vgg.*use mobilenetv2 or resnet50"):
        BaseNetwork(NetworkConfig("vgg"))  # type: ignore[arg-type]

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.fitting.pretrained import load_imagenet_encoder
from dart_ros.method.base_network import MobileNetV2Encoder, ResNet50Encoder

NORM = ("weight", "bias", "running_mean", "running_var")

# Expansion, output channels, blocks, stride: Table 2 of Sandler et al. 2018.
STAGES = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


def published_weights() -> dict[str, Tensor]:
    """Random weights under the names of the published ones."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, Tensor] = {}

    def convolution(name: str, out: int, inner: int, side: int) -> None:
        scale = (2 / (inner * side * side)) ** 0.5
        state[f"{name}.weight"] = scale * torch.randn(out, inner, side, side, generator=generator)

    def norm(name: str, channels: int) -> None:
        state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=generator)
        state[f"{name}.bias"] = torch.randn(channels, generator=generator)
        state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=generator)
        state[f"{name}.num_batches_tracked"] = torch.tensor(7)

    convolution("features.0.0", 32, 3, 3)
    norm("features.0.1", 32)
    channels, number = 32, 1
    for expansion, out, blocks, _ in STAGES:
        for _ in range(blocks):
            wide, place, prefix = channels * expansion, 0, f"features.{number}.conv"
            if expansion != 1:
                convolution(f"{prefix}.0", wide, channels, 1)
                norm(f"{prefix}.1", wide)
                place = 3
            convolution(f"{prefix}.{place}", wide, 1, 3)
            norm(f"{prefix}.{place + 1}", wide)
            convolution(f"{prefix}.{place + 3}", out, wide, 1)
            norm(f"{prefix}.{place + 4}", out)
            channels, number = out, number + 1
    convolution("features.18.0", 1280, 320, 1)
    norm("features.18.1", 1280)
    return state


def published_network(state: dict[str, Tensor], image: Tensor) -> list[Tensor]:
    """MobileNetV2 written out, its last stride a dilation: output of each ``features.N``."""

    def norm(x: Tensor, name: str) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        y = (x - mean[:, None, None]) / (var[:, None, None] + 1e-5).sqrt()
        return y * state[f"{name}.weight"][:, None, None] + state[f"{name}.bias"][:, None, None]

    def relu6(x: Tensor) -> Tensor:
        return x.clamp(0, 6)

    x = F.conv2d(image, state["features.0.0.weight"], stride=2, padding=1)
    outputs = [relu6(norm(x, "features.0.1"))]
    number = 1
    for stage, (expansion, out, blocks, stage_stride) in enumerate(STAGES):
        dilation = 2 if stage >= 5 else 1
        for block in range(blocks):
            stride = stage_stride if block == 0 and stage < 5 else 1
            x, place, prefix = outputs[-1], 0, f"features.{number}.conv"
            if expansion != 1:
                x = relu6(norm(F.conv2d(x, state[f"{prefix}.0.weight"]), f"{prefix}.1"))
                place = 3
            kernel = state[f"{prefix}.{place}.weight"]
            x = F.conv2d(
                x, kernel, stride=stride, padding=dilation, dilation=dilation, groups=len(kernel)
            )
            x = relu6(norm(x, f"{prefix}.{place + 1}"))
            x = F.conv2d(x, state[f"{prefix}.{place + 3}.weight"])
            x = norm(x, f"{prefix}.{place + 4}")
            if block > 0:
                assert x.shape[1] == out
                x = x + outputs[-1]
            outputs.append(x)
            number += 1
    return outputs


@torch.inference_mode()
def test_imagenet_weights_see_frame_less_plate_as_they_see_a_picture(tmp_path: Path) -> None:
    state = published_weights()
    torch.save(state, tmp_path / "mobilenetv2.pt")
    encoder = MobileNetV2Encoder(11).eval()
    load_imagenet_encoder(encoder, tmp_path / "mobilenetv2.pt")
    frame = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    mean, std = (
        torch.tensor(v)[:, None, None] for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    )
    expected = published_network(state, (frame - mean) / std)
    # On a plate of ImageNet's mean color the difference is the picture that ImageNet's mean
    # was taken from; the depth channels are not looked at yet.
    plate, depth = mean.expand(1, 3, 64, 96), torch.rand(1, 5, 64, 96)
    found = encoder(torch.cat([frame, plate, depth], dim=1))
    for image, number in zip(found, (1, 3, 6, 17), strict=True):
        wanted = expected[number]
        assert image.shape == wanted.shape
        scale = float(wanted.abs().mean())
        np.testing.assert_allclose(image.numpy(), wanted.numpy(), atol=1e-3 * scale, rtol=1e-3)


@torch.inference_mode()
def test_imagenet_weights_see_nothing_where_the_frame_is_the_plate(tmp_path: Path) -> None:
    torch.save(published_weights(), tmp_path / "mobilenetv2.pt")
    encoder = MobileNetV2Encoder(6).eval()
    load_imagenet_encoder(encoder, tmp_path / "mobilenetv2.pt")
    images = torch.rand(2, 1, 3, 32, 32)
    first, second = (encoder(torch.cat([image, image], dim=1))[3] for image in images)
    np.testing.assert_allclose(first.numpy(), second.numpy(), rtol=1e-3, atol=1e-3)


def test_what_is_not_mobilenetv2_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    encoder = MobileNetV2Encoder(6)
    with pytest.raises(FitError, match=r"weights\.pt can't be read"):
        load_imagenet_encoder(encoder, path)
    for content in (b"", b"no weights", b"PK\x03\x04 half a file"):
        path.write_bytes(content)
        with pytest.raises(FitError, match=r"weights\.pt can't be read"):
            load_imagenet_encoder(encoder, path)
    state = published_weights()
    gone = state.pop("features.5.conv.3.weight")
    torch.save(state, path)
    with pytest.raises(FitError, match=r"weights\.pt has no fitting features\.5\.conv\.3\.weight"):
        load_imagenet_encoder(encoder, path)
    torch.save({**state, "features.5.conv.3.weight": gone[1:]}, path)
    with pytest.raises(FitError, match=r"no fitting features\.5\.conv\.3\.weight"):
        load_imagenet_encoder(encoder, path)


def test_resnet_weights_in_the_naming_of_torchvision(tmp_path: Path) -> None:
    """Each published tensor arrives where the architecture has its like."""
    source = ResNet50Encoder(6)
    published: dict[str, Tensor] = {
        "conv1.weight": torch.randn(64, 3, 7, 7),
        **{f"bn1.{leaf}": torch.rand(64) for leaf in NORM},
    }
    blocks = {1: 3, 2: 4, 3: 6, 4: 3}
    inner = 64
    for layer, count in blocks.items():
        width = 64 * 2 ** (layer - 1)
        for block in range(count):
            name = f"layer{layer}.{block}"
            shapes = [(width, inner, 1, 1), (width, width, 3, 3), (4 * width, width, 1, 1)]
            for number, shape in enumerate(shapes, 1):
                published[f"{name}.conv{number}.weight"] = torch.randn(shape)
                published |= {f"{name}.bn{number}.{leaf}": torch.rand(shape[0]) for leaf in NORM}
            if block == 0:
                published[f"{name}.downsample.0.weight"] = torch.randn(4 * width, inner, 1, 1)
                published |= {f"{name}.downsample.1.{leaf}": torch.rand(4 * width) for leaf in NORM}
            inner = 4 * width
    torch.save(published, tmp_path / "resnet50.pth")
    load_imagenet_encoder(source, tmp_path / "resnet50.pth")
    loaded = {k: v for k, v in source.state_dict().items() if not k.endswith("tracked")}
    assert len(loaded) == len(published)
    assert torch.equal(loaded["stage3.0.conv.1.0.weight"], published["layer3.0.conv2.weight"])
    assert torch.equal(
        loaded["stage2.0.shortcut.0.weight"], published["layer2.0.downsample.0.weight"]
    )
    assert torch.equal(
        loaded["stage4.2.conv.2.1.running_var"], published["layer4.2.bn3.running_var"]
    )
    with pytest.raises(FitError, match="not MobileNetV2 weights"):
        load_imagenet_encoder(MobileNetV2Encoder(6), tmp_path / "resnet50.pth")

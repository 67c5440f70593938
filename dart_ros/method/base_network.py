"""Base network (Eq. 1-2): a quarter-size frame beside its background, in; coarse matte, out.

The design is that of Background Matting V2 (Lin et al., CVPR 2021): an encoder, atrous spatial
pyramid pooling (Chen et al. 2017) and a decoder with skips. Two encoders: ResNet-50 (the
teacher, He et al. 2016) and MobileNetV2 (the student, Sandler et al. 2018). Narrower and cheaper
behind the encoder than the original, at the same accuracy: atrous convolutions are separable, and
maps are doubled by repeating pixels, which lets a convolution over them run before the doubling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dart_ros.method.config import HIDDEN_CHANNELS, NetworkConfig


class BaseOutput(NamedTuple):
    """Maps at a quarter of the image size, each B×C×h×w.

    ``alpha`` in [0, 1] (A_raw), ``residual`` (3 channels: foreground color less frame color),
    ``error`` in [0, 1] (E_RGB), ``hidden`` (11 channels, not negative).
    """

    alpha: Tensor
    residual: Tensor
    error: Tensor
    hidden: Tensor


class BaseNetwork(nn.Module):
    """Encoder, ASPP and decoder.

    Args:
        config: the encoder and whether depth enters here.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        channels = config.base_channels
        encoder: MobileNetV2Encoder | ResNet50Encoder
        if config.encoder == "mobilenetv2":
            encoder = MobileNetV2Encoder(channels)
            widths, pyramid, decoder_widths = (16, 24, 32, 320), 128, (64, 48, 32)
        elif config.encoder == "resnet50":
            encoder = ResNet50Encoder(channels)
            widths, pyramid, decoder_widths = (64, 256, 512, 2048), 256, (128, 64, 48)
        else:
            raise ValueError(f"unknown encoder {config.encoder!r}: use mobilenetv2 or resnet50")
        self.encoder = encoder
        self.aspp = AtrousPyramid(widths[3], pyramid, dilations=(3, 6, 9))
        skips = (widths[2], widths[1], widths[0], channels)
        self.decoder = Decoder(pyramid, skips, decoder_widths, 5 + HIDDEN_CHANNELS)

    def forward(self, x: Tensor) -> BaseOutput:
        """Coarse matte of a batch.

        Args:
            x: B×C×h×w quarter-size input, colors in [0, 1]: frame, background plate and, with
                ``depth_in_base``, posterior and depth channels.
        """
        half, quarter, eighth, deep = self.encoder(x)
        y = self.decoder(self.aspp(deep), (eighth, quarter, half, x))
        return BaseOutput(
            alpha=y[:, 0:1].clamp(0, 1),
            residual=y[:, 1:4],
            error=y[:, 4:5].clamp(0, 1),
            hidden=y[:, 5:].relu(),
        )


class ConvNorm(nn.Sequential):
    """Convolution, batch norm and (unless ``activation`` is None) an activation."""

    def __init__(
        self,
        channels: int,
        out_channels: int,
        kernel: int = 3,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: type[nn.Module] | None = nn.ReLU,
    ) -> None:
        padding = dilation * (kernel // 2)
        layers: list[nn.Module] = [
            nn.Conv2d(
                channels, out_channels, kernel, stride, padding, dilation, groups, bias=False
            ),
            nn.BatchNorm2d(out_channels),
        ]
        if activation is not None:
            layers.append(activation(inplace=True))
        super().__init__(*layers)


class AtrousPyramid(nn.Module):
    """Atrous spatial pyramid pooling: several dilations and the image's mean side by side.

    Atrous convolutions are separable, as in DeepLabV3+ (Chen et al. 2018).
    """

    def __init__(self, channels: int, out_channels: int, dilations: Sequence[int]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            [ConvNorm(channels, out_channels, kernel=1)]
            + [
                nn.Sequential(
                    ConvNorm(channels, channels, dilation=d, groups=channels),
                    ConvNorm(channels, out_channels, kernel=1),
                )
                for d in dilations
            ]
        )
        self.pool = nn.Sequential(nn.Conv2d(channels, out_channels, 1), nn.ReLU(inplace=True))
        self.project = ConvNorm((2 + len(dilations)) * out_channels, out_channels, kernel=1)

    def forward(self, x: Tensor) -> Tensor:
        """B×C×h×w to B×out×h×w."""
        pooled = self.pool(x.mean(dim=(2, 3), keepdim=True)).expand(-1, -1, *x.shape[-2:])
        return self.project(torch.cat([branch(x) for branch in self.branches] + [pooled], dim=1))


class Decoder(nn.Module):
    """Upsamples step by step, joining the encoder's features of each size."""

    def __init__(
        self, channels: int, skips: Sequence[int], widths: Sequence[int], out_channels: int
    ) -> None:
        super().__init__()
        inputs = (channels, *widths)
        self.blocks = nn.ModuleList(
            ConvNorm(i + s, o) for i, s, o in zip(inputs[:-1], skips[:-1], widths, strict=True)
        )
        self.head = nn.Conv2d(widths[-1] + skips[-1], out_channels, 3, padding=1)
        start_undecided(self.head)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """The deepest map and the skips, deepest first, to a map of the last skip's size."""
        for block, skip in zip(self.blocks, skips[:-1], strict=True):
            x = block(join(x, skip))
        head: Tensor = self.head(join(x, skips[-1]))
        return head


def start_undecided(head: nn.Conv2d, channels: int = 1) -> None:
    """Lets alpha, the first channels, start at 1/2: beyond [0, 1] it is cut off and can't learn."""
    assert head.bias is not None
    with torch.no_grad():
        head.weight[:channels] *= 0.1
        head.bias[:channels] = 0.5


def join(x: Tensor, skip: Tensor) -> Tensor:
    """Doubles ``x`` by repeating pixels, cuts it to the size of ``skip`` and stacks the two."""
    height, width = skip.shape[-2:]
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")[..., :height, :width]
    return torch.cat([doubled, skip], dim=1)


class InvertedResidual(nn.Module):
    """MobileNetV2's block: expand, depthwise, project."""

    def __init__(
        self, channels: int, out_channels: int, stride: int, dilation: int, expansion: int
    ) -> None:
        super().__init__()
        wide = channels * expansion
        layers: list[nn.Module] = []
        if expansion != 1:
            layers.append(ConvNorm(channels, wide, kernel=1, activation=nn.ReLU6))
        layers.append(
            ConvNorm(wide, wide, stride=stride, dilation=dilation, groups=wide, activation=nn.ReLU6)
        )
        layers.append(ConvNorm(wide, out_channels, kernel=1, activation=None))
        self.conv = nn.Sequential(*layers)
        self.residual = stride == 1 and channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """B×C×h×w to B×out×h/stride×w/stride."""
        y: Tensor = self.conv(x)
        return x + y if self.residual else y


class MobileNetV2Encoder(nn.Module):
    """MobileNetV2's features at strides 2, 4, 8 and 16 (the last stride replaced by dilation)."""

    # (expansion, channels, blocks, stride, dilation) of each stage, Table 2 of the paper.
    _STAGES = (
        (1, 16, 1, 1, 1),
        (6, 24, 2, 2, 1),
        (6, 32, 3, 2, 1),
        (6, 64, 4, 2, 1),
        (6, 96, 3, 1, 1),
        (6, 160, 3, 1, 2),
        (6, 320, 1, 1, 2),
    )

    def __init__(self, channels: int) -> None:
        super().__init__()
        width = 32
        features: list[nn.Module] = [ConvNorm(channels, width, stride=2, activation=nn.ReLU6)]
        for expansion, out_channels, blocks, stride, dilation in self._STAGES:
            for block in range(blocks):
                features.append(
                    InvertedResidual(
                        width, out_channels, stride if block == 0 else 1, dilation, expansion
                    )
                )
                width = out_channels
        self.features = nn.Sequential(*features)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features at strides 2 (16 channels), 4 (24), 8 (32) and 16 (320)."""
        half = self.features[:2](x)
        quarter = self.features[2:4](half)
        eighth = self.features[4:7](quarter)
        return half, quarter, eighth, self.features[7:](eighth)


class Bottleneck(nn.Module):
    """ResNet-50's block: reduce, convolve, expand, add."""

    def __init__(self, channels: int, width: int, stride: int, dilation: int) -> None:
        super().__init__()
        out_channels = 4 * width
        self.conv = nn.Sequential(
            ConvNorm(channels, width, kernel=1),
            ConvNorm(width, width, stride=stride, dilation=dilation),
            ConvNorm(width, out_channels, kernel=1, activation=None),
        )
        self.shortcut: nn.Module = (
            nn.Identity()
            if stride == 1 and channels == out_channels
            else ConvNorm(channels, out_channels, kernel=1, stride=stride, activation=None)
        )

    def forward(self, x: Tensor) -> Tensor:
        """B×C×h×w to B×4·width×h/stride×w/stride."""
        return F.relu(self.shortcut(x) + self.conv(x))


class ResNet50Encoder(nn.Module):
    """ResNet-50's features at strides 2, 4, 8 and 16 (the last stride replaced by dilation)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.stem = ConvNorm(channels, 64, kernel=7, stride=2)
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage1 = _resnet_stage(64, 64, blocks=3, stride=1, dilation=1)
        self.stage2 = _resnet_stage(256, 128, blocks=4, stride=2, dilation=1)
        self.stage3 = _resnet_stage(512, 256, blocks=6, stride=2, dilation=1)
        self.stage4 = _resnet_stage(1024, 512, blocks=3, stride=1, dilation=2)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Features at strides 2 (64 channels), 4 (256), 8 (512) and 16 (2048)."""
        half = self.stem(x)
        quarter = self.stage1(self.pool(half))
        eighth = self.stage2(quarter)
        return half, quarter, eighth, self.stage4(self.stage3(eighth))


def _resnet_stage(channels: int, width: int, blocks: int, stride: int, dilation: int) -> nn.Module:
    """Bottlenecks of one width; the first one strides."""
    first = Bottleneck(channels, width, stride, dilation)
    others = (Bottleneck(4 * width, width, 1, dilation) for _ in range(1, blocks))
    return nn.Sequential(first, *others)

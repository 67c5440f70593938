"""Layers in the form in which they are deployed: fewer steps, the same result."""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from dart_ros.method.base_network import ConvNorm, Decoder, join


class FoldedDecoder(nn.Module):
    """The decoder, its last two doublings folded into the convolutions behind them.

    Those are exact at any size of whole tiles; the ones before are cut.

    Args:
        decoder: the decoder, in evaluation mode.
    """

    def __init__(self, decoder: Decoder) -> None:
        super().__init__()
        *first, last = decoder.blocks
        self._first = nn.ModuleList(map(folded, first))
        weight, bias = fold_norm(last)
        head = decoder.head
        assert head.bias is not None
        before = fold_norm(first[-1])[1].shape[0]
        self._last = _DoublingConvolution(weight, bias, before)
        self._head = _DoublingConvolution(head.weight.detach(), head.bias.detach(), len(bias))

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """See :class:`dart_ros.method.base_network.Decoder`."""
        for block, skip in zip(self._first, skips[:-2], strict=True):
            x = block(join(x, skip))
        return self._head(self._last(x, skips[-2]).relu(), skips[-1])


class _DoublingConvolution(nn.Module):
    """A 3×3 convolution over a doubled map beside its skip, edges padded with zeros."""

    def __init__(self, weight: Tensor, bias: Tensor, channels: int) -> None:
        super().__init__()
        self.map_weight = learned(fold_nearest(weight[:, :channels]))
        self.skip_weight = learned(weight[:, channels:])
        self.bias = learned(bias)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        doubled = F.pixel_shuffle(F.conv2d(x, self.map_weight, padding=1), 2)
        beside = F.conv2d(skip, self.skip_weight, self.bias, padding=1)
        return doubled[..., 1:-1, 1:-1] + beside


def learned(value: Tensor) -> nn.Parameter:
    """What comes of training, as a parameter of a deployed module; its buffers are the same for
    all weights."""
    return nn.Parameter(value.detach().clone(memory_format=torch.contiguous_format), False)


def folded(module: nn.Module) -> nn.Module:
    """A copy of a module in evaluation mode, each batch norm folded into its convolution."""
    module = copy.deepcopy(module).requires_grad_(False)
    for block in module.modules():
        if isinstance(block, ConvNorm):
            block[0] = _fused(block)
            del block[1]
    return module


def fold_norm(block: nn.Module) -> tuple[Tensor, Tensor]:
    """Convolution and batch norm (:class:`ConvNorm`) as one convolution.

    Returns:
        Its weight, O×I×k×k, and its bias, O.
    """
    convolution = _fused(block)
    assert convolution.bias is not None
    return convolution.weight.detach(), convolution.bias.detach()


def _fused(block: nn.Module) -> nn.Conv2d:
    assert isinstance(block, ConvNorm)
    convolution, norm = block[0], block[1]
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    return fuse_conv_bn_eval(convolution, norm)


def bilinear_taps(scale: int, offset: int, length: int, sources: int) -> Tensor:
    """Weights of bilinear upsampling (half-pixel centers) along one axis.

    Args:
        scale: how many pixels a source pixel becomes.
        offset: the first upsampled pixel, counted from where the first source pixel begins.
        length: how many upsampled pixels.
        sources: how many source pixels.

    Returns:
        length×sources.

    Raises:
        ValueError: if the sources don't reach so far.
    """
    taps = torch.zeros(length, sources)
    for pixel in range(length):
        center = (offset + pixel + 0.5) / scale - 0.5
        first = math.floor(center)
        share = center - first
        if first < 0 or first + (share > 0) >= sources:
            raise ValueError(f"{sources} pixels are too few for {length} pixels from {offset} on")
        taps[pixel, first] += 1 - share
        if share > 0:
            taps[pixel, first + 1] += share
    return taps


def fold_nearest(weight: Tensor) -> Tensor:
    """A 3×3 convolution after nearest ×2, as a 2×2 convolution before a pixel shuffle.

    Args:
        weight: O×I×3×3, applied without padding to the upsampled map.

    Returns:
        4O×I×2×2.
    """
    taps = torch.zeros(2, 3, 2)
    for phase in (0, 1):
        for tap in range(3):
            taps[phase, tap, (phase + tap) // 2] = 1
    return _fold(weight, taps)


def _fold(weight: Tensor, taps: Tensor) -> Tensor:
    """Weights over source pixels, from weights over upsampled ones; taps are phase×tap×source."""
    folded = torch.einsum("oiyx,pya,qxb->opqiab", weight, taps, taps)
    return folded.reshape(-1, *folded.shape[3:])

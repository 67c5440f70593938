"""Weights of the refiner in the form in which they are deployed: fewer steps, the same result."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from dart_ros.method.base_network import ConvNorm


def fold_norm(block: nn.Module) -> tuple[Tensor, Tensor]:
    """Convolution and batch norm (:class:`ConvNorm`) as one convolution.

    Returns:
        Its weight, O×I×k×k, and its bias, O.
    """
    assert isinstance(block, ConvNorm)
    convolution, norm = block[0], block[1]
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    weight = convolution.weight * scale[:, None, None, None]
    return weight.detach(), (norm.bias - norm.running_mean * scale).detach()


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


def fold_bilinear(weight: Tensor) -> Tensor:
    """A 3×3 convolution after bilinear ×2, as a 3×3 convolution before a pixel shuffle.

    Args:
        weight: O×I×3×3, applied without padding to the upsampled map less one pixel at each side.

    Returns:
        4O×I×3×3.
    """
    return _fold(weight, torch.stack([bilinear_taps(2, 1 + phase, 3, 3) for phase in (0, 1)]))


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

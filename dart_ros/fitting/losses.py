"""Losses of the matting network.

After Background Matting V2 (Lin et al. 2021, section 4), with the Laplacian pyramid of Hou and Liu
(ICCV 2019) and a term for pictures that stand still, as in Robust Video Matting (Lin et al. 2022).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.method.network import MattingOutput
from dart_ros.simulation.frames import Batch

FRACTIONAL = 0.5
"""What a fractional pixel counts more than others, which are a hundred times as many."""

PYRAMID = 0.5
"""Weight of the Laplacian pyramid against the L1 of alpha."""

LEVELS = 4

SAME_COLOR = 0.06
SAME_ALPHA = 0.02
"""Up to these changes a pixel stands still."""


def matting_loss(output: MattingOutput, batch: Batch, foreground: bool = True) -> Tensor:
    """Sum of the coarse and the refined loss, a scalar.

    L1 on alpha, on its gradients and on its Laplacian pyramid and L1 on the foreground where there
    is some, at both scales, and the squared error of the error map against the coarse alpha's true
    error; each pixel counts by the batch's weight.

    Args:
        output: of the network.
        batch: the truth.
        foreground: False where the batch has no true one.
    """
    size = output.coarse_alpha.shape[-2:]
    alpha = _shrink(batch.alpha, size)
    # What holds a pixel whose truth isn't known isn't known either.
    weight = -F.adaptive_max_pool2d(-batch.weight, size)
    coarse = alpha_loss(output.coarse_alpha, alpha, weight)
    true_error = (output.coarse_alpha.detach() - alpha).abs()
    error = (weight * (output.color_error - true_error) ** 2).mean()
    fine = alpha_loss(output.alpha, batch.alpha, batch.weight)
    if not foreground:
        return coarse + error + fine
    small = _shrink(batch.foreground * batch.alpha, size) / alpha.clamp(min=1e-3)
    coarse_foreground = _shrink(batch.color, size) + output.coarse_residual
    coarse = coarse + _foreground_loss(coarse_foreground, small, alpha, weight)
    fine = fine + _foreground_loss(output.foreground, batch.foreground, batch.alpha, batch.weight)
    return coarse + error + fine


def alpha_loss(alpha: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """L1 of alpha, of its Sobel gradients and of its Laplacian pyramid.

    Args:
        alpha: B×1×H×W in [0, 1].
        truth: the same.
        weight: the same shape, not negative; gradients count by the least weight that they see.
    """
    slopes = -F.max_pool2d(-weight, 3, stride=1, padding=1)
    gradients = slopes * (_sobel(alpha) - _sobel(truth)).abs()
    soft = (truth > SAME_ALPHA) & (truth < 1 - SAME_ALPHA)
    weight = weight * (1 + FRACTIONAL * soft.to(weight.dtype))
    difference = weight * (alpha - truth)
    return difference.abs().mean() + gradients.mean() + PYRAMID * _pyramid(difference)


def steadiness_loss(alpha: Tensor, before: Tensor, batch: Batch) -> Tensor:
    """Mean change of alpha where the picture and its truth stand still from frame to frame.

    Where the truth isn't known, an unchanged color says so alone: real outlines are like that.

    Args:
        alpha: B×1×H×W of one frame of each pair.
        before: the same of the other one.
        batch: the pairs.
    """
    previous = batch.previous
    assert previous is not None
    moved = (batch.color - previous.color).abs().amax(1, keepdim=True)
    moved = F.max_pool2d(F.avg_pool2d(moved, 3, 1, 1), 3, 1, 1) > SAME_COLOR
    known = (batch.weight > 0) & (previous.weight > 0)
    moved = moved | (known & ((batch.alpha - previous.alpha).abs() > SAME_ALPHA))
    return ((alpha - before).abs() * (~moved).to(alpha.dtype)).mean()


def _pyramid(difference: Tensor) -> Tensor:
    """The bands of a difference's Laplacian pyramid, each twice as heavy as the finer one."""
    total = difference.new_zeros(())
    for level in range(LEVELS):
        if min(difference.shape[-2:]) < 2:
            break
        smaller = F.avg_pool2d(difference, 2)
        size = difference.shape[-2:]
        smooth = F.interpolate(smaller, size, mode="bilinear", align_corners=False)
        total = total + 2**level * (difference - smooth).abs().mean()
        difference = smaller
    return total


def _foreground_loss(foreground: Tensor, truth: Tensor, alpha: Tensor, weight: Tensor) -> Tensor:
    visible = (alpha > 0.01).to(alpha.dtype) * weight
    return ((foreground - truth).abs() * visible).mean()


def _sobel(image: Tensor) -> Tensor:
    """B×1×H×W to its gradients across and down, B×2×H×W, zeros beyond the border.

    Convolving a single channel takes a CPU ten times as long as these slices.
    """
    padded = F.pad(image, (1, 1, 1, 1))
    across = padded[..., 2:] - padded[..., :-2]
    across = across[..., :-2, :] + 2 * across[..., 1:-1, :] + across[..., 2:, :]
    down = padded[..., 2:, :] - padded[..., :-2, :]
    down = down[..., :-2] + 2 * down[..., 1:-1] + down[..., 2:]
    return torch.cat([across, down], dim=1) / 4


def _shrink(image: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(image, size, mode="area")

"""Losses of the matting network (Background Matting V2, Lin et al. 2021, section 4)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from dart_ros.method.network import MattingOutput
from dart_ros.simulation.composition import Batch


def matting_loss(output: MattingOutput, batch: Batch) -> Tensor:
    """Sum of the coarse and the refined loss, a scalar.

    L1 on alpha and on its gradients and L1 on the foreground where there is some, at both
    scales, and the squared error of the error map against the coarse alpha's true error; each
    pixel counts by the batch's weight.
    """
    size = output.coarse_alpha.shape[-2:]
    alpha = _shrink(batch.alpha, size)
    foreground = _shrink(batch.foreground * batch.alpha, size) / alpha.clamp(min=1e-3)
    # What holds a pixel whose truth isn't known isn't known either.
    weight = -F.adaptive_max_pool2d(-batch.weight, size)
    coarse_foreground = _shrink(batch.color, size) + output.coarse_residual
    coarse = alpha_loss(output.coarse_alpha, alpha, weight) + _foreground_loss(
        coarse_foreground, foreground, alpha, weight
    )
    true_error = (output.coarse_alpha.detach() - alpha).abs()
    error = (weight * (output.color_error - true_error) ** 2).mean()
    fine = alpha_loss(output.alpha, batch.alpha, batch.weight) + _foreground_loss(
        output.foreground, batch.foreground, batch.alpha, batch.weight
    )
    return coarse + error + fine


def alpha_loss(alpha: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """L1 of alpha and of its Sobel gradients.

    Args:
        alpha: B×1×H×W in [0, 1].
        truth: the same.
        weight: the same shape, not negative; gradients count by the least weight that they see.
    """
    slopes = -F.max_pool2d(-weight, 3, stride=1, padding=1)
    gradients = slopes * (_sobel(alpha) - _sobel(truth)).abs()
    return (weight * (alpha - truth).abs()).mean() + gradients.mean()


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

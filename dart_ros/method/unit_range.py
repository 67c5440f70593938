"""Cutting maps to [0, 1] without losing what teaches them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def cut_to_unit(image: Tensor) -> Tensor:
    """Values below 0 become 0 and those above 1 become 1, as by ``clamp(0, 1)``.

    The gradient differs: beyond the range it still passes where a step against it leads back into
    the range. With ``clamp`` a pixel that is wrong beyond the range would learn nothing; a quarter
    of what was wrong with alpha in training was of this kind.

    Args:
        image: any shape.
    """
    if not image.requires_grad:
        return image.clamp(0, 1)
    cut: Tensor = _Cut.apply(image)
    return cut


class _Cut(torch.autograd.Function):
    """See :func:`cut_to_unit`."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:
        ctx.save_for_backward(image)
        return image.clamp(0, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (image,) = ctx.saved_tensors
        (gradient,) = gradients
        away = ((image < 0) & (gradient > 0)) | ((image > 1) & (gradient < 0))
        return gradient.masked_fill(away, 0)

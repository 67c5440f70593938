"""Image filters that the posterior and the trimap share; plain torch, so that they export."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor


def gaussian_blur(image: Tensor, sigma: float) -> Tensor:
    """Separable Gaussian blur, truncated at 3 sigma, edges replicated.

    Args:
        image: B×1×H×W float.
        sigma: standard deviation in pixels; 0 returns the image unchanged.
    """
    if sigma < 0:
        raise ValueError(f"sigma must not be negative, got {sigma}")
    radius = math.ceil(3 * sigma)
    if radius == 0:
        return image
    offsets = torch.arange(-radius, radius + 1, dtype=image.dtype, device=image.device)
    kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
    kernel = kernel / kernel.sum()
    # Replication is done axis by axis: the blur of a replicated image is the blur itself.
    rows = F.pad(image, (0, 0, radius, radius), mode="replicate")
    rows = F.conv2d(rows, kernel.view(1, 1, -1, 1))
    columns = F.pad(rows, (radius, radius, 0, 0), mode="replicate")
    return F.conv2d(columns, kernel.view(1, 1, 1, -1))


def remove_small_regions(image: Tensor, size: int = 3) -> Tensor:
    """Removes bright and dark regions in which no ``size``×``size`` square fits.

    Grey-scale opening followed by closing with a square, the exportable form of
    "small region removal": larger regions keep their place and their values.

    Args:
        image: B×1×H×W float.
        size: odd side of the square in pixels.
    """
    if size < 1 or size % 2 == 0:
        raise ValueError(f"size must be odd and positive, got {size}")
    return -_open(-_open(image, size), size)


def push_pull(image: Tensor, known: Tensor) -> Tensor:
    """Fills holes smoothly from what is around them (push-pull, Gortler et al. 1996).

    Args:
        image: B×1×H×W float.
        known: B×1×H×W, 1 where the image is known, else 0.

    Returns:
        B×1×H×W; the image itself where it is known, 0 where nothing is.
    """
    if image.shape[-2:] == (1, 1):
        return image * known
    height, width = image.shape[-2:]
    image, weight = (F.pad(x, (0, width % 2, 0, height % 2)) for x in (image * known, known))
    sums, weights = (4 * F.avg_pool2d(x, 2) for x in (image, weight))
    coarse = push_pull(sums / weights.clamp(min=1e-6), weights.clamp(max=1))
    size = image.shape[-2:]
    fine = F.interpolate(coarse, size, mode="bilinear", align_corners=False)
    return (image + (1 - weight) * fine)[..., :height, :width]


def _open(image: Tensor, size: int) -> Tensor:
    """Grey-scale opening: erosion, then dilation."""
    eroded = -F.max_pool2d(-image, size, stride=1, padding=size // 2)
    return F.max_pool2d(eroded, size, stride=1, padding=size // 2)

"""Depth-corrected alpha and the trimap for post-matting (Eq. 12-13)."""

from __future__ import annotations

import torch
from torch import Tensor

from dart_ros.method.constants import LOWER_THRESHOLD, TRIMAP_BLUR_SIGMA, UPPER_THRESHOLD, ZETA
from dart_ros.method.filters import gaussian_blur
from dart_ros.method.posterior import background_density, foreground_density


def depth_corrected_alpha(
    alpha: Tensor, depth: Tensor, mean: Tensor, std: Tensor, zeta: float = ZETA
) -> Tensor:
    """Eq. 12 with its misprint put right: A_fine as the prior, corrected by the depth.

    ``(p(d|F) + zeta) A / ((p(d|F) + zeta) A + (p(d|B) + zeta) (1 - A))``; an unknown depth
    leaves A exactly as it is.

    Args:
        alpha: A_fine in [0, 1].
        depth: live depth in metres, -1 where unknown.
        mean: background mean in metres.
        std: background standard deviation in metres.
        zeta: density per metre.

    Returns:
        Probability in [0, 1], the shape of ``alpha``.
    """
    front = (foreground_density(depth, mean) + zeta) * alpha
    back = (background_density(depth, mean, std) + zeta) * (1 - alpha)
    return torch.where(depth > 0, front / (front + back), alpha)


def trimap(corrected: Tensor) -> Tensor:
    """Eq. 13: Gaussian blur, then two thresholds.

    Args:
        corrected: B×1×H×W in [0, 1], from :func:`depth_corrected_alpha`.

    Returns:
        B×1×H×W: 0 background (below 0.25), 1 foreground (above 0.8), 0.5 unknown between.
    """
    blurred = gaussian_blur(corrected, TRIMAP_BLUR_SIGMA)
    background = (blurred < LOWER_THRESHOLD).to(corrected.dtype)
    foreground = (blurred > UPPER_THRESHOLD).to(corrected.dtype)
    return 0.5 * (1 - background + foreground)

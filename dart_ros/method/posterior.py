"""Foreground posterior from depth alone (Eq. 5-8), and the depth channels shown to the networks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from dart_ros.method.constants import ZETA
from dart_ros.method.filters import gaussian_blur, push_pull, remove_small_regions

PRIOR = 0.5
"""Foreground probability before depth is seen (paper: P_F)."""

BLUR_SIGMA = 0.7
"""Blur of the posterior map, in pixels of the quarter-size map."""


def foreground_density(depth: Tensor, mean: Tensor) -> Tensor:
    """Eq. 5: density of a foreground depth, uniform between the camera and the background.

    Args:
        depth: live depth in metres, -1 where unknown.
        mean: background mean in metres (same shape or broadcastable).

    Returns:
        Density per metre.
    """
    inside = (depth > 0) & (depth <= mean)
    return torch.where(inside, 1.0 / mean, torch.zeros_like(mean))


def background_density(depth: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Eq. 6: density of a background depth, a normal truncated to d >= 0 and rescaled.

    Args:
        depth: live depth in metres, -1 where unknown.
        mean: background mean in metres.
        std: background standard deviation in metres, positive.

    Returns:
        Density per metre.
    """
    standardised = (depth - mean) / std
    normal = torch.exp(-0.5 * standardised**2) / (std * math.sqrt(2 * math.pi))
    # Not by erfc, which ONNX lacks; a mean is never negative, so no digits are lost.
    kept = 0.5 * (1 + torch.erf(mean / (std * math.sqrt(2.0))))
    return torch.where(depth > 0, normal / kept, torch.zeros_like(normal))


def foreground_posterior(
    depth: Tensor, mean: Tensor, std: Tensor, prior: float = PRIOR, zeta: float = ZETA
) -> Tensor:
    """Eq. 7 with its misprint put right: probability of foreground given the depth.

    ``(p(d|F) P_F + zeta P_F) / (p(d|F) P_F + p(d|B) (1 - P_F) + zeta)``; an unknown depth
    gives exactly the prior.

    Args:
        depth: live depth in metres, -1 where unknown.
        mean: background mean in metres.
        std: background standard deviation in metres.
        prior: P_F in [0, 1].
        zeta: density per metre.

    Returns:
        Probability in [0, 1], the shape of ``depth``.
    """
    front = foreground_density(depth, mean) * prior
    back = background_density(depth, mean, std) * (1 - prior)
    posterior = (front + zeta * prior) / (front + back + zeta)
    return torch.where(depth > 0, posterior, torch.full_like(posterior, prior))


def posterior_map(depth: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """Eq. 8 with its post-processing: small regions removed, then Gaussian blur.

    Args:
        depth: B×1×h×w metres, -1 where unknown (quarter-size).
        mean: B×1×h×w background mean in metres.
        std: B×1×h×w background standard deviation in metres.

    Returns:
        A_D, B×1×h×w in [0, 1].
    """
    return gaussian_blur(remove_small_regions(foreground_posterior(depth, mean, std)), BLUR_SIGMA)


def guessed_background(mean: Tensor, known: Tensor) -> Tensor:
    """The background's depth, with a guess from what is around it where it is unknown.

    People before a screen or a window, of which a sensor gets nothing back, would else look like
    background that is seen by luck.

    Args:
        mean: B×1×H×W background mean in metres.
        known: B×1×H×W, 1 where the background's depth is known, else 0.

    Returns:
        B×1×H×W metres, -1 where an image knows nothing at all.
    """
    guess = torch.where(known > 0, mean, push_pull(mean, known))
    return torch.where(known.amax(dim=(2, 3), keepdim=True) > 0, guess, -1.0)


def depth_channels(depth: Tensor, behind: Tensor, plate_known: Tensor) -> Tensor:
    """Depth as the networks see it: two normalised differences and what is known.

    Args:
        depth: B×1×H×W live depth in metres, -1 where unknown, or else with the guesses of
            :func:`dart_ros.method.blind_sides.extrapolate_depth`.
        behind: B×1×H×W, see :func:`guessed_background`.
        plate_known: B×1×H×W, 1 where the background's depth is known, else 0.

    Returns:
        B×4×H×W: how far the pixel lies before the background, over 0.1 m and over 1 m and
        cut to [-1, 1] (0 where it can't be told), live depth known, background known.
    """
    known = (depth > 0).to(behind.dtype)
    live = metres_or_guess(depth)
    before = (behind - live) * ((live > 0) & (behind > 0)).to(behind.dtype)
    return torch.cat([(before * 10.0).clamp(-1, 1), before.clamp(-1, 1), known, plate_known], dim=1)


def metres_or_guess(depth: Tensor) -> Tensor:
    """Metres of what :func:`dart_ros.method.blind_sides.extrapolate_depth` returns, known or
    guessed; 0 where neither."""
    return torch.where(depth > 0, depth, -1 - depth)

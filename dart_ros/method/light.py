"""The change of light between the captured plate and the frame (not in the paper).

Automatic exposure and white balance answer to whoever walks in, and lamps and daylight change: the
whole background then differs from the plate. Depth tells which pixels are background whatever the
light; from these comes one gain per color channel, and the network sees the frame without it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dart_ros.method.geometry import light_samples
from dart_ros.method.light_limits import BRIGHTEST, DARKEST, DEVIATIONS, KNEE, MOST_GAIN

LEAST_SHARE = 0.05
"""Of the samples that must be background, or the light counts as unchanged."""


def light_gain(
    color: Tensor,
    plate: Tensor,
    depth: Tensor,
    mean: Tensor,
    std: Tensor,
    known: Tensor,
    samples: Tensor | None = None,
) -> Tensor:
    """How much brighter the frame is than the plate, by the median over sure background.

    Args:
        color: B×3×h×w frame in [0, 1] (quarter-size).
        plate: B×3×h×w in [0, 1].
        depth: B×1×h×w metres, -1 where unknown.
        mean: B×1×h×w background mean in metres.
        std: B×1×h×w background standard deviation in metres.
        known: B×1×h×w, 1 where the background's depth is known, else 0.
        samples: int64, the pixels that are looked at; None for
            :func:`dart_ros.method.geometry.light_samples`.

    Returns:
        B×3×1×1 gains, of red, green and blue; 1 where too little background is seen.
    """
    if samples is None:
        samples = torch.from_numpy(light_samples(*color.shape[-2:])).to(color.device)
    color, plate, depth, mean, std, known = (
        x.flatten(2)[..., samples].float() for x in (color, plate, depth, mean, std, known)
    )
    sure = (depth > 0) & (known > 0) & ((depth - mean).abs() <= DEVIATIONS * std)
    for image in (color, plate):
        sure = sure & (image.amin(1, keepdim=True) > DARKEST)
        sure = sure & (image.amax(1, keepdim=True) < BRIGHTEST)
    # Those that don't count are sorted behind all others.
    ratios = torch.where(sure, color / plate.clamp(min=DARKEST), 1 / DARKEST)
    ordered = torch.topk(ratios, ratios.shape[-1], dim=2, largest=False).values
    count = sure.float().sum(2, keepdim=True)
    middle = ((count - 1) / 2).floor()
    places = torch.arange(ratios.shape[-1], device=color.device)
    median = (ordered * (places == middle).to(ordered.dtype)).sum(2, keepdim=True)
    enough = (count >= 1) & (sure.float().mean(2, keepdim=True) >= LEAST_SHARE)
    gain = torch.where(enough, median, torch.ones_like(median))
    return gain.clamp(1 / MOST_GAIN, MOST_GAIN)[..., None]


def in_plate_light(color: Tensor, plate: Tensor, gain: Tensor, white: float = 1.0) -> Tensor:
    """The frame as it would look in the light of the plate.

    Args:
        color: frame in [0, white], the channels where ``gain`` has them.
        plate: the same shape or broadcastable, in [0, white].
        gain: of :func:`light_gain`, broadcastable.
        white: the largest color.

    Returns:
        ``color / gain`` up to :data:`~dart_ros.method.light_limits.KNEE`, from there on ever more
        what the plate has where it is brighter: a color that is cut off may have been of any
        brightness above it. In [0, white].
    """
    darkest = color / gain
    cut_off = (color * (1 / (white * (1 - KNEE))) - KNEE / (1 - KNEE)).clamp(0, 1)
    return (darkest + (plate - darkest).clamp(min=0) * cut_off).clamp(max=white)

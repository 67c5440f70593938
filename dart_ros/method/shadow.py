"""Shadows on the background (not in the paper).

Whoever comes in darkens floor and walls, and right beside shoes and dark clothes color alone can't
tell that from the person. A shadow is the plate made darker, in its own color, where depth sees
the background: there nobody stands.
"""

from __future__ import annotations

import torch
from torch import Tensor

from dart_ros.method.posterior import foreground_posterior

SURE = 0.2
"""Foreground posteriors below this are background; an unknown depth has 0.5."""

DARKEST = 0.4
BRIGHTEST = 1.02
"""Shares of the plate's color that a shadow leaves."""

SPREAD = 0.15
"""Difference between the channels' shares, over their mean, up to which it is the same color."""

OVEREXPOSED = 0.9
OVEREXPOSED_SPREAD = 0.3
"""Where every channel of the plate is above the first, its color is not known: a glint or a lit
floor that bleaches out in the plate may come back in any pale color, so the spread may be larger.
"""

OFFSET = 0.016
"""Added to the colors, so that noise in dark places is no color: four of 255 levels."""


def unshadowed(
    color: Tensor, plate: Tensor, posterior: Tensor, depth: Tensor, mean: Tensor, std: Tensor
) -> Tensor:
    """Where alpha can be anything: all but shadows on the background.

    Args:
        color: B×3×h×w frame in [0, 1], in the light of the plate (quarter-size).
        plate: B×3×h×w in [0, 1].
        posterior: B×1×h×w, A_D in [0, 1].
        depth: B×1×h×w live depth in metres, -1 where unknown.
        mean: B×1×h×w background mean in metres.
        std: B×1×h×w background standard deviation in metres.

    Returns:
        B×1×h×w: 0 in shadows and on background that is as captured, else 1.
    """
    share = (color + OFFSET) / (plate + OFFSET)
    low, high = share.amin(1, keepdim=True), share.amax(1, keepdim=True)
    bleached = plate.amin(1, keepdim=True) > OVEREXPOSED
    spread = torch.where(bleached, OVEREXPOSED_SPREAD, SPREAD).to(share.dtype)
    same_color = (high - low) < spread * share.mean(1, keepdim=True)
    # A_D has lost thin limbs as small regions; where depth saw one all the same, it is no shadow.
    seen = foreground_posterior(depth, mean, std).to(posterior.dtype)
    shadow = (
        (torch.maximum(posterior, seen) < SURE) & (low > DARKEST) & (high < BRIGHTEST) & same_color
    )
    return torch.where(shadow, 0.0, 1.0).to(color.dtype)

"""Columns at the sides of a picture that the depth camera doesn't see (not in the paper).

It stands beside the color camera. People who come in there are seen by color alone, and not even
by color in dark clothes before something dark: so their depth is continued outwards as a guess,
which the networks can tell from depth that is known.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STRAY = 0.03
"""Share of a column's depth that is known by accident where the sensor sees nothing."""

WIDEST = 0.1
"""Share of a picture's width from which on a side is no blind one: the scene is too far away there,
and people before it are seen."""

REACH = 0.03
"""Share of the width, beyond a blind side, in which the first depth of a row is looked for: the
nearer people are, the later they come into sight."""


class BlindSides(NamedTuple):
    """How many columns the depth camera doesn't see at each side."""

    left: int
    right: int


def blind_sides(known: Tensor) -> BlindSides:
    """The blind sides of a scene.

    Args:
        known: H×W bool, where the background's depth is known.
    """
    width = known.shape[-1]
    seen = torch.nonzero(known.float().mean(dim=0) >= STRAY)[:, 0]
    if not len(seen):
        return BlindSides(0, 0)
    left, right = int(seen[0]), width - 1 - int(seen[-1])
    return BlindSides(*(side if side < WIDEST * width else 0 for side in (left, right)))


def continued(depth: Tensor, sides: BlindSides) -> Tensor:
    """Depth with a guess where a row begins or ends unknown at a blind side: its first known depth.

    Args:
        depth: H×W metres, -1 where unknown.
        sides: of the scene.

    Returns:
        H×W; ``-1 - guess`` where there is one, so that what isn't positive stays unknown. A guess
        of 0 is none.
    """
    width = depth.shape[-1]
    reach = max(1, round(REACH * width))
    left, right = (side + reach if side else 0 for side in sides)
    middle = depth[:, left : width - right]
    outer = depth[:, width - right :].flip(-1)
    return torch.cat(
        [_continued_left(depth[:, :left]), middle, _continued_left(outer).flip(-1)], dim=1
    )


def metres_or_guess(depth: Tensor) -> Tensor:
    """Metres of what :func:`continued` returns, known or guessed; 0 where neither."""
    return torch.where(depth > 0, depth, -1 - depth)


def _continued_left(zone: Tensor) -> Tensor:
    if not zone.shape[1]:
        return zone
    known = zone > 0
    # The first of equal values, by the rule of argmax.
    first = known.int().argmax(dim=1, keepdim=True)
    guess = torch.where(known.any(dim=1, keepdim=True), -1 - zone.gather(1, first), -1.0)
    before = torch.arange(zone.shape[1], device=zone.device) < first
    return torch.where(before, guess, zone)

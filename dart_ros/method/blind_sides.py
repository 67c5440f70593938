"""Columns at the sides of a picture that the depth camera doesn't see (not in the paper).

It stands beside the color camera. People who come in there are seen by color alone, and not even
by color in dark clothes before something dark: so their depth is extrapolated outwards, as a guess
that the networks can tell from depth that is known.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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


def blind_sides(known: NDArray[np.bool_]) -> BlindSides:
    """The blind sides of a scene.

    Args:
        known: H×W, where the background's depth is known.
    """
    width = known.shape[-1]
    seen = np.flatnonzero(known.mean(axis=0) >= STRAY)
    if not len(seen):
        return BlindSides(0, 0)
    left, right = int(seen[0]), width - 1 - int(seen[-1])
    return BlindSides(*(side if side < WIDEST * width else 0 for side in (left, right)))


def extrapolate_depth(depth: NDArray[np.float32], sides: BlindSides) -> NDArray[np.float32]:
    """Depth with a guess where a row begins or ends unknown at a blind side: its first known depth.

    Args:
        depth: H×W metres, -1 where unknown.
        sides: of the scene.

    Returns:
        H×W; ``-1 - guess`` where there is one, so that what isn't positive stays unknown. A guess
        of 0 is none. The depth itself where there is no blind side, else a copy.
    """
    if not any(sides):
        return depth
    width = depth.shape[-1]
    reach = max(1, round(REACH * width))
    left, right = (side + reach if side else 0 for side in sides)
    guessed = depth.copy()
    if left:
        guessed[:, :left] = _extrapolate_left(depth[:, :left])
    if right:
        guessed[:, width - right :] = _extrapolate_left(depth[:, : width - right - 1 : -1])[:, ::-1]
    return guessed


def _extrapolate_left(zone: NDArray[np.float32]) -> NDArray[np.float32]:
    known = zone > 0
    first = known.argmax(axis=1)[:, None]
    guess = np.where(
        known.any(axis=1, keepdims=True), -1 - np.take_along_axis(zone, first, 1), np.float32(-1)
    )
    before = np.arange(zone.shape[1]) < first
    return np.where(before, guess, zone)

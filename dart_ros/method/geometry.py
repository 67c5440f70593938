"""Sizes: the tiles that are refined, the margins that they see, and how images are reduced and
padded. Without torch."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

TILE = 4
"""Side of a tile in quarter-size pixels: 16 pixels of the image."""

QUARTER_MARGIN = 1
HALF_MARGIN = 2
PICTURE_MARGIN = 2 * HALF_MARGIN
"""Pixels of the image beyond a tile that its refinement sees."""

STRIDE = 4 * TILE
"""Pixels of a tile's side."""

REFINED_SHARE = 0.25
"""Share of a 640×480 image that is refined, in training as in use; see :func:`tile_count`."""

MOST_TILES = 1024
"""TopK over more than this doesn't build everywhere."""

MOST_SAMPLES = 2048
"""Pixels of :func:`light_samples`; TopK of more than 3840 doesn't build everywhere."""

_REFERENCE_PIXELS = 640 * 480

_LARGE = 2.0
"""Images of so many times 640×480 go through the base network at a sixth of their sides."""


def tile_count(height: int, width: int, share: float = REFINED_SHARE) -> int | None:
    """How many 16×16 tiles of an image are refined; None for all of them.

    Outlines grow with the side of an image, not with its area: so does the number of tiles, and
    the share is that of a 640×480 image. The default gives 300 tiles there, 520 at 1280×720 and
    785 at 1920×1080. Smaller images are refined in the same share as a 640×480 one.

    Args:
        height: rows of the image.
        width: columns of the image.
        share: share of a 640×480 image to refine, above 0 and up to 1; 1 refines everything at
            any size.

    Raises:
        ValueError: if the share is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of refined tiles must be in (0, 1], not {share}")
    if share == 1:
        return None
    total = math.ceil(height / STRIDE) * math.ceil(width / STRIDE)
    larger = max(1.0, height * width / _REFERENCE_PIXELS)
    return min(MOST_TILES, max(1, round(share * total / math.sqrt(larger))))


def base_reduction(height: int, width: int) -> int:
    """4 or 6: the base network sees an image at a quarter or at a sixth of its sides.

    It has to see people whole, and as large as those that it learned from: at a sixth from twice
    the area of 640×480 on. 1280×720 becomes 120 rows, as 640×480 does at a quarter.

    Args:
        height: rows of the image.
        width: columns of the image.
    """
    return 6 if height * width >= _LARGE * _REFERENCE_PIXELS else 4


def padded_sides(height: int, width: int, reduction: int) -> tuple[int, int]:
    """Rows and columns of an image as the network reads it: whole tiles, and whole fours of the
    base network's pixels, whose decoder doubles twice.

    Args:
        height: rows of the image.
        width: columns of the image.
        reduction: 4 or 6, see :func:`base_reduction`.
    """
    stride = padding_stride(reduction)
    return height + -height % stride, width + -width % stride


def padding_stride(reduction: int) -> int:
    """What padded sides are multiples of."""
    return math.lcm(STRIDE, 4 * reduction)


def light_samples(height: int, width: int) -> NDArray[np.int64]:
    """The pixels from which the change of light is told, on a regular grid.

    Args:
        height: rows of the image that the base network sees.
        width: columns of it.

    Returns:
        Indices into its pixels, row by row, at most about :data:`MOST_SAMPLES`.
    """
    step = math.ceil(math.sqrt(height * width / MOST_SAMPLES))
    rows = np.arange(step // 2, height, step)[:, None]
    return (rows * width + np.arange(step // 2, width, step)).reshape(-1)

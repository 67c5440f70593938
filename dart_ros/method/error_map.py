"""Error map that ranks the tiles to refine (Eq. 9-10)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

BETA = 0.05
"""Weight of the depth error in the combined map (paper: beta)."""


def depth_error(posterior: Tensor, raw_alpha: Tensor) -> Tensor:
    """Eq. 9: disagreement of the depth posterior A_D and the raw alpha, element by element.

    Args:
        posterior: A_D, B×1×h×w in [0, 1].
        raw_alpha: A_raw, B×1×h×w in [0, 1].

    Returns:
        E_D, B×1×h×w in [0, 1].
    """
    return (posterior - raw_alpha).abs()


def combine_errors(depth: Tensor, color: Tensor, beta: float = BETA) -> Tensor:
    """Eq. 10: ``beta E_D + (1 - beta) E_RGB``.

    Args:
        depth: E_D, B×1×h×w.
        color: E_RGB, the base network's error map, B×1×h×w.
        beta: weight of the depth error in [0, 1].
    """
    return beta * depth + (1 - beta) * color


def choose_tiles(error: Tensor, count: int, tile: int) -> Tensor:
    """The tiles with the largest error anywhere inside.

    Args:
        error: B×1×h×w map at a quarter of the image size.
        count: number of tiles per image.
        tile: side of a tile in pixels of the map; must divide h and w.

    Returns:
        int64 B×count, indices of tiles counted row by row, in no particular order.

    Raises:
        ValueError: if the tile does not divide the map.
    """
    return torch.topk(worst_errors(error, tile), count, dim=1, sorted=False).indices


def worst_errors(error: Tensor, tile: int) -> Tensor:
    """The largest error of each tile.

    Args:
        error: B×1×h×w map at a quarter of the image size.
        tile: side of a tile in pixels of the map; must divide h and w.

    Returns:
        B×T, tiles counted row by row.

    Raises:
        ValueError: if the tile does not divide the map.
    """
    height, width = error.shape[-2:]
    if height % tile or width % tile:
        raise ValueError(f"tiles of {tile} do not divide a map of {width}x{height}: pad it first")
    return (F.max_pool2d(error, tile, tile) if tile > 1 else error).flatten(1)

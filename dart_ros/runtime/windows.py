"""Where the surroundings of each tile lie in flat arrays: tables made once, looked up by tile."""

from __future__ import annotations

import torch
from torch import Tensor


def pixel_windows(rows: int, columns: int, size: int, margin: int) -> Tensor:
    """Flat pixel indices of each tile with its margin; beyond the border the edge is repeated.

    Args:
        rows: rows of tiles.
        columns: columns of tiles.
        size: side of a tile in pixels of the map.
        margin: pixels on each side.

    Returns:
        int32 (rows·columns)×(size + 2·margin)².
    """
    row, column = _grid(rows, columns)
    span = torch.arange(-margin, size + margin)
    y = (row * size + span).clamp(0, rows * size - 1)
    x = (column * size + span).clamp(0, columns * size - 1)
    return _flat(y, x, columns * size)


def run_windows(rows: int, columns: int, size: int, side: int, run: int, width: int) -> Tensor:
    """Flat indices of runs of pixels that make up each tile's window in a map with a border.

    Runs are copied in one go, which is many times faster than pixels.

    Args:
        rows: rows of tiles.
        columns: columns of tiles.
        size: pixels between two windows.
        side: side of a window in pixels.
        run: pixels of a run; divides size, side and width.
        width: width of the map in pixels, with its border.

    Returns:
        int32 (rows·columns)×(side·side/run).
    """
    row, column = _grid(rows, columns)
    y = row * size + torch.arange(side)
    x = column * (size // run) + torch.arange(side // run)
    return _flat(y, x, width // run)


def _grid(rows: int, columns: int) -> tuple[Tensor, Tensor]:
    """Row and column of each tile, T×1."""
    tile = torch.arange(rows * columns)[:, None]
    return torch.div(tile, columns, rounding_mode="floor"), tile % columns


def _flat(y: Tensor, x: Tensor, width: int) -> Tensor:
    return (y[:, :, None] * width + x[:, None, :]).flatten(1).int()

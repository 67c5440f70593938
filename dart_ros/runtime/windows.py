"""Where the surroundings of each tile lie in flat arrays: tables made once, looked up by tile."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def pixel_windows(rows: int, columns: int, size: int, margin: int) -> NDArray[np.int32]:
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
    span = np.arange(-margin, size + margin)
    y = (row * size + span).clip(0, rows * size - 1)
    x = (column * size + span).clip(0, columns * size - 1)
    return _flat(y, x, columns * size)


def run_windows(
    rows: int, columns: int, size: int, side: int, run: int, width: int
) -> NDArray[np.int32]:
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
    y = row * size + np.arange(side)
    x = column * (size // run) + np.arange(side // run)
    return _flat(y, x, width // run)


def _grid(rows: int, columns: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row and column of each tile, T×1."""
    tile = np.arange(rows * columns)[:, None]
    return tile // columns, tile % columns


def _flat(y: NDArray[np.intp], x: NDArray[np.intp], width: int) -> NDArray[np.int32]:
    flat = y[:, :, None] * width + x[:, None, :]
    return flat.reshape(len(y), -1).astype(np.int32)

"""How a frame of some size is laid out in the engines: padding, border, grid of tiles, tables."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.method.geometry import (
    HALF_MARGIN,
    PICTURE_MARGIN,
    QUARTER_MARGIN,
    STRIDE,
    TILE,
    base_reduction,
    light_samples,
    padded_sides,
)
from dart_ros.runtime.windows import pixel_windows, run_windows

BORDER = PICTURE_MARGIN
"""Pixels around the padded picture: what the refinement of a tile sees is never cut."""

RUN = 8
"""Pixels of a run in color: windows of tiles are whole runs."""

HALF_RUN = RUN // 2
"""Half-size pixels of a run in the plate and in depth."""

STAGE1_RUN = 2

WINDOW = STRIDE + 2 * BORDER
"""Side of what a tile's refinement sees, in pixels."""

HALF_WINDOW = STRIDE // 2 + 2 * HALF_MARGIN
QUARTER_WINDOW = TILE + 2 * QUARTER_MARGIN
STAGE1_WINDOW = STRIDE // 2 + 2 * (HALF_MARGIN - 1)


@dataclass(frozen=True)
class Layout:
    """The layout of frames of one size.

    Attributes:
        height: rows of a frame.
        width: columns of a frame.
    """

    height: int
    width: int

    @property
    def reduction(self) -> int:
        """4 or 6, see :func:`dart_ros.method.geometry.base_reduction`."""
        return base_reduction(self.height, self.width)

    @property
    def padded(self) -> tuple[int, int]:
        """Rows and columns in whole tiles."""
        return padded_sides(self.height, self.width, self.reduction)

    @property
    def bordered(self) -> tuple[int, int]:
        """Rows and columns of a padded frame with its border."""
        rows, columns = self.padded
        return rows + 2 * BORDER, columns + 2 * BORDER

    @property
    def reduced(self) -> tuple[int, int]:
        """Rows and columns of what the base network sees."""
        rows, columns = self.padded
        return rows // self.reduction, columns // self.reduction

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        rows, columns = self.padded
        return rows // STRIDE, columns // STRIDE

    @property
    def tiles(self) -> int:
        """Number of tiles."""
        rows, columns = self.grid
        return rows * columns

    @functools.cached_property
    def tables(self) -> dict[str, NDArray[Any]]:
        """What the graphs look up, by the names of their initializers."""
        grid, (_, width) = self.grid, self.padded
        half = width // 2
        return {
            "light_samples": light_samples(*self.reduced),
            "map_windows": pixel_windows(*grid, TILE, QUARTER_MARGIN),
            "color_windows": run_windows(*grid, STRIDE, WINDOW, RUN, width + 2 * BORDER),
            "half_windows": run_windows(*grid, STRIDE // 2, WINDOW // 2, HALF_RUN, half + BORDER),
            "stage1_windows": run_windows(*grid, STRIDE // 2, STAGE1_WINDOW, STAGE1_RUN, half + 2),
            "places": run_windows(*grid, STRIDE, STRIDE, STRIDE, width),
        }


class FrameBuffer:
    """Frames with the border that the graphs want, copied into memory that stays the same.

    Args:
        layout: of the frames.
        color: memory to use for color, of the bordered size, ×3 uint8; None for new memory.
        depth: the same for depth, float32.

    Attributes:
        color: the frame's color with its border.
        depth: the frame's depth with its border.
    """

    def __init__(
        self,
        layout: Layout,
        color: NDArray[np.uint8] | None = None,
        depth: NDArray[np.float32] | None = None,
    ) -> None:
        shape = layout.bordered
        self.color = np.zeros((*shape, 3), np.uint8) if color is None else color
        self.depth = np.zeros(shape, np.float32) if depth is None else depth
        self._size = layout.height, layout.width

    def fill(self, color: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
        """Copies a frame in.

        Raises:
            ValueError: if the frame is of another size.
        """
        if color.shape != (*self._size, 3) or depth.shape != self._size:
            raise ValueError(
                f"color is {color.shape} and depth {depth.shape}, the engine is made for "
                f"{self._size}"
            )
        fill_bordered(self.color, color)
        fill_bordered(self.depth, depth)


def fill_bordered(target: NDArray[Any], image: NDArray[Any]) -> None:
    """Copies an image behind the border and repeats its edge all around."""
    bottom, right = BORDER + image.shape[0], BORDER + image.shape[1]
    target[BORDER:bottom, BORDER:right] = image
    target[BORDER:bottom, :BORDER] = image[:, :1]
    target[BORDER:bottom, right:] = image[:, -1:]
    target[:BORDER] = target[BORDER]
    target[bottom:] = target[bottom - 1]

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.runtime.windows import pixel_windows, run_windows

GRIDS = st.tuples(st.integers(1, 5), st.integers(1, 5))


@settings(deadline=None)
@given(GRIDS, st.integers(1, 4), st.integers(0, 3))
def test_pixel_windows_are_crops_of_the_padded_map(
    grid: tuple[int, int], size: int, margin: int
) -> None:
    rows, columns = grid
    image = np.arange(rows * columns * size * size).reshape(rows * size, columns * size)
    padded = np.pad(image, margin, mode="edge")
    found = image.ravel()[pixel_windows(rows, columns, size, margin)]
    side = size + 2 * margin
    for tile in range(rows * columns):
        y, x = tile // columns * size, tile % columns * size
        np.testing.assert_array_equal(
            found[tile].reshape(side, side), padded[y : y + side, x : x + side]
        )


@settings(deadline=None)
@given(GRIDS, st.sampled_from([(8, 12, 4), (16, 18, 2), (16, 32, 16), (16, 16, 16)]))
def test_run_windows_are_crops_of_a_map_with_a_border(
    grid: tuple[int, int], shape: tuple[int, int, int]
) -> None:
    (rows, columns), (size, side, run) = grid, shape
    height, width = rows * size + side - size, columns * size + side - size
    image = np.arange(height * width).reshape(height, width)
    table = run_windows(rows, columns, size, side, run, width)
    found = image.reshape(-1, run)[table]
    for tile in range(rows * columns):
        y, x = tile // columns * size, tile % columns * size
        np.testing.assert_array_equal(
            found[tile].reshape(side, side), image[y : y + side, x : x + side]
        )

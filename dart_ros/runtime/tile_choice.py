"""Which tiles are refined: those of which the network is least sure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

SURE = 0.03
"""Error below which a tile gains nothing by refinement; more than half of
:data:`dart_ros.method.error_map.BETA`, which is what remains of Eq. 10 where depth is unknown and
color is sure."""

SHARES = (0.25, 0.5, 0.75, 1.0)
"""The refiner is made ready for these shares of the tiles: for any number it runs half as fast."""


def tile_counts(total: int, tiles: int | None) -> list[int]:
    """Numbers of tiles to be ready for, rising.

    Args:
        total: tiles of a frame.
        tiles: largest number that is refined, None for all of them, sure or not.
    """
    if tiles is None or tiles >= total:
        return [total]
    return sorted({math.ceil(share * tiles) for share in SHARES})


def uncertain_tiles(worst: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.int32]:
    """The tiles to refine: those with the largest errors, down to errors that are none.

    Args:
        worst: largest error of each tile.
        counts: how many it may be, rising.

    Returns:
        Indices in no particular order: of the smallest count that is enough, or of the last.
    """
    wanted = int(np.count_nonzero(worst > SURE))
    count = next((count for count in counts if count >= wanted), counts[-1])
    return np.argpartition(worst, -count)[-count:].astype(np.int32)

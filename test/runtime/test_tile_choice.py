"""Which tiles are refined: the uncertain ones, in numbers that engines are ready for."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from dart_ros.runtime.tile_choice import SURE, uncertain_tiles

COUNTS = [5, 10, 15, 20]


@given(st.lists(st.floats(0, 1, width=32), min_size=20, max_size=60))
def test_no_tile_left_out_is_worse_than_one_taken(errors: list[float]) -> None:
    worst = np.array(errors, np.float32)
    chosen = uncertain_tiles(worst, COUNTS)
    left = np.setdiff1d(np.arange(len(worst)), chosen)
    assert len(set(chosen.tolist())) == len(chosen) and len(chosen) in COUNTS
    if len(left):
        assert worst[chosen].min() >= worst[left].max()
    wanted = sum(error > np.float32(SURE) for error in worst)
    # As few as are enough, or all that there may be.
    assert len(chosen) == next((count for count in COUNTS if count >= wanted), COUNTS[-1])

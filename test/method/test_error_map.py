from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.method.error_map import choose_tiles, combine_errors, depth_error


def test_error_map_by_hand() -> None:
    posterior = torch.tensor([0.9, 0.5, 0.0])
    raw_alpha = torch.tensor([0.2, 0.5, 1.0])
    color_error = torch.tensor([0.4, 0.1, 0.0])
    disagreement = depth_error(posterior, raw_alpha)
    assert disagreement.tolist() == pytest.approx([0.7, 0.0, 1.0])
    # 0.05 * 0.7 + 0.95 * 0.4 = 0.415; 0.95 * 0.1 = 0.095; 0.05.
    found = combine_errors(disagreement, color_error)
    assert found.tolist() == pytest.approx([0.415, 0.095, 0.05])
    found = combine_errors(disagreement, color_error, beta=0.5)
    assert found.tolist() == pytest.approx([0.55, 0.05, 0.5])
    assert torch.equal(combine_errors(disagreement, color_error, beta=0.0), color_error)
    assert torch.equal(combine_errors(disagreement, color_error, beta=1.0), disagreement)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_tiles_are_those_of_brute_force(data: st.DataObject) -> None:
    tile = data.draw(st.sampled_from([1, 2, 4]))
    rows, columns = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 5))
    count = data.draw(st.integers(1, rows * columns))
    levels = data.draw(st.sampled_from([3, 10**6]))  # 3 makes many ties
    random = np.random.default_rng(data.draw(st.integers(0, 10**6)))
    error = random.integers(0, levels, (2, 1, rows * tile, columns * tile)) / levels
    chosen = choose_tiles(torch.from_numpy(error), count, tile)
    assert chosen.shape == (2, count)
    assert chosen.dtype == torch.int64
    for image, indices in zip(error[:, 0], chosen.tolist(), strict=True):
        worst = [
            image[r * tile : (r + 1) * tile, c * tile : (c + 1) * tile].max()
            for r in range(rows)
            for c in range(columns)
        ]
        assert len(set(indices)) == count
        # Ties may fall either way, but what is chosen is the worst.
        assert sorted(worst[i] for i in indices) == sorted(worst)[len(worst) - count :]


def test_one_bad_pixel_chooses_its_tile() -> None:
    error = torch.full((1, 1, 8, 12), 0.3)
    error[0, 0, 7, 5] = 0.31
    assert choose_tiles(error, 1, 4).tolist() == [[4]]


def test_a_tile_must_divide_the_map() -> None:
    for shape in ((8, 10), (10, 8)):
        with pytest.raises(ValueError, match=f"tiles of 4.*{shape[1]}x{shape[0]}"):
            choose_tiles(torch.zeros(1, 1, *shape), 1, 4)

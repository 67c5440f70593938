from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.method.shadow import unshadowed


def one(color: list[float], plate: list[float], posterior: float, depth: float = 3.0) -> float:
    """The rule for one pixel of colors in 0 to 255, before a wall 3 m away."""
    frame, empty = (torch.tensor(x).view(1, 3, 1, 1) / 255 for x in (color, plate))
    maps = (torch.full((1, 1, 1, 1), x) for x in (posterior, depth, 3.0, 0.03))
    return unshadowed(frame, empty, *maps).item()


@pytest.mark.parametrize(
    ("color", "plate", "posterior", "lit"),
    [
        ([100, 80, 60], [150, 120, 90], 0.01, 0),  # two thirds of the light, the same brown
        ([150, 120, 90], [150, 120, 90], 0.01, 0),  # as captured
        ([100, 80, 60], [150, 120, 90], 0.5, 1),  # depth is unknown
        ([100, 80, 60], [150, 120, 90], 0.9, 1),  # something stands there
        ([45, 36, 27], [150, 120, 90], 0.01, 1),  # darker than shadows are: a black shoe
        ([180, 144, 108], [150, 120, 90], 0.01, 1),  # brighter
        ([100, 60, 60], [150, 120, 90], 0.01, 1),  # another color: a hand on the wall
        ([12, 10, 11], [14, 14, 14], 0.01, 0),  # noise in the dark is no color
        ([230, 212, 189], [255, 255, 255], 0.01, 0),  # a glint that is gone: the floor is cream
        ([230, 190, 165], [255, 255, 255], 0.01, 1),  # a hand there
        ([200, 184, 164], [222, 222, 222], 0.01, 1),  # this plate tells its color
    ],
)
def test_pixels_by_hand(
    color: list[float], plate: list[float], posterior: float, lit: float
) -> None:
    assert one(color, plate, posterior) == lit


@pytest.mark.parametrize(("depth", "lit"), [(3.0, 0), (2.95, 0), (2.9, 1), (2.0, 1), (-1.0, 1)])
def test_depth_of_the_pixel_itself_counts(depth: float, lit: float) -> None:
    """A thin limb, which the map of the posterior has lost, before the same wall in shadow."""
    assert one([100, 80, 60], [150, 120, 90], 0.01, depth) == lit


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10**6))
def test_every_pixel_is_judged_alone_by_its_three_shares(seed: int) -> None:
    random = np.random.default_rng(seed)
    plate = random.uniform(0, 1, (3, 12, 9))
    plate[:, 6:] = random.uniform(0.85, 1, (3, 6, 9))
    color = (
        plate * random.uniform(0.3, 1.2, (1, 12, 9)) + random.normal(0, 0.04, plate.shape)
    ).clip(0, 1)
    posterior = random.choice([0.0, 0.1, 0.3, 0.5, 1.0], (12, 9))
    expected = np.ones((12, 9))
    for row, column in np.ndindex(12, 9):
        shares = [
            (255 * color[c, row, column] + 4.08) / (255 * plate[c, row, column] + 4.08)
            for c in range(3)
        ]
        allowed = 0.3 if min(plate[:, row, column]) > 0.9 else 0.15
        one_color = max(shares) - min(shares) < allowed * sum(shares) / 3
        if posterior[row, column] < 0.2 and one_color and min(shares) > 0.4 and max(shares) < 1.02:
            expected[row, column] = 0
    wall = torch.full((1, 1, 12, 9), 3.0)
    found = unshadowed(
        *(torch.from_numpy(x)[None] for x in (color, plate)),
        torch.from_numpy(posterior)[None, None],
        *(wall, wall, 0.01 * wall),
    )
    assert found.dtype == torch.float64 and found.shape == (1, 1, 12, 9)
    assert np.array_equal(found[0, 0].numpy(), expected)

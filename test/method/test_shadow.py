from __future__ import annotations

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


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.5, 0.95))
def test_a_person_at_a_wall_and_the_shadow_beside(seed: int, darkest: float) -> None:
    """Light that falls off by degrees is shadow wherever depth sees the wall; a person is none."""
    height, width = 60, 80
    generator = torch.Generator().manual_seed(seed)
    plate = 0.35 + 0.3 * torch.rand(1, 3, 6, 8, generator=generator)
    plate = torch.nn.functional.interpolate(plate, size=(height, width), mode="bilinear")
    # Half of the lamp's light, then less and less of the shadow, to the right of the person.
    light = torch.ones(width)
    light[40:60] = torch.linspace(darkest, 1, 20)
    color = plate * light
    wall = torch.full((1, 1, height, width), 3.0)
    depth = wall + 0.01 * torch.randn(wall.shape, generator=generator)
    posterior = torch.full_like(wall, 0.02)
    person = (..., slice(10, 60), slice(20, 40))
    color[person] = torch.rand(3, generator=generator)[:, None, None]
    depth[person] = 1.8
    posterior[person] = 0.98
    unseen = (..., slice(0, 10), slice(20, 40))  # hair, of which no depth comes back
    color[unseen] = 0.6 * plate[unseen]
    depth[unseen], posterior[unseen] = -1, 0.5
    color = color + 0.004 * torch.randn(color.shape, generator=generator)
    lit = unshadowed(color, plate, posterior, depth, wall, 0.01 * wall)
    assert lit.shape == wall.shape and set(lit.unique().tolist()) == {0.0, 1.0}
    assert lit[..., :40][..., 20:].min() == 1
    # A depth may stray, and noise may be brighter than the plate.
    assert lit[..., 40:55].mean() < 0.02 and lit[..., :20].mean() < 0.2


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6))
def test_every_pixel_is_judged_alone(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    plate, color = torch.rand(2, 1, 3, 12, 9, generator=generator)
    color = plate * (0.3 + 0.9 * color)
    posterior, depth = torch.rand(2, 1, 1, 12, 9, generator=generator)
    wall = torch.full((1, 1, 12, 9), 3.0)
    images = (color, plate, 0.4 * posterior, 2.9 + 0.2 * depth, wall, 0.03 * wall)
    order = torch.randperm(108, generator=generator)

    def mixed(image: torch.Tensor) -> torch.Tensor:
        return image.flatten(2)[..., order].view(image.shape)

    assert torch.equal(unshadowed(*map(mixed, images)), mixed(unshadowed(*images)))


def test_the_type_of_color_is_kept() -> None:
    color, plate = torch.rand(2, 1, 3, 5, 4, dtype=torch.float64)
    wall = torch.full((1, 1, 5, 4), 3.0)
    assert unshadowed(color, plate, 0 * wall, wall, wall, 0.01 * wall).dtype == torch.float64

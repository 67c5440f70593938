from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from dart_ros.method.posterior import foreground_posterior
from dart_ros.runtime.depth_evidence import CELL, REACH, DepthEvidence, Evidence

HEIGHT, WIDTH = 96, 160
WALL, BODY = 3.0, 2.0
CELLS = (HEIGHT // CELL, WIDTH // CELL)
BOX = (slice(32, 96), slice(48, 112))
"""Where somebody stands; in cells a quarter of it."""


def plate() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(60, 180, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def evidence_of(
    color: NDArray[np.uint8], depth: NDArray[np.float32], known: bool = True
) -> Evidence:
    wall = np.full((HEIGHT, WIDTH), WALL, np.float32)
    seen = np.full((HEIGHT, WIDTH), known)
    return DepthEvidence(plate(), wall, 0.01 * wall, seen)(color, depth)


def with_body(depth: float = BODY) -> NDArray[np.float32]:
    image = np.full((HEIGHT, WIDTH), WALL, np.float32)
    image[BOX] = depth
    return image


def test_inside_of_a_body_depth_is_sure_whatever_its_color() -> None:
    found = evidence_of(plate(), with_body())
    inside = found.front[8 + REACH + 1 : -REACH, 12 + REACH + 1 : 28 - REACH - 1]
    assert inside.min() == 1
    assert found.back[8:, 12:28].max() == 0


def test_near_its_outline_depth_is_not_sure() -> None:
    found = evidence_of(plate(), with_body())
    sure = np.zeros(CELLS, bool)
    sure[8 + REACH - 1 :, 12 + REACH - 1 : 28 - REACH + 1] = True
    assert found.front[~sure].max() == 0


def test_holes_of_a_pixel_make_no_hole() -> None:
    depth = with_body()
    depth[CELL // 2 + 15 * CELL, CELL // 2 + 20 * CELL] = -1
    assert evidence_of(plate(), depth).front[15, 20] == 1


def test_what_stands_at_the_wall_is_not_surely_in_front() -> None:
    assert evidence_of(plate(), with_body(WALL - 0.08)).front.max() == 0


@pytest.mark.parametrize("shade", [1.0, 0.6])
def test_the_wall_and_shadows_on_it_are_background(shade: float) -> None:
    color = np.rint(plate() * shade).astype(np.uint8)
    found = evidence_of(color, with_body())
    assert found.back[:, :8].min() == 1
    assert found.front[:, :8].max() == 0


def test_another_color_before_the_wall_may_be_anything() -> None:
    color = plate()
    color[:, :40] = (250, 30, 30)  # too thin for the depth sensor
    assert evidence_of(color, with_body()).back[:, :8].max() == 0


def test_another_exposure_is_no_other_color() -> None:
    color = np.clip(plate() * 1.3, 0, 255).astype(np.uint8)
    assert evidence_of(color, with_body()).back[:, :8].min() == 1


def test_nothing_is_sure_without_depth() -> None:
    unknown = np.full((HEIGHT, WIDTH), -1, np.float32)
    for found in (evidence_of(plate(), unknown), evidence_of(plate(), with_body(), known=False)):
        assert np.all(found.posterior == 0.5)
        assert found.front.max() == found.back.max() == 0


def test_what_hides_somebody_from_the_color_camera_alone_is_no_person() -> None:
    white = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    wall = np.full((HEIGHT, WIDTH), WALL, np.float32)
    evidence = DepthEvidence(white, wall, 0.01 * wall, np.ones((HEIGHT, WIDTH), bool))
    assert evidence(white, with_body()).front.max() == 0


def test_the_posterior_is_the_methods() -> None:
    random = np.random.default_rng(1)
    depth = random.uniform(0.5, 5, (HEIGHT, WIDTH)).astype(np.float32)
    depth[random.random(depth.shape) < 0.2] = -1
    found = evidence_of(plate(), depth).posterior
    live = torch.from_numpy(depth[CELL // 2 :: CELL, CELL // 2 :: CELL])
    wall = torch.full_like(live, WALL)
    np.testing.assert_allclose(found, foreground_posterior(live, wall, 0.01 * wall), atol=1e-5)


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (61, 97), (720, 1280)])
def test_any_size(size: tuple[int, int]) -> None:
    wall = np.full(size, WALL, np.float32)
    color = np.zeros((*size, 3), np.uint8)
    evidence = DepthEvidence(color, wall, 0.01 * wall, np.ones(size, bool))
    found = evidence(color, wall)
    assert found.front.shape == found.back.shape == found.posterior.shape
    assert all(np.isfinite(image).all() for image in found)

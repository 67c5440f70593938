"""The baselines on a room in which a box with known outline appears."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.baselines import ColorSubtractor, DepthThreshold, Method
from dart_ros.values import Camera, Frame

HEIGHT, WIDTH = 60, 80
CAMERA = Camera(WIDTH, HEIGHT, 70.0, 70.0, 40.0, 30.0)
BOX = (slice(20, 50), slice(30, 55))


def frame(seed: int, box: bool = False, shadow: bool = False) -> Frame:
    rng = np.random.default_rng(seed)
    color = np.full((HEIGHT, WIDTH, 3), (120, 130, 110), float)
    depth = np.full((HEIGHT, WIDTH), 3.0)
    if box:
        color[BOX] = (200, 40, 30)
        depth[BOX] = 2.0
    if shadow:
        color[20:50, 60:75] *= 0.7
    color += rng.normal(0, 2, color.shape)
    depth += rng.normal(0, 0.02, depth.shape)
    depth[:5] = -1.0
    return Frame(np.clip(color, 0, 255).astype(np.uint8), depth.astype(np.float32), 0, CAMERA)


def empty() -> Iterator[Frame]:
    return (frame(seed) for seed in range(60))


@pytest.mark.parametrize(
    "method", [DepthThreshold(8.0), ColorSubtractor("mog2"), ColorSubtractor("knn")]
)
def test_the_box_is_found(method: Method) -> None:
    method.fit(empty())
    truth = np.zeros((HEIGHT, WIDTH), bool)
    truth[BOX] = True
    # Asked again and again: what it sees must not become background.
    for seed in range(100, 180):
        alpha = method.alpha(frame(seed, box=True))
        assert alpha.shape == truth.shape and alpha.dtype == np.uint8
        assert set(np.unique(alpha)) <= {0, 255}
        assert (alpha[truth] == 255).mean() > 0.95
        assert (alpha[~truth] == 0).mean() > 0.95
    assert (method.alpha(frame(99)) == 0).mean() > 0.95


@pytest.mark.parametrize("kind", ["mog2", "knn"])
def test_shadows_are_background(kind: str) -> None:
    method = ColorSubtractor(kind)
    method.fit(empty())
    assert (method.alpha(frame(100, shadow=True)) == 0).mean() > 0.95


def test_depth_threshold_by_hand() -> None:
    method = DepthThreshold(8.0)
    depths = [[2.0, 2.0, -1.0], [2.2, -1.0, -1.0]]
    color = np.zeros((1, 3, 3), np.uint8)
    camera = Camera(3, 1, 1.0, 1.0, 0.0, 0.0)
    method.fit(Frame(color, np.array([d], np.float32), 0, camera) for d in depths)
    # Mean 2.1 and deviation sqrt(0.02); one sight of 2.0, so 1 % of it; none, so 8 m and 1 %.
    limits = [2.1 - 3 * 0.02**0.5, 2.0 - 3 * 0.02, 8.0 - 3 * 0.08]
    for shift, expected in ((-0.001, 255), (0.001, 0)):
        depth = np.array([limits], np.float32) + np.float32(shift)
        assert (method.alpha(Frame(color, depth, 0, camera)) == expected).all()
    unknown = np.full((1, 3), -1.0, np.float32)
    assert (method.alpha(Frame(color, unknown, 0, camera)) == 0).all()


def test_nothing_to_learn_from() -> None:
    for method in (DepthThreshold(8.0), ColorSubtractor("knn")):
        with pytest.raises(EvaluationError, match="no empty frames"):
            method.fit(iter(()))
    with pytest.raises(EvaluationError, match="take mog2 or knn"):
        ColorSubtractor("gmg")

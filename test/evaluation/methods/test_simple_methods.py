"""The methods without a network, on a room in which a box with known outline appears."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.methods import all_methods
from dart_ros.evaluation.methods.color_difference import ColorDifference
from dart_ros.evaluation.methods.depth_threshold import DepthThreshold
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.evaluation.methods.subtractors import Knn, Mog2
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Camera, Frame


def empty_scene(room: Any, path: Path) -> EmptyScene:
    return EmptyScene(room, SceneStore(path / "fits"), 0.0)


@pytest.mark.parametrize("kind", [DepthThreshold, ColorDifference, Mog2, Knn])
def test_the_box_is_found(kind: type[Method], room: Any, tmp_path: Path) -> None:
    method = kind()
    method.learn(empty_scene(room, tmp_path))
    truth = room.truth() == 255
    # Asked again and again: what it sees must not become background.
    for seed in range(100, 180):
        alpha = method.alpha(room.picture(seed, box=True))
        assert alpha.shape == truth.shape and alpha.dtype == np.uint8
        assert set(np.unique(alpha)) <= {0, 255}
        assert (alpha[truth] == 255).mean() > 0.95
        assert (alpha[~truth] == 0).mean() > 0.95
    assert (method.alpha(room.picture(99)) == 0).mean() > 0.95


@pytest.mark.parametrize("kind", [Mog2, Knn])
def test_shadows_are_background(kind: type[Method], room: Any, tmp_path: Path) -> None:
    method = kind()
    method.learn(empty_scene(room, tmp_path))
    assert (method.alpha(room.picture(100, shadow=True)) == 0).mean() > 0.95


def captured(**fields: np.ndarray) -> Any:
    """An empty scene of which only what was captured is asked."""
    return SimpleNamespace(captured=SimpleNamespace(**fields))


def test_depth_threshold_by_hand() -> None:
    method = DepthThreshold()
    mean, std = np.array([[2.1, 8.0]], np.float32), np.array([[0.1, 0.08]], np.float32)
    method.learn(captured(depth_mean=mean, depth_std=std))
    color, camera = np.zeros((1, 2, 3), np.uint8), Camera(2, 1, 1.0, 1.0, 0.0, 0.0)
    # 2.1 - 3 x 0.1 and 8 - 3 x 0.08.
    for depths, expected in (((1.799, 7.759), 255), ((1.801, 7.761), 0), ((-1.0, -1.0), 0)):
        frame = Frame(color, np.array([depths], np.float32), 0, camera)
        assert (method.alpha(frame) == expected).all()


def test_color_difference_by_hand() -> None:
    method = ColorDifference()
    method.learn(captured(plate=np.full((1, 4, 3), (10, 200, 100), np.uint8)))
    color = np.array([[(10, 200, 100), (35, 175, 125), (10, 200, 126), (0, 255, 100)]], np.uint8)
    frame = Frame(color, np.ones((1, 4), np.float32), 0, Camera(4, 1, 1.0, 1.0, 0.0, 0.0))
    # 25 levels are still background, 26 in one channel are not.
    assert method.alpha(frame).tolist() == [[0, 0, 255, 255]]


@pytest.mark.parametrize("kind", [DepthThreshold, ColorDifference, Mog2, Knn])
def test_nothing_to_learn_from(kind: type[Method], room: Any, tmp_path: Path) -> None:
    none = type(room)(empty_frames=0)
    with pytest.raises(EvaluationError, match="no empty frames"):
        kind().learn(empty_scene(none, tmp_path))


def test_all_methods_are_found_by_name() -> None:
    methods = all_methods()
    assert {"dart", "depth", "color", "mog2", "knn"} <= set(methods)
    assert {"rvm", "modnet", "bgmv2"} == set(all_methods("benchmark.peers")) - set(methods)
    assert all(kind.name == name and kind.title for name, kind in methods.items())
    assert methods["knn"] is Knn
    with pytest.raises(EvaluationError, match="check the path"):
        Knn(Path("/nowhere/weights"))

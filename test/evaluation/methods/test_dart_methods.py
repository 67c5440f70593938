"""The methods of this package's own network, and the empty scene that they share."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation import run
from dart_ros.evaluation.methods.dart import (
    ColorOnly,
    Dart,
    NoErrorMap,
    PaperDesign,
    PaperNoErrorMap,
    PaperNoRefinerDepth,
)
from dart_ros.evaluation.methods.method import EmptyScene
from dart_ros.fitting.weights import save_network
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import MattingNetwork
from dart_ros.runtime.weights import generic_weights_path, load_weights
from dart_ros.session.predictor import Predictor
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore


def empty_scene(room: Any, path: Path, fit_seconds: float = 0.0) -> EmptyScene:
    return EmptyScene(room, SceneStore(path / "fits"), fit_seconds)


def test_the_scene_is_captured_once(room: Any, tmp_path: Path) -> None:
    empty = empty_scene(room, tmp_path)
    scene = empty.captured
    assert scene is empty.captured and scene is empty.fitted
    assert scene.frames == 60
    assert np.median(scene.depth_mean[10:]) == pytest.approx(3.0, abs=0.01)
    assert not (tmp_path / "fits").exists()


def test_a_fit_is_kept_until_the_code_changes(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fits: list[Scene] = []

    def fit(scene: Scene, *_: object) -> tuple[Scene, None]:
        fits.append(scene)
        return scene, None

    monkeypatch.setattr("dart_ros.session.fit.fit", fit)
    for code, expected in (("old", 1), ("old", 1), ("new", 2)):
        monkeypatch.setattr(run, "_code_digest", lambda code=code: code)
        assert empty_scene(room, tmp_path, 5.0).fitted.frames == 60
        assert len(fits) == expected


def test_dart_is_what_the_matter_gives(room: Any, tmp_path: Path) -> None:
    empty, method = empty_scene(room, tmp_path), Dart(backend="torch")
    method.learn(empty)
    assert method.engine.startswith("torch")
    expected = Predictor(empty.captured, "torch").predict(room.frame(1)).alpha
    np.testing.assert_allclose(method.alpha(room.frame(1)), expected, atol=1)


def test_the_ablation_leaves_depth_out_of_the_error_alone() -> None:
    before = load_weights(generic_weights_path())
    after = NoErrorMap()._changed(load_weights(generic_weights_path())).config
    assert after == replace(before.config, depth_in_error=False)


@pytest.mark.parametrize(
    ("method", "in_refiner", "in_error"),
    [
        (PaperDesign, True, True),
        (PaperNoErrorMap, True, False),
        (PaperNoRefinerDepth, False, True),
        (ColorOnly, False, False),
    ],
)
def test_the_papers_rows(
    room: Any, tmp_path: Path, method: type[Dart], in_refiner: bool, in_error: bool
) -> None:
    config = NetworkConfig("mobilenetv2", False, in_refiner, True, False, False)
    path = tmp_path / "weights.safetensors"
    save_network(MattingNetwork(config), path, {})
    row = method(path, backend="torch")
    row.learn(empty_scene(room, tmp_path))
    network = row._changed(load_weights(path))
    assert network.config == NetworkConfig("mobilenetv2", False, in_refiner, in_error, False, False)
    assert row.alpha(room.frame(1)).shape == room.alpha(1).shape
    with pytest.raises(EvaluationError, match="depth_in_base: false"):
        method(generic_weights_path()).learn(empty_scene(room, tmp_path))


def test_weights_that_do_not_fit_are_refused(room: Any, tmp_path: Path) -> None:
    shipped = generic_weights_path()
    with pytest.raises(EvaluationError, match="leave out --fit"):
        Dart(shipped).learn(empty_scene(room, tmp_path, fit_seconds=5.0))
    with pytest.raises(EvaluationError, match="depth_in_base: false"):
        PaperDesign(shipped).learn(empty_scene(room, tmp_path))
    with pytest.raises(EvaluationError, match="--weights paper-design=PATH"):
        PaperDesign()

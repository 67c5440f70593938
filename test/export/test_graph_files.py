"""The graphs that ship are those of the method, and any network's can be exported."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import EngineError
from dart_ros.export.graph_files import _random_weights, graph_bytes, write_graphs
from dart_ros.export.stages import CoarseStage, ForegroundStage, RefiningStage
from dart_ros.method.config import NetworkConfig
from dart_ros.runtime.engine import create_engine
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    GRAPHS,
    REFINING,
    file_name,
    graphs_of,
    shipped_network,
)
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.reference_check import example_frame
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.weights import NetworkWeights, load_weights

onnx = pytest.importorskip("onnx")


def operations(content: bytes) -> list[tuple[str, int, int]]:
    nodes = onnx.load_from_string(content).graph.node
    return [(node.op_type, len(node.input), len(node.output)) for node in nodes]


@pytest.mark.parametrize("half", [False, True])
def test_the_graphs_that_ship_are_up_to_date(half: bool) -> None:
    """If this fails, the method has changed: run ``python -m dart_ros.export``."""
    weights = _random_weights(load_weights().config)
    stages = {
        COARSE: CoarseStage(weights, 4, half),
        REFINING: RefiningStage(weights, half),
        FOREGROUND: ForegroundStage(half),
    }
    for stage, module in stages.items():
        shipped = (GRAPHS / file_name(stage, 4, half)).read_bytes()
        made = graph_bytes(module.eval(), stage, Layout(48, 80), half)
        assert operations(made) == operations(shipped), stage


def test_the_graphs_that_ship_are_of_the_weights_that_ship() -> None:
    assert shipped_network(GRAPHS) == load_weights().config
    assert graphs_of(load_weights().config).folder == GRAPHS


def test_a_network_whose_graphs_do_not_ship(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    config = NetworkConfig(depth_in_base=False, depth_in_shadow=False)
    random = np.random.default_rng(0)
    state = {
        k: (v if "running" in k else random.normal(0, 0.1, v.shape)).astype(np.float32)
        for k, v in _random_weights(config).state.items()
    }
    weights, background = NetworkWeights(config, state), CapturedBackground.blank(61, 97)
    frame = example_frame(background)
    mattes = [
        create_engine(weights, background, None, backend, 1)[0].run(*frame)
        for backend in ("torch", "onnxruntime")
    ]
    assert mattes[0].alpha.std() > 1
    assert np.abs(mattes[0].alpha.astype(int) - mattes[1].alpha).max() <= 2


def test_a_place_that_cant_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EngineError, match="can't be written"):
        write_graphs(NetworkConfig(), tmp_path / "file" / "graphs")

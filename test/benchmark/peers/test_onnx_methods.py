"""Adapters of ONNX files, with small graphs of the official signatures."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from benchmark.peers.modnet import ModNet
from benchmark.peers.robust_video_matting import RobustVideoMatting
from dart_ros.errors import EvaluationError
from dart_ros.values import Camera, Frame

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
H, W = 48, 64


def save(path: Path, nodes: list[Any], inputs: list[str], outputs: list[str]) -> Path:
    from onnx import TensorProto, helper

    def value(name: str) -> Any:
        shape = [1] if name == "downsample_ratio" else [None] * 4
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    graph = helper.make_graph(
        nodes, "small", [value(n) for n in inputs], [value(n) for n in outputs]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, str(path))
    return path


@pytest.fixture
def rvm(tmp_path: Path) -> Path:
    """Alpha is the mean color plus the first state; each state grows by 0.25 a frame."""
    from onnx import helper

    quarter = helper.make_node(
        "Constant", [], ["q"], value=helper.make_tensor("q", 1, [1, 1, 1, 1], [0.25])
    )
    nodes = [quarter, helper.make_node("ReduceMean", ["src"], ["mean"], axes=[1], keepdims=1)]
    nodes += [helper.make_node("Add", [f"r{k}i", "q"], [f"r{k}o"]) for k in range(1, 5)]
    nodes += [helper.make_node("Add", ["mean", "r1i"], ["pha"])]
    inputs = ["src", "r1i", "r2i", "r3i", "r4i", "downsample_ratio"]
    return save(tmp_path / "rvm.onnx", nodes, inputs, ["pha", "r1o", "r2o", "r3o", "r4o"])


def frame(level: int) -> Frame:
    color = np.full((H, W, 3), level, np.uint8)
    return Frame(color, np.ones((H, W), np.float32), 0, Camera(W, H, 50.0, 50.0, 32.0, 24.0))


def empty(consecutive: bool) -> Any:
    """All that these methods ask of the empty scene."""
    return SimpleNamespace(consecutive=consecutive)


@pytest.mark.parametrize(("consecutive", "second"), [(True, 51 + 64), (False, 51)])
def test_rvm_remembers_consecutive_frames_alone(rvm: Path, consecutive: bool, second: int) -> None:
    method = RobustVideoMatting(rvm)
    method.learn(empty(consecutive))
    assert (method.alpha(frame(51)) == 51).all()
    np.testing.assert_allclose(method.alpha(frame(51)), second, atol=1)


def test_modnet_scales_to_its_range_and_back(tmp_path: Path) -> None:
    from onnx import helper

    nodes = [helper.make_node("ReduceMean", ["input"], ["output"], axes=[1], keepdims=1)]
    method = ModNet(save(tmp_path / "modnet.onnx", nodes, ["input"], ["output"]))
    method.learn(empty(False))
    alpha = method.alpha(frame(204))
    assert alpha.shape == (H, W)
    # 204 of 255 is 0.6 between -1 and 1.
    assert (alpha == 153).all()


def test_another_network_is_refused(rvm: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="isn't MODNet"):
        ModNet(rvm).learn(empty(False))
    (tmp_path / "bad.onnx").write_bytes(b"hello")
    with pytest.raises(EvaluationError, match="can't be read as ONNX"):
        RobustVideoMatting(tmp_path / "bad.onnx").learn(empty(False))
    with pytest.raises(EvaluationError, match="There is no"):
        ModNet(tmp_path / "none.onnx")
    with pytest.raises(EvaluationError, match="--weights modnet=PATH"):
        ModNet()

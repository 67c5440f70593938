"""Graphs completed without the ``onnx`` package, and what engines on disk are named by."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

import dart_ros
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    GRAPHS,
    INPUTS,
    OUTPUTS,
    STAGES,
    Graphs,
    stage_weights,
    tensor_shapes,
)
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.onnx_file import complete
from dart_ros.runtime.weights import NetworkWeights, load_weights

onnx = pytest.importorskip("onnx")

TYPES = st.sampled_from([np.float32, np.float16, np.uint8, np.int32, np.int64])


@settings(max_examples=50, deadline=None)
@given(st.data())
def test_a_completed_file_is_what_the_onnx_package_reads(data: st.DataObject) -> None:
    """Names, types, shapes (a free one among them) and values, beside those that it had."""
    names = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=200)
    shapes = st.lists(st.integers(-1, 1 << 40), max_size=5)
    inputs = data.draw(st.dictionaries(names, st.tuples(TYPES, shapes.map(tuple)), max_size=4))
    values = data.draw(
        st.dictionaries(
            names, TYPES.flatmap(lambda t: arrays.arrays(t, arrays.array_shapes(min_dims=0)))
        )
    )
    old = onnx.helper.make_tensor("old", onnx.TensorProto.FLOAT, [1], [7.0])
    node = onnx.helper.make_node("Identity", ["old"], ["out"])
    before = onnx.helper.make_model(onnx.helper.make_graph([node], "g", [], [], [old]))
    model = onnx.load_from_string(complete(before.SerializeToString(), inputs, values))
    assert [n.op_type for n in model.graph.node] == ["Identity"] and model.graph.name == "g"
    kept, *added = model.graph.initializer
    assert kept == old
    assert [tensor.name for tensor in added] == list(values)
    for tensor, value in zip(added, values.values(), strict=True):
        read = onnx.numpy_helper.to_array(tensor)
        assert read.dtype == value.dtype and read.shape == value.shape
        np.testing.assert_array_equal(read, value)
    assert [port.name for port in model.graph.input] == list(inputs)
    for port, (dtype, shape) in zip(model.graph.input, inputs.values(), strict=True):
        tensor = port.type.tensor_type
        assert onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) == dtype
        sides = [s.dim_value if s.HasField("dim_value") else -1 for s in tensor.shape.dim]
        assert sides == list(shape)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("size", [(61, 97), (721, 962)])
def test_all_stages_fit_together(size: tuple[int, int], half: bool) -> None:
    """What a stage gives has the type and shape that the next one is made for."""
    layout, weights, count = Layout(*size), load_weights(), 5
    shapes = tensor_shapes(layout, count, half)
    for stage in STAGES:
        model = onnx.load_from_string(Graphs(GRAPHS).model(stage, layout, count, half, weights))
        onnx.checker.check_model(model, full_check=True)
        inferred = onnx.shape_inference.infer_shapes(model, data_prop=True)
        assert [port.name for port in inferred.graph.input] == list(INPUTS[stage])
        assert [port.name for port in inferred.graph.output] == list(OUTPUTS[stage])
        for port in inferred.graph.output:
            dtype, shape = shapes[port.name]
            tensor = port.type.tensor_type
            assert onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type) == dtype, port.name
            for side, known in zip(shape, tensor.shape.dim, strict=True):
                assert not known.HasField("dim_value") or known.dim_value == side, port.name


def test_weights_are_apart_from_the_graph() -> None:
    graphs, layout, shipped = Graphs(GRAPHS), Layout(64, 96), load_weights()
    other = NetworkWeights(shipped.config, {k: v + 1 for k, v in shipped.state.items()})

    def held(weights: NetworkWeights) -> dict[str, np.ndarray]:
        model = onnx.load_from_string(graphs.model(COARSE, layout, 6, True, weights))
        return {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}

    found, changed = held(shipped), held(other)
    assert found.keys() == changed.keys()
    different = {k for k in found if not np.array_equal(found[k], changed[k])}
    assert different == set(stage_weights(COARSE, other, half=True))
    assert graphs.digest(COARSE, layout, 6) == graphs.digest(COARSE, layout, 6)
    assert graphs.digest(COARSE, layout, 6) != graphs.digest(COARSE, Layout(96, 64), 6)
    assert graphs.digest(FOREGROUND, layout, 6) != graphs.digest(FOREGROUND, layout, 7)


def test_a_changed_comment_leaves_built_engines_valid(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    package = tmp_path / "dart_ros"
    source = Path(dart_ros.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("demo", "foregrounds", "*.pyc"))
    program = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from dart_ros.runtime import cuda
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.openvino_engine import Compiler
from dart_ros.runtime.tensorrt_engine import Plans
from dart_ros.runtime.weights import load_weights
import dart_ros, types
assert dart_ros.__file__.startswith(sys.argv[1])
weights, cache, layout = load_weights(), EngineCache(Path(sys.argv[1])), Layout(64, 96)
compiler = Compiler("CPU", weights, layout, cache)
trt = types.ModuleType("tensorrt")
trt.__version__ = "10.3.0"
plans = Plans(trt, weights, layout, 6, cache, cuda.Device("Orin", (8, 7), 8))
print([compiler.name("coarse", 0), compiler.name("refining", 6), *map(plans.name, plans.stages)])
"""

    def names() -> str:
        command = [sys.executable, "-c", program, str(tmp_path)]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    before = names()
    assert "coarse_96x64_" in before
    for path in package.rglob("*.py"):
        path.write_text(path.read_text() + "\n# Another comment.\n")
    assert names() == before
    graph = package / "data" / "graphs" / "coarse4.onnx"
    # Another version of the format, a field that decides nothing here.
    graph.write_bytes(graph.read_bytes() + b"\x28\x01")
    assert names() != before

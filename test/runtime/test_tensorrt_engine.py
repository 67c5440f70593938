"""Builds for real with TensorRT-RTX, which needs no GPU; what needs one is faked at the library."""

from __future__ import annotations

import ast
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dart_ros.errors import EngineError
from dart_ros.method.geometry import tile_count
from dart_ros.runtime import cuda, tensorrt_engine
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    GRAPHS,
    REFINING,
    STAGES,
    Graphs,
    has_weights,
    stage_weights,
)
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.tensorrt_engine import (
    Plans,
    TensorRtEngine,
    build_plan,
    is_built,
    library,
    load_plan,
    refit_plan,
)
from dart_ros.runtime.weights import NetworkWeights, load_weights

SIZE = (64, 96)
LAYOUT = Layout(*SIZE)
ORIN = cuda.Device("Orin (nvgpu)", (8, 7), 8)


def other_weights(seed: int) -> NetworkWeights:
    random, shipped = np.random.default_rng(seed), load_weights()
    state = {k: v + random.normal(0, 0.01, v.shape) for k, v in shipped.state.items()}
    return NetworkWeights(shipped.config, state)


@pytest.fixture(scope="module")
def weights() -> NetworkWeights:
    return load_weights()


@pytest.fixture(scope="module")
def graph(weights: NetworkWeights) -> bytes:
    return Graphs(GRAPHS).model(REFINING, LAYOUT, 6, half=True, weights=weights)


# -- the real builder -------------------------------------------------------------------------


@pytest.mark.parametrize(("size", "capability"), [(SIZE, (8, 6)), ((720, 1280), (8, 9))])
def test_all_stages_are_built_in_half_precision(
    weights: NetworkWeights, size: tuple[int, int], capability: tuple[int, int]
) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    told: list[float] = []
    for stage in STAGES:
        layout, count = Layout(*size), tile_count(*size) or 0
        graph = Graphs(GRAPHS).model(stage, layout, count, half=True, weights=weights)
        plan = build_plan(
            trt, graph, capability=capability, on_progress=lambda share, _: told.append(share)
        )
        if stage == COARSE:
            assert len(plan) > 4_000_000  # weights in half precision
    assert told and all(0 <= share <= 1 for share in told)


def test_fitted_weights_are_built_without_a_new_export(weights: NetworkWeights) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    graphs = Graphs(GRAPHS)
    plans = [
        build_plan(
            trt,
            graphs.model(REFINING, LAYOUT, 6, half=True, weights=each),
            capability=(8, 6),
        )
        for each in (weights, other_weights(0))
    ]
    held = stage_weights(REFINING, other_weights(0), half=True)["head_bias"].tobytes()
    assert held in graphs.model(REFINING, LAYOUT, 6, half=True, weights=other_weights(0))
    assert plans[0] != plans[1]


def test_a_gpu_that_rtx_does_not_know(graph: bytes) -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(EngineError, match="can't build for compute capability 87"):
        build_plan(trt, graph, capability=(8, 7))


def test_a_graph_that_is_none() -> None:
    trt = pytest.importorskip("tensorrt_rtx")
    with pytest.raises(EngineError, match="can't read the graph"):
        build_plan(trt, b"not a graph", capability=(8, 6))


@pytest.mark.parametrize("size", [SIZE, (720, 1280)])
def test_the_graphs_keep_to_what_tensorrt_builds(
    weights: NetworkWeights, size: tuple[int, int]
) -> None:
    onnx = pytest.importorskip("onnx")
    kinds: set[str] = set()
    for stage in STAGES:
        graph = Graphs(GRAPHS).model(stage, Layout(*size), 6, half=True, weights=weights)
        model = onnx.load_from_string(graph)
        onnx.checker.check_model(model)
        kinds |= {node.op_type for node in model.graph.node}
    assert "TopK" in kinds and "ScatterND" in kinds
    assert not kinds & {"NonZero", "RoiAlign", "GatherElements", "Loop", "If"}


# -- other versions, faked --------------------------------------------------------------------


class FakeTensorRt:
    """Records what the builder is asked for; ``accepts`` are the plans that its runtime loads."""

    float32, float16 = "float32", "float16"
    Logger = type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None})
    MemoryPoolType = SimpleNamespace(WORKSPACE=0)

    def __init__(self, version: str, accepts: tuple[bytes, ...] = ()) -> None:
        self.__version__ = version
        self.__name__ = "tensorrt"
        layers = {"CONSTANT": 0, "SHAPE": 1, "CONVOLUTION": 3, "IDENTITY": 4}
        self.LayerType = SimpleNamespace(**layers)
        if not version.startswith("8.5"):
            self.LayerType.CAST = 2
        kinds = {"EXPLICIT_BATCH": 0} if version < "9" else {}
        if version.startswith("10") or version.startswith("11"):
            kinds["STRONGLY_TYPED"] = 1
        self.NetworkDefinitionCreationFlag = SimpleNamespace(**kinds)
        names = {"FP16": "FP16", "OBEY_PRECISION_CONSTRAINTS": "OBEY"}
        if not version.startswith("8"):
            names["REFIT_INDIVIDUAL"] = "INDIVIDUAL"
        self.BuilderFlag = SimpleNamespace(**names)
        self.marked: list[str] = []
        self.rigid = False  # whether it can't build an engine whose weights can be replaced
        self.accepts = accepts
        self.layers = [
            SimpleNamespace(num_outputs=1, type=3, precision=None, get_output=lambda _: half),
            SimpleNamespace(num_outputs=1, type=3, precision=None, get_output=lambda _: full),
            SimpleNamespace(num_outputs=1, type=0, precision=None, get_output=lambda _: full),
            SimpleNamespace(
                num_outputs=1,
                type=getattr(self.LayerType, "CAST", self.LayerType.IDENTITY),
                precision=None,
                get_output=lambda _: full,
            ),
        ]
        half, full = SimpleNamespace(dtype="float16"), SimpleNamespace(dtype="float32")
        self.flags: int = -1
        self.config_flags: list[str] = []
        self.timings: list[bytes] = []

    def Builder(self, logger: object) -> Any:
        def mark(name: str) -> bool:
            self.marked.append(name)
            return name != "unknown"

        def create_network(flags: int) -> Any:
            self.flags = flags
            return SimpleNamespace(
                num_layers=len(self.layers),
                get_layer=self.layers.__getitem__,
                mark_weights_refittable=mark,
            )

        def create_timing_cache(blob: bytes) -> Any:
            self.timings.append(blob)
            return SimpleNamespace(serialize=lambda: b"timings")

        timing = SimpleNamespace(serialize=lambda: b"timings")
        config = SimpleNamespace(
            set_memory_pool_limit=lambda *_: None,
            set_flag=self.config_flags.append,
            clear_flag=self.config_flags.remove,
            create_timing_cache=create_timing_cache,
            set_timing_cache=lambda cache, ignore_mismatch: True,
            get_timing_cache=lambda: timing,
        )
        return SimpleNamespace(
            create_network=create_network,
            create_builder_config=lambda: config,
            build_serialized_network=lambda network, config: (
                None if self.rigid and "INDIVIDUAL" in self.config_flags else b"plan"
            ),
        )

    def OnnxParser(self, network: object, logger: object) -> Any:
        return SimpleNamespace(parse=lambda onnx: True)

    def Runtime(self, logger: object) -> Any:
        engine = SimpleNamespace(create_execution_context=lambda: "context")
        return SimpleNamespace(
            deserialize_cuda_engine=lambda plan: engine if plan in self.accepts else None
        )


@pytest.mark.parametrize(
    ("version", "flags", "asked"),
    [
        ("8.5.2", 1, ["FP16", "OBEY"]),
        ("8.6.2", 1, ["FP16", "OBEY"]),
        ("10.3.0", 2, []),
        ("11.0.1", 0, []),
    ],
)
def test_each_version_is_asked_for_half_precision_in_its_way(
    version: str, flags: int, asked: list[str]
) -> None:
    trt = FakeTensorRt(version)
    assert build_plan(trt, b"graph") == b"plan"
    assert (trt.flags, trt.config_flags) == (flags, asked)
    # What is float32 in the graph is held to it where types aren't strong; constants are free.
    held = "float32" if asked else None
    assert [layer.precision for layer in trt.layers] == [None, held, None, None]


def test_types_that_are_not_told_are_no_reason_to_build_in_full_precision() -> None:
    trt = FakeTensorRt("8.6.2")
    del trt.layers[0]
    with pytest.raises(EngineError, match=r"which layers are in half precision.*JetPack"):
        build_plan(trt, b"graph")


def test_timings_are_kept_from_build_to_build(tmp_path: Path) -> None:
    trt, cache = FakeTensorRt("10.3.0"), EngineCache(tmp_path)
    build_plan(trt, b"graph", cache=cache)
    build_plan(trt, b"graph", cache=cache)
    assert trt.timings == [b"", b"timings"]
    build_plan(FakeTensorRt("10.4.0"), b"graph", cache=cache)
    assert len(list(tmp_path.glob("timing_*.cache"))) == 2


def test_plain_tensorrt_builds_for_the_gpu_at_hand_alone() -> None:
    with pytest.raises(EngineError, match="only for the GPU at hand"):
        build_plan(FakeTensorRt("10.3.0"), b"graph", capability=(8, 6))


# -- engines on disk, faked -------------------------------------------------------------------


def test_an_engine_of_another_version_is_built_again(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    cache.write("a.engine", b"old")
    built: list[bytes] = []

    def build() -> bytes:
        built.append(b"new")
        return b"new"

    loaded = load_plan(FakeTensorRt("10.3.0", (b"new",)), cache, "a.engine", build)
    assert loaded[-1] == "context"
    assert built == [b"new"]
    assert cache.read("a.engine") == b"new"
    assert "doesn't load and is made again" in cache.notes[0]
    load_plan(FakeTensorRt("10.3.0", (b"new",)), cache, "a.engine", build)
    assert built == [b"new"]


def test_an_engine_that_never_loads_is_given_up(tmp_path: Path) -> None:
    built: list[int] = []

    def build() -> bytes:
        built.append(1)
        return b"new"

    with pytest.raises(EngineError, match="can't load the engine that it has just built"):
        load_plan(FakeTensorRt("10.3.0"), EngineCache(tmp_path), "a.engine", build)
    assert len(built) == 2


def test_an_engine_without_memory_to_run_in_is_kept(tmp_path: Path) -> None:
    cache, trt = EngineCache(tmp_path), FakeTensorRt("10.3.0", (b"good",))
    cache.write("a.engine", b"good")
    engine = SimpleNamespace(create_execution_context=lambda: None)
    trt.Runtime = lambda _: SimpleNamespace(deserialize_cuda_engine=lambda _: engine)  # type: ignore[method-assign]
    with pytest.raises(EngineError, match="no memory to run its engine"):
        load_plan(trt, cache, "a.engine", lambda: b"built")
    assert cache.read("a.engine") == b"good"


@pytest.mark.parametrize("answer", [None, TypeError("factory function returned nullptr")])
def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any) -> None:
    def nothing(*_: object) -> None:
        if answer is not None:
            raise answer

    trt = FakeTensorRt("10.3.0")
    monkeypatch.setattr(trt, "Runtime", nothing)
    monkeypatch.setattr(trt, "Builder", nothing)
    with pytest.raises(EngineError, match=r"can't make a runtime.*driver"):
        load_plan(trt, EngineCache(tmp_path), "a.engine", lambda: b"plan")
    with pytest.raises(EngineError, match=r"can't make a builder.*driver"):
        build_plan(trt, b"graph")


def plans(
    trt: Any,
    weights: NetworkWeights,
    cache: EngineCache,
    count: int = 6,
    layout: Layout = LAYOUT,
    device: cuda.Device = ORIN,
) -> Plans:
    return Plans(trt, weights, layout, count, cache, device)


def test_what_decides_an_engine_is_in_its_name(weights: NetworkWeights, tmp_path: Path) -> None:
    trt, cache = FakeTensorRt("10.3.0"), EngineCache(tmp_path)
    usual = plans(trt, weights, cache)
    others = [
        plans(trt, weights, cache, count=7),
        plans(trt, weights, cache, layout=Layout(96, 64)),
        plans(trt, weights, cache, device=cuda.Device(ORIN.name, (8, 9), 8)),
        plans(trt, weights, cache, device=cuda.Device(ORIN.name, (8, 7), 4)),
        plans(trt, weights, cache, device=cuda.Device("other", (8, 7), 8)),
        plans(FakeTensorRt("10.4.0"), weights, cache),
        plans(trt, other_weights(1), cache),
    ]
    names = {each.name(REFINING) for each in (usual, *others)}
    assert len(names) == 8
    assert plans(trt, load_weights(), cache).name(REFINING) in names
    assert not any("/" in name or " " in name for name in names)
    # What has learnt nothing serves all weights.
    assert usual.name(FOREGROUND) == others[-1].name(FOREGROUND)
    assert {has_weights(stage) for stage in usual.stages} == {True, False}
    rtx = FakeTensorRt("1.7.0")
    rtx.__name__ = "tensorrt_rtx"
    fewer = cuda.Device("other", (8, 7), 4)
    assert plans(rtx, weights, cache).name(COARSE) == (
        plans(rtx, weights, cache, device=fewer).name(COARSE)
    ), "it is built for all GPUs of a capability"


# -- other weights in an engine, faked ---------------------------------------------------------


class RefittingTensorRt(FakeTensorRt):
    """Plans are ``repr`` of a dict of weights; an engine takes up those that it has by name.

    As of 10.14 an engine is refittable once, unless it is asked to stay so.
    """

    Weights = staticmethod(lambda value: value)

    def __init__(self, plan: dict[str, int], *, refits: bool = True, new: bool = True) -> None:
        super().__init__("10.14.0")
        self.plan, self.missing, self.refits = repr(plan).encode(), list[str](), refits
        if new:
            self.SerializationFlag = SimpleNamespace(INCLUDE_REFIT="INCLUDE_REFIT")

    def Runtime(self, logger: object) -> Any:
        def deserialize(plan: bytes) -> Any:
            weights = ast.literal_eval(plan.decode())
            if weights.get("a") == 666:
                return None  # serialized well, and yet it doesn't load
            flags: list[str] = []

            def serialize_with_config(config: Any) -> bytes:
                return repr(weights if flags else {**weights, "rigid": 1}).encode()

            return SimpleNamespace(
                refittable="rigid" not in weights,
                weights=weights,
                serialize=lambda: repr(weights).encode(),
                create_serialization_config=lambda: SimpleNamespace(set_flag=flags.append),
                serialize_with_config=serialize_with_config,
                create_execution_context=lambda: "context",
            )

        return SimpleNamespace(deserialize_cuda_engine=deserialize)

    def Refitter(self, engine: Any, logger: object) -> Any:
        told: dict[str, int] = {}

        def set_named_weights(name: str, value: np.ndarray) -> bool:
            told[name] = int(value.item())
            return told[name] >= 0

        def refit_cuda_engine() -> bool:
            engine.weights.update(told)
            return self.refits

        return SimpleNamespace(
            get_all_weights=lambda: list(engine.weights),
            set_named_weights=set_named_weights,
            get_missing_weights=lambda: self.missing,
            refit_cuda_engine=refit_cuda_engine,
        )


def test_weights_stay_replaceable_where_the_version_can_do_that() -> None:
    old, new, rigid = (FakeTensorRt(version) for version in ("8.6.2", "10.3.0", "11.0.1"))
    rigid.rigid = True
    for trt in (old, new, rigid):
        assert build_plan(trt, b"graph", replaceable=("a", "b")) == b"plan"
    assert old.config_flags == ["FP16", "OBEY"] and not old.marked
    assert new.config_flags == ["INDIVIDUAL"] and new.marked == ["a", "b"]
    lacking = FakeTensorRt("10.3.0")
    assert build_plan(lacking, b"graph", replaceable=("a", "unknown")) == b"plan"
    assert lacking.config_flags == [], "all of them or none"
    assert rigid.config_flags == [], "better an engine that has to be built anew than none"


def numbers(**values: int) -> dict[str, np.ndarray]:
    return {name: np.array(value) for name, value in values.items()}


def test_an_engine_takes_up_other_weights_and_keeps_its_constants() -> None:
    for new in (True, False):
        trt = RefittingTensorRt({"a": 1, "b": 2, "constant": 3}, new=new)
        made = refit_plan(trt, trt.plan, numbers(a=7, b=8))
        assert ast.literal_eval(made.decode()) == {"a": 7, "b": 8, "constant": 3}
        again = refit_plan(trt, made, numbers(a=9, b=8))
        assert ast.literal_eval(again.decode()) == {"a": 9, "b": 8, "constant": 3}


def test_an_engine_that_cannot_take_up_all_weights_is_not_refitted_in_part() -> None:
    trt = RefittingTensorRt({"a": 1})
    with pytest.raises(EngineError, match="1 of its weights can't be replaced, such as b"):
        refit_plan(trt, trt.plan, numbers(a=7, b=8))
    with pytest.raises(EngineError, match="such as a"):
        refit_plan(trt, trt.plan, numbers(a=-1))  # refused by the library
    trt.missing = ["c"]
    with pytest.raises(EngineError, match="such as c"):
        refit_plan(trt, trt.plan, numbers(a=7))
    trt = RefittingTensorRt({"a": 1}, refits=False)
    with pytest.raises(EngineError, match="failed to replace"):
        refit_plan(trt, trt.plan, numbers(a=7))
    with pytest.raises(EngineError, match="can't be replaced"):
        refit_plan(trt, b"{'a': 1, 'rigid': 1}", numbers(a=7))
    with pytest.raises(EngineError, match="with other weights it doesn't load"):
        refit_plan(RefittingTensorRt({}), b"{'a': 1}", numbers(a=666))
    with pytest.raises(EngineError, match="it doesn't load"):
        refit_plan(FakeTensorRt("10.3.0"), b"plan", numbers(a=7))


def test_an_engine_of_other_weights_is_refitted_instead_of_built(
    weights: NetworkWeights, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted: list[set[str]] = []

    def refit(trt: Any, plan: bytes, weights: Mapping[str, Any]) -> bytes:
        wanted.append(set(weights))
        if plan == b"old":
            raise EngineError("its weights can't be replaced")
        if plan == b"odd":
            raise TypeError("of the library")
        return b"refitted " + plan

    monkeypatch.setattr(tensorrt_engine, "refit_plan", refit)
    trt, cache = FakeTensorRt("10.3.0"), EngineCache(tmp_path)
    mine, other = plans(trt, weights, cache), plans(trt, other_weights(2), cache)
    assert mine.make(REFINING) == b"plan", "there is none yet"
    cache.write(plans(trt, other_weights(2), cache, count=7).name(REFINING), b"of another graph")
    assert mine.make(REFINING) == b"plan"
    cache.write(other.name(REFINING), b"other weights")
    said: list[str] = []
    made = mine.make(REFINING, on_progress=lambda _, what: said.append(what))
    assert (made, said) == (b"refitted other weights", ["refining: refitting"])
    assert wanted == [set(stage_weights(REFINING, weights, half=True))]
    assert plans(trt, weights, EngineCache(tmp_path / "b")).make(REFINING) == b"plan"
    cache.write(plans(trt, other_weights(3), cache).name(REFINING), b"odd")
    assert mine.make(REFINING) == b"refitted other weights"
    assert "can't be refitted: of the library" in cache.notes[-1]
    cache.write(other.name(REFINING), b"old")
    assert mine.make(REFINING) == b"plan"
    assert "can't be refitted: its weights can't be replaced" in str(cache.notes)
    mine.refittable = False
    cache.write(other.name(REFINING), b"other weights")
    assert mine.make(REFINING) == b"plan", "one whose weights can't be replaced is asked for"


# -- no GPU -----------------------------------------------------------------------------------


@pytest.mark.skipif(cuda.available(), reason="there is a GPU")
def test_without_a_gpu_the_engine_says_so(weights: NetworkWeights, tmp_path: Path) -> None:
    background = CapturedBackground.blank(*SIZE)
    with pytest.raises(EngineError, match="no NVIDIA GPU with its driver"):
        TensorRtEngine(weights, background, 6, cache=EngineCache(tmp_path))
    assert is_built(weights, LAYOUT, 6, EngineCache(tmp_path)), "there is nothing to wait for"


def test_without_the_library_both_reasons_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorrt", None)
    monkeypatch.setitem(sys.modules, "tensorrt_rtx", None)
    with pytest.raises(EngineError, match=r"tensorrt: .*tensorrt_rtx: .*JetPack"):
        library()

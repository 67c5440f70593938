"""The way of a frame through TensorRT's engine: CUDA's memory, stream and graphs are stood in for,
and ONNX Runtime computes what the engines would, from the addresses that they are given."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime import cuda, tensorrt_engine
from dart_ros.runtime.engine import create_engine
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.graphs import COARSE, INPUTS, OUTPUTS, tensor_shapes
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.reference_check import example_frame
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.tensorrt_engine import TensorRtEngine
from dart_ros.runtime.weights import load_weights

onnxruntime = pytest.importorskip("onnxruntime")

SIZE = (61, 97)
TILES = 7


class FakeCuda:
    """The CUDA runtime of a GPU whose memory is this process's, by cuda-python's calls.

    What is queued is done at once, unless the stream captures.
    """

    cudaMemcpyKind = SimpleNamespace(cudaMemcpyHostToDevice=1, cudaMemcpyDeviceToHost=2)
    cudaStreamCaptureMode = SimpleNamespace(cudaStreamCaptureModeThreadLocal=1)
    cudaDeviceAttr = SimpleNamespace(
        cudaDevAttrComputeCapabilityMajor="major",
        cudaDevAttrComputeCapabilityMinor="minor",
        cudaDevAttrMultiProcessorCount="processors",
    )

    def __init__(self) -> None:
        self.blocks: dict[int, Any] = {}
        self.captured: list[Callable[[], None]] | None = None
        self.graphs: list[list[Callable[[], None]]] = []
        self.freed: list[int] = []

    def do(self, work: Callable[[], None]) -> None:
        if self.captured is None:
            work()
        else:
            self.captured.append(work)

    def cudaDeviceGetAttribute(self, kind: str, device: int) -> tuple[int, int]:
        return 0, {"major": 8, "minor": 7, "processors": 8}[kind]

    def cudaGetDeviceProperties(self, device: int) -> tuple[int, Any]:
        return 0, SimpleNamespace(name=b"Orin\0\0")

    def cudaStreamCreateWithFlags(self, flags: int) -> tuple[int, int]:
        return 0, 77

    def cudaMalloc(self, size: int) -> tuple[int, int]:
        block = (ctypes.c_uint8 * size)()
        address = ctypes.addressof(block)
        self.blocks[address] = block
        return 0, address

    def cudaHostAlloc(self, size: int, flags: int) -> tuple[int, int]:
        return self.cudaMalloc(size)

    def cudaFree(self, address: int) -> tuple[int]:
        self.freed.append(address)
        return (0,)

    cudaFreeHost = cudaFree

    def cudaMemcpyAsync(
        self, target: int, source: int, size: int, kind: int, stream: int
    ) -> tuple[int]:
        self.do(lambda: ctypes.memmove(target, source, size) and None)
        return (0,)

    def cudaStreamBeginCapture(self, stream: int, mode: int) -> tuple[int]:
        self.captured = []
        return (0,)

    def cudaStreamEndCapture(self, stream: int) -> tuple[int, Any]:
        captured, self.captured = self.captured, None
        return 0, captured

    def cudaGraphInstantiateWithFlags(self, graph: Any, flags: int) -> tuple[int, Any]:
        self.graphs.append(graph)
        return 0, graph

    def cudaGraphDestroy(self, graph: Any) -> tuple[int]:
        return (0,)

    cudaGraphExecDestroy = cudaStreamDestroy = cudaGraphDestroy

    def cudaGraphLaunch(self, graph: Any, stream: int) -> tuple[int]:
        for work in graph:
            work()
        return (0,)

    def cudaStreamSynchronize(self, stream: int) -> tuple[int]:
        return (0,)


class FakeTensorRt:
    """Its plans are ONNX files, which ONNX Runtime runs on the memory that they are given.

    Args:
        gpu: where it runs.
        wrong: whether engines whose weights can be replaced compute something else.
    """

    __name__, __version__ = "tensorrt", "10.9.0"
    Logger = type("Logger", (), {"WARNING": 1, "__init__": lambda self, level: None})

    def __init__(self, gpu: FakeCuda, wrong: bool = False) -> None:
        self.gpu, self.wrong = gpu, wrong
        self.runs: list[str] = []

    def Runtime(self, logger: object) -> Any:
        return SimpleNamespace(deserialize_cuda_engine=self.engine)

    def engine(self, plan: bytes) -> Any:
        spoiled, _, model = plan.partition(b"|")
        session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
        outputs = [port.name for port in session.get_outputs()]
        (stage,) = (name for name, made in OUTPUTS.items() if list(made) == outputs)
        shapes = tensor_shapes(Layout(*SIZE), TILES, half=True)
        addresses: dict[str, int] = {}

        def array(name: str) -> NDArray[Any]:
            dtype, shape = shapes[name]
            size = int(np.prod(shape)) * np.dtype(dtype).itemsize
            memory = (ctypes.c_uint8 * size).from_address(addresses[name])
            return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

        def work() -> None:
            self.runs.append(stage)
            made = session.run(outputs, {name: array(name) for name in INPUTS[stage]})
            for name, value in zip(outputs, made, strict=True):
                array(name)[...] = 0 if spoiled else value

        def execute(stream: int) -> bool:
            assert stream == 77
            self.gpu.do(work)
            return True

        context = SimpleNamespace(
            set_tensor_address=addresses.__setitem__, execute_async_v3=execute
        )
        return SimpleNamespace(create_execution_context=lambda: context)

    def build(self, trt: Any, onnx: bytes, *_: Any) -> bytes:
        replaceable = _[-1]
        return (b"spoiled|" if self.wrong and replaceable else b"|") + onnx


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCuda]:
    fake = FakeCuda()
    monkeypatch.setattr(cuda, "_runtime", lambda: fake)
    monkeypatch.setattr(cuda, "available", lambda: True)
    yield fake


def installed(monkeypatch: pytest.MonkeyPatch, trt: FakeTensorRt) -> FakeTensorRt:
    monkeypatch.setattr(tensorrt_engine, "library", lambda: trt)
    monkeypatch.setattr(tensorrt_engine, "build_plan", trt.build)
    return trt


def scene(seed: int = 0) -> CapturedBackground:
    random = np.random.default_rng(seed)
    mean = np.full(SIZE, 3, np.float32)
    known = np.ones(SIZE, bool)
    known[20:30, 70:] = False
    plate = random.integers(60, 200, (*SIZE, 3), np.uint8)
    return CapturedBackground(plate, mean, (0.01 * mean).astype(np.float32), known)


def test_mattes_are_those_of_another_engine(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = installed(monkeypatch, FakeTensorRt(gpu))
    weights, background = load_weights(), scene()
    engine = TensorRtEngine(weights, background, TILES, cache=EngineCache(tmp_path))
    assert engine.notes == ()
    other, _ = create_engine(weights, background, TILES, "torch", threads=1)
    color, depth = example_frame(background)
    for frame in ((color, depth), (np.roll(color, 9, 1), np.roll(depth, 9, 1))):
        found, expected = engine.run(*frame), other.run(*frame)
        assert (expected.alpha > 200).mean() > 0.02
        for name in ("alpha", "foreground"):
            image, wanted = getattr(found, name), getattr(expected, name)
            difference = np.abs(image.astype(int) - wanted)
            # Half precision; few small tiles.
            assert difference.mean() < 0.5 and (difference > 8).mean() < 0.01
            assert image.flags.c_contiguous and image.flags.owndata
    trt.runs.clear()
    assert engine.run(color, depth, foreground=False).foreground is None
    assert trt.runs == ["coarse", "tiles", "refining"], "nothing else is computed"
    with pytest.raises(EngineError, match="failed on a frame"):
        engine.run(color[1:], depth[1:])
    owned = set(gpu.blocks)
    del engine
    assert set(gpu.freed) == owned


def test_a_background_is_swapped(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    installed(monkeypatch, FakeTensorRt(gpu))
    weights, first, second = load_weights(), scene(), scene(seed=1)
    engine, other = (
        TensorRtEngine(weights, background, TILES, cache=EngineCache(tmp_path))
        for background in (first, second)
    )
    frame = example_frame(second)
    before = engine.run(*frame)
    blocks = len(gpu.blocks)
    swap = engine.prepare(second)
    assert np.array_equal(engine.run(*frame).alpha, before.alpha), "prepared isn't swapped"
    swap()
    found, expected = engine.run(*frame), other.run(*frame)
    for name in ("alpha", "foreground"):
        assert np.array_equal(getattr(found, name), getattr(expected, name))
    assert not np.array_equal(found.alpha, before.alpha)
    assert len(gpu.blocks) == blocks, "the memory of before is written to"


def test_every_tile_needs_no_choice(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = installed(monkeypatch, FakeTensorRt(gpu))
    total = Layout(*SIZE).tiles
    monkeypatch.setitem(globals(), "TILES", total)
    weights, background = load_weights(), scene()
    engine = TensorRtEngine(weights, background, None, cache=EngineCache(tmp_path))
    other, _ = create_engine(weights, background, None, "torch", threads=1)
    frame = example_frame(background)
    difference = np.abs(engine.run(*frame).alpha.astype(int) - other.run(*frame).alpha)
    assert difference.mean() < 0.5 and "tiles" not in trt.runs


def test_an_engine_that_mattes_otherwise_does_not_serve(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Refittable engines can be wrong without an error: others are built in their place."""
    weights, background, cache = load_weights(), scene(), EngineCache(tmp_path)
    installed(monkeypatch, FakeTensorRt(gpu, wrong=True))
    engine = TensorRtEngine(weights, background, TILES, cache=cache)
    assert "mattes otherwise than" in engine.notes[0] and "built anew" in engine.notes[0]
    assert engine.run(*example_frame(background)).alpha.max() > 200
    # It isn't compared again, nor built again.
    monkeypatch.setattr(tensorrt_engine, "check_engine", None)
    monkeypatch.setattr(tensorrt_engine, "build_plan", None)
    TensorRtEngine(weights, background, TILES, cache=EngineCache(tmp_path))


def test_an_engine_that_is_wrong_for_good_is_refused(
    gpu: FakeCuda, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trt = installed(monkeypatch, FakeTensorRt(gpu))
    monkeypatch.setattr(tensorrt_engine, "build_plan", lambda _, onnx, *__: b"spoiled|" + onnx)
    with pytest.raises(EngineError, match="mattes otherwise than"):
        TensorRtEngine(load_weights(), scene(), TILES, cache=EngineCache(tmp_path))
    assert trt.runs and not list(tmp_path.glob(f"{COARSE}_*.engine")), "it is not kept"


def test_an_error_of_cuda_is_told(gpu: FakeCuda) -> None:
    stream = cuda.Stream()
    gpu.cudaMalloc = lambda size: (2, None)  # type: ignore[method-assign,assignment,return-value]
    with pytest.raises(EngineError, match="CUDA failed"):
        stream.allocate(np.uint8, (5,))


def test_without_cuda_python_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "available", lambda: True)
    monkeypatch.setitem(__import__("sys").modules, "cuda", None)
    with pytest.raises(EngineError, match="pip install cuda-python"):
        cuda.device()

"""Runs the network through OpenVINO: the fastest engine on a CPU."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    INPUTS,
    OUTPUTS,
    REFINING,
    graphs_of,
    has_weights,
)
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.staged_engine import StagedEngine
from dart_ros.runtime.tile_choice import tile_counts
from dart_ros.runtime.weights import NetworkWeights

if TYPE_CHECKING:
    import openvino


class OpenVinoEngine(StagedEngine):
    """OpenVINO, in the precision that the device computes natively.

    The scene is an input that stays in its place, so one compiled network serves all scenes of a
    size; it is kept in the cache, from where it comes back in a fraction of a second.

    Args:
        weights: of the network.
        background: the captured scene.
        tiles: largest number of refined tiles, None to refine all, sure or not.
        threads: CPU threads, 0 for as many as there are cores.
        cache: where compiled networks are kept, None for the user's cache folder.
        on_progress: told the share that is ready, 0 to 1, and what comes next in words.

    Raises:
        EngineError: if OpenVINO is not installed, lacks the device or can't compile the network.
    """

    title = "OpenVINO"
    device = "CPU"

    def __init__(
        self,
        weights: NetworkWeights,
        background: CapturedBackground,
        tiles: int | None,
        threads: int = 0,
        cache: EngineCache | None = None,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> None:
        super().__init__(weights, background, tiles)
        cache = cache or EngineCache()
        compiler = Compiler(self.device, weights, self._layout, cache, threads)
        self.name = f"openvino ({compiler.description})"
        # Kept, because the requests only point to them.
        self._buffers: dict[str, NDArray[Any]] = {
            "color": self._frame.color,
            "depth": self._frame.depth,
            **scene_buffers(weights, background),
        }
        self._requests: dict[tuple[str, int], openvino.InferRequest] = {}
        parts = _parts(self._counts)
        try:
            for done, (stage, count) in enumerate(parts):
                if on_progress:
                    on_progress(done / len(parts), f"compiling {stage}")
                request = compiler.load(stage, count).create_infer_request()
                self._requests[stage, count] = request
                self._place(request, stage, self._buffers)
                if stage == COARSE:
                    for name, output in zip(OUTPUTS[COARSE], request.output_tensors, strict=True):
                        self._buffers[name] = output.data
        except RuntimeError as error:
            raise EngineError(f"OpenVINO can't compile the network: {error}") from error
        if on_progress:
            on_progress(1.0, "ready")
        self.notes = tuple(cache.notes)

    def _placed(self, buffers: dict[str, NDArray[Any]]) -> Callable[[], None]:
        def place() -> None:
            for (stage, _), request in self._requests.items():
                self._place(request, stage, buffers)
            self._buffers |= buffers

        return place

    def _place(
        self, request: openvino.InferRequest, stage: str, buffers: dict[str, NDArray[Any]]
    ) -> None:
        """Lets a request read what is made already from memory that stays where it is."""
        import openvino

        for index, name in _inputs(request, stage):
            if name in buffers:
                memory = openvino.Tensor(buffers[name], shared_memory=True)
                request.set_input_tensor(index, memory)

    def _infer(self, stage: str, count: int) -> None:
        request = self._requests[stage, count if stage == REFINING else 0]
        inputs = {
            index: self._buffers[name]
            for index, name in _inputs(request, stage)
            if name in ("tiles", "refined")
        }
        request.infer(inputs, share_inputs=True)
        for name, output in zip(OUTPUTS[stage], request.output_tensors, strict=True):
            self._buffers[name] = output.data

    def _output(self, name: str) -> NDArray[Any]:
        return self._buffers[name]

    def _set_tiles(self, tiles: NDArray[np.int32]) -> None:
        self._buffers["tiles"] = tiles


def _inputs(request: openvino.InferRequest, stage: str) -> Iterator[tuple[int, str]]:
    """Place and name of each input that a compiled stage has: OpenVINO drops what a network doesn't
    read."""
    for index, port in enumerate(request.model_inputs):
        yield index, next(name for name in INPUTS[stage] if name in port.names)


class OpenVinoGpuEngine(OpenVinoEngine):
    """The same on an Intel GPU."""

    device = "GPU"


class Compiler:
    """Compiles the stages for a size and a set of weights, or finds them in the cache.

    Args:
        device: OpenVINO's name of it.
        weights: of the network.
        layout: of the frames.
        cache: where compiled networks are kept.
        threads: CPU threads, 0 for as many as there are cores.

    Attributes:
        description: the precision, and the device where it isn't the CPU.

    Raises:
        EngineError: if OpenVINO is not installed or finds no such device.
    """

    def __init__(
        self,
        device: str,
        weights: NetworkWeights,
        layout: Layout,
        cache: EngineCache,
        threads: int = 0,
    ) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineError(
                f"OpenVINO can't be imported ({error}): pip install openvino"
            ) from error
        try:
            self._core = openvino.Core()
            native = self._core.get_property(device, "OPTIMIZATION_CAPABILITIES")
            processor = self._core.get_property(device, "FULL_DEVICE_NAME")
        except RuntimeError as error:
            raise EngineError(f"OpenVINO finds no {device} to run on: {error}") from error
        half = "BF16" if device == "CPU" else "FP16"
        self._precision = half.lower().replace("fp", "f") if half in native else "f32"
        self.description = self._precision if device == "CPU" else f"{device}, {self._precision}"
        self._device = device
        self._weights, self._layout, self._cache = weights, layout, cache
        self._graphs = graphs_of(weights.config)
        self._settings = repr((self._precision, openvino.__version__, processor, native))
        self._threads = threads

    def load(self, stage: str, count: int) -> openvino.CompiledModel:
        """A stage, compiled; one that OpenVINO doesn't accept is made once more."""
        precision = self._precision if has_weights(stage) else "f32"
        options: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": precision,
        }
        if self._device == "CPU":
            options["INFERENCE_NUM_THREADS"] = self._threads

        def compiled() -> bytes:
            content = self._graphs.model(stage, self._layout, count, weights=self._weights)
            stream = io.BytesIO()
            model = self._core.compile_model(self._core.read_model(content), self._device, options)
            model.export_model(stream)
            return stream.getvalue()

        name, cache = self.name(stage, count), self._cache
        try:
            return self._core.import_model(cache.get(name, compiled), self._device, options)
        except RuntimeError as error:
            cache.notes.append(f"{cache.directory / name} doesn't load ({error}) and is made again")
            cache.drop(name)
            return self._core.import_model(cache.get(name, compiled), self._device, options)

    def is_ready(self, counts: list[int]) -> bool:
        """Whether all stages lie in the cache."""
        return all(self._cache.has(self.name(*part)) for part in _parts(counts))

    def name(self, stage: str, count: int) -> str:
        """File name of a compiled stage: everything that decides what is in it."""
        graph = self._graphs.digest(stage, self._layout, count)
        settings = hashlib.sha256(f"{graph}{self._settings}".encode()).hexdigest()
        weights = self._weights.digest[:16] if has_weights(stage) else "any"
        size = f"{self._layout.width}x{self._layout.height}"
        return f"{stage}{count or ''}_{size}_{settings[:16]}_{weights}.openvino"


def is_compiled(
    weights: NetworkWeights, layout: Layout, tiles: int | None, cache: EngineCache
) -> bool:
    """Whether all that the engine of a size needs on the CPU lies in the cache.

    Raises:
        EngineError: if OpenVINO is not installed or finds no CPU.
    """
    compiler = Compiler("CPU", weights, layout, cache)
    return compiler.is_ready(tile_counts(layout.tiles, tiles))


def _parts(counts: list[int]) -> list[tuple[str, int]]:
    """What is compiled, in this order: stages and numbers of tiles, 0 where it may be any."""
    return [(COARSE, 0), *((REFINING, count) for count in counts), (FOREGROUND, 0)]

"""Runs the network through OpenVINO: the fastest engine on a CPU."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.cpu_trimap import CpuTrimap
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.export import graph_digest
from dart_ros.runtime.graph import FlatGraph, ForegroundGraph, MattingGraph
from dart_ros.runtime.resident import FrameBuffer, prepare

if TYPE_CHECKING:
    import openvino


class OpenVinoEngine:
    """OpenVINO on the CPU, bfloat16 inside where the CPU computes it natively.

    The scene is an input that stays in its place, so one compiled network serves all scenes of a
    size; it is kept in the cache, from where it comes back in a fraction of a second.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        threads: CPU threads, 0 for as many as there are cores.
        cache: where compiled networks are kept, None for the user's cache folder.

    Raises:
        EngineError: if OpenVINO is not installed or can't compile the network.
    """

    def __init__(
        self,
        network: MattingNetwork,
        background: Background,
        tiles: int | None,
        threads: int = 0,
        cache: EngineCache | None = None,
    ) -> None:
        try:
            import openvino
        except ImportError as error:
            raise EngineError(
                f"OpenVINO can't be imported ({error}): pip install 'dart_ros[openvino]'"
            ) from error
        try:
            core = openvino.Core()
            native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            processor = core.get_property("CPU", "FULL_DEVICE_NAME")
        except RuntimeError as error:
            raise EngineError(f"OpenVINO finds no CPU to run on: {error}") from error
        precision = "bf16" if "BF16" in native else "f32"
        self.name = f"openvino ({precision})"
        cache = cache or EngineCache()
        height, width = background.plate.shape[-2:]
        settings = (height, width), tiles, precision, openvino.__version__, processor, native
        digest = graph_digest(network, *settings)[:16]

        def request(
            kind: str, make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]], precision: str
        ) -> openvino.InferRequest:
            options = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": precision,
            }
            name = f"{digest}_{width}x{height}_{kind}.openvino"
            return _load(core, cache, name, make, options).create_infer_request()

        self._frame = FrameBuffer(height, width)
        frame = torch.from_numpy(self._frame.color), torch.from_numpy(self._frame.depth)
        # Kept, because the request only points to it.
        self._resident = tuple(x.contiguous() for x in prepare(network, background))
        self._trimap = CpuTrimap(background)

        def graph() -> MattingGraph:
            return MattingGraph(network, height, width, tiles)

        def foreground() -> tuple[nn.Module, tuple[Tensor, ...]]:
            made = graph()
            return ForegroundGraph(made), (frame[0], *made.blank_parts())

        try:
            self._matting = request(
                "alpha", lambda: (FlatGraph(graph()), (*frame, *self._resident)), precision
            )
            self._foreground = request("foreground", foreground, "f32")
            for index, value in enumerate((*frame, *self._resident)):
                tensor = openvino.Tensor(value.numpy(), shared_memory=True)
                self._matting.set_input_tensor(index, tensor)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO can't compile the network: {error}") from error
        self.notes = tuple(cache.notes)

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            self._frame.fill(color, depth)
            self._matting.infer()
            if foreground:
                parts = [self._matting.get_output_tensor(index).data for index in (1, 2, 3)]
                self._foreground.infer([self._frame.color, *parts], share_inputs=True)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"OpenVINO failed on a frame: {error}") from error
        # Copied, since the request's own buffers are written again by the next frame.
        alpha = _output(self._matting)
        return alpha, _output(self._foreground) if foreground else None

    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        return self._trimap(alpha, depth)


def _output(request: openvino.InferRequest) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = request.get_output_tensor(0).data.copy()
    return result


def _load(
    core: openvino.Core,
    cache: EngineCache,
    name: str,
    make: Callable[[], tuple[nn.Module, tuple[Tensor, ...]]],
    options: dict[str, object],
) -> openvino.CompiledModel:
    """A compiled network from the cache; one that OpenVINO doesn't accept is made once more."""

    def compiled() -> bytes:
        stream = io.BytesIO()
        core.compile_model(_converted(*make()), "CPU", options).export_model(stream)
        return stream.getvalue()

    try:
        return core.import_model(cache.get(name, compiled), "CPU", options)
    except RuntimeError as error:
        cache.notes.append(f"{cache.directory / name} doesn't load ({error}) and is made again")
        cache.drop(name)
        return core.import_model(cache.get(name, compiled), "CPU", options)


def _converted(module: nn.Module, example: tuple[Tensor, ...]) -> openvino.Model:
    """A module at the size of the example."""
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        # Sizes are meant to be constant in the compiled graph.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # Traced here, because convert_model traces twice to compare, which takes seconds.
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), example, check_trace=False))
        model = openvino.convert_model(traced, example_input=example)
    model.reshape({port: list(e.shape) for port, e in zip(model.inputs, example, strict=True)})
    return model

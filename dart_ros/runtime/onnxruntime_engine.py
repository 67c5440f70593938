"""Runs the network through ONNX Runtime, on an NVIDIA GPU where its build has CUDA."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    INPUTS,
    OUTPUTS,
    REFINING,
    graphs_of,
)
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.staged_engine import StagedEngine
from dart_ros.runtime.weights import NetworkWeights

# Its TensorRT provider is left out: the engine "tensorrt" does the same with a cache.
_PROVIDERS = ("CUDAExecutionProvider", "CPUExecutionProvider")

_READ = ("worst", "alpha", "foreground")
"""Outputs that the CPU reads."""


class OnnxRuntimeEngine(StagedEngine):
    """ONNX Runtime in float32.

    Args:
        weights: of the network.
        background: the captured scene.
        tiles: largest number of refined tiles, None to refine all, sure or not.
        threads: CPU threads, 0 for as many as there are cores.

    Raises:
        EngineError: if ONNX Runtime is not installed or can't load the network.
    """

    title = "ONNX Runtime"

    def __init__(
        self,
        weights: NetworkWeights,
        background: CapturedBackground,
        tiles: int | None,
        threads: int = 0,
    ) -> None:
        super().__init__(weights, background, tiles)
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                f"ONNX Runtime can't be imported ({error}): pip install onnxruntime"
            ) from error
        self._runtime: Any = onnxruntime
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        # Waiting threads would take the cores from the rest of the node.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        here = onnxruntime.get_available_providers()
        providers = [name for name in _PROVIDERS if name in here]
        graphs = graphs_of(weights.config)
        try:
            self._sessions = {
                stage: onnxruntime.InferenceSession(
                    graphs.model(stage, self._layout, 0, weights=weights),
                    options,
                    providers=providers,
                )
                for stage in (COARSE, REFINING, FOREGROUND)
            }
            used = self._sessions[COARSE].get_providers()[0]
            self._device = "cpu" if used == "CPUExecutionProvider" else "cuda"
            self._values: dict[str, Any] = {}
            self._placed(scene_buffers(weights, background))()
        except Exception as error:  # its errors have no common base
            raise EngineError(f"ONNX Runtime can't load the network: {error}") from error
        self.name = f"onnxruntime ({used.removesuffix('ExecutionProvider').lower()})"

    def _placed(self, buffers: dict[str, NDArray[Any]]) -> Callable[[], None]:
        values = {name: self._value(array) for name, array in buffers.items()}

        def place() -> None:
            self._values |= values

        return place

    def _value(self, array: NDArray[Any]) -> Any:
        return self._runtime.OrtValue.ortvalue_from_numpy(array, self._device)

    def _infer(self, stage: str, count: int) -> None:
        if stage == COARSE:
            self._values["color"] = self._value(self._frame.color)
            self._values["depth"] = self._value(self._frame.depth)
        session = self._sessions[stage]
        binding = session.io_binding()
        for name in INPUTS[stage]:
            binding.bind_ortvalue_input(name, self._values[name])
        for name in OUTPUTS[stage]:
            binding.bind_output(name, "cpu" if name in _READ else self._device)
        session.run_with_iobinding(binding)
        self._values |= zip(OUTPUTS[stage], binding.get_outputs(), strict=True)

    def _output(self, name: str) -> NDArray[Any]:
        value: NDArray[Any] = self._values[name].numpy()
        return value

    def _set_tiles(self, tiles: NDArray[np.int32]) -> None:
        self._values["tiles"] = self._value(tiles)

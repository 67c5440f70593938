"""Runs the exported graph through ONNX Runtime, on a GPU where its build has a provider for it."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.cpu_trimap import CpuTrimap
from dart_ros.runtime.export import depth_bytes, onnx_bytes, scene_inputs

_PROVIDERS = ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider")


class OnnxRuntimeEngine:
    """ONNX Runtime in float32.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        threads: CPU threads, 0 for as many as there are cores.

    Raises:
        EngineError: if ONNX Runtime is not installed or can't load the network.
    """

    def __init__(
        self, network: MattingNetwork, background: Background, tiles: int | None, threads: int = 0
    ) -> None:
        try:
            import onnxruntime
        except ImportError as error:
            raise EngineError(
                f"ONNX Runtime can't be imported ({error}): pip install onnx onnxruntime"
            ) from error
        self.notes: tuple[str, ...] = ()
        height, width = background.plate.shape[-2:]
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or os.cpu_count() or 1
        # Waiting threads would take the cores from the rest of the node.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        here = onnxruntime.get_available_providers()
        providers = [name for name in _PROVIDERS if name in here]
        onnx = onnx_bytes(network, height, width, tiles)
        try:
            self._session: Any = onnxruntime.InferenceSession(onnx, options, providers=providers)
            used = self._session.get_providers()[0]
            self._binding: Any = self._session.io_binding()
            device = "cpu" if used == "CPUExecutionProvider" else "cuda"
            # Kept, because the binding only points to them.
            self._scene = {
                name: onnxruntime.OrtValue.ortvalue_from_numpy(value.numpy(), device)
                for name, value in scene_inputs(network, background).items()
            }
            for name, value in self._scene.items():
                self._binding.bind_ortvalue_input(name, value)
        except Exception as error:  # its errors have no common base
            raise EngineError(f"ONNX Runtime can't load the network: {error}") from error
        self.name = f"onnxruntime ({used.removesuffix('ExecutionProvider').lower()})"
        self._shape = height, width
        self._trimap = CpuTrimap(background)
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        if color.shape != (*self._shape, 3) or depth.shape != self._shape:
            raise EngineError(
                f"ONNX Runtime failed on a frame: color is {color.shape} and depth {depth.shape}, "
                f"the engine is made for {self._shape}"
            )
        try:
            self._binding.bind_cpu_input("color", np.ascontiguousarray(color))
            self._binding.bind_cpu_input("depth", depth_bytes(depth))
            for name in ("alpha", "foreground", "trimap"):
                self._binding.bind_output(name)
            self._session.run_with_iobinding(self._binding)
            alpha, picture, trimap = self._binding.copy_outputs_to_cpu()
        except Exception as error:
            raise EngineError(f"ONNX Runtime failed on a frame: {error}") from error
        self._last = alpha, trimap
        return alpha, picture if foreground else None

    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        if self._last is not None and self._last[0] is alpha:
            return self._last[1]  # it was made with this alpha
        return self._trimap(alpha, depth)

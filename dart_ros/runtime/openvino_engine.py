"""Runs the network through OpenVINO: the fastest engine on a CPU."""

from __future__ import annotations

import math
import warnings
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.method.trimap import BLUR_SIGMA, LOWER_THRESHOLD, UPPER_THRESHOLD
from dart_ros.runtime.graph import BakedGraph, CorrectedAlphaGraph, ForegroundGraph, MattingGraph
from dart_ros.runtime.resident import FrameBuffer, prepare

if TYPE_CHECKING:
    import openvino


class OpenVinoEngine:
    """OpenVINO on the CPU, bfloat16 inside where the CPU computes it natively.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        threads: CPU threads, 0 for as many as there are cores.

    Raises:
        EngineError: if OpenVINO is not installed or can't compile the network.
    """

    def __init__(
        self, network: MattingNetwork, background: Background, tiles: int | None, threads: int = 0
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
        except RuntimeError as error:
            raise EngineError(f"OpenVINO finds no CPU to run on: {error}") from error
        precision = "bf16" if "BF16" in native else "f32"
        self.name = f"openvino ({precision})"
        options = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
        }
        height, width = background.plate.shape[-2:]
        self._frame = FrameBuffer(height, width)
        graph = MattingGraph(network, height, width, tiles)
        matting = BakedGraph(graph, prepare(network, background))
        frame = torch.from_numpy(self._frame.color), torch.from_numpy(self._frame.depth)
        alpha = torch.zeros(height, width, dtype=torch.uint8)
        with torch.inference_mode():
            _, *parts = matting(*frame)
        try:
            self._matting = _compile(
                core, matting, frame, {**options, "INFERENCE_PRECISION_HINT": precision}
            )
            full = {**options, "INFERENCE_PRECISION_HINT": "f32"}
            self._foreground = _compile(core, ForegroundGraph(graph), (frame[0], *parts), full)
            # The densities of the trimap are too narrow for half precision.
            self._corrected = _compile(
                core, CorrectedAlphaGraph(background), (alpha, torch.zeros(height, width)), full
            )
        except RuntimeError as error:
            raise EngineError(f"OpenVINO can't compile the network: {error}") from error

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            self._frame.fill(color, depth)
            self._matting.infer([self._frame.color, self._frame.depth], share_inputs=True)
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
        try:
            self._corrected.infer([alpha, depth], share_inputs=True)
        except RuntimeError as error:
            raise EngineError(f"OpenVINO failed on a frame: {error}") from error
        # As a convolution of a single channel the blur takes OpenVINO five times as long.
        return trimap_levels(self._corrected.get_output_tensor(0).data)


def trimap_levels(corrected: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Eq. 13 by OpenCV: :func:`dart_ros.method.trimap.trimap` in bytes.

    Args:
        corrected: H×W in [0, 1].

    Returns:
        H×W: 0 background, 128 unknown, 255 foreground.
    """
    side = 2 * math.ceil(3 * BLUR_SIGMA) + 1
    blurred = cv2.GaussianBlur(corrected, (side, side), BLUR_SIGMA, borderType=cv2.BORDER_REPLICATE)
    unknown, foreground = blurred >= LOWER_THRESHOLD, blurred > UPPER_THRESHOLD
    return unknown.view(np.uint8) * np.uint8(128) + foreground.view(np.uint8) * np.uint8(127)


def _output(request: openvino.InferRequest) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = request.get_output_tensor(0).data.copy()
    return result


def _compile(
    core: openvino.Core,
    module: torch.nn.Module,
    example: tuple[torch.Tensor, ...],
    options: dict[str, object],
) -> openvino.InferRequest:
    """A request for the module at the size of the example."""
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        # Sizes are meant to be constant in the compiled graph.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # Traced here, because convert_model traces twice to compare, which takes seconds.
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), example, check_trace=False))
        model = openvino.convert_model(traced, example_input=example)
    model.reshape({port: list(e.shape) for port, e in zip(model.inputs, example, strict=True)})
    return core.compile_model(model, "CPU", options).create_infer_request()

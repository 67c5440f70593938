"""Runs the network in torch itself: on a GPU without TensorRT, and where nothing faster is."""

from __future__ import annotations

import copy
import os

import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.graph import BakedGraph, ForegroundGraph, MattingGraph, TrimapGraph
from dart_ros.runtime.resident import FrameBuffer, prepare

_WARM_UPS = 3


class TorchEngine:
    """Torch on the GPU where there is one, with CUDA graphs, else on the CPU.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        threads: CPU threads of torch in this process, 0 for as many as there are cores.

    Raises:
        EngineError: if the GPU can't run it.
    """

    def __init__(
        self, network: MattingNetwork, background: Background, tiles: int | None, threads: int = 0
    ) -> None:
        self.notes: tuple[str, ...] = ()
        torch.set_num_threads(threads or os.cpu_count() or 1)
        cuda = torch.cuda.is_available()
        self._device = torch.device("cuda" if cuda else "cpu")
        self.name = "torch (cuda graph)" if cuda else "torch (cpu)"
        height, width = background.plate.shape[-2:]
        # A copy, since the caller's network would move to the GPU with the graph; torch's type
        # hints lack this form of to().
        network = copy.deepcopy(network).to(  # type: ignore[call-overload]
            memory_format=torch.channels_last
        )
        frame = FrameBuffer(height, width)
        self._color, self._depth = torch.from_numpy(frame.color), torch.from_numpy(frame.depth)
        try:
            graph = MattingGraph(network, height, width, tiles)
            matting = BakedGraph(graph, prepare(network, background)).to(self._device).eval()
            trimap = TrimapGraph(background).to(self._device).eval()
            foreground = ForegroundGraph(graph)
            if cuda:
                # Pinned, so that the copy to the GPU doesn't wait.
                self._color, self._depth = self._color.pin_memory(), self._depth.pin_memory()
            self._frame = FrameBuffer(height, width, self._color.numpy(), self._depth.numpy())
            with torch.inference_mode():
                inputs = self._color.to(self._device), self._depth.to(self._device)
                self._matting = _Step(matting, inputs)
                _, *parts = self._matting.outputs
                self._foreground = _Step(foreground, (inputs[0], *parts))
                live = torch.zeros(height, width, device=self._device)
                self._trimap = _Step(trimap, (live.to(torch.uint8), live))
        except RuntimeError as error:
            raise EngineError(f"torch can't run the network here: {error}") from error

    @torch.inference_mode()
    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            self._frame.fill(color, depth)
            alpha, *parts = self._matting.run(self._color, self._depth)
            picture = self._foreground.run(self._color, *parts)[0] if foreground else None
            return _array(alpha), None if picture is None else _array(picture)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"torch failed on a frame: {error}") from error

    @torch.inference_mode()
    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        # torch warns about read-only memory, as a message's is, and refuses negative strides.
        arrays = (np.require(array, requirements=["C", "W"]) for array in (alpha, depth))
        try:
            return _array(self._trimap.run(*map(torch.from_numpy, arrays))[0])
        except RuntimeError as error:
            raise EngineError(f"torch failed on a frame: {error}") from error


class _Step:
    """A module at one size: a CUDA graph on a GPU, a plain call elsewhere.

    Args:
        module: the module.
        inputs: tensors that it reads; on a GPU they stay its inputs.
    """

    def __init__(self, module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        self._module = module
        self._inputs = inputs
        self._graph: torch.cuda.CUDAGraph | None = None
        if inputs[0].device.type != "cuda":
            self.outputs = _tuple(module(*inputs))
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(_WARM_UPS):
                module(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self._graph = torch.cuda.CUDAGraph()
        # Another thread may use the GPU meanwhile, as that of the engine in service does.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self.outputs = _tuple(module(*inputs))

    def run(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Outputs for these inputs; on a GPU they are valid until the next run."""
        if self._graph is None:
            return _tuple(self._module(*inputs))
        for own, given in zip(self._inputs, inputs, strict=True):
            if own.data_ptr() != given.data_ptr():
                if own.shape != given.shape:
                    raise ValueError(f"{tuple(given.shape)} was given for {tuple(own.shape)}")
                own.copy_(given, non_blocking=True)
        self._graph.replay()
        return self.outputs


def _tuple(result: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return result if isinstance(result, tuple) else (result,)


def _array(image: torch.Tensor) -> NDArray[np.uint8]:
    """The image as memory of its own."""
    copied: NDArray[np.uint8] = image.cpu().numpy()
    return np.ascontiguousarray(copied) if image.device.type == "cuda" else copied.copy()

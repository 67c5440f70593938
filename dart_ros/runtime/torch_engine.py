"""Runs the network in torch itself: on a GPU without TensorRT, and where nothing faster is.

The one engine that needs torch; it is imported where it is asked for.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from dart_ros.errors import EngineError
from dart_ros.export.stages import CoarseStage, ForegroundStage, RefiningStage
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    INPUTS,
    OUTPUTS,
    REFINING,
    TABLES,
    TILES,
)
from dart_ros.runtime.layout import FrameBuffer
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.weights import NetworkWeights
from dart_ros.values import Matte

_WARM_UPS = 3


class TorchEngine:
    """Torch on the GPU where there is one, with CUDA graphs, else on the CPU.

    Args:
        weights: of the network.
        background: the captured scene.
        tiles: number of refined tiles, None for all.
        threads: CPU threads of torch in this process, 0 for as many as there are cores.

    Raises:
        EngineError: if the GPU can't run it.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        background: CapturedBackground,
        tiles: int | None,
        threads: int = 0,
    ) -> None:
        self.notes: tuple[str, ...] = ()
        torch.set_num_threads(threads or os.cpu_count() or 1)
        cuda = torch.cuda.is_available()
        self._device = torch.device("cuda" if cuda else "cpu")
        self.name = "torch (cuda graph)" if cuda else "torch (cpu)"
        self._weights, self._layout = weights, background.layout
        layout = background.layout
        self._size = layout.height, layout.width
        everything = tiles is None or tiles >= layout.tiles

        def choose(worst: Tensor) -> Tensor:
            if tiles is None or everything:
                return torch.arange(layout.tiles, device=worst.device, dtype=torch.int32)
            return torch.topk(worst, tiles, sorted=False).indices.int()

        modules: dict[str, Callable[..., Any]] = {
            COARSE: CoarseStage(weights, layout.reduction),
            TILES: choose,
            REFINING: RefiningStage(weights),
            FOREGROUND: ForegroundStage(),
        }
        frame = FrameBuffer(layout)
        self._host = {
            "color": torch.from_numpy(frame.color),
            "depth": torch.from_numpy(frame.depth),
        }
        arrays = {**scene_buffers(weights, background), **layout.tables}
        try:
            if cuda:
                # Pinned, so that the copy to the GPU doesn't wait.
                self._host = {name: value.pin_memory() for name, value in self._host.items()}
            self._frame = FrameBuffer(
                layout, self._host["color"].numpy(), self._host["depth"].numpy()
            )
            self._values = self._tensors(arrays) | {
                name: value.to(self._device) for name, value in self._host.items()
            }
            with torch.inference_mode():
                self._steps: dict[str, _Step] = {}
                for stage, module in modules.items():
                    if isinstance(module, torch.nn.Module):
                        # Torch's type hints lack this form of to().
                        module = module.eval().to(  # type: ignore[call-overload]
                            self._device, memory_format=torch.channels_last
                        )
                    names = (*INPUTS[stage], *TABLES[stage])
                    step = _Step(module, [self._values[name] for name in names], OUTPUTS[stage])
                    self._steps[stage] = step
                    self._values |= step.outputs
        except RuntimeError as error:
            raise EngineError(f"torch can't run the network here: {error}") from error

    def _tensors(self, arrays: dict[str, NDArray[Any]]) -> dict[str, Tensor]:
        return {
            name: torch.from_numpy(np.require(array, requirements="W")).to(self._device)
            for name, array in arrays.items()
        }

    def prepare(self, background: CapturedBackground) -> Callable[[], None]:
        """See :meth:`dart_ros.runtime.engine.Engine.prepare`."""
        background.check_layout(self._layout)
        values = self._tensors(scene_buffers(self._weights, background))

        def swap() -> None:
            if self._device.type == "cpu":
                self._values |= values
                return
            for name, value in values.items():
                # A CUDA graph reads the memory that it was captured with.
                self._values[name].copy_(value)

        return swap

    @torch.inference_mode()
    def run(
        self,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32],
        foreground: bool = True,
    ) -> Matte:
        """See :meth:`dart_ros.runtime.engine.Engine.run`."""
        stages = [COARSE, TILES, REFINING, *[FOREGROUND] * foreground]
        try:
            self._frame.fill(color, depth)
            for name, value in self._host.items():
                self._values[name].copy_(value, non_blocking=True)
            for stage in stages:
                step = self._steps[stage]
                names = (*INPUTS[stage], *TABLES[stage])
                self._values |= step.run([self._values[name] for name in names])
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"torch failed on a frame: {error}") from error
        return Matte(self._image("alpha"), self._image("foreground") if foreground else None, None)

    def _image(self, name: str) -> NDArray[np.uint8]:
        """A result of the frame's size, as memory of its own."""
        height, width = self._size
        image: NDArray[np.uint8] = self._values[name][:height, :width].cpu().numpy()
        return image.copy()


class _Step:
    """A stage at one size: a CUDA graph on a GPU, a plain call elsewhere.

    Args:
        module: the stage.
        inputs: tensors that it reads; on a GPU they stay its inputs.
        names: of its outputs.
    """

    def __init__(
        self, module: Callable[..., Any], inputs: Sequence[Tensor], names: Sequence[str]
    ) -> None:
        self._module = module
        self._names = names
        self._graph: torch.cuda.CUDAGraph | None = None
        if inputs[0].device.type != "cuda":
            self.outputs = self._call(inputs)
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
            self.outputs = self._call(inputs)

    def run(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        """Outputs by name; on a GPU they are valid until the next run."""
        if self._graph is None:
            return self._call(inputs)
        self._graph.replay()
        return self.outputs

    def _call(self, inputs: Sequence[Tensor]) -> dict[str, Tensor]:
        made = self._module(*inputs)
        return dict(zip(self._names, made if isinstance(made, tuple) else (made,), strict=True))

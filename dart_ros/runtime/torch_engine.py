"""Runs the network in torch itself: the reference, and the engine where nothing faster is."""

from __future__ import annotations

import os

import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.graph import MattingGraph, TrimapGraph


class TorchEngine:
    """Torch on the GPU where there is one, else on the CPU.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        threads: CPU threads of torch in this process, 0 for as many as there are cores.
    """

    def __init__(
        self, network: MattingNetwork, background: Background, tiles: int | None, threads: int = 0
    ) -> None:
        torch.set_num_threads(threads or os.cpu_count() or 1)
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.name = f"torch ({self._device.type})"
        # torch's type hints lack this form of to().
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._matting = MattingGraph(network, background, tiles).to(self._device).eval()
        self._trimap = TrimapGraph(background).to(self._device).eval()

    @torch.inference_mode()
    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            alpha, foreground = self._matting(self._tensor(color), self._tensor(depth))
        except RuntimeError as error:
            raise EngineError(f"torch failed on a frame: {error}") from error
        return alpha.cpu().numpy(), np.ascontiguousarray(foreground.cpu().numpy())

    @torch.inference_mode()
    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            result: NDArray[np.uint8] = (
                self._trimap(self._tensor(alpha), self._tensor(depth)).cpu().numpy()
            )
        except RuntimeError as error:
            raise EngineError(f"torch failed on a frame: {error}") from error
        return result

    def _tensor(self, array: NDArray[np.generic]) -> torch.Tensor:
        # torch warns about read-only memory, as a message's is, and refuses negative strides.
        return torch.from_numpy(np.require(array, requirements=["C", "W"])).to(self._device)

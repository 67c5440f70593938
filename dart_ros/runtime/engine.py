"""The interface of all engines, and the choice of one."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import STRIDE, Background, MattingNetwork

BACKENDS = ("openvino", "torch")
"""Names of the engines, in the order in which ``auto`` tries them."""

MOST_TILES = 1024
"""TopK over more than this doesn't build everywhere."""


class Engine(Protocol):
    """Runs the network for one scene; made once, called for every frame by one thread."""

    name: str

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32]
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        """Frame (H×W×3 RGB, H×W metres with -1 unknown) to alpha (H×W) and foreground (H×W×3).

        Raises:
            EngineError: if the engine fails on this frame.
        """
        ...

    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Alpha and depth to the trimap, H×W, 0 / 128 / 255.

        Raises:
            EngineError: if the engine fails on this frame.
        """
        ...


def tiles_for(height: int, width: int, share: float) -> int | None:
    """How many 16×16 tiles of an image are refined; None for all of them.

    Args:
        height: rows of the image.
        width: columns of the image.
        share: share of the image to refine, above 0 and up to 1.

    Raises:
        ValueError: if the share is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of refined tiles must be in (0, 1], not {share}")
    total = math.ceil(height / STRIDE) * math.ceil(width / STRIDE)
    return None if share == 1 else min(MOST_TILES, max(1, round(share * total)))


def create_engine(
    network: MattingNetwork,
    background: Background,
    tiles: int | None,
    backend: str = "auto",
    threads: int = 0,
) -> tuple[Engine, tuple[str, ...]]:
    """Builds an engine for a scene.

    Args:
        network: the network with its weights, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        backend: one of :data:`BACKENDS`, or ``auto`` for the best one that works here.
        threads: CPU threads, 0 for as many as there are cores.

    Returns:
        The engine, and notes on those that were tried and could not be had.

    Raises:
        EngineError: if the backend is unknown, or none works.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise EngineError(f"there is no backend {backend!r}: use auto, {' or '.join(BACKENDS)}")
    notes: list[str] = []
    for name in BACKENDS if backend == "auto" else (backend,):
        try:
            return _builder(name)(network, background, tiles, threads), tuple(notes)
        except EngineError as error:
            notes.append(str(error))
    raise EngineError("; ".join(notes))


def _builder(
    name: str,
) -> Callable[[MattingNetwork, Background, int | None, int], Engine]:
    # Imported here because engines are heavy and most machines lack some.
    if name == "openvino":
        from dart_ros.runtime.openvino_engine import OpenVinoEngine

        return OpenVinoEngine
    from dart_ros.runtime.torch_engine import TorchEngine

    return TorchEngine

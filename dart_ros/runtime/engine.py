"""The interface of all engines, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork

BACKENDS = ("tensorrt", "torch", "openvino", "onnxruntime")
"""Names of the engines."""


class Engine(Protocol):
    """Runs the network for one scene; made once, called for every frame by one thread."""

    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What went wrong on the way and doesn't keep the engine from running, for the user."""
        ...

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Frame (H×W×3 RGB, H×W metres with -1 unknown) to alpha (H×W) and foreground (H×W×3).

        What is returned is the caller's own: the next frame doesn't write to it.

        Args:
            color: the frame's color.
            depth: the frame's depth, maybe with the guesses of
                :func:`dart_ros.method.blind_sides.continued`.
            foreground: False if the foreground isn't needed; an engine that saves time by it
                returns None for it.

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


def create_engine(
    network: MattingNetwork,
    background: Background,
    tiles: int | None,
    backend: str = "auto",
    threads: int = 0,
    ready_only: bool = False,
) -> tuple[Engine, tuple[str, ...]]:
    """Builds an engine for a scene.

    Args:
        network: the network with its weights, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        backend: one of :data:`BACKENDS`, or ``auto`` for the best one that works here.
        threads: CPU threads, 0 for as many as there are cores.
        ready_only: pass TensorRT by where its engine must be built first, which can take minutes.

    Returns:
        The engine, and notes on what went wrong, as on engines that could not be had.

    Raises:
        EngineError: if the backend is unknown, or none works.
    """
    if backend != "auto" and backend not in BACKENDS:
        raise EngineError(
            f"there is no backend {backend!r}: use auto, {', '.join(BACKENDS[:-1])} or "
            f"{BACKENDS[-1]}"
        )
    notes: list[str] = []
    names = automatic() if backend == "auto" else (backend,)
    if ready_only and must_build(network, background, tiles, backend):
        notes.append("the TensorRT engine is not built yet: another engine serves until it is")
        names = tuple(name for name in automatic() if name != "tensorrt")
    for name in names:
        try:
            engine = _builder(name)(network, background, tiles, threads)
            return engine, (*notes, *engine.notes)
        except EngineError as error:
            notes.append(str(error))
    raise EngineError("; ".join(notes))


def must_build(
    network: MattingNetwork, background: Background, tiles: int | None, backend: str
) -> bool:
    """Whether a TensorRT engine is asked for, can be built here, and has not been built."""
    if backend not in ("auto", "tensorrt") or not torch.cuda.is_available():
        return False
    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.tensorrt_engine import is_built

    height, width = background.plate.shape[-2:]
    return not is_built(network, (height, width), tiles, EngineCache())


def must_compile(
    network: MattingNetwork, background: Background, tiles: int | None, backend: str
) -> bool:
    """Whether OpenVINO is the engine here, and has yet to compile the network into the cache.

    That takes seconds in which a process does nothing else, for tracing holds the interpreter.
    """
    if backend != "openvino" and (backend != "auto" or torch.cuda.is_available()):
        return False
    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.openvino_engine import is_compiled

    cache, (height, width) = EngineCache(), background.plate.shape[-2:]
    try:
        return cache.keeps() and not is_compiled(network, (height, width), tiles, cache)
    except EngineError:
        return False


def automatic() -> tuple[str, ...]:
    """The engines in the order in which ``auto`` tries them here: the fastest first."""
    if torch.cuda.is_available():
        return BACKENDS
    return ("tensorrt", "openvino", "onnxruntime", "torch")


def _builder(
    name: str,
) -> Callable[[MattingNetwork, Background, int | None, int], Engine]:
    # Imported here because engines are heavy and most machines lack some.
    if name == "tensorrt":
        from dart_ros.runtime.tensorrt_engine import TensorRtEngine

        return TensorRtEngine
    if name == "openvino":
        from dart_ros.runtime.openvino_engine import OpenVinoEngine

        return OpenVinoEngine
    if name == "onnxruntime":
        from dart_ros.runtime.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine
    from dart_ros.runtime.torch_engine import TorchEngine

    return TorchEngine

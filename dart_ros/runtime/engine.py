"""The interface of all engines, and the choice of one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime import cuda
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.weights import NetworkWeights
from dart_ros.values import Matte

BACKENDS = ("tensorrt", "openvino", "openvino-gpu", "onnxruntime", "torch")
"""Names of the engines."""


class Engine(Protocol):
    """Runs the network for one scene; made once, called for every frame by one thread."""

    name: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What went wrong on the way and doesn't keep the engine from running, for the user."""
        ...

    def run(
        self,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32],
        foreground: bool = True,
    ) -> Matte:
        """Alpha of a frame, and what else is wanted; never its trimap.

        What is returned is the caller's own: the next frame doesn't write to it.

        Args:
            color: H×W×3 RGB.
            depth: H×W metres, -1 where unknown, maybe with the guesses of
                :func:`dart_ros.method.blind_sides.extrapolate_depth`.
            foreground: whether the foreground's colors are wanted.

        Raises:
            EngineError: if the engine fails on this frame.
        """
        ...

    def prepare(self, background: CapturedBackground) -> Callable[[], None]:
        """Another background, such as the same one in the light of the evening.

        All that takes long is done here, in any thread, beside :meth:`run`.

        Args:
            background: of the size of that which the engine was made for.

        Returns:
            What puts the background into the engine: for the thread of :meth:`run`, between two
            frames. It takes less than a millisecond on a CPU, a copy to a GPU.

        Raises:
            EngineError: if the background is of another size.
        """
        ...


def create_engine(
    weights: NetworkWeights,
    background: CapturedBackground,
    tiles: int | None,
    backend: str = "auto",
    threads: int = 0,
    ready_only: bool = False,
) -> tuple[Engine, tuple[str, ...]]:
    """Builds an engine for a scene.

    Args:
        weights: of the network.
        background: the captured scene.
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
    if ready_only and must_build(weights, background, tiles, backend):
        notes.append("the TensorRT engine is not built yet: another engine serves until it is")
        names = tuple(name for name in automatic() if name != "tensorrt")
    for name in names:
        try:
            engine = _builder(name)(weights, background, tiles, threads)
            return engine, (*notes, *engine.notes)
        except EngineError as error:
            notes.append(str(error))
    raise EngineError("; ".join(notes))


def must_build(
    weights: NetworkWeights, background: CapturedBackground, tiles: int | None, backend: str
) -> bool:
    """Whether a TensorRT engine is asked for, can be built here, and has not been built."""
    if backend not in ("auto", "tensorrt") or not cuda.available():
        return False
    from dart_ros.runtime.tensorrt_engine import is_built

    return not is_built(weights, background.layout, tiles, EngineCache())


def must_compile(
    weights: NetworkWeights, background: CapturedBackground, tiles: int | None, backend: str
) -> bool:
    """Whether OpenVINO on the CPU is the engine here, and has yet to compile the network."""
    if backend != "openvino" and (backend != "auto" or cuda.available()):
        return False
    from dart_ros.runtime.openvino_engine import is_compiled

    cache = EngineCache()
    try:
        return cache.keeps() and not is_compiled(weights, background.layout, tiles, cache)
    except EngineError:
        return False


def automatic() -> tuple[str, ...]:
    """The engines in the order in which ``auto`` tries them here: the fastest first.

    Torch is fast on a GPU alone; an Intel GPU is used only where it is asked for.
    """
    if cuda.available():
        return ("tensorrt", "torch", "openvino", "onnxruntime")
    return ("tensorrt", "openvino", "onnxruntime", "torch")


def _builder(
    name: str,
) -> Callable[[NetworkWeights, CapturedBackground, int | None, int], Engine]:
    # Imported here because engines are heavy and most machines lack some.
    if name == "tensorrt":
        from dart_ros.runtime.tensorrt_engine import TensorRtEngine

        return TensorRtEngine
    if name == "openvino":
        from dart_ros.runtime.openvino_engine import OpenVinoEngine

        return OpenVinoEngine
    if name == "openvino-gpu":
        from dart_ros.runtime.openvino_engine import OpenVinoGpuEngine

        return OpenVinoGpuEngine
    if name == "onnxruntime":
        from dart_ros.runtime.onnxruntime_engine import OnnxRuntimeEngine

        return OnnxRuntimeEngine
    try:
        from dart_ros.runtime.torch_engine import TorchEngine
    except ImportError as error:
        raise EngineError(f"torch can't be imported ({error}): pip install torch") from error
    return TorchEngine

"""NVIDIA's GPU through cuda-python: what it is, its memory, a stream and graphs on it."""

from __future__ import annotations

import ctypes
import importlib
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from dart_ros.errors import EngineError

_PINNED = 0  # cudaHostAllocDefault
_NON_BLOCKING = 1  # cudaStreamNonBlocking


class Device(NamedTuple):
    """The first GPU.

    ``name``; ``capability``: compute capability, such as (8, 7); ``processors``: number of
    streaming multiprocessors, which ``nvpmodel`` changes on a Jetson.
    """

    name: str
    capability: tuple[int, int]
    processors: int


def available() -> bool:
    """Whether there is an NVIDIA GPU with its driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    count = ctypes.c_int()
    failed = driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count))
    return not failed and count.value > 0


def device() -> Device:
    """The first GPU.

    Raises:
        EngineError: if there is none, or cuda-python is missing.
    """
    if not available():
        raise EngineError("there is no NVIDIA GPU with its driver here")
    runtime = _runtime()
    kinds = runtime.cudaDeviceAttr
    major, minor, processors = (
        int(_call(runtime.cudaDeviceGetAttribute, kind, 0))
        for kind in (
            kinds.cudaDevAttrComputeCapabilityMajor,
            kinds.cudaDevAttrComputeCapabilityMinor,
            kinds.cudaDevAttrMultiProcessorCount,
        )
    )
    name = bytes(_call(runtime.cudaGetDeviceProperties, 0).name).split(b"\0")[0].decode()
    return Device(name, (major, minor), processors)


class Stream:
    """A stream with the memory that belongs to it; freed with it.

    Attributes:
        handle: as TensorRT takes it.

    Raises:
        EngineError: as all methods, if CUDA fails.
    """

    def __init__(self) -> None:
        self._runtime = _runtime()
        self._blocks: list[tuple[Callable[..., Any], int]] = []
        self._graphs: list[Any] = []
        self._stream = _call(self._runtime.cudaStreamCreateWithFlags, _NON_BLOCKING)
        self.handle = int(self._stream)

    def allocate(self, dtype: DTypeLike, shape: tuple[int, ...]) -> int:
        """Memory on the GPU; returns its address."""
        size = max(1, math.prod(shape) * np.dtype(dtype).itemsize)
        address = int(_call(self._runtime.cudaMalloc, size))
        self._blocks.append((self._runtime.cudaFree, address))
        return address

    def pinned(self, dtype: DTypeLike, shape: tuple[int, ...]) -> NDArray[Any]:
        """Memory of the CPU that the GPU copies from and to while the CPU does something else."""
        size = math.prod(shape) * np.dtype(dtype).itemsize
        address = int(_call(self._runtime.cudaHostAlloc, size, _PINNED))
        self._blocks.append((self._runtime.cudaFreeHost, address))
        memory = (ctypes.c_uint8 * size).from_address(address)
        return np.ctypeslib.as_array(memory).view(dtype).reshape(shape)

    def upload(self, address: int, array: NDArray[Any]) -> None:
        """Queues a copy to the GPU; the array is contiguous and stays until it is done."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self._copy(address, array.ctypes.data, array.nbytes, kind)

    def download(self, array: NDArray[Any], address: int) -> None:
        """Queues a copy from the GPU; the array is contiguous and stays until it is done."""
        kind = self._runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost
        self._copy(array.ctypes.data, address, array.nbytes, kind)

    def _copy(self, target: int, source: int, size: int, kind: Any) -> None:
        _call(self._runtime.cudaMemcpyAsync, target, source, size, kind, self._stream)

    def capture(self, work: Callable[[], None]) -> Any:
        """A graph of what ``work`` queues, for :meth:`launch`; nothing is run."""
        # Another thread may use the GPU meanwhile, as that of the engine in service does.
        mode = self._runtime.cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        _call(self._runtime.cudaStreamBeginCapture, self._stream, mode)
        try:
            work()
        finally:
            # Else the stream would capture for ever.
            graph = _call(self._runtime.cudaStreamEndCapture, self._stream)
        made = _call(self._runtime.cudaGraphInstantiateWithFlags, graph, 0)
        _call(self._runtime.cudaGraphDestroy, graph)
        self._graphs.append(made)
        return made

    def launch(self, graph: Any) -> None:
        """Queues a graph."""
        _call(self._runtime.cudaGraphLaunch, graph, self._stream)

    def synchronize(self) -> None:
        """Waits until all that is queued is done."""
        _call(self._runtime.cudaStreamSynchronize, self._stream)

    def __del__(self) -> None:
        # Errors of an end don't matter any more; attributes lack if the constructor failed.
        for graph in getattr(self, "_graphs", ()):
            self._runtime.cudaGraphExecDestroy(graph)
        for free, address in getattr(self, "_blocks", ()):
            free(address)
        if hasattr(self, "_stream"):
            self._runtime.cudaStreamDestroy(self._stream)


def _runtime() -> Any:
    """cuda-python's module of the CUDA runtime."""
    # Before CUDA 12.6 it had another name.
    reasons = []
    for name in ("cuda.bindings.runtime", "cuda.cudart"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            reasons.append(str(error))
    raise EngineError(
        f"cuda-python can't be imported ({reasons[0]}): pip install cuda-python of the version of "
        "the CUDA that is installed, such as cuda-python==12.6.*"
    )


def _call(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function of the CUDA runtime returns beside its error code."""
    try:
        error, *values = function(*arguments)
    except RuntimeError as failure:  # cuda-python's own, as of a library that it doesn't find
        raise EngineError(f"CUDA failed: {failure}") from failure
    if int(error):
        name = getattr(error, "name", error)
        raise EngineError(f"CUDA failed: {function.__name__} gave {name}")
    return values[0] if values else None

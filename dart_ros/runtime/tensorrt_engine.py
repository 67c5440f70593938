"""Runs the network through TensorRT (8.5 to 11) or TensorRT-RTX: the fastest engine on a GPU."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.export import (
    FRAME,
    OUTPUTS,
    WholeGraph,
    depth_bytes,
    graph_digest,
    onnx_bytes,
    scene_inputs,
    weights_digest,
)
from dart_ros.runtime.graph import TrimapGraph

Progress = Callable[[float, str], None]
"""Called with the share done in [0, 1] and what goes on in words."""

_WORKSPACE = 1 << 30  # bytes; a Jetson shares its memory with everything else


def library() -> Any:
    """TensorRT's module, or that of TensorRT-RTX where the former is missing.

    Raises:
        EngineError: if neither can be imported.
    """
    reasons = []
    for name in ("tensorrt", "tensorrt_rtx"):
        try:
            return importlib.import_module(name)
        except (ImportError, OSError) as error:
            reasons.append(f"{name}: {error}")
    raise EngineError(
        f"TensorRT can't be imported ({'; '.join(reasons)}): JetPack brings it, elsewhere pip "
        "install tensorrt or tensorrt-rtx-cu13"
    )


class TensorRtEngine:
    """TensorRT with float16 inside, as one CUDA graph a frame; the scene stays on the GPU.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of refined tiles, None for all.
        threads: of no meaning here.
        cache: where built engines are kept, None for the user's cache folder.

    Raises:
        EngineError: if there is no GPU or no TensorRT, or it can't build or run the network.
    """

    def __init__(
        self,
        network: MattingNetwork,
        background: Background,
        tiles: int | None,
        threads: int = 0,
        cache: EngineCache | None = None,
    ) -> None:
        if not torch.cuda.is_available():
            raise EngineError("TensorRT is not used: torch finds no NVIDIA GPU and driver here")
        trt = library()
        cache = cache or EngineCache()
        self.name = f"tensorrt {trt.__version__} (fp16)"
        height, width = background.plate.shape[-2:]
        size = height, width
        name = plan_name(trt, network, size, tiles, torch.cuda.get_device_capability())

        def build() -> bytes:
            return make_plan(trt, network, size, tiles, cache)

        # The context needs the other three, and doesn't keep them alive in every version.
        self._kept = load_plan(trt, cache, name, build)
        self._context = self._kept[-1]
        self.notes = tuple(cache.notes)
        self._stream = torch.cuda.Stream()
        try:
            self._connect(trt, scene_inputs(network, background, half=True))
            self._graph = self._capture()
            self._trimap = TrimapGraph(background).cuda()
        except RuntimeError as error:
            raise EngineError(f"TensorRT can't run the network here: {error}") from error
        self._last: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None

    def _connect(self, trt: Any, scene: dict[str, torch.Tensor]) -> None:
        """Buffers on the GPU for all inputs and outputs, and pinned ones here for a frame's."""
        engine, types = self._kept[2], _types(trt)
        self._device: dict[str, torch.Tensor] = {}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            shape = tuple(engine.get_tensor_shape(name))
            dtype = types[engine.get_tensor_dtype(name)]
            buffer = torch.empty(shape, dtype=dtype, device="cuda")
            if name in scene:
                buffer.copy_(scene[name])
            self._context.set_tensor_address(name, buffer.data_ptr())
            self._device[name] = buffer
        self._host = {
            name: torch.empty_like(self._device[name], device="cpu").pin_memory()
            for name in (*FRAME, *OUTPUTS)
        }
        torch.cuda.synchronize()

    def _capture(self) -> torch.cuda.CUDAGraph:
        """A frame's work, from the pinned inputs to alpha and trimap in pinned memory."""
        for name in FRAME:
            self._host[name].zero_()
        with torch.cuda.stream(self._stream):
            self._enqueue()  # TensorRT allocates at the first run, which can't be captured
            self._stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Another thread may use the GPU meanwhile, as that of the engine in service does.
        with torch.cuda.graph(graph, stream=self._stream, capture_error_mode="thread_local"):
            self._enqueue()
        return graph

    def _enqueue(self) -> None:
        for name in FRAME:
            self._device[name].copy_(self._host[name], non_blocking=True)
        if not self._context.execute_async_v3(self._stream.cuda_stream):
            raise RuntimeError("TensorRT refused to run the engine")
        for name in ("alpha", "trimap"):
            self._host[name].copy_(self._device[name], non_blocking=True)

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            for name, array in (("color", color), ("depth", depth_bytes(depth))):
                target = self._host[name].numpy()
                if array.shape != target.shape:
                    raise ValueError(f"{name} is {array.shape} instead of {target.shape}")
                np.copyto(target, array)
            with torch.cuda.stream(self._stream):
                self._graph.replay()
                if foreground:
                    picture = self._host["foreground"]
                    picture.copy_(self._device["foreground"], non_blocking=True)
            self._stream.synchronize()
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"TensorRT failed on a frame: {error}") from error
        alpha, trimap = (self._host[name].numpy().copy() for name in ("alpha", "trimap"))
        self._last = alpha, trimap
        return alpha, self._host["foreground"].numpy().copy() if foreground else None

    @torch.inference_mode()
    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        if self._last is not None and self._last[0] is alpha:
            return self._last[1]  # it was made with this alpha
        arrays = (np.require(array, requirements=["C", "W"]) for array in (alpha, depth))
        try:
            made: torch.Tensor = self._trimap(*(torch.from_numpy(a).cuda() for a in arrays))
        except RuntimeError as error:
            raise EngineError(f"TensorRT failed on a frame: {error}") from error
        result: NDArray[np.uint8] = made.cpu().numpy()
        return result


def load_plan(
    trt: Any, cache: EngineCache, name: str, build: Callable[[], bytes]
) -> tuple[Any, Any, Any, Any]:
    """Loads an engine from the cache; one that TensorRT doesn't accept is built once more.

    Args:
        trt: the module of :func:`library`.
        cache: where the engine lies, or will.
        name: its file name.
        build: builds it.

    Returns:
        TensorRT's logger, runtime, engine and execution context.

    Raises:
        EngineError: if the engine can't be built, can't be loaded after it was, or has too
            little memory to run in.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    runtime = _made(lambda: trt.Runtime(logger), "runtime")
    for _ in range(2):
        engine = runtime.deserialize_cuda_engine(cache.get(name, build))
        if engine is not None:
            context = engine.create_execution_context()
            if context is None:
                # Nothing is wrong with the engine: building it anew would take more memory still.
                raise EngineError(
                    "TensorRT has no memory to run its engine in: end other programs on the GPU, "
                    "or choose another backend"
                )
            return logger, runtime, engine, context
        cache.notes.append(f"{cache.directory / name} doesn't load and is made again")
        cache.drop(name)
    raise EngineError(
        f"TensorRT can't load the engine that it has just built ({name}): choose another backend"
    )


def _made(make: Callable[[], Any], what: str) -> Any:
    """What TensorRT makes; without a driver it gives nothing, or raises, by its version."""
    try:
        made = make()
    except (TypeError, RuntimeError) as error:
        raise EngineError(
            f"TensorRT can't make a {what} ({error}): is the driver there?"
        ) from error
    if made is None:
        raise EngineError(f"TensorRT can't make a {what}: is the GPU's driver installed?")
    return made


def is_built(
    network: MattingNetwork, size: tuple[int, int], tiles: int | None, cache: EngineCache
) -> bool:
    """Whether an engine for the GPU at hand lies in the cache; True where none can be built."""
    if not torch.cuda.is_available():
        return True
    try:
        trt = library()
    except EngineError:
        return True
    name = plan_name(trt, network, size, tiles, torch.cuda.get_device_capability())
    return cache.read(name) is not None


def plan_name(
    trt: Any,
    network: MattingNetwork,
    size: tuple[int, int],
    tiles: int | None,
    capability: tuple[int, int],
) -> str:
    """File name of a built engine: everything that decides what is in it.

    Args:
        trt: the module of :func:`library`.
        network: the network with its weights.
        size: rows and columns of the frames.
        tiles: number of refined tiles, None for all.
        capability: compute capability of the GPU, such as (8, 6).
    """
    graph = graph_digest(network.config, size, tiles, "fp16")[:16]
    # TensorRT-RTX builds for all GPUs of a capability; plain TensorRT tunes to the one at hand.
    tuned = trt.__name__ == "tensorrt" and torch.cuda.is_available()
    gpu = torch.cuda.get_device_name() if tuned else "any"
    gpu = "".join(c if c.isalnum() else "-" for c in gpu)
    kind = f"{trt.__name__}{trt.__version__}_sm{capability[0]}{capability[1]}_{gpu}"
    # The weights last, see EngineCache.alike.
    return f"{graph}_{size[1]}x{size[0]}_fp16_{kind}_{weights_digest(network)[:16]}.engine"


def make_plan(
    trt: Any,
    network: MattingNetwork,
    size: tuple[int, int],
    tiles: int | None,
    cache: EngineCache,
    capability: tuple[int, int] | None = None,
    on_progress: Progress | None = None,
) -> bytes:
    """An engine: one of the cache with these weights put into it, or else a new one.

    Args:
        trt: the module of :func:`library`.
        network: the network with its weights.
        size: rows and columns of the frames.
        tiles: number of refined tiles, None for all.
        cache: where engines with other weights and the timing cache lie.
        capability: see :func:`build_plan`; an engine for another GPU can't be refitted here.
        on_progress: told how far it is.

    Raises:
        EngineError: if TensorRT can't build the engine.
    """
    graph = WholeGraph(network, *size, tiles, half=True)
    if capability is None:
        name = plan_name(trt, network, size, tiles, torch.cuda.get_device_capability())
        for other in cache.alike(name):
            plan = cache.read(other)
            if plan is None:
                continue
            if on_progress is not None:
                on_progress(0.0, "refitting")
            try:
                return refit_plan(trt, plan, graph.learned())
            except (EngineError, RuntimeError, TypeError) as error:
                cache.notes.append(f"{cache.directory / other} can't be refitted: {error}")
    if on_progress is not None:
        on_progress(0.0, "exporting")
    onnx = onnx_bytes(network, *size, tiles, half=True)
    replaceable = graph.learned() if capability is None else ()
    return build_plan(trt, onnx, capability, cache, on_progress, replaceable)


def refit_plan(trt: Any, plan: bytes, weights: Mapping[str, NDArray[np.generic]]) -> bytes:
    """An engine with other weights, in seconds.

    Args:
        trt: the module of :func:`library`.
        plan: an engine of the same graph.
        weights: all that differs, by its name in the exported graph.

    Raises:
        EngineError: if it doesn't load, or can't take up each of the weights.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    runtime = _made(lambda: trt.Runtime(logger), "runtime")
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise EngineError("it doesn't load")
    if not engine.refittable:
        raise EngineError("its weights can't be replaced")
    refitter = _made(lambda: trt.Refitter(engine, logger), "refitter")
    # A weight that it doesn't know may be in it under the name of an equal one.
    fixed = sorted(set(weights) - set(refitter.get_all_weights()))
    held = {name: np.ascontiguousarray(value) for name, value in weights.items()}
    refused = fixed or [
        name
        for name, value in held.items()
        if not refitter.set_named_weights(name, trt.Weights(value))
    ]
    refused = refused or list(refitter.get_missing_weights())
    if refused:
        raise EngineError(f"{len(refused)} of its weights can't be replaced, such as {refused[0]}")
    if not refitter.refit_cuda_engine():
        raise EngineError("TensorRT failed to replace its weights")
    made = _serialized(trt, engine)
    if made is None or runtime.deserialize_cuda_engine(made) is None:
        raise EngineError("with other weights it doesn't load")
    return made


def _serialized(trt: Any, engine: Any) -> bytes | None:
    """An engine as bytes, whose weights can be replaced again."""
    flag = getattr(getattr(trt, "SerializationFlag", None), "INCLUDE_REFIT", None)
    if flag is None:
        plan = engine.serialize()
    else:
        config = engine.create_serialization_config()
        config.set_flag(flag)
        plan = engine.serialize_with_config(config)
    return None if plan is None else bytes(memoryview(plan))


def build_plan(
    trt: Any,
    onnx: bytes,
    capability: tuple[int, int] | None = None,
    cache: EngineCache | None = None,
    on_progress: Progress | None = None,
    replaceable: Collection[str] = (),
) -> bytes:
    """Builds an engine.

    Args:
        trt: the module of :func:`library`.
        onnx: the exported graph; its own types say where half precision is used.
        capability: compute capability to build for, None for the GPU at hand; only TensorRT-RTX
            builds for another one.
        cache: where the timing cache is kept, None for nowhere.
        on_progress: told how far the build is.
        replaceable: names of the weights that :func:`refit_plan` shall be able to replace, where
            this TensorRT can do that; it takes the GPU that is built for.

    Raises:
        EngineError: if TensorRT can't read or build the graph.
    """
    logger = trt.Logger(trt.Logger.WARNING)
    builder = _made(lambda: trt.Builder(logger), "builder")
    flags, strong = _network_flags(trt)
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        reasons = "; ".join(str(parser.get_error(i)) for i in range(parser.num_errors))
        raise EngineError(f"TensorRT {trt.__version__} can't read the graph: {reasons}")
    config = builder.create_builder_config()
    if hasattr(config, "set_memory_pool_limit"):
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    if not strong:
        _keep_types(trt, network, config)
    if capability is not None:
        _build_for(trt, config, capability)
    if on_progress is not None and hasattr(trt, "IProgressMonitor"):
        config.progress_monitor = _monitor(trt, on_progress)
    timing = f"timing_{trt.__name__}{trt.__version__}_{_target(capability)}.cache"
    cached = _use_timing_cache(config, cache, timing)
    flag = _let_refit(trt, network, config, replaceable)
    plan = builder.build_serialized_network(network, config)
    if plan is None and flag is not None:
        config.clear_flag(flag)
        plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise EngineError(
            f"TensorRT {trt.__version__} can't build the engine; its log tells why (often too "
            "little memory: end other programs on the GPU)"
        )
    if cached and cache is not None:
        cache.write(timing, bytes(memoryview(config.get_timing_cache().serialize())))
    return bytes(memoryview(plan))


def _network_flags(trt: Any) -> tuple[int, bool]:
    """Flags of the network, and whether its types are kept without further ado."""
    kinds = trt.NetworkDefinitionCreationFlag
    major = int(trt.__version__.split(".")[0])
    flags = 0
    if trt.__name__ == "tensorrt" and major < 10:
        flags |= 1 << int(kinds.EXPLICIT_BATCH)
    # TensorRT 11 and TensorRT-RTX know nothing else; 8 and 9 obey it in part or not at all.
    always = trt.__name__ == "tensorrt_rtx" or major > 10
    strong = getattr(kinds, "STRONGLY_TYPED", None)
    if not always and major == 10 and strong is not None:
        return flags | 1 << int(strong), True
    return flags, always


def _keep_types(trt: Any, network: Any, config: Any) -> None:
    """Before strong typing: allow half precision, and hold what is float32 in the graph to it."""
    config.set_flag(trt.BuilderFlag.FP16)
    config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
    free = [trt.LayerType.CONSTANT, trt.LayerType.SHAPE]
    # Casts are identities in TensorRT 8.5.
    free.append(getattr(trt.LayerType, "CAST", trt.LayerType.IDENTITY))
    halves = 0
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.num_outputs and layer.type not in free:
            kind = layer.get_output(0).dtype
            halves += kind == trt.float16
            if kind == trt.float32:
                layer.precision = kind
    if not halves:
        raise EngineError(
            f"TensorRT {trt.__version__} doesn't tell which layers are in half precision, so depth "
            "can't be kept out of it: use TensorRT 10 (JetPack 6.1 or newer), or another backend"
        )


def _let_refit(trt: Any, network: Any, config: Any, names: Collection[str]) -> Any:
    """Asks for an engine in which the named weights, all of them, can be replaced.

    Returns:
        The flag that does, None where it can't be had. Before TensorRT 10 constants would have to
        be replaceable too, which takes their optimization away.
    """
    flag = getattr(trt.BuilderFlag, "REFIT_INDIVIDUAL", None)
    if not names or flag is None or not all(map(network.mark_weights_refittable, names)):
        return None
    config.set_flag(flag)
    return flag


def _build_for(trt: Any, config: Any, capability: tuple[int, int]) -> None:
    name = f"SM{capability[0]}{capability[1]}"
    kinds = getattr(trt, "ComputeCapability", None)
    if kinds is None or not hasattr(config, "set_compute_capability"):
        raise EngineError(
            "this TensorRT builds only for the GPU at hand: leave the compute capability away, or "
            "install tensorrt-rtx-cu13"
        )
    if not hasattr(kinds, name):
        raise EngineError(
            f"TensorRT-RTX {trt.__version__} can't build for compute capability {name[2:]}: "
            "build on that machine with plain TensorRT"
        )
    config.num_compute_capabilities = 1
    config.set_compute_capability(getattr(kinds, name), 0)


def _use_timing_cache(config: Any, cache: EngineCache | None, name: str) -> bool:
    """Lets a build profit from earlier ones; False where this TensorRT keeps no timings."""
    if cache is None or not hasattr(config, "create_timing_cache"):
        return False
    timing = config.create_timing_cache(cache.read(name) or b"")
    return timing is not None and bool(config.set_timing_cache(timing, ignore_mismatch=False))


def _target(capability: tuple[int, int] | None) -> str:
    if capability is None:
        capability = torch.cuda.get_device_capability() if torch.cuda.is_available() else (0, 0)
    return f"sm{capability[0]}{capability[1]}"


def _monitor(trt: Any, on_progress: Progress) -> Any:
    class Monitor(trt.IProgressMonitor):
        """Tells the outermost phase."""

        def __init__(self) -> None:
            super().__init__()
            self._outer: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                self._outer[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            if phase_name in self._outer:
                on_progress(min(1.0, step / max(1, self._outer[phase_name])), phase_name)
            return True

        def phase_finish(self, phase_name: str) -> None:
            if self._outer.pop(phase_name, None) is not None:
                on_progress(1.0, phase_name)

    return Monitor()


def _types(trt: Any) -> dict[Any, torch.dtype]:
    """TensorRT's types as torch's; its own table breaks with newer NumPy."""
    names = {
        "float32": torch.float32,
        "float16": torch.float16,
        "int32": torch.int32,
        "uint8": torch.uint8,
    }
    return {getattr(trt, name): dtype for name, dtype in names.items() if hasattr(trt, name)}

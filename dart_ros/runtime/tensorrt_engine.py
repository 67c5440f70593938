"""Runs the network through TensorRT (8.5 to 11) or TensorRT-RTX: the fastest engine on a GPU."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime import cuda
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    INPUTS,
    OUTPUTS,
    REFINING,
    TILES,
    graphs_of,
    has_weights,
    stage_weights,
    tensor_shapes,
)
from dart_ros.runtime.layout import FrameBuffer, Layout
from dart_ros.runtime.reference_check import check_engine
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.weights import NetworkWeights
from dart_ros.values import Matte

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

    Each stage is an engine of its own, so that a frame costs what is wanted of it. An engine that
    is used for the first time is compared with another kind of engine on a frame.

    Args:
        weights: of the network.
        background: the captured scene.
        tiles: number of refined tiles, None for all.
        threads: of no meaning here.
        cache: where built engines are kept, None for the user's cache folder.
        on_progress: told how far a build is.

    Raises:
        EngineError: if there is no GPU or no TensorRT, it can't build or run the network, or it
            mattes otherwise than other engines.
    """

    def __init__(
        self,
        weights: NetworkWeights,
        background: CapturedBackground,
        tiles: int | None,
        threads: int = 0,
        cache: EngineCache | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        device = cuda.device()
        trt = library()
        cache = cache or EngineCache()
        self.name = f"tensorrt {trt.__version__} (fp16)"
        self._layout = layout = background.layout
        count = layout.tiles if tiles is None else min(tiles, layout.tiles)
        self._plans = Plans(trt, weights, layout, count, cache, device)
        self._stream = cuda.Stream()
        self._frame_shapes = tensor_shapes(layout, count, half=True)
        self._weights = weights
        self._connect(background)
        self._start(on_progress)
        unchecked = self._plans.unchecked()
        if unchecked and (problem := check_engine(self, weights, background, tiles, cache.notes)):
            cache.notes.append(f"{problem}: it is built anew, with weights that can't be replaced")
            self._plans.refittable = False
            for name in unchecked:
                cache.drop(name)
            self._start(on_progress)
            if problem := check_engine(self, weights, background, tiles, cache.notes):
                for name in unchecked:
                    cache.drop(name)
                raise EngineError(problem)
        self._plans.mark_checked()
        self.notes = tuple(cache.notes)

    def _connect(self, background: CapturedBackground) -> None:
        """Memory on the GPU for all that stages read and make, and pinned memory for a frame's."""
        held = scene_buffers(self._weights, background, half=True)
        if TILES not in self._plans.stages:
            held["tiles"] = np.arange(self._layout.tiles, dtype=np.int32)
        self._addresses = {
            name: self._stream.allocate(*kind) for name, kind in self._frame_shapes.items()
        }
        self._upload(held)
        self._host = {
            name: self._stream.pinned(*self._frame_shapes[name])
            for name in ("color", "depth", "alpha", "foreground")
        }
        self._frame = FrameBuffer(self._layout, self._host["color"], self._host["depth"])
        self._stream.synchronize()

    def _upload(self, held: dict[str, NDArray[Any]]) -> None:
        for name, value in held.items():
            self._stream.upload(self._addresses[name], value)

    def prepare(self, background: CapturedBackground) -> Callable[[], None]:
        """See :meth:`dart_ros.runtime.engine.Engine.prepare`."""
        background.check_layout(self._layout)
        held = scene_buffers(self._weights, background, half=True)

        def swap() -> None:
            self._upload(held)
            # What is copied must stay until it is there.
            self._stream.synchronize()

        return swap

    def _start(self, on_progress: Progress | None) -> None:
        """Loads the engines, and captures a frame's work for all that may be wanted."""
        # A context needs the other three, and doesn't keep them alive in every version.
        self._loaded = {stage: self._plans.load(stage, on_progress) for stage in self._plans.stages}
        for stage, (*_, context) in self._loaded.items():
            for name in (*INPUTS[stage], *OUTPUTS[stage]):
                context.set_tensor_address(name, self._addresses[name])
        self._host["color"][:], self._host["depth"][:] = 0, 0
        self._queue(foreground=True)  # the first run allocates: it can't be captured
        self._stream.synchronize()
        self._graphs = {
            foreground: self._stream.capture(functools.partial(self._queue, foreground))
            for foreground in (False, True)
        }

    def _queue(self, foreground: bool) -> None:
        """A frame's work, from the pinned inputs to the pinned results."""
        for name in ("color", "depth"):
            self._stream.upload(self._addresses[name], self._host[name])
        for stage, (*_, context) in self._loaded.items():
            if stage == FOREGROUND and not foreground:
                continue
            if not context.execute_async_v3(self._stream.handle):
                raise EngineError(f"TensorRT refused to run the engine of the stage {stage}")
        for name in ("alpha", *["foreground"] * foreground):
            self._stream.download(self._host[name], self._addresses[name])

    def run(
        self,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32],
        foreground: bool = True,
    ) -> Matte:
        """See :meth:`dart_ros.runtime.engine.Engine.run`."""
        try:
            self._frame.fill(color, depth)
        except ValueError as error:
            raise EngineError(f"TensorRT failed on a frame: {error}") from error
        self._stream.launch(self._graphs[foreground])
        self._stream.synchronize()
        return Matte(self._image("alpha"), self._image("foreground") if foreground else None, None)

    def _image(self, name: str) -> NDArray[np.uint8]:
        """A result of the frame's size, as memory of its own."""
        return self._host[name][: self._layout.height, : self._layout.width].copy()


class Plans:
    """The built engines of a size, a set of weights and a GPU, in the cache.

    Args:
        trt: the module of :func:`library`.
        weights: of the network.
        layout: of the frames.
        count: number of refined tiles.
        cache: where built engines are kept.
        device: the GPU.
        here: whether it is the GPU at hand; for another one only TensorRT-RTX builds, and engines
            can't be refitted.

    Attributes:
        stages: those that there are, in the order in which they run.
        refittable: whether engines are built so that a fit's weights can be put into them.
    """

    def __init__(
        self,
        trt: Any,
        weights: NetworkWeights,
        layout: Layout,
        count: int,
        cache: EngineCache,
        device: cuda.Device,
        here: bool = True,
    ) -> None:
        choice = [] if count == layout.tiles else [TILES]
        self.stages = [COARSE, *choice, REFINING, FOREGROUND]
        self.refittable = here
        self._trt, self._weights, self._layout, self._count = trt, weights, layout, count
        self._cache, self._device, self._here = cache, device, here
        self._graphs = graphs_of(weights.config)

    def name(self, stage: str) -> str:
        """File name of a built engine: everything that decides what is in it."""
        trt, device = self._trt, self._device
        graph = self._graphs.digest(stage, self._layout, self._count, half=True)[:16]
        # TensorRT-RTX builds for all GPUs of a capability; plain TensorRT tunes to the one at hand.
        tuned = f"{device.name}-{device.processors}" if trt.__name__ == "tensorrt" else "any"
        gpu = "".join(c if c.isalnum() else "-" for c in tuned)
        major, minor = device.capability
        kind = f"{trt.__name__}{trt.__version__}_sm{major}{minor}_{gpu}"
        size = f"{self._layout.width}x{self._layout.height}"
        weights = self._weights.digest[:16] if has_weights(stage) else "any"
        # The weights last, see EngineCache.alike.
        return f"{stage}_{size}_{graph}_{kind}_{weights}.engine"

    def load(self, stage: str, on_progress: Progress | None = None) -> tuple[Any, Any, Any, Any]:
        """See :func:`load_plan`."""
        name = self.name(stage)
        return load_plan(self._trt, self._cache, name, lambda: self.make(stage, on_progress))

    def build_all(self, on_progress: Progress | None = None) -> list[str]:
        """Builds what is not in the cache yet; returns the file names."""
        for stage in self.stages:
            self._cache.get(self.name(stage), lambda stage=stage: self.make(stage, on_progress))  # type: ignore[misc]
        return [self.name(stage) for stage in self.stages]

    def are_built(self) -> bool:
        """Whether all lie in the cache, whole."""
        return all(self._cache.read(self.name(stage)) is not None for stage in self.stages)

    def unchecked(self) -> list[str]:
        """File names of the engines that :meth:`mark_checked` doesn't know."""
        names = (self.name(stage) for stage in self.stages)
        return [name for name in names if not self._cache.has(_checked(name))]

    def mark_checked(self) -> None:
        """Remembers that these engines matte as others do."""
        for name in self.unchecked():
            self._cache.write(_checked(name), b"checked")

    def make(self, stage: str, on_progress: Progress | None = None) -> bytes:
        """An engine: one of the cache with these weights put into it, or else a new one.

        Raises:
            EngineError: if TensorRT can't build the engine.
        """
        trt, cache = self._trt, self._cache
        learned = stage_weights(stage, self._weights, half=True)

        def told(share: float, message: str) -> None:
            if on_progress is not None:
                done = (self.stages.index(stage) + share) / len(self.stages)
                on_progress(done, f"{stage}: {message}")

        if learned and self.refittable:
            name = self.name(stage)
            for other in cache.alike(name):
                plan = cache.read(other)
                if plan is None:
                    continue
                told(0.0, "refitting")
                try:
                    return refit_plan(trt, plan, learned)
                except (EngineError, RuntimeError, TypeError) as error:
                    cache.notes.append(f"{cache.directory / other} can't be refitted: {error}")
        told(0.0, "building")
        onnx = self._graphs.model(
            stage, self._layout, self._count, half=True, weights=self._weights
        )
        capability = None if self._here else self._device.capability
        replaceable = learned if self.refittable else ()
        return build_plan(trt, onnx, self._device, capability, cache, told, replaceable)


def _checked(name: str) -> str:
    return f"{name}.checked"


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
    weights: NetworkWeights, layout: Layout, tiles: int | None, cache: EngineCache
) -> bool:
    """Whether an engine for the GPU at hand lies in the cache; True where none can be built."""
    try:
        device, trt = cuda.device(), library()
    except EngineError:
        return True
    count = layout.tiles if tiles is None else min(tiles, layout.tiles)
    return Plans(trt, weights, layout, count, cache, device).are_built()


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
    device: cuda.Device | None = None,
    capability: tuple[int, int] | None = None,
    cache: EngineCache | None = None,
    on_progress: Progress | None = None,
    replaceable: Collection[str] = (),
) -> bytes:
    """Builds an engine.

    Args:
        trt: the module of :func:`library`.
        onnx: the exported graph; its own types say where half precision is used.
        device: the GPU, by which the timing cache is named.
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
    target = "any" if device is None else "".join(map(str, device.capability))
    timing = f"timing_{trt.__name__}{trt.__version__}_sm{target}.cache"
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

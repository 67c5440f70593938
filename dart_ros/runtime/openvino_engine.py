"""Runs the network through OpenVINO: the fastest engine on a CPU."""

from __future__ import annotations

import functools
import io
import math
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from dart_ros.errors import EngineError
from dart_ros.method.error_map import SURE
from dart_ros.method.geometry import STRIDE
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.cpu_trimap import CpuTrimap
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.export import graph_digest, weights_digest
from dart_ros.runtime.graph import CoarseGraph, ForegroundGraph, MattingGraph, RefiningGraph
from dart_ros.runtime.resident import FrameBuffer, Resident, padded_shape, prepare

if TYPE_CHECKING:
    import openvino


SHARES = (0.25, 0.5, 0.75, 1.0)
"""The refiner is compiled for these shares of the tiles: for any number it runs half as fast."""

_COARSE = "coarse"
_FOREGROUND = "foreground"

_MADE = (0, 1, 4, 5)
"""Outputs of the coarse graph that the refining one reads: maps, picture, gain, lit."""

_TILES = 9
"""Input of the refining graph that tells the tiles."""


class OpenVinoEngine:
    """OpenVINO on the CPU, bfloat16 inside where the CPU computes it natively.

    The scene is an input that stays in its place, so one compiled network serves all scenes of a
    size; it is kept in the cache, from where it comes back in a fraction of a second. Tiles of
    which the network is sure are left out, so that a frame costs what is in it.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: largest number of refined tiles, None to refine all, sure or not.
        threads: CPU threads, 0 for as many as there are cores.
        cache: where compiled networks are kept, None for the user's cache folder.
        on_progress: told the share that is ready, 0 to 1, and what comes next in words.

    Raises:
        EngineError: if OpenVINO is not installed or can't compile the network.
    """

    def __init__(
        self,
        network: MattingNetwork,
        background: Background,
        tiles: int | None,
        threads: int = 0,
        cache: EngineCache | None = None,
        on_progress: Callable[[float, str], None] | None = None,
    ) -> None:
        height, width = background.plate.shape[-2:]
        core, precision, stem = _here(network, height, width)
        self.name = f"openvino ({precision})"
        cache = cache or EngineCache()
        kinds = _kinds(height, width, tiles)

        def request(
            kind: str, make: Callable[[], openvino.Model], precision: str
        ) -> openvino.InferRequest:
            if on_progress:
                on_progress(kinds.index(kind) / len(kinds), f"compiling {kind}")
            options = {
                "PERFORMANCE_HINT": "LATENCY",
                "INFERENCE_NUM_THREADS": threads,
                "NUM_STREAMS": 1,
                "INFERENCE_PRECISION_HINT": precision,
            }
            name = _name(stem, kind)
            return _load(core, cache, name, make, options).create_infer_request()

        self._frame = FrameBuffer(height, width)
        frame = torch.from_numpy(self._frame.color), torch.from_numpy(self._frame.depth)
        # Kept, because the requests only point to it.
        self._scene = scene = Resident(*(x.contiguous() for x in prepare(network, background)))
        far = *frame, *scene.far
        near = *frame, scene.near_plate, scene.near_behind, scene.stage1
        self._trimap = CpuTrimap(background)

        def graph() -> MattingGraph:
            return MattingGraph(network, height, width, tiles)

        def coarse() -> openvino.Model:
            return _converted(CoarseGraph(graph()), far)

        @functools.cache
        def any_refining() -> openvino.Model:
            made = graph()
            given, chosen = made.blank_coarse(), made.blank_parts().tiles
            example = *near, *(given[index] for index in _MADE), chosen
            return _converted(RefiningGraph(made), example, free=(_TILES,))

        def refining(count: int) -> openvino.Model:
            model = any_refining().clone()
            model.reshape({model.input(_TILES): [count]})
            return model

        def foreground() -> openvino.Model:
            made = graph()
            example = frame[0], *made.blank_parts()
            return _converted(ForegroundGraph(made), example, free=(2, 3))

        try:
            self._coarse = request(_COARSE, coarse, precision)
            self._foreground = request(_FOREGROUND, foreground, "f32")
            _place(self._coarse, [value.numpy() for value in far])
            made = [self._coarse.get_output_tensor(index).data for index in _MADE]
            self._refining = {}
            for count in _counts(height, width, tiles):
                one = request(_refining(count), functools.partial(refining, count), precision)
                _place(one, [*(value.numpy() for value in near), *made])
                self._refining[count] = one
        except RuntimeError as error:
            raise EngineError(f"OpenVINO can't compile the network: {error}") from error
        if on_progress:
            on_progress(1.0, "ready")
        self.notes = tuple(cache.notes)

    def matte(
        self, color: NDArray[np.uint8], depth: NDArray[np.float32], foreground: bool = True
    ) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        try:
            self._frame.fill(color, depth)
            self._coarse.infer()
            tiles = uncertain_tiles(self._coarse.get_output_tensor(3).data, list(self._refining))
            refining = self._refining[len(tiles)]
            refining.infer({_TILES: tiles}, share_inputs=True)
            if foreground:
                residual = self._coarse.get_output_tensor(2).data
                refined = refining.get_output_tensor(1).data
                inputs = [self._frame.color, residual, tiles, refined]
                self._foreground.infer(inputs, share_inputs=True)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"OpenVINO failed on a frame: {error}") from error
        # Copied, since the requests' own buffers are written again by the next frame.
        alpha = _output(refining)
        return alpha, _output(self._foreground) if foreground else None

    def trimap(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """See :class:`dart_ros.runtime.engine.Engine`."""
        return self._trimap(alpha, depth)


def is_compiled(
    network: MattingNetwork, size: tuple[int, int], tiles: int | None, cache: EngineCache
) -> bool:
    """Whether all that the engine of a size needs lies in the cache.

    Raises:
        EngineError: if OpenVINO is not installed or finds no CPU.
    """
    _, _, stem = _here(network, *size)
    return all(cache.has(_name(stem, kind)) for kind in _kinds(*size, tiles))


def uncertain_tiles(worst: NDArray[np.float32], counts: Sequence[int]) -> NDArray[np.int64]:
    """The tiles to refine: those with the largest errors, down to errors that are none.

    Args:
        worst: largest error of each tile.
        counts: how many it may be, rising.

    Returns:
        Indices in no particular order: of the smallest count that is enough, or of the last.
    """
    wanted = int(np.count_nonzero(worst > SURE))
    count = next((count for count in counts if count >= wanted), counts[-1])
    return np.argpartition(worst, -count)[-count:]


def _here(network: MattingNetwork, height: int, width: int) -> tuple[openvino.Core, str, str]:
    """OpenVINO, the precision that the CPU computes natively, and what files are named by."""
    try:
        import openvino
    except ImportError as error:
        raise EngineError(f"OpenVINO can't be imported ({error}): pip install openvino") from error
    try:
        core = openvino.Core()
        native = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        processor = core.get_property("CPU", "FULL_DEVICE_NAME")
    except RuntimeError as error:
        raise EngineError(f"OpenVINO finds no CPU to run on: {error}") from error
    precision = "bf16" if "BF16" in native else "f32"
    settings = (height, width), precision, openvino.__version__, processor, native
    graph, weights = graph_digest(network.config, *settings), weights_digest(network)
    return core, precision, f"{graph[:16]}_{weights[:16]}_{width}x{height}"


def _name(stem: str, kind: str) -> str:
    return f"{stem}_{kind}.openvino"


def _refining(count: int) -> str:
    return f"refining{count}"


def _kinds(height: int, width: int, tiles: int | None) -> list[str]:
    """The networks of a size, in the order in which they are compiled."""
    return [_COARSE, _FOREGROUND, *map(_refining, _counts(height, width, tiles))]


def _counts(height: int, width: int, tiles: int | None) -> list[int]:
    """Numbers of tiles to be ready for, rising."""
    rows, columns = (side // STRIDE for side in padded_shape(height, width))
    total = rows * columns
    if tiles is None or tiles >= total:
        return [total]
    return sorted({math.ceil(share * tiles) for share in SHARES})


def _place(request: openvino.InferRequest, inputs: Sequence[NDArray[Any]]) -> None:
    """Lets a request read its first inputs from memory that stays where it is."""
    import openvino

    for index, value in enumerate(inputs):
        request.set_input_tensor(index, openvino.Tensor(value, shared_memory=True))


def _output(request: openvino.InferRequest) -> NDArray[np.uint8]:
    result: NDArray[np.uint8] = request.get_output_tensor(0).data.copy()
    return result


def _load(
    core: openvino.Core,
    cache: EngineCache,
    name: str,
    make: Callable[[], openvino.Model],
    options: dict[str, object],
) -> openvino.CompiledModel:
    """A compiled network from the cache; one that OpenVINO doesn't accept is made once more."""

    def compiled() -> bytes:
        stream = io.BytesIO()
        core.compile_model(make(), "CPU", options).export_model(stream)
        return stream.getvalue()

    try:
        return core.import_model(cache.get(name, compiled), "CPU", options)
    except RuntimeError as error:
        cache.notes.append(f"{cache.directory / name} doesn't load ({error}) and is made again")
        cache.drop(name)
        return core.import_model(cache.get(name, compiled), "CPU", options)


def _converted(
    module: nn.Module, example: tuple[Tensor, ...], free: tuple[int, ...] = ()
) -> openvino.Model:
    """A module at the sizes of its example, but for inputs whose first size is free."""
    import openvino

    with torch.no_grad(), warnings.catch_warnings():
        # Sizes are meant to be constant in the compiled graph.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        # Traced here, because convert_model traces twice to compare, which takes seconds.
        traced = torch.jit.freeze(torch.jit.trace(module.eval(), example, check_trace=False))
        model = openvino.convert_model(traced, example_input=example)
    sides = [[-1 if i in free else x.shape[0], *x.shape[1:]] for i, x in enumerate(example)]
    model.reshape(dict(zip(model.inputs, sides, strict=True)))
    return model

"""``dart-ros build-engine``: the engine of TensorRT or OpenVINO, before the node needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from dart_ros.child_process import say
from dart_ros.commands.options import json_progress, network_options, positive, size, weights_named
from dart_ros.errors import EngineError

if TYPE_CHECKING:
    from dart_ros.runtime.engine_cache import EngineCache


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "build-engine",
        parents=[network_options()],
        help="build the engine of TensorRT or OpenVINO for a size into the cache",
    )
    command.add_argument(
        "--backend",
        choices=("tensorrt", "openvino"),
        default="tensorrt",
        help="default: %(default)s",
    )
    command.add_argument("--size", type=size, required=True, metavar="WxH", help="of the frames")
    command.add_argument(
        "--refine-fraction",
        type=_share,
        help="as the node's parameter of this name (0.25)",
    )
    command.add_argument(
        "--compute-capability",
        type=_capability,
        metavar="CC",
        help="of another GPU, such as 86 (TensorRT-RTX alone; default: the GPU at hand)",
    )
    json_progress(command)
    command.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from dart_ros.method.geometry import REFINED_SHARE, tile_count

    height, width = options.size
    tiles = tile_count(height, width, options.refine_fraction or REFINED_SHARE)
    build = _build_openvino if options.backend == "openvino" else _build_tensorrt
    with tqdm(total=100, unit="%", leave=False, disable=options.json_progress or None) as bar:

        def on_progress(share: float, message: str) -> None:
            if options.json_progress:
                say(progress=round(share, 4), message=message)
            bar.set_description(message)
            bar.update(round(100 * share) - bar.n)

        ready, notes = build(options, tiles, on_progress)
    if options.json_progress:
        say(done=True, notes=notes)
        return
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{ready} is ready")


def _build_openvino(
    options: argparse.Namespace, tiles: int | None, on_progress: Callable[[float, str], None]
) -> tuple[str, list[str]]:
    """Returns what was built, in words, and what went wrong on the way."""
    if options.compute_capability:
        raise EngineError(
            "--compute-capability is of a GPU, and OpenVINO builds for the CPU: leave it out, or "
            "build with --backend tensorrt"
        )
    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.layout import Layout
    from dart_ros.runtime.openvino_engine import OpenVinoEngine, is_compiled
    from dart_ros.runtime.scene_buffers import CapturedBackground

    cache, weights = EngineCache(), weights_named(options)
    # What is compiled serves every scene of the size.
    blank = CapturedBackground.blank(*options.size)
    OpenVinoEngine(weights, blank, tiles, cache=cache, on_progress=on_progress)
    if not is_compiled(weights, Layout(*options.size), tiles, cache):
        raise EngineError(_missing(cache, "what OpenVINO compiles"))
    return f"what OpenVINO needs in {cache.directory}", cache.notes


def _build_tensorrt(
    options: argparse.Namespace, tiles: int | None, on_progress: Callable[[float, str], None]
) -> tuple[str, list[str]]:
    """Returns what was built, in words, and what went wrong on the way."""
    from dart_ros.runtime import cuda
    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.heavy_work import one_at_a_time
    from dart_ros.runtime.layout import Layout
    from dart_ros.runtime.scene_buffers import CapturedBackground
    from dart_ros.runtime.tensorrt_engine import Plans, TensorRtEngine, library

    capability = options.compute_capability
    if capability is None and not cuda.available():
        raise EngineError(
            "there is no NVIDIA GPU here: name one with --compute-capability (TensorRT-RTX), or "
            "build on the machine that has it"
        )
    trt, cache, weights = library(), EngineCache(), weights_named(options)
    layout = Layout(*options.size)
    device = cuda.device() if capability is None else cuda.Device("any", capability, 0)
    count = layout.tiles if tiles is None else min(tiles, layout.tiles)
    plans = Plans(trt, weights, layout, count, cache, device, here=capability is None)

    def on_wait() -> None:
        on_progress(0.0, "waiting until another build or fit ends")

    with one_at_a_time(on_wait):
        plans.build_all(on_progress)
    if not plans.are_built():
        raise EngineError(_missing(cache, str(cache.directory / plans.name(plans.stages[0]))))
    if capability is None:
        # Compares it with another engine; what is built serves every scene of the size.
        TensorRtEngine(weights, CapturedBackground.blank(*options.size), tiles, cache=cache)
    return f"what TensorRT needs in {cache.directory}", cache.notes


def _missing(cache: EngineCache, what: str) -> str:
    return "; ".join(cache.notes) or f"{what} is not there after the build"


def _share(text: str) -> float:
    share = positive(text)
    if share > 1:
        raise argparse.ArgumentTypeError(f"{text} is more than everything: write 1 or less")
    return share


def _capability(text: str) -> tuple[int, int]:
    digits = text.replace(".", "")
    if not digits.isdigit() or len(digits) < 2:
        raise argparse.ArgumentTypeError(f"{text} is no compute capability: write 86 or 8.6")
    return int(digits[:-1]), int(digits[-1])

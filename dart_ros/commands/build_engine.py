"""``dart-ros build-engine``: the engine of TensorRT or OpenVINO, before the node needs it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from dart_ros.commands.options import network_of, network_options, positive, size
from dart_ros.errors import EngineError

if TYPE_CHECKING:
    from dart_ros.runtime.engine_cache import EngineCache

NOTE = "note: "
"""What begins a line on stderr that tells what went wrong on the way to an engine that is ready."""


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
    command.set_defaults(run=_build)


def _build(options: argparse.Namespace) -> None:
    from tqdm import tqdm

    from dart_ros.method.geometry import REFINED_SHARE, tile_count

    height, width = options.size
    tiles = tile_count(height, width, options.refine_fraction or REFINED_SHARE)
    build = _build_openvino if options.backend == "openvino" else _build_tensorrt
    with tqdm(total=100, unit="%", leave=False, disable=None) as bar:

        def on_progress(share: float, message: str) -> None:
            bar.set_description(message)
            bar.update(round(100 * share) - bar.n)

        ready, notes = build(options, tiles, on_progress)
    for note in notes:
        print(f"{NOTE}{note}", file=sys.stderr)
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
    from dart_ros.method.network import Background
    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.openvino_engine import OpenVinoEngine, is_compiled

    cache, network = EngineCache(), network_of(options)
    # What is compiled serves every scene of the size.
    blank = Background.blank(*options.size)
    OpenVinoEngine(network, blank, tiles, cache=cache, on_progress=on_progress)
    if not is_compiled(network, options.size, tiles, cache):
        raise EngineError(_missing(cache, "what OpenVINO compiles"))
    return f"what OpenVINO needs in {cache.directory}", cache.notes


def _build_tensorrt(
    options: argparse.Namespace, tiles: int | None, on_progress: Callable[[float, str], None]
) -> tuple[str, list[str]]:
    """Returns what was built, in words, and what went wrong on the way."""
    import torch

    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.tensorrt_engine import library, make_plan, plan_name

    capability = options.compute_capability
    if capability is None and not torch.cuda.is_available():
        raise EngineError(
            "torch finds no NVIDIA GPU here: name one with --compute-capability (TensorRT-RTX), or "
            "build on the machine that has it"
        )
    trt, cache, network = library(), EngineCache(), network_of(options)
    height, width = options.size
    here = capability or torch.cuda.get_device_capability()
    name = plan_name(trt, network, (height, width), tiles, here)

    def build() -> bytes:
        return make_plan(trt, network, (height, width), tiles, cache, capability, on_progress)

    plan = cache.get(name, build)
    if cache.read(name) is None:
        raise EngineError(_missing(cache, str(cache.directory / name)))
    return f"{cache.directory / name} ({len(plan) / 1e6:.0f} MB)", cache.notes


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

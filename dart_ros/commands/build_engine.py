"""``dart-ros build-engine``: the TensorRT engine, before the node needs it."""

from __future__ import annotations

import argparse

from dart_ros.commands.options import network_of, network_options, positive, size
from dart_ros.errors import EngineError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "build-engine",
        parents=[network_options()],
        help="build the TensorRT engine for a size into the cache",
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
    import torch
    from tqdm import tqdm

    from dart_ros.method.network import REFINED_SHARE, tile_count
    from dart_ros.runtime.engine_cache import EngineCache
    from dart_ros.runtime.export import onnx_bytes
    from dart_ros.runtime.tensorrt_engine import build_plan, library, plan_name

    capability = options.compute_capability
    if capability is None and not torch.cuda.is_available():
        raise EngineError(
            "torch finds no NVIDIA GPU here: name one with --compute-capability (TensorRT-RTX), or "
            "build on the machine that has it"
        )
    trt, cache, network = library(), EngineCache(), network_of(options)
    height, width = options.size
    tiles = tile_count(height, width, options.refine_fraction or REFINED_SHARE)
    here = capability or torch.cuda.get_device_capability()
    name = plan_name(trt, network, (height, width), tiles, here)
    with tqdm(total=100, unit="%", leave=False, disable=None) as bar:

        def on_progress(share: float, message: str) -> None:
            bar.set_description(message)
            bar.update(round(100 * share) - bar.n)

        def build() -> bytes:
            bar.set_description("exporting")
            onnx = onnx_bytes(network, height, width, tiles, half=True)
            return build_plan(trt, onnx, capability, cache, on_progress)

        plan = cache.get(name, build)
    if cache.read(name) is None:
        raise EngineError(
            "; ".join(cache.notes) or f"{cache.directory / name} is not there after the build"
        )
    print(f"{cache.directory / name} ({len(plan) / 1e6:.0f} MB) is ready")


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

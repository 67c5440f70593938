"""``dart-ros export``: the graph as an ONNX file."""

from __future__ import annotations

import argparse
from pathlib import Path

from dart_ros.commands.options import network_of, network_options, size


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "export",
        parents=[network_options()],
        help="write the whole graph as ONNX, for TensorRT or ONNX Runtime",
    )
    command.add_argument("--size", type=size, required=True, metavar="WxH", help="of the frames")
    command.add_argument("--output", type=Path, required=True, help="the .onnx file")
    command.add_argument("--half", action="store_true", help="float16 inside, for a GPU")
    command.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from dart_ros.method.geometry import tile_count
    from dart_ros.runtime.export import onnx_bytes, write_onnx

    height, width = options.size
    tiles = tile_count(height, width)
    content = onnx_bytes(network_of(options), height, width, tiles, options.half)
    write_onnx(options.output, content)
    print(
        f"Wrote {options.output} ({len(content) / 1e6:.0f} MB): {width}x{height}, {tiles} refined "
        f"tiles, {'float16' if options.half else 'float32'}"
    )

"""``dart-ros export``: the graph of a size as ONNX files."""

from __future__ import annotations

import argparse
from pathlib import Path

from dart_ros.commands.options import network_options, size, weights_named
from dart_ros.errors import EngineError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "export",
        parents=[network_options()],
        help="write the stages of the graph as ONNX, for other programs",
    )
    command.add_argument("--size", type=size, required=True, metavar="WxH", help="of the frames")
    command.add_argument("--output", type=Path, required=True, help="folder for the .onnx files")
    command.add_argument("--half", action="store_true", help="float16 inside, for a GPU")
    command.set_defaults(run=_export)


def _export(options: argparse.Namespace) -> None:
    from dart_ros.files import replacing
    from dart_ros.method.geometry import tile_count
    from dart_ros.runtime.graphs import STAGES, graphs_of
    from dart_ros.runtime.layout import Layout

    layout, weights = Layout(*options.size), weights_named(options)
    count = tile_count(layout.height, layout.width) or layout.tiles
    graphs = graphs_of(weights.config)
    written = 0
    for stage in STAGES:
        content = graphs.model(stage, layout, count, options.half, weights)
        written += len(content)
        try:
            options.output.mkdir(parents=True, exist_ok=True)
            with replacing(options.output / f"{stage}.onnx") as temporary:
                temporary.write_bytes(content)
        except OSError as error:
            raise EngineError(
                f"{options.output} can't be written to ({error.strerror}): choose another place"
            ) from error
    print(
        f"Wrote {', '.join(STAGES)} to {options.output} ({written / 1e6:.0f} MB): "
        f"{layout.width}x{layout.height}, {count} refined tiles, "
        f"{'float16' if options.half else 'float32'}"
    )

"""Make the training and demo data: ``python -m tools.datagen foregrounds|closeups|rooms|demo``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dart_ros.errors import DartError
from tools.datagen.closeups import make_closeups
from tools.datagen.demo_scene import make_demo
from tools.datagen.foregrounds import make_foregrounds
from tools.datagen.furniture import Catalog
from tools.datagen.rooms import make_rooms


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tools.datagen",
        description="Render people and rooms: training data and the demo recording.",
    )
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--furniture", type=Path, required=True, help="folder of .sh3f libraries")
    shared.add_argument("--output", type=Path, required=True, help="folder to write to")
    shared.add_argument("--seed", type=int, default=0)
    avatars = argparse.ArgumentParser(add_help=False)
    avatars.add_argument("--avatars", type=Path, required=True, help="folder of rigged .glb people")
    commands = parser.add_subparsers(dest="command", required=True)

    foregrounds = commands.add_parser(
        "foregrounds", parents=[shared, avatars], help="cut-out people"
    )
    foregrounds.add_argument("--count", type=int, default=400, help="people foregrounds")
    foregrounds.add_argument("--objects", type=int, default=60, help="object foregrounds")
    foregrounds.add_argument("--max-height", type=int, default=640, help="pixels")
    foregrounds.add_argument("--quality", type=int, default=85, help="WebP quality")

    closeups = commands.add_parser(
        "closeups", parents=[shared, avatars], help="close-ups with soft alpha, for training alone"
    )
    closeups.add_argument("--count", type=int, default=200, help="close-ups of people")
    closeups.add_argument("--things", type=int, default=50, help="poles, cables, wheels ...")
    closeups.add_argument("--max-height", type=int, default=720, help="pixels")
    closeups.add_argument(
        "--held-out", action="store_true", help="people kept for evaluation instead of all others"
    )

    rooms = commands.add_parser("rooms", parents=[shared], help="furnished rooms with depth")
    rooms.add_argument("--count", type=int, default=80, help="views")

    demo = commands.add_parser("demo", parents=[shared, avatars], help="the demo recording")
    demo.add_argument("--count", type=int, default=90, help="frames with people")
    demo.add_argument("--quality", type=int, default=86, help="WebP quality")
    return parser


def main() -> int:
    """Run the command line; the exit code is 1 after an error that the user can mend."""
    options = _parser().parse_args()
    try:
        catalog = Catalog(options.furniture)
        if options.command == "foregrounds":
            made = make_foregrounds(
                sorted(options.avatars.glob("*.glb")),
                catalog,
                options.output,
                options.count,
                options.objects,
                options.max_height,
                options.quality,
                options.seed,
            )
            print(f"{len(made)} foregrounds in {options.output}")
        elif options.command == "closeups":
            soft = make_closeups(
                sorted(options.avatars.glob("*.glb")),
                catalog,
                options.output,
                options.count,
                options.things,
                options.max_height,
                options.seed,
                options.held_out,
            )
            print(f"{len(soft)} close-ups in {options.output}")
        elif options.command == "rooms":
            make_rooms(catalog, options.output, options.count, options.seed)
        else:
            make_demo(
                options.avatars,
                catalog,
                options.output,
                options.count,
                options.seed,
                options.quality,
            )
    except DartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"error: {options.output} can't be written to ({error}): free some disk space or "
            "choose another folder",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Make the public test set: ``python -m benchmark.sim_rgbd expand|closeups|render``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from dart_ros.errors import DartError

CLEAN, LARGE, CLOSEUPS = (Path(__file__).with_name(name) for name in ("clean", "large", "closeups"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.sim_rgbd", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    expand = commands.add_parser("expand", help="clean renders into the data set with noise")
    expand.add_argument("--output", type=Path, required=True, help="folder of the data set")
    expand.add_argument("--clean", type=Path, default=CLEAN, help="default: the ones shipped")
    expand.add_argument("--seed", type=int, default=0, help="of the sensor's noise (0)")
    closeups = commands.add_parser("closeups", help="the close-ups anew, from a library of them")
    closeups.add_argument("--library", type=Path, required=True, help="of people held out")
    closeups.add_argument("--output", type=Path, default=CLOSEUPS, help="default: the ones shipped")
    render = commands.add_parser("render", help="the clean renders anew; needs bpy 4.2")
    render.add_argument("--avatars", type=Path, required=True, help="folder of VALID avatars")
    render.add_argument("--furniture", type=Path, required=True, help="folder of .sh3f libraries")
    render.add_argument("--output", type=Path, help="folder of those (default: as shipped)")
    render.add_argument("--samples", type=int, default=6, help="of each pixel of color (6)")
    render.add_argument("--scenes", type=int, nargs="+", help="numbers (all)")
    sets = ("clean", "large", "closeups", "clips")
    render.add_argument("--set", choices=sets, default="clean", help="which of them (clean)")
    return parser


def main() -> int:
    """Run the command line; the exit code is 1 after an error that the user can mend."""
    options = _parser().parse_args()
    try:
        if options.command == "expand":
            from benchmark.sim_rgbd.expand import expand

            expand(options.clean, options.output, options.seed)
            print(f"The data set is in {options.output}")
        elif options.command == "closeups":
            from benchmark.sim_rgbd.closeups import compose_closeups

            made = compose_closeups(options.library, LARGE, options.output)
            print(f"{len(made)} scenes in {options.output}")
        else:
            from benchmark.sim_rgbd.render import render
            from benchmark.sim_rgbd.scenes import CLIP_PLANS, CLOSEUP_PLANS, LARGE_PLANS, PLANS

            plans = {
                "clean": dict(enumerate(PLANS)),
                "large": LARGE_PLANS,
                "closeups": CLOSEUP_PLANS,
                "clips": CLIP_PLANS,
            }[options.set]
            output = options.output or Path(__file__).with_name(options.set)
            chosen = {n: plan for n, plan in plans.items() if n in (options.scenes or plans)}
            render(options.avatars, options.furniture, output, chosen, options.samples)
    except DartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

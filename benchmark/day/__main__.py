"""``python -m benchmark.day render|measure``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmark.day.measure import measure
from benchmark.day.plan import DAY, make_plan
from benchmark.day.render import render
from benchmark.day.report import ContactSheet, figures, plot
from benchmark.day.stream import Day
from dart_ros.commands.options import size
from dart_ros.errors import DartError


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmark.day", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    drawn = commands.add_parser("render", help="draw the day's pictures, 95 of them")
    drawn.add_argument("--avatars", type=Path, required=True, help="folder of rigged .glb people")
    drawn.add_argument("--furniture", type=Path, required=True, help="folder of .sh3f libraries")
    drawn.add_argument("--output", type=Path, required=True, help="folder to write to")
    drawn.add_argument("--size", type=size, default=(480, 640), metavar="WxH")
    drawn.add_argument("--seed", type=int, default=4, help="of room and clouds (4)")
    played = commands.add_parser("measure", help="play them to all methods")
    played.add_argument("pictures", type=Path, help="folder that render wrote to")
    played.add_argument("--output", type=Path, required=True, help="folder for the figures")
    played.add_argument("--step", type=float, default=30.0, help="seconds between frames (30)")
    played.add_argument("--score", type=float, default=600.0, help="between scored ones (600)")
    played.add_argument("--hours", type=float, default=DAY / 3600, help="of the day (10)")
    played.add_argument("--seed", type=int, default=0, help="of the sensor's noise (0)")
    played.add_argument("--backend", default="auto", help="inference engine (auto)")
    return parser


def main() -> int:
    """Run the command line; the exit code is 1 after an error that the user can mend."""
    options = _parser().parse_args()
    plan = make_plan()
    try:
        if options.command == "render":
            chosen = (options.avatars, options.furniture, options.output, plan)
            render(*chosen, options.size, options.seed)
            return 0
        options.output.mkdir(parents=True, exist_ok=True)
        day, sheet = Day(options.pictures, plan, options.seed), ContactSheet()
        results = measure(
            day, options.step, options.score, options.backend, 3600 * options.hours, sheet.add
        )
        results.save(options.output / "day.json")
        text = figures(results)
        (options.output / "day.md").write_text(text + "\n", encoding="utf-8")
        plot(results, options.output / "day.png")
        sheet.save(options.output / "day.jpg")
        print(text)
    except (DartError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

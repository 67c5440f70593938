"""The command ``dart-ros``: scenes, captures, fits and evaluations from a terminal, without ROS.

Heavy modules are imported by the commands that need them, so that the others start at once.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence

from dart_ros import __version__
from dart_ros.child_process import say
from dart_ros.commands import (
    build_engine,
    capture,
    evaluate,
    export,
    fit,
    matte,
    scenes,
    train,
)
from dart_ros.errors import DartError

COMMANDS = (evaluate, capture, matte, scenes, fit, export, build_engine, train)
_INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line, without the program's name; None for the process's own.

    Returns:
        Exit code: 0 for success, 1 for a problem told in one line on stderr, 130 after Ctrl-C,
        143 after a cancelled fit. argparse exits with 2 where the arguments are wrong.
    """
    options = _parser().parse_args(arguments)
    try:
        options.run(options)
    except DartError as error:
        if getattr(options, "json_progress", False):
            say(error=str(error))
        print(f"dart-ros: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("dart-ros: interrupted", file=sys.stderr)
        return _INTERRUPTED
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("dart-ros", description="Background matting for RGB-D.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())

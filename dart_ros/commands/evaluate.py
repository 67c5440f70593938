"""``dart-ros evaluate``: this method beside simple ones, on a recording with truth."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from dart_ros.commands.options import capture_scene, engine_options, open_given, recording_options
from dart_ros.errors import EvaluationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dart_ros.evaluation.baselines import Method
    from dart_ros.values import Frame

DEMO = Path(__file__).resolve().parents[1] / "data" / "demo"
METHODS = ("dart", "depth", "mog2", "knn")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "evaluate",
        parents=[recording_options(), engine_options()],
        help="compare this method with simple ones on a recording with truth",
    )
    command.add_argument("recording", nargs="?", default=str(DEMO), help="default: the demo's")
    command.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    command.add_argument("--output", type=Path, help="folder for contact sheets and the table")
    command.add_argument("--stride", type=int, default=1, help="score every so many frames (1)")
    command.set_defaults(run=_evaluate)


def _evaluate(options: argparse.Namespace) -> None:
    recording = open_given(options)
    # Not before: torch takes seconds.
    from dart_ros.evaluation.table import compare, markdown

    wanted = [name.strip() for name in options.methods.split(",")]
    methods = [_method(name, options.max_depth, options.backend) for name in wanted]
    rows = compare(recording, methods, options.stride, options.output)
    table = markdown(rows, f"Recording '{recording.name}'")
    print(table)
    if options.output is not None:
        try:
            (options.output / "table.md").write_text(table + "\n", encoding="utf-8")
        except OSError as error:
            raise EvaluationError(
                f"The table can't be written to {options.output} ({error.strerror}); choose "
                "another folder."
            ) from error
        print(f"\nTable and contact sheets are in {options.output}", file=sys.stderr)


def _method(name: str, max_depth: float, backend: str) -> Method:
    from dart_ros.evaluation.baselines import ColorSubtractor, DepthThreshold

    if name == "dart":
        return _Dart(max_depth, backend)
    if name == "depth":
        return DepthThreshold(max_depth)
    if name in ("mog2", "knn"):
        return ColorSubtractor(name)
    raise EvaluationError(f"There is no method '{name}'; choose from {', '.join(METHODS)}.")


class _Dart:
    """This method, as one of those that :mod:`dart_ros.evaluation` compares."""

    def __init__(self, max_depth: float, backend: str) -> None:
        self.name = "DART"
        self._max_depth = max_depth
        self._backend = backend

    def fit(self, frames: Iterable[Frame]) -> None:
        """Capture the background from empty frames."""
        from dart_ros.evaluation.table import EMPTY_FRAMES
        from dart_ros.session.matter import Matter

        scene = capture_scene(frames, EMPTY_FRAMES, "evaluation", self._max_depth)
        self._matter = Matter(scene, self._backend)
        self.name = f"DART ({self._matter.backend})"

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """Alpha of one frame."""
        return self._matter.matte(frame, trimap=False, foreground=False).alpha

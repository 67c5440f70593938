"""``dart-ros evaluate``: this method beside others, on a data set or a recording with truth."""

from __future__ import annotations

import argparse
import json
import sys
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from dart_ros.commands.options import (
    MAX_DEPTH,
    engine_options,
    open_given,
    positive,
    recording_options,
    warn,
)
from dart_ros.errors import EvaluationError
from dart_ros.files import DEMO_RECORDING, replacing

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from dart_ros.evaluation.methods.method import Method
    from dart_ros.evaluation.results import Results
    from dart_ros.evaluation.scenes import LabelledScene
    from dart_ros.session.recording import Recording

_OF_RECORDINGS = (
    "stride",
    "max_depth",
    "color_topic",
    "depth_topic",
    "camera_info_topic",
    "empty_seconds",
    "depth_unit",
)
METHODS = ("dart", "depth", "mog2", "knn")


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "evaluate",
        parents=[recording_options(), engine_options()],
        help="compare this method with others on a data set or a recording, with truth or without",
    )
    command.add_argument(
        "data", nargs="?", default=str(DEMO_RECORDING), help="data set or recording (the demo's)"
    )
    command.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    command.add_argument(
        "--methods-from",
        action="append",
        default=[],
        metavar="PACKAGE",
        help="Python package with further methods, such as benchmark.peers of the repository",
    )
    command.add_argument(
        "--weights",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="file or folder of a method's weights; once for each method",
    )
    command.add_argument("--fit", type=positive, default=0.0, help="seconds of fit to each scene")
    command.add_argument("--output", type=Path, help="folder for report, table and results")
    command.add_argument("--save-alphas", type=Path, help="folder for the alphas as pictures")
    command.add_argument("--stride", type=int, help="recordings: every so many frames (1)")
    # None tells what was not given.
    command.set_defaults(run=_evaluate, max_depth=None)


def _evaluate(options: argparse.Namespace) -> None:
    scenes, title = _scenes(options)
    # Not before: torch takes seconds.
    from dart_ros.evaluation.label_free import has_truth, label_free_markdown
    from dart_ros.evaluation.report import html_report
    from dart_ros.evaluation.run import evaluate, save_alphas
    from dart_ros.evaluation.table import markdown

    methods = _methods(options)
    with ExitStack() as stack:
        output = options.output or Path(stack.enter_context(TemporaryDirectory()))
        name = Path(options.data).resolve().name
        results = evaluate(name, scenes, methods, output, options.fit)
        table = markdown(results, title)
        if len(scenes) == 1 and not has_truth(scenes[0]):
            table = label_free_markdown(results, scenes[0], output, title)
        print(table)
        if options.save_alphas is not None:
            save_alphas(results, output, options.save_alphas)
        if options.output is not None:
            report = html_report(results, scenes, output, title)
            _write(output, results, table, report)
            print(f"\nReport, table and results are in {output}", file=sys.stderr)


def _scenes(options: argparse.Namespace) -> tuple[Sequence[LabelledScene], str]:
    from dart_ros.evaluation.dataset import is_dataset, open_dataset
    from dart_ros.evaluation.scenes import RecordingScene

    path = Path(options.data).expanduser()
    if is_dataset(path):
        given = [name for name in _OF_RECORDINGS if getattr(options, name) is not None]
        if given:
            names = ", ".join("--" + name.replace("_", "-") for name in given)
            raise EvaluationError(
                f"{path} is a data set, and {names} can only be used with recordings: leave it "
                "out; the sensor's range stands in each scene.json as max_depth."
            )
        return open_dataset(path), f"Data set '{path.resolve().name}'"
    options.recording = options.data
    options.max_depth = MAX_DEPTH if options.max_depth is None else options.max_depth
    stride = 1 if options.stride is None else options.stride
    recording = open_given(options)
    broken = _broken(recording, recording.occupied[:: max(1, stride)])
    scene = RecordingScene(recording, path, options.max_depth, stride, broken)
    return [scene], f"Recording '{recording.name}'"


def _broken(recording: Recording, positions: list[int]) -> Collection[int]:
    """Positions of the frames that can't be read; they are told on stderr."""
    from tqdm import tqdm

    from dart_ros.session.recording.frames import ReadableFrames

    frames = ReadableFrames(recording, [(position, 0) for position in positions])
    for _ in tqdm(frames, desc="checking", unit="frame", leave=False, disable=None):
        pass
    if frames.skipped:
        warn(frames.report())
    return frames.skipped


def _methods(options: argparse.Namespace) -> list[Method]:
    from dart_ros.evaluation.methods import all_methods

    # Packages beside the working directory are meant too, as with python -m.
    sys.path.append(str(Path.cwd()))
    try:
        known = all_methods(*options.methods_from)
    except (ImportError, AttributeError) as error:
        raise EvaluationError(
            f"The methods of {', '.join(options.methods_from)} can't be imported ({error}): name a "
            "Python package of methods, and start in the folder in which it lies."
        ) from error
    finally:
        sys.path.pop()
    names = list(dict.fromkeys(name.strip() for name in options.methods.split(",")))
    weights: dict[str, Path] = {}
    for text in options.weights:
        name, equals, path = text.partition("=")
        if not equals or name not in names:
            raise EvaluationError(
                f"--weights {text} names none of the methods {', '.join(names)}; write "
                "--weights METHOD=PATH."
            )
        weights[name] = Path(path).expanduser()
    for name in names:
        if name not in known:
            raise EvaluationError(
                f"There is no method '{name}'; choose from {', '.join(sorted(known))}."
            )
    return [known[name](weights.get(name), options.backend) for name in names]


def _write(output: Path, results: Results, table: str, report: str) -> None:
    texts = {
        "results.json": json.dumps(results.to_json(), indent=1) + "\n",
        "table.md": table + "\n",
        "report.html": report,
    }
    try:
        for name, text in texts.items():
            with replacing(output / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        raise EvaluationError(
            f"The results can't be written to {output} ({error.strerror}); choose another folder."
        ) from error

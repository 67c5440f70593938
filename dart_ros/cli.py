"""The command ``dart-ros``: scenes, captures, fits and evaluations from a terminal, without ROS.

Heavy modules are imported by the commands that need them, so that the others start at once.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dart_ros import __version__
from dart_ros.errors import DartError, EvaluationError, FitError, RecordingError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from dart_ros.evaluation.baselines import Method
    from dart_ros.session.recording import Recording
    from dart_ros.session.scene import Scene
    from dart_ros.values import Frame

SCENES_DIR = "~/.ros/dart_ros/scenes"
DEMO = Path(__file__).resolve().parent / "data" / "demo"
METHODS = ("dart", "depth", "mog2", "knn")
_MAX_DEPTH = 10.0
_CANCELLED = 128 + signal.SIGTERM
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
            _say(error=str(error))
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

    scenes = argparse.ArgumentParser(add_help=False)
    scenes.add_argument("--scenes-dir", default=SCENES_DIR, help="default: %(default)s")

    recording = argparse.ArgumentParser(add_help=False)
    recording.add_argument(
        "--max-depth", type=_positive, default=_MAX_DEPTH, help="sensor's range in metres (10)"
    )
    bags = recording.add_argument_group("bags")
    for topic in ("color", "depth", "camera-info"):
        bags.add_argument(f"--{topic}-topic", help="default: RealSense's")
    bags.add_argument(
        "--empty-seconds", type=_positive, help="so long the scene is empty at the start (3)"
    )

    engine = argparse.ArgumentParser(add_help=False)
    engine.add_argument("--backend", default="auto", help="inference engine (auto)")

    command = commands.add_parser(
        "evaluate",
        parents=[recording, engine],
        help="compare this method with simple ones on a recording with truth",
    )
    command.add_argument("recording", nargs="?", default=str(DEMO), help="default: the demo's")
    command.add_argument("--methods", default=",".join(METHODS), help="default: %(default)s")
    command.add_argument("--output", type=Path, help="folder for contact sheets and the table")
    command.add_argument("--stride", type=int, default=1, help="score every so many frames (1)")
    command.set_defaults(run=_evaluate)

    command = commands.add_parser(
        "capture",
        parents=[recording, scenes],
        help="make a scene of a recording's empty frames",
    )
    command.add_argument("recording")
    command.add_argument("--scene", required=True, help="name of the scene")
    command.add_argument("--frames", type=int, default=100, help="frames to use (100)")
    command.set_defaults(run=_capture)

    command = commands.add_parser(
        "matte", parents=[recording, scenes, engine], help="matte a recording into pictures"
    )
    command.add_argument("recording")
    command.add_argument("--scene", required=True, help="name of the scene")
    command.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    command.set_defaults(run=_matte)

    command = commands.add_parser("scenes", parents=[scenes], help="list the scenes")
    command.set_defaults(run=_scenes)

    command = commands.add_parser("fit", parents=[scenes], help="fit the network to a scene")
    command.add_argument("scene")
    command.add_argument("--seconds", type=_positive, default=120.0, help="how long to train (120)")
    command.add_argument(
        "--json-progress", action="store_true", help="one JSON object a line on stdout"
    )
    command.set_defaults(run=_fit)
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} isn't a positive number")
    return value


def _open(options: argparse.Namespace) -> Recording:
    from dart_ros.session.recording import open_recording

    given = {
        key: value
        for key in ("color_topic", "depth_topic", "camera_info_topic", "empty_seconds")
        if (value := getattr(options, key)) is not None
    }
    return open_recording(options.recording, max_depth=options.max_depth, **given)


def _evaluate(options: argparse.Namespace) -> None:
    recording = _open(options)
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

        scene = _captured(frames, EMPTY_FRAMES, "evaluation", self._max_depth)
        self._matter = Matter(scene, self._backend)
        self.name = f"DART ({self._matter.backend})"

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """Alpha of one frame."""
        return self._matter.matte(frame, trimap=False).alpha


def _captured(frames: Iterable[Frame], wanted: int, name: str, max_depth: float) -> Scene:
    from dart_ros.session.capture import BackgroundCapture

    capture = BackgroundCapture(wanted, max_depth)
    for frame in frames:
        capture.add(frame)
    return capture.finish(name)


def _capture(options: argparse.Namespace) -> None:
    from dart_ros.session.scene import SceneStore, check_name

    check_name(options.scene)
    recording = _open(options)
    # Not before: torch takes seconds.
    from tqdm import tqdm

    from dart_ros.evaluation.table import empty_frames

    frames = empty_frames(recording, options.frames)
    # None: only on a terminal.
    bar = tqdm(frames, total=options.frames, unit="frame", leave=False, disable=None)
    scene = _captured(bar, options.frames, options.scene, options.max_depth)
    store = SceneStore(options.scenes_dir)
    store.save(scene)
    print(
        f"Captured scene '{scene.name}' ({scene.id}) from {scene.frames} frames; depth is known "
        f"for {scene.known_share:.0%} of the pixels. It is in {store.path(scene.name)}"
    )


def _matte(options: argparse.Namespace) -> None:
    import cv2
    from tqdm import tqdm

    from dart_ros.session.matter import Matter
    from dart_ros.session.scene import SceneStore

    recording = _open(options)
    matter = Matter(SceneStore(options.scenes_dir).load(options.scene), options.backend)
    output: Path = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
        for position in tqdm(range(len(recording)), unit="frame", leave=False, disable=None):
            matte = matter.matte(recording[position], trimap=False)
            bgra = cv2.cvtColor(matte.foreground, cv2.COLOR_RGB2BGRA)
            bgra[..., 3] = matte.alpha
            for kind, picture in (("alpha", matte.alpha), ("foreground", bgra)):
                file = output / f"{kind}_{position:04d}.png"
                file.write_bytes(cv2.imencode(".png", picture)[1].tobytes())
    except OSError as error:
        raise RecordingError(
            f"The pictures can't be written to {output} ({error.strerror}); choose another folder."
        ) from error
    print(f"Matted {len(recording)} frames on {matter.backend}; the pictures are in {output}")


def _scenes(options: argparse.Namespace) -> None:
    from dart_ros.session.scene import SceneStore

    store = SceneStore(options.scenes_dir)
    summaries = store.list()
    last = store.last()
    if not summaries:
        print(f"No scenes in {store.directory}")
    for item in summaries:
        size = f"{item.size[0]}x{item.size[1]}"
        notes = ["fitted"] * item.fitted + ["last used"] * (item.name == last)
        what = item.problem or "  ".join([size, item.captured_at, item.id, *notes])
        print(f"{item.name:20}  {what}")


def _fit(options: argparse.Namespace) -> None:
    from dart_ros.session.scene import SceneStore

    store = SceneStore(options.scenes_dir)
    scene = store.load(options.scene)
    # At once: torch's loader would wait for its workers, which may die by the same signal.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(_CANCELLED))

    from tqdm import tqdm

    from dart_ros.session.fit import fit

    with tqdm(total=100, disable=options.json_progress or None, unit="%", leave=False) as bar:

        def on_progress(share: float, message: str) -> None:
            if options.json_progress:
                _say(progress=round(share, 4), message=message)
            bar.set_description(message)
            bar.update(round(100 * share) - bar.n)

        fitted, result = fit(scene, options.seconds, on_progress, lambda: False)
    # From here on it is decided: a signal that comes later finds the fit done.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if result.improved:
        if store.load(scene.name).id != scene.id:
            raise FitError(
                f"The scene '{scene.name}' was captured anew during the fit, which is void; fit "
                "the new one."
            )
        store.save(fitted)
    message = (
        f"{result.steps} steps in {result.seconds:.0f} s: alpha error {result.before:.2f} -> "
        f"{result.after:.2f} per mille"
    ) + ("" if result.improved else "; no better, the scene is unchanged")
    if options.json_progress:
        _say(
            done=True,
            improved=result.improved,
            before=result.before,
            after=result.after,
            message=message,
        )
    else:
        print(f"Fitted scene '{scene.name}': {message}")


def _say(**entry: Any) -> None:
    """One JSON object as a line of its own, at once."""
    print(json.dumps(entry), flush=True)


if __name__ == "__main__":
    sys.exit(main())

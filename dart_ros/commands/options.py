"""Arguments that several commands share, and what they stand for."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dart_ros.runtime.weights import NetworkWeights
    from dart_ros.session.recording import Recording

SCENES_DIR = "~/.ros/dart_ros/scenes"
MAX_DEPTH = 10.0
RECORDING_HELP = "folder or file of a kind that docs/recordings.md lists"
SCENE_HELP = "name of the scene, or NODE/NAME as `dart-ros scenes` lists it"


def scenes_options() -> argparse.ArgumentParser:
    """Where the scenes lie."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--scenes-dir", default=SCENES_DIR, help="default: %(default)s")
    return parser


def recording_options() -> argparse.ArgumentParser:
    """How a recording is read."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument(
        "--max-depth", type=positive, default=MAX_DEPTH, help="sensor's range in metres (10)"
    )
    parser.add_argument(
        "--depth-unit",
        type=positive,
        metavar="METRES",
        help="of one unit of the depth images (16 bit 0.001, float 1, TUM 0.0002)",
    )
    parser.add_argument(
        "--empty-seconds",
        type=positive,
        help="all but folders with sequence.json: so long the scene is empty at the start (3)",
    )
    bags = parser.add_argument_group("bags")
    for topic in ("color", "depth", "camera-info"):
        bags.add_argument(f"--{topic}-topic", help="default: RealSense's")
    return parser


def engine_options() -> argparse.ArgumentParser:
    """Which engine runs the network."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--backend", default="auto", help="inference engine (auto)")
    return parser


def network_options() -> argparse.ArgumentParser:
    """Whose weights are in the network."""
    parser = argparse.ArgumentParser(add_help=False, parents=[scenes_options()])
    parser.add_argument("--scene", help="with this scene's fitted weights (default: generic ones)")
    return parser


def weights_named(options: argparse.Namespace) -> NetworkWeights:
    """The weights that the arguments name."""
    from dart_ros.runtime.weights import load_weights
    from dart_ros.session.predictor import weights_of
    from dart_ros.session.scene_store import find_scene

    if options.scene is None:
        return load_weights()
    store, name = find_scene(options.scenes_dir, options.scene)
    return weights_of(store.load(name))


def size(text: str) -> tuple[int, int]:
    """Rows and columns of a size such as 1280x720, for argparse."""
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"{text} is no size: write width x height, as 1280x720")
    return int(height), int(width)


def positive(text: str) -> float:
    """A number above 0, for argparse."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} isn't a positive number")
    return value


def positive_integer(text: str) -> int:
    """A whole number above 0, for argparse."""
    if not text.isdigit() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text} isn't a positive whole number")
    return int(text)


def open_given(options: argparse.Namespace) -> Recording:
    """The recording that the arguments name; what is odd about it is said on stderr."""
    from tqdm import tqdm

    from dart_ros.session.recording import open_recording
    from dart_ros.session.recording.depth_units import implausible_depth

    given = {
        key: value
        for key in (
            "color_topic",
            "depth_topic",
            "camera_info_topic",
            "empty_seconds",
            "depth_unit",
        )
        if (value := getattr(options, key)) is not None
    }
    # None: only on a terminal.
    with tqdm(desc="reading", unit="image", leave=False, disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        recording = open_recording(
            options.recording, max_depth=options.max_depth, progress=progress, **given
        )
    odd = implausible_depth(recording)
    for note in [*recording.notes, *([odd] if odd else [])]:
        warn(note)
    return recording


def warn(text: str) -> None:
    """One line on stderr, which doesn't end the command."""
    print(f"dart-ros: warning: {text}", file=sys.stderr, flush=True)


def json_progress(command: argparse.ArgumentParser) -> None:
    """Adds the option ``--json-progress``, for programs that start the command."""
    command.add_argument(
        "--json-progress", action="store_true", help="one JSON object a line on stdout"
    )

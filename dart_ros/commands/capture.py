"""``dart-ros capture``: a scene from a recording's empty frames."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dart_ros.commands.options import (
    RECORDING_HELP,
    SCENE_HELP,
    open_given,
    positive_integer,
    recording_options,
    scenes_options,
    warn,
)
from dart_ros.errors import CaptureError

if TYPE_CHECKING:
    from dart_ros.session.recording import Recording


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "capture",
        parents=[recording_options(), scenes_options()],
        help="make a scene of a recording's empty frames",
    )
    command.add_argument("recording", help=RECORDING_HELP)
    command.add_argument("--scene", required=True, help=SCENE_HELP)
    command.add_argument(
        "--frames", type=positive_integer, default=100, help="empty frames to use at most (100)"
    )
    command.set_defaults(run=_capture)


def _capture(options: argparse.Namespace) -> None:
    from dart_ros.session.capture import capture_scene
    from dart_ros.session.recording.frames import ReadableFrames
    from dart_ros.session.registration import told
    from dart_ros.session.scene_store import find_scene

    store, name = find_scene(options.scenes_dir, options.scene)
    recording = open_given(options)
    frames = ReadableFrames(recording, _keys(recording, options.frames))
    try:
        # Not before: torch takes seconds.
        from tqdm import tqdm

        # None: only on a terminal.
        bar = tqdm(frames, unit="frame", leave=False, disable=None)
        stream = (frame for _, frame in bar)
        scene = capture_scene(stream, options.frames, name, options.max_depth)
        store.save(scene)
    finally:
        recording.close()
        if frames.skipped:
            warn(frames.report())
    print(
        f"Captured scene '{store.qualified(scene.name)}' ({scene.id}) from {scene.frames} frames; "
        f"depth is known for {scene.known_share:.0%} of the pixels, "
        f"{scene.restless().mean():.1%} of the picture was restless. It is in "
        f"{store.path(scene.name)}"
    )
    if offset := told(scene.depth_offset):
        warn(offset)


def _keys(recording: Recording, wanted: int) -> list[tuple[int, int]]:
    """(position, repeat) of the empty frames to use.

    Raises:
        CaptureError: if there are too few of them.
    """
    from dart_ros.session.capture import MIN_FRAMES
    from dart_ros.session.recording import first_run
    from dart_ros.session.recording.frames import empty_keys

    run = len(first_run(recording.empty, recording.number))
    # The same frame twice tells nothing new, unless noise is simulated.
    usable = wanted if recording.simulates_noise else min(wanted, run)
    needed = min(wanted, MIN_FRAMES)
    if run and usable < needed:
        raise CaptureError(
            f"The recording '{recording.name}' begins with {run} empty "
            f"{'frame' if run == 1 else 'frames'}, and a background needs {needed}: record the "
            "empty scene longer, raise --empty-seconds if it was empty longer, or make do with "
            f"--frames {run}."
        )
    return empty_keys(recording, usable)

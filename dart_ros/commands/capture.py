"""``dart-ros capture``: a scene from a recording's empty frames."""

from __future__ import annotations

import argparse

from dart_ros.commands.options import SCENE_HELP, open_given, recording_options, scenes_options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "capture",
        parents=[recording_options(), scenes_options()],
        help="make a scene of a recording's empty frames",
    )
    command.add_argument("recording")
    command.add_argument("--scene", required=True, help=SCENE_HELP)
    command.add_argument("--frames", type=int, default=100, help="frames to use (100)")
    command.set_defaults(run=_capture)


def _capture(options: argparse.Namespace) -> None:
    from dart_ros.session.capture import capture_scene
    from dart_ros.session.scene_store import find_scene

    store, name = find_scene(options.scenes_dir, options.scene)
    recording = open_given(options)
    # Not before: torch takes seconds.
    from tqdm import tqdm

    from dart_ros.evaluation.scenes import empty_frames

    frames = empty_frames(recording, options.frames)
    # None: only on a terminal.
    bar = tqdm(frames, total=options.frames, unit="frame", leave=False, disable=None)
    scene = capture_scene(bar, options.frames, name, options.max_depth)
    store.save(scene)
    print(
        f"Captured scene '{store.qualified(scene.name)}' ({scene.id}) from {scene.frames} frames; "
        f"depth is known for {scene.known_share:.0%} of the pixels. It is in "
        f"{store.path(scene.name)}"
    )

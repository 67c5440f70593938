"""``dart-ros capture``: a scene from a recording's empty frames."""

from __future__ import annotations

import argparse

from dart_ros.commands.options import open_given, recording_options, scenes_options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "capture",
        parents=[recording_options(), scenes_options()],
        help="make a scene of a recording's empty frames",
    )
    command.add_argument("recording")
    command.add_argument("--scene", required=True, help="name of the scene")
    command.add_argument("--frames", type=int, default=100, help="frames to use (100)")
    command.set_defaults(run=_capture)


def _capture(options: argparse.Namespace) -> None:
    from dart_ros.session.capture import capture_scene
    from dart_ros.session.scene import SceneStore, check_name

    check_name(options.scene)
    recording = open_given(options)
    # Not before: torch takes seconds.
    from tqdm import tqdm

    from dart_ros.evaluation.scenes import empty_frames

    frames = empty_frames(recording, options.frames)
    # None: only on a terminal.
    bar = tqdm(frames, total=options.frames, unit="frame", leave=False, disable=None)
    scene = capture_scene(bar, options.frames, options.scene, options.max_depth)
    store = SceneStore(options.scenes_dir)
    store.save(scene)
    print(
        f"Captured scene '{scene.name}' ({scene.id}) from {scene.frames} frames; depth is known "
        f"for {scene.known_share:.0%} of the pixels. It is in {store.path(scene.name)}"
    )

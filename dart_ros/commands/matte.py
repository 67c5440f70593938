"""``dart-ros matte``: a recording into pictures, a video, a bag or a file for Rerun."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from dart_ros.commands.options import (
    RECORDING_HELP,
    SCENE_HELP,
    engine_options,
    open_given,
    recording_options,
    scenes_options,
    warn,
)

if TYPE_CHECKING:
    from dart_ros.session.matte_files import MatteWriter
    from dart_ros.session.recording import Recording


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "matte",
        parents=[recording_options(), scenes_options(), engine_options()],
        help="matte a recording into pictures, a video, a bag or a file for Rerun",
    )
    command.add_argument("recording", help=RECORDING_HELP)
    command.add_argument("--scene", required=True, help=SCENE_HELP)
    outputs = command.add_argument_group("outputs, at least one")
    outputs.add_argument("--output", type=Path, help="folder for alpha, trimap and foreground")
    outputs.add_argument("--video", type=Path, help="file.mp4: color, alpha and trimap in a row")
    outputs.add_argument("--bag", type=Path, help="new rosbag2 folder with alpha and trimap")
    outputs.add_argument(
        "--rrd", type=Path, help="file.rrd: input, mattes, points and latency, for Rerun"
    )
    command.add_argument(
        "--post", choices=("closed-form", "vitmatte"), help="post-matting; seconds a frame"
    )
    command.add_argument("--post-weights", type=Path, help="folder of ViTMatte's weights")
    command.set_defaults(run=_matte, parser=command)


def _matte(options: argparse.Namespace) -> None:
    if not any((options.output, options.video, options.bag, options.rrd)):
        options.parser.error("say where to write to: --output, --video, --bag or --rrd")
    import time
    from contextlib import ExitStack

    from dart_ros.errors import PostMattingError
    from dart_ros.postmatting import create_post_matting
    from dart_ros.session.foreground import with_alpha
    from dart_ros.session.scene_store import find_scene

    recording = open_given(options)
    store, name = find_scene(options.scenes_dir, options.scene)
    scene = store.load(name)
    # Not before: torch takes seconds.
    from tqdm import tqdm

    from dart_ros.session.motion_log import MotionLog
    from dart_ros.session.predictor import Predictor
    from dart_ros.session.recording.frames import ReadableFrames

    post = create_post_matting(options.post, options.post_weights) if options.post else None
    frames = ReadableFrames(recording, [(position, 0) for position in range(len(recording))])
    motion = MotionLog(scene.plate)
    unrefined: list[str] = []  # of each frame without post-matting, why
    with ExitStack() as stack:
        stack.callback(recording.close)
        writers = [stack.enter_context(writer) for writer in _writers(options, recording)]
        predictor = Predictor(scene, options.backend)
        # None: only on a terminal.
        for position, frame in tqdm(frames, unit="frame", leave=False, disable=None):
            start = time.perf_counter()
            matte = predictor.predict(frame, foreground=bool(options.output or options.rrd))
            if post is not None and matte.trimap is not None:
                try:
                    matte = with_alpha(matte, post.refine(frame.color, matte.trimap))
                except PostMattingError as error:
                    unrefined.append(str(error))
            latency = time.perf_counter() - start
            if motion.look(position, frame.color):
                warn(motion.report())
            for writer in writers:
                writer.add(position, frame, matte, latency)
    places = ", ".join(str(writer.path) for writer in writers)
    print(f"Matted {frames.read} frames on {predictor.backend}; the mattes are in {places}")
    for text in (frames.report(), motion.report()):
        if text:
            print(text)
    if unrefined:
        warn(f"{len(unrefined)} frames are without post-matting, the first: {unrefined[0]}")


def _writers(options: argparse.Namespace, recording: Recording) -> list[MatteWriter]:
    from dart_ros.session.matte_files import BagWriter, PictureWriter, VideoWriter

    writers: list[MatteWriter] = []
    if options.output is not None:
        writers.append(PictureWriter(options.output))
    if options.bag is not None:
        writers.append(BagWriter(options.bag))
    if options.video is not None:
        writers.append(VideoWriter(options.video, recording.camera, recording.fps))
    if options.rrd is not None:
        from dart_ros.session.rerun_file import RerunWriter

        writers.append(RerunWriter(options.rrd, recording.camera))
    return writers

"""``dart-ros matte``: a recording into pictures."""

from __future__ import annotations

import argparse
from pathlib import Path

from dart_ros.commands.options import (
    engine_options,
    open_given,
    recording_options,
    scenes_options,
)
from dart_ros.errors import RecordingError


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "matte",
        parents=[recording_options(), scenes_options(), engine_options()],
        help="matte a recording into pictures",
    )
    command.add_argument("recording")
    command.add_argument("--scene", required=True, help="name of the scene")
    command.add_argument("--output", type=Path, required=True, help="folder for the pictures")
    command.set_defaults(run=_matte)


def _matte(options: argparse.Namespace) -> None:
    import cv2
    from tqdm import tqdm

    from dart_ros.session.matter import Matter
    from dart_ros.session.scene import SceneStore

    recording = open_given(options)
    matter = Matter(SceneStore(options.scenes_dir).load(options.scene), options.backend)
    output: Path = options.output
    try:
        output.mkdir(parents=True, exist_ok=True)
        for position in tqdm(range(len(recording)), unit="frame", leave=False, disable=None):
            matte = matter.matte(recording[position], trimap=False)
            assert matte.foreground is not None  # it is made unless one declines
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

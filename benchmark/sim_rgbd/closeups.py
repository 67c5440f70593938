"""Close-ups: rendered busts with soft hair, thin cloth and moving arms before the rendered rooms.

The people are those of a library of :mod:`tools.datagen.closeups` that no training shows, at the
size at which they were rendered, so their alpha is exact. They cast no shadows on the room.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError
from dart_ros.simulation.foregrounds import DEPTH_STEP, Foreground, load_foregrounds
from tools.datagen.foregrounds import AVATAR_CREDIT

ROOMS = ("scene_00", "scene_03", "scene_07")
"""Of the large renders, one for each scene of close-ups."""


def compose_closeups(library: Path, rooms: Path, output: Path, frames: int = 2) -> list[Path]:
    """Writes scenes in the layout of the clean renders, ``scene_00`` and so on.

    Args:
        library: Folder of close-ups; those of people are shown, in turn.
        rooms: Folder of the large clean renders.
        output: Folder to write to.
        frames: Of each scene.

    Returns:
        The scenes' folders.

    Raises:
        EvaluationError: A room is missing, the library shows too few people, or the output can't
            be written.
    """
    people = [item for item in load_foregrounds(library) if item.kind == "person"]
    if len(people) < len(ROOMS) * frames:
        raise EvaluationError(
            f"{library} shows {len(people)} people and {len(ROOMS) * frames} are needed: render "
            "more close-ups."
        )
    written = []
    for number, name in enumerate(ROOMS):
        cast = people[number * frames : (number + 1) * frames]
        target = output / f"scene_{number:02d}"
        try:
            _compose(rooms / name, target, cast, number)
        except OSError as error:
            raise EvaluationError(
                f"{target} can't be made of {rooms / name} ({error}): check both folders."
            ) from error
        written.append(target)
    return written


def _compose(room: Path, target: Path, cast: Sequence[Foreground], number: int) -> None:
    about = json.loads((room / "scene.json").read_text(encoding="utf-8"))
    color = cv2.imread(str(room / "background_color.webp"), cv2.IMREAD_COLOR)
    depth = cv2.imread(str(room / "background_depth.png"), cv2.IMREAD_UNCHANGED)
    if color is None or depth is None:
        raise OSError("its background is missing or broken")
    target.mkdir(parents=True, exist_ok=True)
    for name in ("background_color.webp", "background_depth.png"):
        (target / name).write_bytes((room / name).read_bytes())
    random = np.random.default_rng(number)
    for index, person in enumerate(cast):
        left = int(random.integers(-60, max(1, color.shape[1] - person.size[1] + 60)))
        shown, alpha, metres = placed(person, color, depth, left)
        name = f"{index:02d}"
        _write(target / f"color_{name}.webp", shown, [cv2.IMWRITE_WEBP_QUALITY, 92])
        _write(target / f"depth_{name}.png", metres, [cv2.IMWRITE_PNG_COMPRESSION, 9])
        _write(target / f"alpha_{name}.png", alpha, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    about["tags"] = ["close-up"]
    about["people"] = sorted({person.identity for person in cast})
    about["credits"] = [AVATAR_CREDIT, *(c for c in about["credits"] if c != AVATAR_CREDIT)]
    (target / "scene.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")


def placed(
    person: Foreground, color: NDArray[np.uint8], depth: NDArray[np.uint16], left: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.uint16]]:
    """Somebody before a room, at the lower border.

    Args:
        person: At its full size.
        color: H×W×3 BGR.
        depth: H×W millimetres, 0 unknown.
        left: Column at which the person begins, may be outside.

    Returns:
        Color, alpha and depth of the frame. A depth camera sees no single hair: it sees the person
        where alpha is above one half.
    """
    height, width = depth.shape
    level = person.levels[0].numpy()
    rows, columns = level.shape[1:]
    top, first = height - rows, max(0, left)
    last = min(width, left + columns)
    into = np.s_[max(0, top) : height, first:last]
    part = level[:, max(0, -top) :, first - left : last - left].astype(np.float32)
    alpha = np.zeros((height, width), np.uint8)
    alpha[into] = part[3].astype(np.uint8)
    shown, metres = color.copy(), depth.copy()
    behind = shown[into] * (1 - part[3, ..., None] / 255)
    shown[into] = np.rint(behind + part[2::-1].transpose(1, 2, 0)).clip(0, 255).astype(np.uint8)
    near = 1000 * (person.distance + (part[4] - 128) * DEPTH_STEP)
    metres[into] = np.where(part[3] > 127, np.rint(near), metres[into]).astype(np.uint16)
    return shown, alpha, metres


def _write(file: Path, pixels: NDArray[np.generic], options: list[int]) -> None:
    if not cv2.imwrite(str(file), pixels, options):
        raise OSError(f"{file.name} can't be written")

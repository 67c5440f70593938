"""The foregrounds and rooms of a training: loaded, parted into those to train on and those held
out, and hashed, so that weights tell what they were trained on."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Container, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from dart_ros.errors import FitError
from dart_ros.fitting.run import Data
from dart_ros.simulation.backgrounds import invent_room, load_pictures, load_rooms
from dart_ros.simulation.foregrounds import Foreground, load_foregrounds
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.recorded import RecordedScene

_FIRST_HELD_OUT_SEED = 1_000_000
_FEWEST_INVENTED = 4


@dataclass(frozen=True)
class Library:
    """What frames are composed of.

    ``recorded`` scenes are among the ``rooms``, too. ``hashes`` holds the SHA-256 of each folder by
    its name, the second of a name as ``NAME-2``.
    """

    foregrounds: list[Foreground]
    rooms: list[RgbdBackground]
    held_out_foregrounds: list[Foreground]
    held_out_rooms: list[RgbdBackground]
    recorded: list[RecordedScene]
    hashes: dict[str, str]


def foregrounds_path() -> Path:
    """Where the foregrounds that ship with the package lie."""
    return Path(str(files("dart_ros"))) / "data" / "foregrounds"


def load_library(data: Data, recorded: Sequence[RecordedScene] = ()) -> Library:
    """Loads what a run names.

    Args:
        data: of the run.
        recorded: the scenes of ``data.recordings``, one each.

    Raises:
        FitError: if a folder is missing, empty or holds something broken, or if too little is
            left to train or to validate on.
    """
    foregrounds: list[Foreground] = []
    for folder in data.foregrounds or (foregrounds_path(),):
        foregrounds += load_foregrounds(folder)
    training, held_out = split_identities(foregrounds, data.held_out)
    rooms: list[RgbdBackground] = []
    kept: list[RgbdBackground] = []
    for folder in data.rooms:
        _deal(load_rooms(folder), data.held_out, rooms, kept)
    for folder in data.pictures:
        _deal(load_pictures(folder), data.held_out, rooms, kept)
    rooms += [invent_room(seed) for seed in range(data.invented)]
    if data.invented or not kept:
        invented = max(_FEWEST_INVENTED, data.invented // data.held_out)
        kept += [invent_room(_FIRST_HELD_OUT_SEED + seed) for seed in range(invented)]
    folders = (*(data.foregrounds or (foregrounds_path(),)), *data.rooms, *data.pictures)
    hashes: dict[str, str] = {}
    for folder in folders:
        hashes[_free_name(folder.name, hashes)] = folder_hash(folder)
    for path, scene in zip(data.recordings, recorded, strict=True):
        hashes[_free_name(path.name, hashes)] = scene.digest()
    rooms += _repeated([scene.background for scene in recorded], len(rooms), data.recorded_share)
    return Library(training, rooms, held_out, kept, list(recorded), hashes)


def split_identities(
    foregrounds: Sequence[Foreground], held_out: int
) -> tuple[list[Foreground], list[Foreground]]:
    """Foregrounds to train on, and those of one person in ``held_out``, kept for validation.

    Raises:
        FitError: if fewer than two people are shown.
    """
    identities = sorted(
        {foreground.identity for foreground in foregrounds if foreground.kind == "person"}
    )
    kept = set(identities[::held_out])
    training = [foreground for foreground in foregrounds if foreground.identity not in kept]
    validation = [foreground for foreground in foregrounds if foreground.identity in kept]
    if not training or not validation:
        raise FitError(
            f"the foregrounds show {len(identities)} people: training needs two at least, one of "
            "them to validate on"
        )
    return training, validation


def folder_hash(folder: Path) -> str:
    """SHA-256 over the names and contents of a folder's files, hexadecimal.

    Raises:
        FitError: if a file can't be read.
    """
    digest = hashlib.sha256()
    try:
        for file in sorted(path for path in folder.iterdir() if path.is_file()):
            digest.update(f"{file.name}\0{file.stat().st_size}\0".encode())
            digest.update(file.read_bytes())
    except OSError as error:
        raise FitError(f"{folder} can't be read: {error}") from error
    return digest.hexdigest()


def file_hash(file: Path) -> str:
    """SHA-256 of a file, hexadecimal.

    Raises:
        FitError: if it can't be read.
    """
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise FitError(f"{file} can't be read ({error}): check its path in the run") from error


def _free_name(name: str, taken: Container[str]) -> str:
    """The name itself, or the first of ``NAME-2``, ``NAME-3`` ... that is not taken."""
    names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
    return next(free for free in names if free not in taken)


def _repeated(
    recorded: Sequence[RgbdBackground], others: int, share: float
) -> list[RgbdBackground]:
    """Recorded backgrounds so often that they are at least a share of all, and each once."""
    if not recorded:
        return []
    times = max(1, round(others * share / (1 - share) / len(recorded)))
    return list(recorded) * times


def _deal(
    found: Sequence[RgbdBackground],
    held_out: int,
    training: list[RgbdBackground],
    kept: list[RgbdBackground],
) -> None:
    """One in ``held_out`` is kept, where there is more than one."""
    for number, room in enumerate(found):
        (kept if number % held_out == held_out - 1 else training).append(room)

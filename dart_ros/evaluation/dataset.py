"""Data sets of scenes in folders, checked before they are used.

::

    NAME/scene_00/scene.json                       K, width, height, tags
    NAME/scene_00/background/color_000.png ...     the empty scene, at least 5 frames
    NAME/scene_00/background/depth_000.png ...
    NAME/scene_00/test/color_00.png ...            with the foreground
    NAME/scene_00/test/depth_00.png ...
    NAME/scene_00/test/alpha_00.png ...            the truth; may be missing

Color is 8 bit RGB; depth is 16 bit millimetres, aligned to color, 0 where unknown; alpha is 8 bit
gray. Numbers start at 0 and have no gaps; they have more digits where two or three are too few, as
``%02d`` and ``%03d`` write them. ``K`` is the camera matrix, nine numbers by rows. Two
further keys of ``scene.json`` are optional: ``max_depth``, the sensor's range in metres (10), and
``fps``, given only where the test frames are consecutive frames of a video.
"""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.scenes import LabelledScene, stamp_of
from dart_ros.picture_files import decode_file
from dart_ros.session.capture import MIN_FRAMES
from dart_ros.values import Camera, Frame, metres_from_sensor

MAX_DEPTH = 10.0
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB, _RGBA = 0, 2, 6


class _Kind(NamedTuple):
    """What a picture must be: bits a channel, the PNG's color types, and what to do else."""

    bits: int
    types: tuple[int, ...]
    mend: str


_KINDS = {
    "color": _Kind(8, (_RGB, _RGBA), "save it as an 8-bit RGB PNG"),
    "depth": _Kind(16, (_GRAY,), "save it as a 16-bit gray PNG of millimetres, 0 where unknown"),
    "alpha": _Kind(8, (_GRAY,), "save it as an 8-bit gray PNG"),
}


def is_dataset(path: Path) -> bool:
    """Whether a folder holds scenes in the layout of this module."""
    return path.is_dir() and any(path.glob("scene_*"))


def open_dataset(path: Path) -> list[LabelledScene]:
    """All scenes of a folder, in order; every file is checked.

    Raises:
        EvaluationError: if something is wrong; the text names the file and the mend.
    """
    folders = sorted(folder for folder in path.glob("scene_*") if folder.is_dir())
    if not folders:
        raise EvaluationError(f"{path} holds no folders scene_00, scene_01 and so on; add some.")
    return [DatasetScene(folder) for folder in folders]


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Turns an OSError into an EvaluationError that names the file.

    Args:
        path: what is read in the block; an error that knows its file better tells that.
    """
    try:
        yield
    except OSError as error:
        raise EvaluationError(
            f"{error.filename or path} can't be read ({error.strerror or error}); restore it, or "
            "check its permissions and the disk."
        ) from error


class DatasetScene(LabelledScene):
    """One ``scene_XX`` folder; see the module's text.

    Args:
        path: the folder.

    Raises:
        EvaluationError: if something is wrong with it; the text names the file and the mend.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name
        self._read_description(path / "scene.json")
        self._empty = self._check(path / "background", 3, ("color", "depth"), MIN_FRAMES)
        self._count = self._check(path / "test", 2, ("color", "depth"), 1)
        self._check_alphas()

    def empty(self) -> Iterator[Frame]:
        """See :meth:`LabelledScene.empty`."""
        for number in range(self._empty):
            yield self._frame(self.path / "background", f"{number:03d}", number)

    def __len__(self) -> int:
        """Number of test frames."""
        return self._count

    def frame(self, number: int) -> Frame:
        """See :meth:`LabelledScene.frame`; EvaluationError if a picture can't be used."""
        return self._frame(self.path / "test", f"{number:02d}", number)

    def alpha(self, number: int) -> NDArray[np.uint8] | None:
        """See :meth:`LabelledScene.alpha`; EvaluationError if the picture can't be used."""
        file = self.path / "test" / f"alpha_{number:02d}.png"
        return _decode(file, cv2.IMREAD_UNCHANGED) if file.is_file() else None

    def fingerprint(self) -> str:
        """See :meth:`LabelledScene.fingerprint`."""
        with readable(self.path):
            return stamp_of(sorted(file for file in self.path.rglob("*") if file.is_file()), "")

    def _read_description(self, file: Path) -> None:
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            fx, _, cx, _, fy, cy, *rest = (float(value) for value in np.ravel(content["K"]))
            if len(rest) != 3:
                raise ValueError("K has not nine numbers")
            width, height = int(content["width"]), int(content["height"])
            self.tags = tuple(content["tags"])
            self.max_depth = float(content.get("max_depth", MAX_DEPTH))
            self._fps = float(content.get("fps", 30.0))
            if min(width, height, self.max_depth, self._fps, fx, fy) <= 0:
                raise ValueError("a size, a range, a rate or a focal length isn't positive")
            if isinstance(content["tags"], str) or not all(isinstance(t, str) for t in self.tags):
                raise ValueError("tags is no list of words")
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(
                f"{file} can't be used ({type(error).__name__}: {error}); write K (nine numbers by "
                "rows), width, height and tags (a list of words) into it, as JSON."
            ) from error
        self.camera = Camera(width, height, fx, fy, cx, cy)
        self.consecutive = "fps" in content

    def _check(self, folder: Path, digits: int, kinds: tuple[str, ...], least: int) -> int:
        """Number of frames in a folder, all of them checked."""
        count = max((1 + n for kind in kinds for n in _numbers(folder, kind, digits)), default=0)
        for number in range(max(count, least)):
            for kind in kinds:
                file = folder / f"{kind}_{number:0{digits}d}.png"
                if not file.is_file():
                    raise EvaluationError(
                        f"{file} is missing; add it, or number the frames from 0 without gaps "
                        f"({least} or more)."
                    )
                self._check_picture(file, kind)
        return count

    def _check_alphas(self) -> None:
        folder = self.path / "test"
        for number in _numbers(folder, "alpha", 2):
            file = folder / f"alpha_{number:02d}.png"
            if number >= self._count:
                raise EvaluationError(
                    f"{file} belongs to no frame: there is no color_{number:02d}.png; add it or "
                    "delete the alpha."
                )
            self._check_picture(file, "alpha")

    def _check_picture(self, file: Path, kind: str) -> None:
        width, height, bits, color_type = _png_header(file)
        wanted = _KINDS[kind]
        if (width, height) != (self.camera.width, self.camera.height):
            raise EvaluationError(
                f"{file} is {width}x{height}, but scene.json says {self.camera.width}x"
                f"{self.camera.height}; bring them to one size."
            )
        if bits != wanted.bits or color_type not in wanted.types:
            raise EvaluationError(
                f"{file} has {bits} bits a channel and PNG color type {color_type}; {wanted.mend}."
            )

    def _frame(self, folder: Path, digits: str, number: int) -> Frame:
        bgr = _decode(folder / f"color_{digits}.png", cv2.IMREAD_COLOR)
        depth = _decode(folder / f"depth_{digits}.png", cv2.IMREAD_UNCHANGED)
        color = np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)
        metres = metres_from_sensor(depth, self.max_depth)
        return Frame(color, metres, round(number * 1e9 / self._fps), self.camera)


def _numbers(folder: Path, kind: str, digits: int) -> list[int]:
    """Numbers of the files of a kind, in order; EvaluationError if one has needless zeros."""
    pattern = re.compile(rf"{kind}_(\d{{{digits},}})\.png")
    numbers = []
    with readable(folder):
        files = list(folder.iterdir()) if folder.is_dir() else []
    for file in files:
        if match := pattern.fullmatch(file.name):
            numbers.append(int(match[1]))
            name = f"{kind}_{numbers[-1]:0{digits}d}.png"
            if file.name != name:
                raise EvaluationError(f"{file} has too many zeros; call it {name}.")
    return sorted(numbers)


def _png_header(file: Path) -> tuple[int, int, int, int]:
    """Width, height, bits and color type of a PNG whose chunks are all there and unharmed."""
    with readable(file):
        data = file.read_bytes()
    try:
        if not data.startswith(_SIGNATURE):
            raise ValueError("no PNG")
        at, kind = len(_SIGNATURE), b""
        while kind != b"IEND":
            length, kind = struct.unpack_from(">I4s", data, at)
            (checksum,) = struct.unpack_from(">I", data, at + 8 + length)
            if zlib.crc32(data[at + 4 : at + 8 + length]) != checksum:
                raise ValueError("checksum")
            at += 12 + length
        width, height, bits, color_type = struct.unpack_from(">IIBB", data, 16)
    except (ValueError, struct.error) as error:
        raise _broken(file) from error
    return width, height, bits, color_type


def _decode(file: Path, flags: int) -> NDArray[Any]:
    with readable(file):
        data = file.read_bytes()
    image = decode_file(data, flags)
    if image is None:
        raise _broken(file)
    return image


def _broken(file: Path) -> EvaluationError:
    return EvaluationError(
        f"{file} is no PNG, is cut short or is damaged; write it again or restore it."
    )

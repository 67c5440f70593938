"""Recordings in the layout of TUM's RGB-D benchmark: lists of pictures with their stamps.

``rgb.txt`` and ``depth.txt`` hold a stamp in seconds and a file's name in each line, and
``associations.txt``, where it is there, two such pairs. A depth of 5000 is one metre.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import RecordingError
from dart_ros.files import read_regular
from dart_ros.picture_files import decode_file
from dart_ros.session.recording.base import Recording, rate_of, split_by_time
from dart_ros.session.recording.pictures import color_picture, depth_picture
from dart_ros.session.recording.timeline import Arrival, pair_images
from dart_ros.values import Camera, Frame

_COLORS, _DEPTHS = "rgb.txt", "depth.txt"
_ASSOCIATIONS = ("associations.txt", "associate.txt", "associated.txt", "assoc.txt")
_UNIT = 1 / 5000
# The benchmark's own recommendation for all its sequences, for 640x480.
_WIDTH, _FOCAL, _CENTER = 640, 525.0, (319.5, 239.5)
_MOST_BYTES = 64 << 20
_MOST_PICTURE = 512 << 20


def is_tum(path: Path) -> bool:
    """Whether a folder has this layout."""
    lists = (path / _COLORS).is_file() and (path / _DEPTHS).is_file()
    return lists or _associations(path) is not None


class TumRecording(Recording):
    """A folder of TUM's RGB-D benchmark.

    Args:
        path: the folder.
        max_depth: range of the sensor in metres.
        empty_seconds: so many seconds from the start show the empty scene.
        depth_unit: metres a unit of the depth pictures; None for the benchmark's 1/5000.

    Raises:
        RecordingError: if its lists are broken or name no pairs.
    """

    def __init__(
        self, path: Path, max_depth: float, empty_seconds: float, depth_unit: float | None = None
    ) -> None:
        self.path = path
        self.name = path.resolve().name
        self.max_depth = max_depth
        self._unit = _UNIT if depth_unit is None else depth_unit
        self._pairs = self._read_pairs()
        if not self._pairs:
            raise RecordingError(
                f"The lists in {path} name no color and depth pictures within 20 ms of each "
                f"other; associate them yourself, in {_ASSOCIATIONS[0]}."
            )
        self.camera = self._read_camera()
        self.notes = [
            f"{path} says nothing of its camera: a focal length of {self.camera.fx:g} pixels is "
            "assumed, as in TUM's benchmark."
        ]
        stamps = [stamp for stamp, _, _ in self._pairs]
        self.fps = rate_of(stamps)
        self.empty, self.occupied = split_by_time(stamps, empty_seconds)

    def __len__(self) -> int:
        """Number of pairs of color and depth."""
        return len(self._pairs)

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """See :meth:`Recording.frame`."""
        self._check(position)
        stamp, file, _ = self._pairs[position]
        color = color_picture(file, self.camera)
        return Frame(color, self._in_range(self.metres(position)), stamp, self.camera)

    def metres(self, position: int) -> NDArray[np.float32]:
        """See :meth:`Recording.metres`."""
        self._check(position)
        return depth_picture(self._pairs[position][2], self.camera, self._unit)

    def _read_pairs(self) -> list[tuple[int, Path, Path]]:
        """(nanoseconds, color file, depth file) of each pair, in order."""
        associations = _associations(self.path)
        if associations is not None:
            lines = [line for line in self._lines(associations) if len(line) >= 4]
            pairs = [
                (_nanoseconds(a, associations), self._file(b), self._file(d))
                for a, b, _, d in (line[:4] for line in lines)
            ]
            # Some list depth first.
            if pairs and "depth" in pairs[0][1].parent.name.lower():
                pairs = [(stamp, depth, color) for stamp, color, depth in pairs]
            return sorted(pairs)
        streams: list[list[tuple[int, str]]] = []
        for name in (_COLORS, _DEPTHS):
            file = self.path / name
            listed = [line for line in self._lines(file) if len(line) >= 2]
            streams.append(sorted((_nanoseconds(line[0], file), line[1]) for line in listed))
        arrivals = [
            [Arrival(stamp, stamp, order, 0) for order, (stamp, _) in enumerate(stream)]
            for stream in streams
        ]
        colors, depths = streams
        return [
            (color.stamp, self._file(colors[color.order][1]), self._file(depths[depth.order][1]))
            for color, depth in pair_images(*arrivals)
        ]

    def _lines(self, file: Path) -> list[list[str]]:
        try:
            text = read_regular(file, _MOST_BYTES).decode()
        except (OSError, UnicodeDecodeError) as error:
            raise RecordingError(
                f"{file} can't be read ({error}); copy the recording again."
            ) from error
        lines = (line.replace(",", " ").replace("\t", " ").strip() for line in text.splitlines())
        return [line.split() for line in lines if line and not line.startswith("#")]

    def _file(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts:
            raise RecordingError(
                f"A list in {self.path} names the file {name[:200]!r}, which lies outside of the "
                "folder; correct it."
            )
        return self.path.joinpath(*parts)

    def _read_camera(self) -> Camera:
        for _, file, _ in self._pairs:
            try:
                image = decode_file(read_regular(file, _MOST_PICTURE), cv2.IMREAD_COLOR)
            except OSError:
                continue
            if image is not None:
                height, width = image.shape[:2]
                scale = width / _WIDTH
                cx, cy = (value * scale for value in _CENTER)
                return Camera(width, height, _FOCAL * scale, _FOCAL * scale, cx, cy)
        raise RecordingError(
            f"None of the color pictures that the lists in {self.path} name can be read; copy the "
            "recording again."
        )


def _associations(path: Path) -> Path | None:
    found = (path / name for name in _ASSOCIATIONS)
    return next((file for file in found if file.is_file()), None)


def _nanoseconds(text: str, file: Path) -> int:
    try:
        seconds = float(text)
        if math.isfinite(seconds) and abs(seconds) < 9e9:
            return round(seconds * 1e9)
    except ValueError:
        pass
    raise RecordingError(
        f"{file} begins a line with {text[:40]!r}, which is no stamp in seconds; correct it."
    )

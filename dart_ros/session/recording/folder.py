"""Recordings that are folders of pictures.

A folder holds ``sequence.json`` (see :mod:`dart_ros.session.recording.sequence`) and, for each
number, ``color_%04d.jpg|png|webp`` and ``depth_%04d.png`` (16 bit, 0 unknown), and perhaps
``alpha_%04d.png`` (the truth).
"""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import RecordingError
from dart_ros.session.recording.base import Recording
from dart_ros.session.recording.pictures import color_picture, depth_picture, read_picture
from dart_ros.session.recording.sequence import FILE, read_sequence
from dart_ros.values import Frame

_COLOR_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_REACH = 65.0
"""Metres; simulated sensors need to know what lies beyond their range."""


class FolderRecording(Recording):
    """A folder of pictures; see the module's text for its layout.

    Args:
        path: the folder.
        max_depth: range of the sensor in metres.
        depth_unit: metres a unit of the depth pictures; None for what ``sequence.json`` says.

    Raises:
        RecordingError: if ``sequence.json`` is broken or a picture that it names is missing.
    """

    def __init__(self, path: Path, max_depth: float, depth_unit: float | None = None) -> None:
        self.path = path
        self.name = path.resolve().name
        self.max_depth = max_depth
        self.notes = []
        description = read_sequence(path / FILE)
        self.camera, self.fps = description.camera, description.fps
        self._noise = description.noise
        self.simulates_noise = self._noise is not None
        self._unit = description.depth_unit if depth_unit is None else depth_unit
        self._files = sorted({*description.empty, *description.occupied})
        self._colors = self._find(self._files)
        places = {number: position for position, number in enumerate(self._files)}
        self.empty = [places[number] for number in description.empty]
        self.occupied = [places[number] for number in description.occupied]
        # An empty frame may be asked for a hundred times in a row, with other noise each time.
        self._decoded: tuple[int, NDArray[np.uint8], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._files)

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """See :meth:`Recording.frame`."""
        self._check(position)
        number = self._files[position]
        if self._decoded is None or self._decoded[0] != position:
            color, depth = self._color(position), self.metres(position)
            depth = np.where(depth > _REACH, np.float32(-1), depth)
            self._decoded = (position, color, depth)
        _, color, depth = self._decoded
        if self._noise is not None:
            depth = self._noise.depth(depth, color, (number, repeat))
            color = self._noise.color(color, (number, repeat))
        else:
            color, depth = color.copy(), depth.copy()
        depth = self._in_range(depth)
        return Frame(color, depth, round(position * 1e9 / self.fps), self.camera)

    def metres(self, position: int) -> NDArray[np.float32]:
        """See :meth:`Recording.metres`."""
        self._check(position)
        return depth_picture(self._depth_file(position), self.camera, self._unit)

    def number(self, position: int) -> int:
        """See :meth:`Recording.number`."""
        return self._files[position]

    def alpha(self, position: int) -> NDArray[np.uint8] | None:
        """See :meth:`Recording.alpha`."""
        self._check(position)
        file = self.path / f"alpha_{self._files[position]:04d}.png"
        if not file.exists():
            return None
        return read_picture(file, cv2.IMREAD_UNCHANGED, np.uint8, 2, self.camera)

    def _color(self, position: int) -> NDArray[np.uint8]:
        return color_picture(self._colors[position], self.camera)

    def _depth_file(self, position: int) -> Path:
        return self.path / f"depth_{self._files[position]:04d}.png"

    def _find(self, numbers: list[int]) -> list[Path]:
        """Color files of the numbers; RecordingError if one or its depth is missing."""
        names = set(os.listdir(self.path))
        found = []
        for number in numbers:
            options = [f"color_{number:04d}{ending}" for ending in _COLOR_ENDINGS]
            color = next((name for name in options if name in names), None)
            depth = f"depth_{number:04d}.png"
            if color is None or depth not in names:
                missing = depth if color else options[0]
                raise RecordingError(
                    f"{self.path / missing} is missing, though sequence.json names frame {number}; "
                    "copy the recording again, or correct the ranges in sequence.json."
                )
            found.append(self.path / color)
        return found

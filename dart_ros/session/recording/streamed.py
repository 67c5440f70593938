"""Recordings that a camera maker's library plays from their start, one frame after the other."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Generator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FrameError, MessageError, RecordingError
from dart_ros.session.recording.base import Progress, Recording, rate_of, split_by_time
from dart_ros.values import Frame

Images = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""``H×W×3`` RGB and ``H×W`` metres, -1 where unknown, aligned to color."""


@dataclass(frozen=True, eq=False)
class Shot:
    """One frame as the library gives it.

    Attributes:
        stamp: nanoseconds, more than that of the shot before.
        images: decodes and aligns the images; right only until the next shot is asked for.
    """

    stamp: int
    images: Callable[[], Images]


class StreamedRecording(Recording):
    """Frames in order cost one step each; one that lies behind starts the file anew.

    Args:
        path: the file.
        max_depth: range of the sensor in metres.
        empty_seconds: so many seconds from the start show the empty scene.
        progress: told how many frames have been found.

    Raises:
        RecordingError: if the file can't be played or has no frames.
    """

    def __init__(
        self, path: Path, max_depth: float, empty_seconds: float, progress: Progress | None
    ) -> None:
        self.path = path
        self.name = path.stem
        self.max_depth = max_depth
        self.notes = []
        self._playing: Generator[Shot, None, None] = self._play()
        self._reached: int | None = None
        self._current: tuple[int, Images] | None = None
        self._stamps: list[int] = []
        for shot in self._playing:
            if self._stamps and shot.stamp <= self._stamps[-1]:
                continue
            self._stamps.append(shot.stamp)
            if progress is not None:
                progress(len(self._stamps), len(self._stamps))
        if not self._stamps:
            raise RecordingError(
                f"{path} holds no frames with both color and depth; record both streams."
            )
        self.fps = rate_of(self._stamps)
        self.empty, self.occupied = split_by_time(self._stamps, empty_seconds)

    @abstractmethod
    def _play(self) -> Generator[Shot, None, None]:
        """All frames that have color and depth, from the start; sets the camera."""

    def close(self) -> None:
        """Stop playing."""
        self._playing.close()

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._stamps)

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """See :meth:`Recording.frame`."""
        color, metres = self._images(position)
        depth = self._in_range(metres.copy())
        return Frame(color.copy(), depth, self._stamps[position], self.camera)

    def metres(self, position: int) -> NDArray[np.float32]:
        """See :meth:`Recording.metres`."""
        return self._images(position)[1].copy()

    def _images(self, position: int) -> Images:
        self._check(position)
        if self._current is None or self._current[0] != position:
            self._current = (position, self._shot(position))
        return self._current[1]

    def _shot(self, position: int) -> Images:
        wanted = self._stamps[position]
        if self._reached is None or wanted <= self._reached:
            self._restart()
        shot = self._forward(wanted)
        if shot is None:
            # A library may lose a frame of one play and have it in the next.
            self._restart()
            shot = self._forward(wanted)
        if shot is None:
            raise FrameError(f"{self.path} has lost its frame {position} on its way.")
        try:
            color, metres = shot.images()
        except MessageError as error:
            raise FrameError(f"{self.path}, frame {position}: {error}") from error
        size = (self.camera.height, self.camera.width)
        if color.shape[:2] != size or metres.shape != size:
            raise FrameError(f"{self.path}, frame {position}: its images differ in size.")
        return color, metres

    def _restart(self) -> None:
        self._playing.close()
        self._playing, self._reached = self._play(), None

    def _forward(self, stamp: int) -> Shot | None:
        """The shot of a stamp that lies ahead, None if it isn't there."""
        for shot in self._playing:
            self._reached = shot.stamp
            if shot.stamp >= stamp:
                return shot if shot.stamp == stamp else None
        self._reached = None
        return None

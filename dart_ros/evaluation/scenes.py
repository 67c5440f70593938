"""What is evaluated on: scenes with empty frames, test frames and their true alpha."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EvaluationError, FrameError
from dart_ros.session.recording.frames import empty_frames
from dart_ros.values import Frame


class LabelledScene(ABC):
    """One scene.

    Attributes:
        name: plain, different for each scene of an evaluation.
        tags: what is hard about it.
        max_depth: range of the sensor in metres.
        consecutive: whether the test frames follow each other as in a video.
    """

    name: str
    tags: tuple[str, ...]
    max_depth: float
    consecutive: bool

    @abstractmethod
    def empty(self) -> Iterator[Frame]:
        """The frames of the empty scene."""

    @abstractmethod
    def __len__(self) -> int:
        """Number of test frames."""

    @abstractmethod
    def frame(self, number: int) -> Frame:
        """A test frame, ``number`` from 0."""

    @abstractmethod
    def alpha(self, number: int) -> NDArray[np.uint8] | None:
        """True alpha of a test frame, ``H×W`` uint8, None where it isn't known."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Changes when the scene's files do, or what of them is taken."""


class LabelledFrames(Protocol):
    """What is asked of a recording, see :class:`dart_ros.session.recording.Recording`."""

    name: str
    empty: list[int]
    occupied: list[int]

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """One frame; simulated noise depends on both numbers and on nothing else."""

    def number(self, position: int) -> int:
        """Number of a frame; frames that follow each other count by one."""

    def alpha(self, position: int) -> NDArray[np.uint8] | None:
        """True alpha of a frame, if it is known."""


class RecordingScene(LabelledScene):
    """A recording's occupied frames as the test frames of one scene.

    Args:
        recording: an open recording.
        path: its file or folder.
        max_depth: range of the sensor in metres.
        stride: only every so many of the frames are taken.
        broken: positions of frames that can't be read, which are left out.

    Raises:
        EvaluationError: if the stride isn't positive or the recording has no occupied frames.
    """

    def __init__(
        self,
        recording: LabelledFrames,
        path: Path,
        max_depth: float,
        stride: int = 1,
        broken: Collection[int] = (),
    ) -> None:
        if stride < 1:
            raise EvaluationError(f"A stride of {stride} is impossible; take 1 or more.")
        self.name = recording.name
        self.tags = ()
        self.max_depth = max_depth
        self._recording = recording
        self._path = path
        self._positions = [p for p in recording.occupied[::stride] if p not in broken]
        steps = np.diff([recording.number(position) for position in self._positions])
        self.consecutive = len(steps) > 0 and bool((steps == 1).all())
        if not self._positions:
            # A folder names its occupied frames; a bag's begin where its empty seconds end.
            remedy = (
                "name some in its sequence.json"
                if (path / "sequence.json").is_file()
                else "it is over before --empty-seconds are: give a smaller number there"
            )
            raise EvaluationError(f"The recording '{self.name}' has no occupied frames; {remedy}.")

    def empty(self) -> Iterator[Frame]:
        """See :meth:`LabelledScene.empty`."""
        return empty_frames(self._recording)

    def __len__(self) -> int:
        """Number of test frames."""
        return len(self._positions)

    def frame(self, number: int) -> Frame:
        """See :meth:`LabelledScene.frame`."""
        return self._recording.frame(self._positions[number])

    def alpha(self, number: int) -> NDArray[np.uint8] | None:
        """See :meth:`LabelledScene.alpha`."""
        return self._recording.alpha(self._positions[number])

    def fingerprint(self) -> str:
        """See :meth:`LabelledScene.fingerprint`."""
        files = sorted(self._path.iterdir()) if self._path.is_dir() else [self._path]
        empty = self._recording.empty
        seen = hashlib.sha256(repr((self._positions, empty, self.max_depth)).encode())
        # A bag's topics decide what is seen in it, and its files don't tell which were taken.
        for position in sorted({*empty[:1], self._positions[0], self._positions[-1]}):
            try:
                frame = self._recording.frame(position)
            except FrameError:
                continue
            seen.update(repr((frame.stamp, frame.camera)).encode())
            seen.update(np.ascontiguousarray(frame.color).tobytes())
            seen.update(np.ascontiguousarray(frame.depth).tobytes())
        return stamp_of(files, seen.hexdigest())


def stamp_of(files: Iterable[Path], more: str) -> str:
    """Digest of files' names, sizes and times, and of ``more``."""
    digest = hashlib.sha256(more.encode())
    for file in files:
        stat = file.stat()
        digest.update(f"\n{file.name} {stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()

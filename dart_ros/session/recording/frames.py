"""The frames of a recording one after the other; broken ones are skipped and counted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from dart_ros.errors import FrameError, RecordingError
from dart_ros.session.recording.base import first_run
from dart_ros.values import Frame

EMPTY_FRAMES = 100
"""Frames from which a background is learnt (the paper's N)."""

_GIVE_UP = 100
"""So many broken frames at the start, and not one good one, aren't single broken frames."""


class FrameSource(Protocol):
    """The part of a recording that is needed here."""

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """One frame; see :meth:`dart_ros.session.recording.Recording.frame`."""
        ...


class EmptyFrameSource(FrameSource, Protocol):
    """A recording with an empty part."""

    empty: list[int]

    def number(self, position: int) -> int:
        """Number of a frame; frames that follow each other count by one."""
        ...


class ReadableFrames:
    """Iterates over frames as ``(position, frame)`` and skips those that can't be read.

    Args:
        recording: an open recording.
        keys: (position, repeat) of the frames.

    Attributes:
        skipped: position of each skipped frame, and why.
        read: number of frames that were read.
    """

    def __init__(self, recording: FrameSource, keys: Sequence[tuple[int, int]]) -> None:
        self._recording = recording
        self._keys = keys
        self.skipped: dict[int, str] = {}
        self.read = 0

    def __len__(self) -> int:
        """Number of frames, with those that will be skipped."""
        return len(self._keys)

    def __iter__(self) -> Iterator[tuple[int, Frame]]:
        """The frames, in order.

        Raises:
            RecordingError: if none of them can be read.
        """
        for position, repeat in self._keys:
            if position in self.skipped:
                continue
            try:
                frame = self._recording.frame(position, repeat)
            except FrameError as error:
                self.skipped[position] = str(error)
                if not self.read and len(self.skipped) >= _GIVE_UP:
                    break
                continue
            self.read += 1
            yield position, frame
        if self.skipped and not self.read:
            raise RecordingError(
                f"None of the first {len(self.skipped)} frames can be read. The first: "
                f"{next(iter(self.skipped.values()))}"
            )

    def report(self) -> str:
        """What was skipped, in one sentence; empty if nothing was."""
        if not self.skipped:
            return ""
        position, reason = next(iter(self.skipped.items()))
        return (
            f"Skipped {len(self.skipped)} of {len({p for p, _ in self._keys})} frames that can't "
            f"be read, the first at position {position}: {reason}"
        )


def empty_keys(recording: EmptyFrameSource, wanted: int) -> list[tuple[int, int]]:
    """(position, repeat) of the recording's first run of empty frames, over again where it's short.

    Args:
        recording: an open recording.
        wanted: how many there shall be.
    """
    run = first_run(recording.empty, recording.number)
    return [(run[i % len(run)], i // len(run)) for i in range(wanted)] if run else []


def empty_frames(recording: EmptyFrameSource, wanted: int = EMPTY_FRAMES) -> Iterator[Frame]:
    """The recording's first run of empty frames, over again, where noise is simulated with other.

    Broken frames are skipped.

    Args:
        recording: an open recording.
        wanted: how many frames there shall be, broken ones included.

    Raises:
        RecordingError: if none of them can be read.
    """
    for _, frame in ReadableFrames(recording, empty_keys(recording, wanted)):
        yield frame

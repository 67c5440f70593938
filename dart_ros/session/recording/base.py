"""What all recordings have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import RecordingError
from dart_ros.values import UNKNOWN_DEPTH, Camera, Frame

MAX_DEPTH = 10.0
"""Range in metres that is assumed where nobody says what the sensor's is."""

LARGEST_SIDE = 1 << 14
"""Pixels; larger images are taken for damage."""

Progress = Callable[[int, int], None]
"""Told how much of long work is done: steps done, steps in all."""


class Recording(ABC):
    """A recorded stream of frames, addressed by position from 0 to ``len - 1``.

    Attributes:
        name: short name for tables and titles.
        camera: camera of the frames.
        fps: frames a second at which it was recorded.
        empty: positions of the frames that show the empty scene.
        occupied: positions of the frames with something in front of it.
        max_depth: range of the sensor in metres.
        simulates_noise: whether each repeat of a frame has sensor noise of its own.
        notes: what the user should know about the recording, one sentence each.
    """

    name: str
    camera: Camera
    fps: float
    empty: list[int]
    occupied: list[int]
    max_depth: float
    simulates_noise: bool = False
    notes: list[str]

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def frame(self, position: int, repeat: int = 0) -> Frame:
        """One frame.

        Args:
            position: 0 to ``len - 1``.
            repeat: where sensor noise is simulated, another number gives other noise; the stamp
                doesn't change. Nothing else depends on it.

        Raises:
            IndexError: if there is no such position.
            FrameError: if this frame is broken; others may be readable.
            RecordingError: if the recording can't be read any more.
        """

    @abstractmethod
    def metres(self, position: int) -> NDArray[np.float32]:
        """Depth of one frame beyond the sensor's range too, without simulated noise.

        Returns:
            ``H×W`` float32 metres, -1 where the sensor says nothing.

        Raises:
            IndexError: if there is no such position.
            FrameError: see :meth:`frame`.
        """

    def __getitem__(self, position: int) -> Frame:
        """The same as ``frame(position)``; negative positions don't count from the end."""
        return self.frame(position)

    def number(self, position: int) -> int:
        """Number that the frame was recorded under: frames that follow each other count by one."""
        return position

    def alpha(self, position: int) -> NDArray[np.uint8] | None:
        """True alpha of a frame, ``H×W`` uint8, None where it isn't known.

        Raises:
            RecordingError: if its file can't be read.
        """
        return None

    def close(self) -> None:  # noqa: B027
        """Let go of open files."""

    def _check(self, position: int) -> None:
        if not 0 <= position < len(self):
            raise IndexError(f"{self.name} has the frames 0 to {len(self) - 1}, not {position}")

    def _in_range(self, metres: NDArray[np.float32]) -> NDArray[np.float32]:
        """The same array, in which what lies beyond the sensor's range has become unknown."""
        metres[metres > np.float32(self.max_depth)] = UNKNOWN_DEPTH
        return metres


def first_run(positions: Sequence[int], number: Callable[[int], int]) -> list[int]:
    """The leading part of the positions whose frames follow each other.

    A recording may be empty before and after its people: something can have been moved between.

    Args:
        positions: of frames in a recording.
        number: see :meth:`Recording.number`.
    """
    length = min(1, len(positions))
    while length < len(positions):
        if number(positions[length]) != number(positions[length - 1]) + 1:
            break
        length += 1
    return list(positions[:length])


def check_matrix(fx: float, fy: float, cx: float, cy: float, where: str) -> None:
    """RecordingError unless focal lengths and center, in pixels, make a camera."""
    # All zeros is what sensor_msgs prescribes for an uncalibrated camera.
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise RecordingError(
            f"{where} is no usable camera matrix (fx={fx:g}, fy={fy:g}, cx={cx:g}, cy={cy:g}); "
            "calibrate the camera and record again, or correct the numbers."
        )


def scaled(metres: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Depth, changed in place, in a unit ``factor`` times as large; unknown stays unknown."""
    if factor != 1.0:
        metres *= np.where(metres > 0, np.float32(factor), np.float32(1.0))
    return metres


def split_by_time(times: Sequence[int], seconds: float) -> tuple[list[int], list[int]]:
    """Positions of the frames within the first seconds, and of the others.

    Args:
        times: nanoseconds at which the frames came, in the order in which they came. Where a clock
            was set back, the time between two frames is taken to be the usual one.
        seconds: how long the scene was empty.
    """
    steps = np.diff(np.asarray(times, np.int64))
    forward = steps[steps > 0]
    usual = int(np.median(forward)) if forward.size else 0
    since = np.r_[0, np.cumsum(np.where(steps < 0, usual, steps))]
    is_empty = since[: len(times)] < seconds * 1e9
    return np.flatnonzero(is_empty).tolist(), np.flatnonzero(~is_empty).tolist()


def rate_of(stamps: Sequence[int]) -> float:
    """Frames a second of stamps in nanoseconds, 30 where they don't tell."""
    steps = np.diff(np.asarray(stamps, np.int64))
    forward = steps[steps > 0]
    return 1e9 / float(np.median(forward)) if forward.size else 30.0

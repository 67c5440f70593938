"""Where frames for call software go: a v4l2 loopback device, or a pipe of raw frames."""

from __future__ import annotations

import errno
import os
import select
import stat
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import SinkError

PIPE = "pipe:"
"""Start of a target that is a pipe: ``pipe:/tmp/frames``."""

_PATIENCE = 2.0  # seconds for a reader to take something

_MODULE_HINT = (
    "load the module with: sudo modprobe v4l2loopback video_nr={number} card_label=dart_ros "
    "exclusive_caps=1 (Debian, Ubuntu: sudo apt install v4l2loopback-dkms)"
)


class Sink(Protocol):
    """Takes frames of one size."""

    def send(self, frame: NDArray[np.uint8]) -> None:
        """Deliver a frame, ``H×W×3`` uint8 RGB.

        Raises:
            SinkError: if nobody takes it any more.
        """
        ...

    def close(self) -> None:
        """End."""
        ...


def open_sink(target: str, width: int, height: int, rate: float) -> Sink:
    """Open a target.

    Args:
        target: a video device such as ``/dev/video10``, or ``pipe:PATH`` of a named pipe.
        width: pixels of the frames.
        height: pixels of the frames.
        rate: frames a second that will come.

    Raises:
        SinkError: if the target is not there or can't be used.
    """
    if target.startswith(PIPE):
        return PipeSink(Path(target.removeprefix(PIPE)))
    return DeviceSink(target, width, height, rate)


class DeviceSink:
    """A v4l2 loopback device, through pyvirtualcam. Arguments: see :func:`open_sink`."""

    def __init__(self, device: str, width: int, height: int, rate: float) -> None:
        number = device.rpartition("video")[2]
        if not Path(device).exists():
            number = number if number.isdigit() else "10"
            raise SinkError(f"there is no {device}: {_MODULE_HINT.format(number=number)}")
        try:
            import pyvirtualcam
        except ImportError as error:
            raise SinkError(
                f"{device} needs pyvirtualcam ({error}): pip install pyvirtualcam"
            ) from error
        try:
            self._camera: Any = pyvirtualcam.Camera(
                width, height, rate, device=device, backend="v4l2loopback"
            )
        except RuntimeError as error:
            raise SinkError(
                f"{device} can't be used as a camera ({error}): it must be a v4l2 loopback device "
                f"that no other program writes to; {_MODULE_HINT.format(number=number)}"
            ) from error

    def send(self, frame: NDArray[np.uint8]) -> None:
        """See :class:`Sink`."""
        try:
            self._camera.send(frame)
        except (RuntimeError, OSError) as error:
            raise SinkError(f"the device takes no more frames: {error}") from error

    def close(self) -> None:
        """See :class:`Sink`."""
        self._camera.close()


class PipeSink:
    """Raw RGB frames in a named pipe, as ``ffmpeg -f rawvideo -pix_fmt rgb24`` reads them.

    While nobody reads, frames are dropped. A reader gets whole frames; one that takes nothing for
    two seconds is cut off.

    Args:
        path: of the pipe; made where nothing is there.

    Raises:
        SinkError: if something else is there, or it can't be made.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pipe = -1
        try:
            if not path.exists():
                os.mkfifo(path)
            if not stat.S_ISFIFO(path.stat().st_mode):
                raise SinkError(f"{path} is no pipe: name another path, or delete it")
        except OSError as error:
            raise SinkError(f"the pipe {path} can't be made: {error.strerror}") from error

    def send(self, frame: NDArray[np.uint8]) -> None:
        """See :class:`Sink`."""
        if self._pipe < 0 and not self._open():
            return
        left = memoryview(frame.tobytes())
        try:
            while left:
                # Not by a blocking write: a reader that sleeps must not hold the end up.
                if not select.select([], [self._pipe], [], _PATIENCE)[1]:
                    self.close()
                    return
                left = left[os.write(self._pipe, left) :]
        except BrokenPipeError:
            self.close()  # the reader is gone; another may come
        except OSError as error:
            raise SinkError(f"the pipe {self._path} fails: {error.strerror}") from error

    def close(self) -> None:
        """See :class:`Sink`."""
        if self._pipe >= 0:
            os.close(self._pipe)
        self._pipe = -1

    def _open(self) -> bool:
        """Whether somebody reads."""
        try:
            self._pipe = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return False
            raise SinkError(f"the pipe {self._path} can't be opened: {error.strerror}") from error
        return True

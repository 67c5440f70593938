"""Pictures of recordings that are folders, checked against the camera."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FrameError
from dart_ros.files import read_regular
from dart_ros.picture_files import decode_file
from dart_ros.session.recording.base import scaled
from dart_ros.values import Camera, metres_from_sensor

_MILLIMETRE = 0.001
_MOST_BYTES = 512 << 20


def color_picture(file: Path, camera: Camera) -> NDArray[np.uint8]:
    """``H×W×3`` uint8 RGB of a color picture; FrameError if it is broken or of another size."""
    bgr = read_picture(file, cv2.IMREAD_COLOR, np.uint8, 3, camera)
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


def depth_picture(file: Path, camera: Camera, unit: float) -> NDArray[np.float32]:
    """``H×W`` float32 metres of a 16-bit picture, -1 where it holds 0.

    Args:
        file: the picture.
        camera: whose size it has.
        unit: metres that its units stand for.

    Raises:
        FrameError: if it is broken or of another size or type.
    """
    raw = read_picture(file, cv2.IMREAD_UNCHANGED, np.uint16, 2, camera)
    return scaled(metres_from_sensor(raw, np.inf), unit / _MILLIMETRE)


def read_picture(file: Path, flags: int, dtype: type, axes: int, camera: Camera) -> NDArray[Any]:
    """A picture of the camera's size, of a type and with so many axes.

    Raises:
        FrameError: if it is broken or something else.
    """
    try:
        image = decode_file(read_regular(file, _MOST_BYTES), flags)
    except OSError as error:
        raise FrameError(
            f"{file} can't be read ({error.strerror}); copy the recording again."
        ) from error
    except MemoryError as error:
        raise FrameError(f"{file} is larger than the memory; copy the recording again.") from error
    if image is None:
        raise FrameError(f"{file} is no picture or is cut short; copy the recording again.")
    size = (camera.height, camera.width)
    if image.dtype != dtype or image.ndim != axes or image.shape[:2] != size:
        raise FrameError(
            f"{file} is {image.dtype} {image.shape}, but {camera.width}x{camera.height} of "
            f"{np.dtype(dtype)} with {axes} axes are expected, as the recording promises; correct "
            "one of them."
        )
    return image

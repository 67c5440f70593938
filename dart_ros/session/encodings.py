"""Raw image bytes, as cameras and bags carry them, into the package's color and depth arrays.

These are the ROS ``sensor_msgs/Image`` conventions without ROS: ``step`` is the number of bytes
from one row to the next and may exceed what the pixels need; ``yuv422`` is UYVY.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import MessageError
from dart_ros.picture_files import decode_file
from dart_ros.values import metres_from_sensor

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[int] | NDArray[np.uint8]"
"""The bytes of an image; an ``array('B')`` is what rclpy's messages hold."""


def _by_opencv(code: int) -> Callable[[NDArray[np.uint8]], NDArray[np.uint8]]:
    def convert(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.asarray(cv2.cvtColor(pixels, code), np.uint8)

    return convert


# Channels as stored, and the way to RGB.
_COLOR: dict[str, tuple[int, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]]] = {
    "rgb8": (3, np.ascontiguousarray),
    "bgr8": (3, _by_opencv(cv2.COLOR_BGR2RGB)),
    "rgba8": (4, _by_opencv(cv2.COLOR_RGBA2RGB)),
    "bgra8": (4, _by_opencv(cv2.COLOR_BGRA2RGB)),
    "mono8": (1, _by_opencv(cv2.COLOR_GRAY2RGB)),
    "yuv422": (2, _by_opencv(cv2.COLOR_YUV2RGB_UYVY)),
    "uyvy": (2, _by_opencv(cv2.COLOR_YUV2RGB_UYVY)),
    "yuv422_yuy2": (2, _by_opencv(cv2.COLOR_YUV2RGB_YUY2)),
    "yuyv": (2, _by_opencv(cv2.COLOR_YUV2RGB_YUY2)),
}
_DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}

COLOR_ENCODINGS = tuple(_COLOR)
DEPTH_ENCODINGS = tuple(_DEPTH)


def color_from_bytes(
    data: Buffer, height: int, width: int, step: int, encoding: str, big_endian: bool = False
) -> NDArray[np.uint8]:
    """Color image as RGB.

    Args:
        data: at least ``height * step`` bytes.
        height: rows.
        width: pixels a row.
        step: bytes from one row to the next.
        encoding: one of :data:`COLOR_ENCODINGS`.
        big_endian: accepted for symmetry; all these encodings have 8-bit parts.

    Returns:
        C-contiguous ``H×W×3`` uint8 RGB. ``rgb8`` without padding is a view of ``data`` (and as
        read-only as that is), everything else a new array.

    Raises:
        MessageError: if the encoding is unknown, the size or step impossible or data is missing.
    """
    if encoding not in _COLOR:
        raise MessageError(
            f"Color images of encoding '{encoding}' can't be read; have the camera publish one of "
            f"{', '.join(_COLOR)}."
        )
    channels, to_rgb = _COLOR[encoding]
    if channels == 2 and width % 2:
        raise MessageError(
            f"An image of encoding '{encoding}' has an odd width of {width}; its pixels come in "
            "pairs: check the camera driver."
        )
    rows = _rows(data, height, width, step, channels, f"color ({encoding})")
    return to_rgb(rows.reshape(height, width, channels))


def depth_from_bytes(
    data: Buffer,
    height: int,
    width: int,
    step: int,
    encoding: str,
    max_depth: float,
    big_endian: bool = False,
) -> NDArray[np.float32]:
    """Depth image in metres.

    Args:
        data: at least ``height * step`` bytes.
        height: rows.
        width: pixels a row.
        step: bytes from one row to the next.
        encoding: ``16UC1`` or ``mono16`` (millimetres), ``32FC1`` (metres).
        max_depth: range of the sensor in metres; what lies beyond is unknown.
        big_endian: whether the most significant byte comes first.

    Returns:
        New ``H×W`` float32 array in metres, -1 where unknown (0, NaN, infinite, out of range).

    Raises:
        MessageError: if the encoding is unknown, the size or step impossible or data is missing.
    """
    if encoding not in _DEPTH:
        raise MessageError(
            f"Depth images of encoding '{encoding}' can't be read; have the camera publish one of "
            f"{', '.join(_DEPTH)}."
        )
    dtype = np.dtype((">" if big_endian else "<") + _DEPTH[encoding])
    rows = _rows(data, height, width, step, dtype.itemsize, f"depth ({encoding})")
    return metres_from_sensor(np.ascontiguousarray(rows).view(dtype), max_depth)


def color_from_compressed(data: Buffer) -> NDArray[np.uint8]:
    """Color image from a JPEG or PNG file in memory.

    Returns:
        New ``H×W×3`` uint8 RGB array.

    Raises:
        MessageError: if the data isn't such a file or is cut short.
    """
    raw = np.frombuffer(data, np.uint8)
    image = decode_file(raw, cv2.IMREAD_COLOR)
    if image is None:
        raise MessageError(
            f"A compressed color image of {raw.size} bytes can't be decoded or is cut short; "
            "check the camera driver and the transport."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)


def _rows(
    data: Buffer, height: int, width: int, step: int, pixel_bytes: int, what: str
) -> NDArray[np.uint8]:
    """The pixels' bytes, ``height × (width * pixel_bytes)``, a view of ``data``."""
    if height <= 0 or width <= 0:
        raise MessageError(
            f"A {what} image has the size {width}x{height}; check the camera driver."
        )
    if step < width * pixel_bytes:
        raise MessageError(
            f"A {what} image has a step of {step} bytes, but {width} pixels need "
            f"{width * pixel_bytes}; check the camera driver."
        )
    raw = np.frombuffer(data, np.uint8)
    if raw.size < height * step:
        raise MessageError(
            f"A {what} image of {width}x{height} holds {raw.size} of {height * step} bytes; it was "
            "cut short on its way: check the camera driver and the transport."
        )
    return raw[: height * step].reshape(height, step)[:, : width * pixel_bytes]

"""Raw image bytes, as cameras and bags carry them, into the package's color and depth arrays.

These are the ROS ``sensor_msgs/Image`` conventions without ROS: ``step`` is the number of bytes
from one row to the next and may exceed what the pixels need; ``yuv422`` is UYVY.
"""

from __future__ import annotations

import math
from array import array
from dataclasses import dataclass
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import MessageError
from dart_ros.picture_files import decode_file, picture_size
from dart_ros.values import metres_from_sensor

Buffer: TypeAlias = "bytes | bytearray | memoryview | array[int] | NDArray[np.uint8]"
"""The bytes of an image; an ``array('B')`` is what rclpy's messages hold."""


LARGEST_SIDE = 1 << 14
"""Pixels; no camera has more, and a broken message says anything."""

MOST_PIXELS = 1 << 26
"""Of a compressed image: more than those of any camera, and not more than fit into memory."""

_HEADER_BYTES = 1 << 17  # of a file, in which its size is told; previews come before it
_SHOWN = 40  # characters of a word of somebody else's that go into a message


@dataclass(frozen=True)
class _ColorEncoding:
    """How pixels are stored, and the way to RGB.

    Attributes:
        channels: parts of a pixel; of Bayer and NV12 one, with the others around or below it.
        code: OpenCV's conversion to RGB, None where they are RGB.
        wide: whether a part has 16 bits, of which the upper eight count.
        multiple: width and height are multiples of these.
        rows: rows that are stored for each two rows of the image.
    """

    channels: int
    code: int | None
    wide: bool = False
    multiple: tuple[int, int] = (1, 1)
    rows: int = 2


_UYVY = _ColorEncoding(2, cv2.COLOR_YUV2RGB_UYVY, multiple=(2, 1))
_YUY2 = _ColorEncoding(2, cv2.COLOR_YUV2RGB_YUY2, multiple=(2, 1))
_COLOR = {
    "rgb8": _ColorEncoding(3, None),
    "bgr8": _ColorEncoding(3, cv2.COLOR_BGR2RGB),
    "rgba8": _ColorEncoding(4, cv2.COLOR_RGBA2RGB),
    "bgra8": _ColorEncoding(4, cv2.COLOR_BGRA2RGB),
    "mono8": _ColorEncoding(1, cv2.COLOR_GRAY2RGB),
    "yuv422": _UYVY,
    "uyvy": _UYVY,
    "yuv422_yuy2": _YUY2,
    "yuyv": _YUY2,
    "nv12": _ColorEncoding(1, cv2.COLOR_YUV2RGB_NV12, multiple=(2, 2), rows=3),
    "nv21": _ColorEncoding(1, cv2.COLOR_YUV2RGB_NV21, multiple=(2, 2), rows=3),
    "rgb16": _ColorEncoding(3, None, wide=True),
    "bgr16": _ColorEncoding(3, cv2.COLOR_BGR2RGB, wide=True),
    "rgba16": _ColorEncoding(4, cv2.COLOR_RGBA2RGB, wide=True),
    "bgra16": _ColorEncoding(4, cv2.COLOR_BGRA2RGB, wide=True),
    "mono16": _ColorEncoding(1, cv2.COLOR_GRAY2RGB, wide=True),
}
# OpenCV names a Bayer pattern by the second and third pixel of its second row, ROS by its first two
# rows.
_BAYER = {
    "rggb": cv2.COLOR_BayerBG2RGB,
    "bggr": cv2.COLOR_BayerRG2RGB,
    "gbrg": cv2.COLOR_BayerGR2RGB,
    "grbg": cv2.COLOR_BayerGB2RGB,
}
for _pattern, _code in _BAYER.items():
    _COLOR[f"bayer_{_pattern}8"] = _ColorEncoding(1, _code, multiple=(2, 2))
    _COLOR[f"bayer_{_pattern}16"] = _ColorEncoding(1, _code, wide=True, multiple=(2, 2))
_DEPTH = {"16UC1": "u2", "mono16": "u2", "32FC1": "f4"}

COLOR_ENCODINGS = tuple(_COLOR)
DEPTH_ENCODINGS = tuple(_DEPTH)


def color_from_bytes(
    data: Buffer, height: int, width: int, step: int, encoding: str, big_endian: bool = False
) -> NDArray[np.uint8]:
    """Color image as RGB.

    Args:
        data: at least ``height * step`` bytes, of nv12 and nv21 half as much again.
        height: rows.
        width: pixels a row.
        step: bytes from one row to the next.
        encoding: one of :data:`COLOR_ENCODINGS`.
        big_endian: whether of 16-bit parts the most significant byte comes first.

    Returns:
        C-contiguous ``H×W×3`` uint8 RGB. ``rgb8`` without padding is a view of ``data`` (and as
        read-only as that is), everything else a new array.

    Raises:
        MessageError: if the encoding is unknown, the size or step impossible or data is missing.
    """
    known = _COLOR.get(encoding)
    if known is None:
        raise MessageError(
            f"Color images of encoding {encoding[:_SHOWN]!r} can't be read; have the camera "
            f"publish one of {', '.join(_COLOR)}, or put a node of image_proc before this one."
        )
    for side, size, multiple in zip(
        ("width", "height"), (width, height), known.multiple, strict=True
    ):
        if size % multiple:
            raise MessageError(
                f"An image of encoding '{encoding}' has an odd {side} of {size}; its pixels come "
                "in pairs: check the camera driver."
            )
    part = 2 if known.wide else 1
    what = f"color ({encoding})"
    _check_size(height, width, what)
    stored = height * known.rows // 2
    rows = _rows(data, stored, width, step, known.channels * part, what)
    pixels = rows.reshape(stored, width, known.channels * part)
    if known.wide:
        pixels = pixels[..., 0 if big_endian else 1 :: 2]
    pixels = np.ascontiguousarray(pixels)
    if known.code is None:
        return pixels
    return np.asarray(cv2.cvtColor(pixels, known.code), np.uint8)


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
            f"Depth images of encoding {encoding[:_SHOWN]!r} can't be read; have the camera "
            f"publish one of {', '.join(_DEPTH)}."
        )
    dtype = np.dtype((">" if big_endian else "<") + _DEPTH[encoding])
    what = f"depth ({encoding})"
    _check_size(height, width, what)
    rows = _rows(data, height, width, step, dtype.itemsize, what)
    return metres_from_sensor(np.ascontiguousarray(rows).view(dtype), max_depth)


def color_from_compressed(data: Buffer) -> NDArray[np.uint8]:
    """Color image from a JPEG or PNG file in memory.

    Returns:
        New ``H×W×3`` uint8 RGB array.

    Raises:
        MessageError: if the data isn't such a file or is cut short.
    """
    raw = np.frombuffer(data, np.uint8)
    image = decode_file(raw, cv2.IMREAD_COLOR) if decodable(raw) else None
    if image is None:
        raise MessageError(
            f"A compressed color image of {raw.size} bytes can't be decoded or is cut short; "
            "check the camera driver and the transport."
        )
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB, dst=image), np.uint8)


def decodable(data: Buffer) -> bool:
    """Whether the size in a picture file's header is one that a camera can have.

    A file of some kilobytes can claim gigabytes.
    """
    size = picture_size(np.frombuffer(data, np.uint8)[:_HEADER_BYTES].tobytes())
    return size is not None and max(size) <= LARGEST_SIDE and math.prod(size) <= MOST_PIXELS


def _check_size(height: int, width: int, what: str) -> None:
    if not (0 < height <= LARGEST_SIDE and 0 < width <= LARGEST_SIDE):
        raise MessageError(
            f"A {what} image has the size {width}x{height}; check the camera driver."
        )


def _rows(
    data: Buffer, height: int, width: int, step: int, pixel_bytes: int, what: str
) -> NDArray[np.uint8]:
    """The pixels' bytes, ``height × (width * pixel_bytes)``, a view of ``data``."""
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

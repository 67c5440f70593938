"""What is read out of the messages of a bag: stamps, images and the camera."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import MessageError
from dart_ros.session.compressed_images import depth_from_compressed
from dart_ros.session.encodings import (
    color_from_bytes,
    color_from_compressed,
    depth_from_bytes,
)
from dart_ros.session.recording.base import scaled
from dart_ros.values import Camera

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"

_FLOAT = "32FC1"


def header_stamp(raw: bytes, ros1: bool) -> int:
    """Nanoseconds in the header with which a serialized message begins.

    Raises:
        MessageError: if the message is too short to have one.
    """
    try:
        if ros1:
            _, seconds, nanoseconds = struct.unpack_from("<III", raw)
        else:
            # CDR: 4 bytes, of which the second names the byte order, then the header's stamp.
            seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
    except (struct.error, IndexError) as error:
        raise MessageError(f"A message of {len(raw)} bytes has no header.") from error
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


def message_stamp(message: Any) -> int:
    """Nanoseconds in a message's header."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def color_of(message: Any, kind: str) -> NDArray[np.uint8]:
    """``H×W×3`` RGB of an image or a compressed one; MessageError if it can't be read."""
    if kind == COMPRESSED:
        return color_from_compressed(message.data)
    return color_from_bytes(
        message.data,
        message.height,
        message.width,
        message.step,
        message.encoding,
        bool(message.is_bigendian),
    )


def depth_of(message: Any, kind: str, unit: float | None) -> NDArray[np.float32]:
    """``H×W`` metres, -1 where unknown, of a depth image.

    Args:
        message: raw or ``compressedDepth``.
        kind: its type.
        unit: metres a unit; None for what ROS prescribes, 0.001 for 16 bit and 1 for float.

    Raises:
        MessageError: if it can't be read.
    """
    if kind == COMPRESSED:
        is_float = message.format.startswith(_FLOAT)
        metres = depth_from_compressed(message.data, message.format, np.inf)
    else:
        is_float = message.encoding == _FLOAT
        metres = depth_from_bytes(
            message.data,
            message.height,
            message.width,
            message.step,
            message.encoding,
            np.inf,
            bool(message.is_bigendian),
        )
    if unit is None:
        return metres
    return scaled(metres, unit if is_float else unit / 0.001)


def camera_of(info: Any) -> Camera:
    """The camera that a camera info describes, whatever its numbers are."""
    # ROS 1 writes these names in capitals.
    matrix = info.k if hasattr(info, "k") else info.K
    fx, _, cx, _, fy, cy, _, _, _ = (float(value) for value in matrix)
    return Camera(int(info.width), int(info.height), fx, fy, cx, cy, info.header.frame_id)

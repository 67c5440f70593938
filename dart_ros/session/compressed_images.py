"""Compressed depth images, as ``compressed_depth_image_transport`` and drivers publish them.

A ``compressedDepth`` message holds 12 bytes (format, two float32 of the quantization), then a PNG
of 16 bits, or the size and the words of RVL (Wilson, "Fast Lossless Depth Image Compression", ISS
2017). 16UC1 is stored as it is; of 32FC1 the inverse is quantized. Compressed color:
:func:`dart_ros.session.encodings.color_from_compressed`.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import MessageError
from dart_ros.picture_files import decode_file
from dart_ros.session.encodings import DEPTH_ENCODINGS, LARGEST_SIDE, Buffer, decodable
from dart_ros.values import metres_from_sensor

_HEADER = struct.Struct("<iff")
_RVL_SIZE = struct.Struct("<ii")
_PNG = b"\x89PNG"
_GROUPS = 9  # hold 27 bits, more than a difference of depths or a number of pixels takes
_REMEDY = "check the camera driver and the transport"


def depth_from_compressed(data: Buffer, form: str, max_depth: float) -> NDArray[np.float32]:
    """Depth image in metres from the data of a ``sensor_msgs/CompressedImage``.

    Args:
        data: with the header of ``compressedDepth``, or a bare 16-bit PNG in millimetres.
        form: the message's ``format``, such as ``16UC1; compressedDepth png`` or
            ``32FC1; compressedDepth rvl``.
        max_depth: range of the sensor in metres; what lies beyond is unknown.

    Returns:
        New ``H×W`` float32 array in metres, -1 where unknown.

    Raises:
        MessageError: if the data is of another kind or is cut short.
    """
    raw = np.frombuffer(data, np.uint8).tobytes()
    if raw[:4] == _PNG:
        return metres_from_sensor(_png(raw), max_depth)
    encoding, _, transport = form.partition(";")
    encoding = encoding.strip()
    if encoding not in DEPTH_ENCODINGS or "compresseddepth" not in transport.lower():
        raise MessageError(
            f"A compressed depth image has the format {form[:60]!r}; subscribe to the topic that "
            "ends in /compressedDepth, or to raw depth."
        )
    if len(raw) <= _HEADER.size:
        raise MessageError(
            f"A compressed depth image of {len(raw)} bytes has no content; {_REMEDY}."
        )
    _, scale, offset = _HEADER.unpack_from(raw)
    body = raw[_HEADER.size :]
    stored = _png(body) if body[:4] == _PNG else _rvl(body)
    if encoding != "32FC1":
        return metres_from_sensor(stored, max_depth)
    if not (np.isfinite([scale, offset]).all() and scale > 0):
        raise MessageError(
            f"A compressed depth image is quantized by {scale:g} and {offset:g}; {_REMEDY}."
        )
    metres = np.zeros(stored.shape, np.float32)
    np.divide(scale, stored - np.float32(offset), out=metres, where=stored > 0)
    return metres_from_sensor(metres, max_depth)


def _png(data: bytes) -> NDArray[np.uint16]:
    image = decode_file(data, cv2.IMREAD_UNCHANGED) if decodable(data) else None
    if image is None or image.dtype != np.uint16 or image.ndim != 2:
        raise MessageError(
            f"A compressed depth image of {len(data)} bytes is no PNG of 16 bits or is cut short; "
            f"{_REMEDY}."
        )
    return image


def _rvl(data: bytes) -> NDArray[np.uint16]:
    """Columns and rows as int32, then alternately: how many zeros, how many others, and these as
    differences; each number in groups of 3 bits, lowest first, with a bit that tells whether more
    follow, eight groups to a little-endian word, first group highest."""
    broken = MessageError(
        f"A compressed depth image (RVL) of {len(data)} bytes can't be decoded or is cut short; "
        f"{_REMEDY}."
    )
    if len(data) < _RVL_SIZE.size:
        raise broken
    columns, rows = _RVL_SIZE.unpack_from(data)
    if not (0 < columns <= LARGEST_SIDE and 0 < rows <= LARGEST_SIDE):
        raise broken
    numbers = _numbers(_groups(data[_RVL_SIZE.size :]))
    values = numbers.data  # a memoryview gives single numbers faster than the array
    zeros, others, heads = [], [], []
    at = place = 0
    while place < rows * columns:
        if at + 2 > len(values):
            raise broken
        skipped, count = values[at], values[at + 1]
        if not skipped + count:
            raise broken
        heads.append(at)
        zeros.append(skipped)
        others.append(count)
        at += 2 + count
        place += skipped + count
    if place > rows * columns or at > len(values):
        raise broken
    is_difference = np.ones(at, bool)
    is_difference[heads] = False
    is_difference[np.add(heads, 1)] = False
    folded = numbers[:at][is_difference]
    # The first difference is one from 0; runs go on from the last value before their zeros.
    depth = np.cumsum((folded >> 1) ^ -(folded & 1), dtype=np.int64)
    if depth.min(initial=0) < 0 or depth.max(initial=0) > np.iinfo(np.uint16).max:
        raise broken
    filled = np.repeat(np.tile([False, True], len(heads)), np.ravel((zeros, others), order="F"))
    pixels = np.zeros(filled.size, np.uint16)
    pixels[filled] = depth
    return pixels.reshape(rows, columns)


def _groups(data: bytes) -> NDArray[np.uint8]:
    """The groups of four bits in their order; what is left of a word that was cut is dropped."""
    swapped = np.frombuffer(data, "<u4", count=len(data) // 4).astype(">u4").view(np.uint8)
    groups = np.empty(2 * swapped.size, np.uint8)
    np.right_shift(swapped, 4, out=groups[0::2])
    np.bitwise_and(swapped, 15, out=groups[1::2])
    return groups


def _numbers(groups: NDArray[np.uint8]) -> NDArray[np.int32]:
    """All numbers that end, the largest int32 for those of more than nine groups.

    What is left at the end pads the last word.
    """
    ends = np.flatnonzero(groups < 8)
    if not ends.size:
        return np.zeros(0, np.int32)
    starts = np.concatenate([[0], ends[:-1] + 1])
    numbers = groups[starts].astype(np.int32)
    # Few have more than one group, fewer more than two: each turn looks at those that go on.
    going_on = np.flatnonzero(numbers > 7)
    place = starts[going_on]
    for shift in range(3, 3 * _GROUPS, 3):
        place += 1
        groups_here = groups[place]
        # The bit that told to go on lies where the next group's lowest one does.
        numbers[going_on] += (groups_here.astype(np.int32) - 1) << shift
        more = np.flatnonzero(groups_here > 7)
        going_on, place = going_on[more], place[more]
    numbers[going_on] = np.iinfo(np.int32).max
    return numbers

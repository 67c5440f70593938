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
    size = rows * columns
    words = np.frombuffer(data, "<u4", offset=_RVL_SIZE.size, count=(len(data) - 8) // 4)
    shifts = np.arange(28, -1, -4).astype(np.uint32)
    nibbles = ((words[:, None] >> shifts) & 15).astype(np.uint8).ravel()
    numbers = _numbers(nibbles)
    counts = numbers.tolist()
    pixels = np.zeros(size, np.int64)
    filled = np.zeros(size, bool)
    takes = np.zeros(len(counts), bool)
    at = place = 0
    while place < size:
        if at + 2 > len(counts):
            raise broken
        zeros, others = counts[at : at + 2]
        at += 2
        place += zeros
        if place + others > size or at + others > len(counts) or not zeros + others:
            raise broken
        filled[place : place + others] = True
        takes[at : at + others] = True
        at += others
        place += others
    folded = numbers[takes]
    # The first difference is one from 0; runs go on from the last value before their zeros.
    pixels[filled] = np.cumsum((folded >> 1) ^ -(folded & 1))
    if pixels.min(initial=0) < 0 or pixels.max(initial=0) > np.iinfo(np.uint16).max:
        raise broken
    return pixels.astype(np.uint16).reshape(rows, columns)


def _numbers(nibbles: NDArray[np.uint8]) -> NDArray[np.int64]:
    """All numbers that end; what is left at the end pads the last word."""
    ends = np.flatnonzero(nibbles < 8)
    if not ends.size:
        return np.zeros(0, np.int64)
    starts = np.r_[0, ends[:-1] + 1]
    lengths = ends - starts + 1
    position = np.arange(ends[-1] + 1) - np.repeat(starts, lengths)
    # Seven groups hold 21 bits, more than any difference of 16-bit values or run takes.
    parts = (nibbles[: ends[-1] + 1].astype(np.int64) & 7) << (3 * np.minimum(position, 12))
    return np.add.reduceat(parts, starts)

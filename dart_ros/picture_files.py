"""Picture files in memory, of which none that is cut short passes for whole."""

from __future__ import annotations

import struct
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def decode_file(data: bytes | NDArray[np.uint8], flags: int) -> NDArray[Any] | None:
    """Decode a JPEG, PNG or WebP file in memory; None if it is none of these or is cut short.

    Args:
        data: the bytes of the file.
        flags: of ``cv2.imdecode``; color comes as BGR.
    """
    raw = np.frombuffer(data, np.uint8)
    whole = raw.tobytes()
    start, end = whole[:2], whole.rstrip(b"\0")[-64:]
    # OpenCV fills what is missing of a cut file with gray or black and says nothing.
    if (start == b"\xff\xd8" and not _jpeg_ends(whole)) or (
        start == b"\x89P" and b"IEND" not in end
    ):
        return None
    try:
        return cv2.imdecode(raw, flags) if raw.size else None
    except cv2.error:
        return None


def picture_size(data: bytes) -> tuple[int, int] | None:
    """Width and height that a PNG, JPEG, WebP or BMP file tells in its header, without decoding.

    A file of some hundred bytes can hold gigabytes of pixels: ask this before decoding what comes
    from outside.

    Args:
        data: the bytes of the file.

    Returns:
        Pixels, or None if it is none of these kinds or its header is cut short.
    """
    try:
        if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR":
            width, height = struct.unpack_from(">II", data, 16)
        elif data.startswith(b"\xff\xd8"):
            height, width = struct.unpack_from(">HH", data, _jpeg_frame(data) + 5)
        elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
            width, height = _webp_size(data)
        elif data.startswith(b"BM"):
            width, height = struct.unpack_from("<ii", data, 18)
            height = abs(height)  # negative from above down
        else:
            return None
    except (struct.error, IndexError):
        return None
    return (width, height) if width > 0 and height > 0 else None


def _jpeg_frame(data: bytes) -> int:
    """Where the segment starts that tells a JPEG's size; IndexError if there is none."""
    at = 2
    while data[at] == 0xFF:
        kind = data[at + 1]
        # SOF0 to SOF15 without DHT, JPG and DAC.
        if 0xC0 <= kind <= 0xCF and kind not in (0xC4, 0xC8, 0xCC):
            return at
        at += 1 if kind == 0xFF else 2 + struct.unpack_from(">H", data, at + 2)[0]
    raise IndexError


def _webp_size(data: bytes) -> tuple[int, int]:
    kind = data[12:16]
    if kind == b"VP8 ":
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    if kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    sides = data[24:30]
    if kind != b"VP8X" or len(sides) < 6:
        raise IndexError
    return int.from_bytes(sides[:3], "little") + 1, int.from_bytes(sides[3:], "little") + 1


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG's pixels are followed by its end; what comes behind that (zeros up to the size
    of a camera's buffer, a phone's film) doesn't matter."""
    at = 2
    # Past the segments before the pixels, of which one can hold a small picture with its own end.
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        filled = data[at + 1] == 0xFF
        at += 1 if filled else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) >= 0

"""Picture files in memory, of which none that is cut short passes for whole."""

from __future__ import annotations

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


def _jpeg_ends(data: bytes) -> bool:
    """Whether a JPEG's pixels are followed by its end; what comes behind that (zeros up to the size
    of a camera's buffer, a phone's film) doesn't matter."""
    at = 2
    # Past the segments before the pixels, of which one can hold a small picture with its own end.
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        filled = data[at + 1] == 0xFF
        at += 1 if filled else 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data.find(b"\xff\xd9", at) >= 0

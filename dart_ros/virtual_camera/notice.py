"""What call software shows while there is no picture: words on black."""

from __future__ import annotations

import textwrap

import cv2
import numpy as np
from numpy.typing import NDArray

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_COLUMNS = 42


def notice(width: int, height: int, title: str, details: str = "") -> NDArray[np.uint8]:
    """A black picture with a title and some lines, ``height×width×3`` uint8 RGB.

    Args:
        width: pixels.
        height: pixels.
        title: one short line.
        details: wrapped to lines; what doesn't fit is cut off. Letters beyond ASCII become ?.
    """
    picture = np.zeros((height, width, 3), np.uint8)
    scale = min(width, height) / 480
    lines = [title, *textwrap.wrap(details, _COLUMNS)]
    step = max(1, round(34 * scale))
    top = height // 2 - step * (len(lines) - 1) // 2
    for number, line in enumerate(lines):
        text = line.encode("ascii", "replace").decode()
        size = scale * (1.0 if number == 0 else 0.7)
        thickness = max(1, round(1.6 * size))
        (wide, tall), _ = cv2.getTextSize(text, _FONT, size, thickness)
        fitted = min(1.0, 0.94 * width / max(1, wide))
        place = int((width - wide * fitted) / 2), top + number * step + tall // 2
        shade = (235, 235, 235) if number == 0 else (170, 170, 170)
        cv2.putText(picture, text, place, _FONT, size * fitted, shade, thickness, cv2.LINE_AA)
    return picture

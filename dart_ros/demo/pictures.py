"""The pictures that the demo leaves behind: contact sheet, video and the composite's background."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import DartError
from dart_ros.session.matte_files import count_frames

Image8 = NDArray[np.uint8]

COLUMNS = ("input", "depth", "alpha", "trimap", "composite")
_CELL_WIDTH = 320
_GAP = 4
_HEADER = 30
_MARGIN = 74
_PAPER = 24
_INK = (235, 235, 235)
_VIDEO_PANEL = 640


@dataclass(frozen=True, eq=False)
class Shot:
    """What went in and came out under one stamp.

    Attributes:
        seconds: time since the foreground entered.
        color: ``H×W×3`` RGB input.
        depth: ``H×W`` uint16 millimetres, 0 is unknown.
        alpha: ``H×W``, 0 to 255.
        trimap: ``H×W`` of 0, 128 and 255.
        composite: ``H×W×3`` RGB.
    """

    seconds: float
    color: Image8
    depth: NDArray[np.uint16]
    alpha: Image8
    trimap: Image8
    composite: Image8


def sheet_size(shots: int, width: int, height: int) -> tuple[int, int]:
    """(width, height) in pixels of the contact sheet of so many shots of ``width×height``."""
    cell = round(_CELL_WIDTH * height / width)
    return (
        _MARGIN + len(COLUMNS) * (_CELL_WIDTH + _GAP),
        _HEADER + shots * (cell + _GAP),
    )


def contact_sheet(shots: Sequence[Shot]) -> Image8:
    """Lay shots out, one a row and one column a kind of image.

    Args:
        shots: at least one, all of one size.

    Returns:
        ``H×W×3`` RGB of :func:`sheet_size`.
    """
    height, width = shots[0].alpha.shape
    cell = round(_CELL_WIDTH * height / width)
    sheet_width, sheet_height = sheet_size(len(shots), width, height)
    sheet = np.full((sheet_height, sheet_width, 3), _PAPER, np.uint8)
    for column, name in enumerate(COLUMNS):
        left = _MARGIN + column * (_CELL_WIDTH + _GAP)
        _write(sheet, name, left + 6, 21)
    span = depth_span([shot.depth for shot in shots])
    for row, shot in enumerate(shots):
        top = _HEADER + row * (cell + _GAP)
        _write(sheet, f"{shot.seconds:.2f} s", 6, top + cell // 2 + 5)
        images = (
            shot.color,
            color_depth(shot.depth, span),
            shot.alpha,
            shot.trimap,
            shot.composite,
        )
        for column, image in enumerate(images):
            left = _MARGIN + column * (_CELL_WIDTH + _GAP)
            # Depth and trimap hold values that must not be mixed.
            exact = COLUMNS[column] in ("depth", "trimap")
            sheet[top : top + cell, left : left + _CELL_WIDTH] = cv2.resize(
                _three_channels(image),
                (_CELL_WIDTH, cell),
                interpolation=cv2.INTER_NEAREST if exact else cv2.INTER_AREA,
            )
    return sheet


def depth_span(depths: Sequence[NDArray[np.uint16]]) -> tuple[float, float]:
    """Nearest and farthest depth worth showing, in millimetres: 1st and 99th percentile."""
    known = np.concatenate([depth[::4, ::4][depth[::4, ::4] > 0] for depth in depths])
    if known.size == 0:
        return 0.0, 1.0
    low, high = np.percentile(known, (1.0, 99.0))
    return float(low), float(max(high, low + 1.0))


def color_depth(depth: NDArray[np.uint16], span: tuple[float, float]) -> Image8:
    """``H×W`` millimetres as ``H×W×3`` RGB: near is red, far is blue, unknown is black."""
    low, high = span
    scaled = np.clip((high - depth.astype(np.float32)) / (high - low), 0.0, 1.0)
    # The ends of the map are nearly as dark as what stands for unknown.
    levels = (30.0 + 210.0 * scaled).astype(np.uint8)
    colored = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1]
    return np.where((depth > 0)[..., None], colored, 0).astype(np.uint8)


def gradient(width: int, height: int) -> Image8:
    """A quiet ``H×W×3`` RGB background, from teal at the top to sand at the bottom."""
    top, bottom = np.array([38.0, 92.0, 110.0]), np.array([236.0, 209.0, 170.0])
    down = np.linspace(0.0, 1.0, height)[:, None, None]
    across = 1.0 - 0.25 * np.abs(np.linspace(-1.0, 1.0, width))[None, :, None] ** 2
    return np.rint((top + (bottom - top) * down) * across).astype(np.uint8)


def save_png(path: Path, image: Image8) -> None:
    """Write ``H×W×3`` RGB; DartError if the file can't be written."""
    if not cv2.imwrite(str(path), image[..., ::-1]):
        raise DartError(f"{path} can't be written; check the folder's permissions and free space.")


def write_video(folder: Path, shots: Callable[[], Iterable[Shot]], rate: float) -> Path:
    """Write input, alpha and composite side by side, and read the file again.

    Args:
        folder: where ``matte.mp4`` goes, or ``matte.avi`` where OpenCV has no MPEG-4.
        shots: gives the frames from the start: at least one, all of one size.
        rate: frames a second.

    Returns:
        The file.

    Raises:
        DartError: if no file that decodes to all of its frames could be written.
    """
    for name, codec in (("matte.mp4", "mp4v"), ("matte.avi", "MJPG")):
        path = folder / name
        written = _encode(path, codec, shots(), rate)
        if written and count_frames(path) == written:
            return path
        path.unlink(missing_ok=True)
    raise DartError(
        f"OpenCV could not write a video into {folder}; check free space, or install an OpenCV "
        "with video support."
    )


def _encode(path: Path, codec: str, shots: Iterable[Shot], rate: float) -> int:
    """Write a video and return the number of frames that went in."""
    writer = None
    written = 0
    for shot in shots:
        panels = _panels(shot)
        if writer is None:
            size = (panels.shape[1], panels.shape[0])
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*codec), rate, size)
        writer.write(np.ascontiguousarray(panels[..., ::-1]))
        written += 1
    if writer is not None:
        writer.release()
    return written


def _panels(shot: Shot) -> Image8:
    row = np.hstack([shot.color, _three_channels(shot.alpha), shot.composite])
    scale = min(1.0, _VIDEO_PANEL * 3 / row.shape[1])
    # MPEG-4 wants even sides.
    width, height = (int(side * scale) // 2 * 2 for side in (row.shape[1], row.shape[0]))
    return np.asarray(cv2.resize(row, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def _three_channels(image: Image8) -> Image8:
    return image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2)


def _write(sheet: Image8, text: str, x: int, y: int) -> None:
    cv2.putText(sheet, text, (x, y), cv2.FONT_HERSHEY_SIMPLEX, 0.5, _INK, 1, cv2.LINE_AA)

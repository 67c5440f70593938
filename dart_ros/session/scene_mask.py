"""Where a scene is always background or always foreground, whatever the camera sees there: a
window, a television, the microphone in front."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import SceneError
from dart_ros.files import read_regular
from dart_ros.picture_files import decode_file, picture_size
from dart_ros.printable import printable
from dart_ros.values import Camera

BACKGROUND, FREE, FOREGROUND = 0, 128, 255
"""Levels of a mask: always background, neither, always foreground."""

MOST_CORNERS = 10_000
"""Corners of all polygons, at most."""

_LONGEST_FILE = 100_000_000  # bytes
_FARTHEST = 100_000.0  # pixels of a corner

Polygon = Sequence[tuple[float, float]]


class MaskedAlpha:
    """A mask as it is laid over alpha and colors; immutable.

    Args:
        mask: ``H×W`` uint8 of :data:`BACKGROUND`, :data:`FREE` and :data:`FOREGROUND`, or None for
            none.
    """

    def __init__(self, mask: NDArray[np.uint8] | None) -> None:
        self._mask = mask
        if mask is not None:
            self._allowed = np.where(mask == BACKGROUND, 0, 255).astype(np.uint8)
            self._forced = np.where(mask == FOREGROUND, 255, 0).astype(np.uint8)

    def alpha(self, alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Alpha or a trimap, ``H×W``, with 0 and 255 where the mask says so; itself without one."""
        if self._mask is None:
            return alpha
        kept = cv2.bitwise_and(alpha, self._allowed)
        return np.asarray(cv2.bitwise_or(kept, self._forced), np.uint8)

    def color(self, foreground: NDArray[np.uint8], color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The foreground's color, ``H×W×3``, which becomes the frame's where it always is."""
        if self._mask is None:
            return foreground
        return np.asarray(cv2.copyTo(color, self._forced, foreground), np.uint8)


def mask_of_polygons(
    camera: Camera, background: Sequence[Polygon], foreground: Sequence[Polygon]
) -> NDArray[np.uint8]:
    """A mask of polygons, in pixels of the color image; foreground counts where both are.

    Args:
        camera: of the scene.
        background: corners (x, y) of each polygon that is always background.
        foreground: of each that is always foreground.

    Raises:
        SceneError: if a polygon has fewer than three corners, or one of them is no pixel.
    """
    mask = np.full((camera.height, camera.width), FREE, np.uint8)
    polygons = [*background, *foreground]
    if sum(map(len, polygons)) > MOST_CORNERS:
        raise SceneError(f"the polygons have more than {MOST_CORNERS} corners; simplify them")
    for level, group in ((BACKGROUND, background), (FOREGROUND, foreground)):
        for polygon in group:
            corners = np.asarray(polygon, np.float64).reshape(-1, 2)
            # NaN fails the comparison.
            if len(corners) < 3 or not (np.abs(corners) <= _FARTHEST).all():
                raise SceneError(
                    "a polygon needs three corners or more, in pixels of the color image"
                )
            cv2.fillPoly(mask, [np.rint(corners).astype(np.int32)], level)
    return mask


def read_mask(path: Path, camera: Camera) -> NDArray[np.uint8]:
    """A mask from a PNG of one channel: 0 always background, 255 always foreground, else neither.

    Raises:
        SceneError: if the file can't be read, or is no such image of the camera's size.
    """
    shown = printable(str(path), 300)
    try:
        data = read_regular(path, _LONGEST_FILE)
    except OSError as error:
        raise SceneError(f"the mask {shown} can't be read ({error.strerror})") from error
    size, wanted = picture_size(data), (camera.width, camera.height)
    if size is not None and size != wanted:
        raise SceneError(
            f"the mask {shown} is {size[0]}x{size[1]}, the scene {wanted[0]}x{wanted[1]}"
        )
    image = None if size is None else decode_file(data, cv2.IMREAD_UNCHANGED)
    if image is None or image.ndim != 2 or image.dtype != np.uint8:
        raise SceneError(
            f"the mask {shown} is no image of one channel with 8 bits: save it as a gray PNG"
        )
    mask = np.full(image.shape, FREE, np.uint8)
    for level in (BACKGROUND, FOREGROUND):
        mask[image == level] = level
    return mask

"""The plain values that travel through the package: camera, frame, matte.

Depth is float32 metres everywhere inside the package; an unknown depth is :data:`UNKNOWN_DEPTH`.
What goes to an engine may be below that: see :mod:`dart_ros.method.blind_sides`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

UNKNOWN_DEPTH = -1.0
"""Depth, in metres, of a pixel of which the sensor says nothing."""


@dataclass(frozen=True)
class Camera:
    """Pinhole camera of an aligned color and depth pair.

    Attributes:
        width: image width in pixels.
        height: image height in pixels.
        fx: focal length along x in pixels, 0 where the camera isn't calibrated.
        fy: focal length along y in pixels, 0 where the camera isn't calibrated.
        cx: principal point, x in pixels.
        cy: principal point, y in pixels.
        frame_id: name of the optical frame, empty when unknown.
    """

    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    frame_id: str = ""

    @classmethod
    def uncalibrated(cls, width: int, height: int, frame_id: str = "") -> Camera:
        """Make a camera of which only the size is known: that is enough for mattes."""
        return cls(width, height, 0.0, 0.0, 0.0, 0.0, frame_id)

    @property
    def calibrated(self) -> bool:
        """Whether pixels can be turned into directions."""
        return self.fx > 0 and self.fy > 0


@dataclass(frozen=True, eq=False)
class Frame:
    """One aligned color and depth pair.

    Attributes:
        color: ``H×W×3`` uint8 RGB.
        depth: ``H×W`` float32 metres, :data:`UNKNOWN_DEPTH` where unknown.
        stamp: time of the picture in nanoseconds.
        camera: camera of both images.
    """

    color: NDArray[np.uint8]
    depth: NDArray[np.float32]
    stamp: int
    camera: Camera


@dataclass(frozen=True, eq=False)
class Matte:
    """What comes out for one frame.

    Attributes:
        alpha: ``H×W`` uint8, 0 is background and 255 foreground.
        foreground: ``H×W×3`` uint8 RGB, estimated color of the foreground, not premultiplied,
            0 where there is none (see :mod:`dart_ros.session.foreground`), or None if it was not
            asked for.
        trimap: ``H×W`` uint8 of 0, 128 (unknown) and 255, or None if it was not asked for.
    """

    alpha: NDArray[np.uint8]
    foreground: NDArray[np.uint8] | None
    trimap: NDArray[np.uint8] | None


def metres_from_sensor(
    depth: NDArray[np.uint16] | NDArray[np.float32] | NDArray[np.float64], max_depth: float
) -> NDArray[np.float32]:
    """Turn a sensor's depth image into the package's convention.

    Args:
        depth: ``H×W``; uint16 is taken as millimetres, float32 and float64 as metres.
        max_depth: range of the sensor in metres; what lies beyond it is unknown.

    Returns:
        A new ``H×W`` float32 array in metres. 0, NaN, infinities, negative values and values
        beyond ``max_depth`` have become :data:`UNKNOWN_DEPTH`.

    Raises:
        TypeError: if ``depth`` is of another type.
    """
    if depth.dtype.kind == "u" and depth.dtype.itemsize == 2:
        metres: NDArray[np.float32] = np.multiply(depth, np.float32(1e-3), dtype=np.float32)
    elif depth.dtype.kind == "f":
        metres = depth.astype(np.float32)
    else:
        raise TypeError(f"depth is uint16 millimetres or float metres, not {depth.dtype}")
    # NaN fails both comparisons, so it counts as unknown.
    known = (metres > 0.0) & (metres <= np.float32(max_depth))
    # Selecting on the bits takes a fifth of the time of masked writing in speckled depth images.
    bits, unknown = metres.view(np.int32), np.float32(UNKNOWN_DEPTH).view(np.int32)
    bits ^= unknown
    bits *= known
    bits ^= unknown
    return metres

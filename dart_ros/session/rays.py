"""The direction in which each pixel of a camera looks, by the distortion models of ROS."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.values import Camera

_POLYNOMIAL = ("plumb_bob", "rational_polynomial")
_FISHEYE = ("equidistant", "fisheye")
MODELS = (*_POLYNOMIAL, *_FISHEYE)
"""Names that ``sensor_msgs/CameraInfo`` gives to distortion models."""

_COEFFICIENTS = {True: (4,), False: (4, 5, 8, 12, 14)}  # by whether the model is a fisheye's
# The inversion is iterative, and slow: it is done at each 8th pixel. Between them a ray is off by
# less than 0.05 pixels.
_STEP = 8
_ITERATIONS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
_LARGEST_ERROR = 0.5  # pixels; of more the inversion has not converged


@dataclass(frozen=True)
class Lens:
    """A camera and its distortion.

    Attributes:
        camera: a calibrated one.
        model: one of :data:`MODELS`, or anything if there are no coefficients.
        coefficients: in the order of ``sensor_msgs/CameraInfo``.
    """

    camera: Camera
    model: str = ""
    coefficients: tuple[float, ...] = ()

    @property
    def distorts(self) -> bool:
        """Whether it is more than a pinhole."""
        # Of a fisheye all zeros is one as well.
        return any(self.coefficients) or (self.model in _FISHEYE and bool(self.coefficients))

    @property
    def known(self) -> bool:
        """Whether its distortion can be computed; if not, :func:`pixel_rays` leaves it out."""
        if not self.distorts:
            return True
        count = len(self.coefficients)
        usable = bool(np.isfinite(self.coefficients).all())
        return usable and self.model in MODELS and count in _COEFFICIENTS[self.model in _FISHEYE]


def pixel_rays(lens: Lens) -> NDArray[np.float32]:
    """Compute x/z and y/z of what each pixel sees.

    Returns:
        ``(H·W)×2``, in the order of rows; NaN where the distortion can't be undone.
    """
    camera = lens.camera
    if not (lens.distorts and lens.known):
        x = (np.arange(camera.width, dtype=np.float32) - camera.cx) / camera.fx
        y = (np.arange(camera.height, dtype=np.float32) - camera.cy) / camera.fy
        return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)
    columns, rows = (np.arange(0, size + _STEP, _STEP) for size in (camera.width, camera.height))
    pixels = np.stack(np.meshgrid(columns, rows), axis=-1).astype(np.float64)
    rays = _undistorted(lens, pixels.reshape(-1, 1, 2)).reshape(pixels.shape)
    # Eighths are exact in the fixed-point weights of OpenCV's remap.
    at = np.meshgrid(
        np.arange(camera.width, dtype=np.float32) / _STEP,
        np.arange(camera.height, dtype=np.float32) / _STEP,
    )
    fine = cv2.remap(rays.astype(np.float32), at[0], at[1], cv2.INTER_LINEAR)
    return np.asarray(fine, np.float32).reshape(-1, 2)


def _undistorted(lens: Lens, pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rays of pixels, ``N×1×2``; NaN where the model of the lens doesn't lead back to the pixel."""
    camera, coefficients = lens.camera, np.array(lens.coefficients)
    matrix = np.array([[camera.fx, 0, camera.cx], [0, camera.fy, camera.cy], [0, 0, 1.0]])
    if lens.model in _FISHEYE:
        rays = cv2.fisheye.undistortPoints(pixels, matrix, coefficients, criteria=_ITERATIONS)
        back = cv2.fisheye.distortPoints(rays, matrix, coefficients)
    else:
        # From OpenCV 5 on one function, which takes the criteria.
        undistort = getattr(cv2, "undistortPointsIter", cv2.undistortPoints)
        rays = undistort(pixels, matrix, coefficients, R=None, P=None, criteria=_ITERATIONS)
        points = cv2.convertPointsToHomogeneous(rays)
        back, _ = cv2.projectPoints(points, np.zeros(3), np.zeros(3), matrix, coefficients)
    error = np.abs(back - pixels).max(axis=2)
    return np.where((error < _LARGEST_ERROR)[..., None], rays, np.nan)

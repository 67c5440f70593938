"""The trimap on a CPU (Eq. 12-13): that of :mod:`dart_ros.method.trimap`, many times faster,
because depth changes nothing where alpha is 0 or 1 (Eq. 12), which is nearly everywhere, and all is
background away from the foreground."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.constants import LOWER_THRESHOLD, TRIMAP_BLUR_SIGMA, UPPER_THRESHOLD, ZETA

_REACH = math.ceil(3 * TRIMAP_BLUR_SIGMA)
"""Pixels by which the blur reaches."""

_UNIT = (np.arange(256) / 255).astype(np.float32)

_FAR = 6.0
"""Standard deviations from 0 beyond which nothing of a normal distribution is cut off."""


class CpuTrimap:
    """Eq. 12-13 for the frames of one scene; for one thread at a time.

    Args:
        mean: H×W, of the background's depth in metres.
        std: H×W metres.
    """

    def __init__(self, mean: NDArray[np.float32], std: NDArray[np.float32]) -> None:
        self._size = mean.shape
        self._mean, self._std = mean.reshape(-1), std.reshape(-1)
        self._peak = 1 / (math.sqrt(2 * math.pi) * self._std * _kept(self._mean, self._std))
        # Kept, because new memory of this size takes longer than what is done with it.
        self._corrected, self._blurred = np.empty((2, mean.size), np.float32)

    def __call__(self, alpha: NDArray[np.uint8], depth: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Trimap of one frame.

        Args:
            alpha: H×W.
            depth: H×W metres, -1 where unknown.

        Returns:
            H×W: 0 background, 128 unknown, 255 foreground.

        Raises:
            EngineError: if the frame is of another size than the scene.
        """
        if not self._size == alpha.shape == depth.shape:
            raise EngineError(
                f"the trimap failed on a frame: alpha is {alpha.shape}, depth {depth.shape}, the "
                f"scene {self._size}"
            )
        levels = np.zeros(self._size, np.uint8)
        left, top, width, height = cv2.boundingRect(np.ascontiguousarray(alpha))
        if width:
            rows = slice(max(0, top - _REACH), top + height + _REACH)
            columns = slice(max(0, left - _REACH), left + width + _REACH)
            levels[rows, columns] = self._levels(alpha, depth, (rows, columns))
        return levels

    def _levels(
        self, alpha: NDArray[np.uint8], depth: NDArray[np.float32], part: tuple[slice, slice]
    ) -> NDArray[np.uint8]:
        alpha = np.ascontiguousarray(alpha[part])
        memory = (self._corrected, self._blurred)
        corrected, blurred = (flat[: alpha.size].reshape(alpha.shape) for flat in memory)
        cv2.LUT(alpha, _UNIT, corrected)
        # Wraps around: 0 becomes 255. One index for both axes, because two take twice as long.
        mixed = np.flatnonzero((alpha - np.uint8(1)) < 254)
        row, column = np.divmod(mixed, alpha.shape[1])
        places = (row + part[0].start) * self._size[1] + (column + part[1].start)
        prior = corrected.reshape(-1)
        prior[mixed] = self._depth_corrected(prior[mixed], depth.reshape(-1)[places], places)
        side = 2 * _REACH + 1, 2 * _REACH + 1
        sigma = TRIMAP_BLUR_SIGMA
        cv2.GaussianBlur(corrected, side, sigma, blurred, sigma, cv2.BORDER_REPLICATE)
        unknown, foreground = blurred >= LOWER_THRESHOLD, blurred > UPPER_THRESHOLD
        return unknown.view(np.uint8) * np.uint8(128) + foreground.view(np.uint8) * np.uint8(127)

    def _depth_corrected(
        self, alpha: NDArray[np.float32], depth: NDArray[np.float32], places: NDArray[np.intp]
    ) -> NDArray[np.float32]:
        """Eq. 12 for some pixels, see :func:`dart_ros.method.trimap.depth_corrected_alpha`."""
        mean, std = self._mean[places], self._std[places]
        known = depth > 0
        front = np.where(known & (depth <= mean), 1 / mean, 0) + np.float32(ZETA)
        normal = np.exp(-0.5 * ((depth - mean) / std) ** 2) * self._peak[places]
        back = np.where(known, normal, 0) + np.float32(ZETA)
        front, back = front * alpha, back * (1 - alpha)
        corrected: NDArray[np.float32] = np.where(known, front / (front + back), alpha)
        return corrected


def _kept(mean: NDArray[np.float32], std: NDArray[np.float32]) -> NDArray[np.float32]:
    """What the truncation to positive depths leaves of Eq. 6's normal distribution."""
    kept = np.ones_like(mean)
    near = np.flatnonzero(mean < _FAR * std)
    scaled = mean[near] / (std[near] * math.sqrt(2))
    kept[near] = [0.5 * (1 + math.erf(value)) for value in scaled.tolist()]
    return kept

"""The trimap on a CPU: the same as :class:`dart_ros.runtime.graph.TrimapGraph`, several times
faster, because depth changes nothing where alpha is 0 or 1 (Eq. 12), which is nearly everywhere,
and all is background away from the foreground."""

from __future__ import annotations

import math

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.network import Background
from dart_ros.method.trimap import (
    BLUR_SIGMA,
    LOWER_THRESHOLD,
    UPPER_THRESHOLD,
    depth_corrected_alpha,
)

_REACH = math.ceil(3 * BLUR_SIGMA)
"""Pixels by which the blur reaches."""

_UNIT = (np.arange(256) / 255).astype(np.float32)


class CpuTrimap:
    """Eq. 12-13 for the frames of one scene; for one thread at a time.

    Args:
        background: the captured scene, 1×C×H×W.
    """

    def __init__(self, background: Background) -> None:
        self._size = tuple(background.mean.shape[-2:])
        self._mean, self._std = background.mean[0, 0].numpy(), background.std[0, 0].numpy()
        # Kept, because new memory of this size takes longer than what is done with it.
        self._corrected, self._blurred = np.empty((2, math.prod(self._size)), np.float32)

    @torch.inference_mode()
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
        maps = (depth, self._mean, self._std)
        live, mean, std = (torch.from_numpy(image.reshape(-1)[places]) for image in maps)
        prior = corrected.reshape(-1)
        prior[mixed] = depth_corrected_alpha(
            torch.from_numpy(prior[mixed]), live, mean, std
        ).numpy()
        side = 2 * _REACH + 1, 2 * _REACH + 1
        cv2.GaussianBlur(corrected, side, BLUR_SIGMA, blurred, BLUR_SIGMA, cv2.BORDER_REPLICATE)
        unknown, foreground = blurred >= LOWER_THRESHOLD, blurred > UPPER_THRESHOLD
        return unknown.view(np.uint8) * np.uint8(128) + foreground.view(np.uint8) * np.uint8(127)

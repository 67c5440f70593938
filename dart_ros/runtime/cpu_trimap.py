"""The trimap on a CPU: the same as :class:`dart_ros.runtime.graph.TrimapGraph`, several times
faster, because depth changes nothing where alpha is 0 or 1 (Eq. 12), which is nearly everywhere."""

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

_SIDE = 2 * math.ceil(3 * BLUR_SIGMA) + 1
_UNIT = (np.arange(256) / 255).astype(np.float32)


class CpuTrimap:
    """Eq. 12-13 for the frames of one scene; for one thread at a time.

    Args:
        background: the captured scene, 1×C×H×W.
    """

    def __init__(self, background: Background) -> None:
        self._size = tuple(background.mean.shape[-2:])
        self._mean, self._std = background.mean.flatten(), background.std.flatten()
        # Kept, because new memory of this size takes longer than what is done with it.
        self._corrected, self._blurred = np.empty((2, *self._size), np.float32)

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
        alpha = np.ascontiguousarray(alpha)
        flat = cv2.LUT(alpha, _UNIT, self._corrected).reshape(-1)
        # Wraps around: 0 becomes 255.
        mixed = np.flatnonzero((alpha.reshape(-1) - np.uint8(1)) < 254)
        index = torch.from_numpy(mixed)
        flat[mixed] = depth_corrected_alpha(
            torch.from_numpy(flat[mixed]),
            torch.from_numpy(depth.reshape(-1)[mixed]),
            self._mean[index],
            self._std[index],
        ).numpy()
        blurred = cv2.GaussianBlur(
            self._corrected,
            (_SIDE, _SIDE),
            BLUR_SIGMA,
            self._blurred,
            BLUR_SIGMA,
            cv2.BORDER_REPLICATE,
        )
        unknown, foreground = blurred >= LOWER_THRESHOLD, blurred > UPPER_THRESHOLD
        return unknown.view(np.uint8) * np.uint8(128) + foreground.view(np.uint8) * np.uint8(127)

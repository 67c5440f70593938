"""Depth background model: per-pixel mean and standard deviation of the empty scene (Eq. 4)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PSI = 0.01
"""Relative standard deviation assumed where fewer than two frames know the depth (paper: psi)."""

STD_FLOOR = 0.01
"""Smallest relative standard deviation: quantised sensors repeat a value and would give 0, and
their depth drifts by more than it flickers."""


class DepthBackground(NamedTuple):
    """Statistics of the empty scene's depth, each H×W.

    ``mean`` (float32, metres, ``max_depth`` where depth was never known), ``std`` (float32,
    metres, positive) and ``count`` (int32, number of frames in which the depth was known).
    """

    mean: Tensor
    std: Tensor
    count: Tensor  # type: ignore[assignment]  # stands before tuple's own count()


class DepthBackgroundAccumulator:
    """Accumulates Eq. 4 in one streaming pass (Welford), in memory of three images.

    Args:
        height: rows of the depth images.
        width: columns of the depth images.
        max_depth: the sensor's range in metres (paper: d_max), the mean where nothing is known.
        psi: relative standard deviation where fewer than two frames know the depth.
        std_floor: lower bound of the standard deviation relative to the mean.
    """

    def __init__(
        self,
        height: int,
        width: int,
        max_depth: float,
        psi: float = PSI,
        std_floor: float = STD_FLOOR,
    ) -> None:
        if height < 1 or width < 1:
            raise ValueError(f"the image must have a size, not {width}x{height}")
        if not max_depth > 0:
            raise ValueError(f"max_depth must be positive metres, not {max_depth}")
        self._max_depth = max_depth
        self._psi = psi
        self._std_floor = std_floor
        self._count = torch.zeros(height, width, dtype=torch.int32)
        self._mean = torch.zeros(height, width, dtype=torch.float64)
        self._squares = torch.zeros(height, width, dtype=torch.float64)

    def add(self, depth: Tensor | NDArray[np.float32]) -> None:
        """Adds one empty frame.

        Args:
            depth: H×W metres; what is not a positive finite number is unknown.

        Raises:
            ValueError: if the size differs from that given to the constructor.
        """
        array = depth.numpy() if isinstance(depth, Tensor) else depth
        values = torch.from_numpy(array.astype(np.float64))
        if values.shape != self._mean.shape:
            raise ValueError(
                f"depth has {tuple(values.shape)} rows and columns, expected "
                f"{tuple(self._mean.shape)}"
            )
        known = torch.isfinite(values) & (values > 0)
        self._count += known
        delta = torch.where(known, values - self._mean, 0.0)
        self._mean += delta / self._count.clamp(min=1)
        self._squares += delta * torch.where(known, values - self._mean, 0.0)

    def result(self) -> DepthBackground:
        """The statistics of all frames added so far (Eq. 4)."""
        count = self._count
        mean = torch.where(count > 0, self._mean, self._max_depth)
        sample_std = (self._squares / (count - 1).clamp(min=1)).sqrt()
        std = torch.where(count > 1, sample_std, self._psi * mean)
        std = torch.maximum(std, self._std_floor * mean)
        return DepthBackground(mean.float(), std.float(), count.clone())

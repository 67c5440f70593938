"""How much a depth sensor's values scatter, by distance."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class DepthNoise:
    """A sensor's noise: ``absolute + quadratic · z²`` metres of standard deviation at ``z`` metres.

    Attributes:
        absolute: metres.
        quadratic: per metre.
        relative: share of the distance.

    Raises:
        ValueError: if a part is negative or not finite, or all are 0.
    """

    absolute: float = 0.0
    quadratic: float = 0.0
    relative: float = 0.01

    def __post_init__(self) -> None:
        parts = (self.absolute, self.quadratic, self.relative)
        if not all(0 <= part < 10 for part in parts) or not any(parts):
            raise ValueError(f"depth noise {parts} must be of numbers from 0 to 10, not all 0")

    def at(self, depth: NDArray[np.float32]) -> NDArray[np.float32]:
        """Standard deviation in metres at a depth in metres, of any shape."""
        noise = self.absolute + self.relative * depth + self.quadratic * depth * depth
        return np.asarray(noise, np.float32)

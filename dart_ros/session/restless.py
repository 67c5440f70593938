"""Where a background didn't keep still: screens, windows, leaves, depth that flickers."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

TIMES_NOISE = 4.0
"""What scatters by so many times the sensor's noise is restless."""

_LEVELS = 6.0  # of 255, at least


def varied(deviation: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Where color varied.

    Args:
        deviation: ``H×W`` levels of 255, how much each pixel's color scatters.
    """
    levels = deviation.astype(np.float32)
    return np.asarray(levels > max(_LEVELS, TIMES_NOISE * float(np.median(levels))))


def without_edges(places: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Less edges and single pixels, which always waver; ``H×W``."""
    kernel = np.ones((5, 5), np.uint8)
    return cv2.morphologyEx(places.astype(np.uint8), cv2.MORPH_OPEN, kernel).astype(np.bool_)

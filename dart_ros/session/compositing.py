"""A foreground over a backdrop: a color, a picture, or the room itself out of focus.

All of it at frame rate on one core, with OpenCV on bytes. Images are ``H×W×3`` uint8 RGB, alpha is
``H×W`` uint8 (255 is foreground).
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

BLUR_SHARE = 1 / 20
"""Deviation of the strongest blur of the room, as a share of the shorter side."""

_SURE = 250
"""Alpha from which a color is the foreground's own."""

_FAINT = 8
"""Alpha below which a color is the room's own."""

_REDUCED = 180
"""Pixels of the shorter side at which wide blurs are computed."""

_EMPTY = 1e-3
"""Least weight that is divided by."""

_SPARSE = 0.02
"""Blurred weight at which a pixel's own surroundings count half, wider ones the other half."""

_SQUARE = np.ones((5, 5), np.uint8)


def cover(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale an image and crop its middle so that it fills ``width×height`` without distortion.

    Args:
        image: ``h×w×3`` uint8.
        width: pixels of the result.
        height: pixels of the result.

    Returns:
        ``height×width×3`` uint8.
    """
    scale = max(width / image.shape[1], height / image.shape[0])
    size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, size, interpolation=method)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def blend(
    foreground: NDArray[np.uint8], alpha: NDArray[np.uint8], backdrop: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Lay a foreground over a backdrop: ``alpha·F + (1 - alpha)·B``, within one level of 255.

    Args:
        foreground: ``H×W×3``, not premultiplied.
        alpha: ``H×W``.
        backdrop: ``H×W×3``.
    """
    weight = cv2.merge([alpha, alpha, alpha])
    lit = cv2.multiply(foreground, weight, scale=1 / 255)
    rest = cv2.multiply(backdrop, cv2.bitwise_not(weight), scale=1 / 255)
    return np.asarray(cv2.add(lit, rest), np.uint8)


def blurred_room(
    color: NDArray[np.uint8], alpha: NDArray[np.uint8], strength: float
) -> NDArray[np.uint8]:
    """The frame's own background out of focus, without a halo of the foreground.

    A normalized convolution (Knutsson and Westin 1993): each pixel counts with ``1 - alpha``, so
    the foreground's colors are never smeared into the room. Behind the foreground the room's colors
    are continued from its outline.

    Args:
        color: ``H×W×3``, the frame.
        alpha: ``H×W``.
        strength: above 0 up to 1; 1 leaves shapes of the size of a person alone.

    Returns:
        ``H×W×3``.
    """
    height, width = alpha.shape
    small = _reduced_size(width, height)
    # A pixel that is foreground in part has its color already, and so has a reduced one beside it.
    room = cv2.inRange(cv2.dilate(alpha, _SQUARE), np.array(0), np.array(_FAINT - 1))
    masked = cv2.bitwise_and(color, color, mask=room)
    premultiplied = cv2.resize(masked, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    weight = cv2.resize(room, small, interpolation=cv2.INTER_AREA) / np.float32(255)
    sigma = max(0.8, strength * BLUR_SHARE * min(small))
    blurred = _normalized_blur(premultiplied, weight, sigma)
    large = cv2.resize(
        np.rint(blurred).astype(np.uint8), (width, height), interpolation=cv2.INTER_LINEAR
    )
    return np.asarray(large, np.uint8)


def light_wrap(
    composite: NDArray[np.uint8],
    alpha: NDArray[np.uint8],
    backdrop: NDArray[np.uint8],
    strength: float,
) -> NDArray[np.uint8]:
    """Let the backdrop's light reach around the outline of the foreground, as a real one's does.

    Adds ``strength · alpha · blur(1 - alpha) · blur(B)`` by a screen blend, so that nothing is cut
    off.

    Args:
        composite: ``H×W×3``, the foreground over the backdrop.
        alpha: ``H×W``.
        backdrop: ``H×W×3``.
        strength: above 0 up to 1.
    """
    height, width = alpha.shape
    small = _reduced_size(width, height)
    sigma = min(small) / 60
    reduced = cv2.resize(alpha, small, interpolation=cv2.INTER_AREA)
    around = _wide_blur(cv2.bitwise_not(reduced), sigma)
    light = _wide_blur(cv2.resize(backdrop, small, interpolation=cv2.INTER_AREA), 2 * sigma)
    light = cv2.multiply(light, cv2.merge([around] * 3), scale=strength / 255)
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_LINEAR)
    light = cv2.multiply(light, cv2.merge([alpha] * 3), scale=1 / 255)
    # Screen: 1 - (1 - a)(1 - b).
    dark = cv2.multiply(cv2.bitwise_not(composite), cv2.bitwise_not(light), scale=1 / 255)
    return np.asarray(cv2.bitwise_not(dark), np.uint8)


def decontaminated(foreground: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Take the old background's color out of soft edges.

    Colors of pixels that are foreground in part are replaced by those of the sure foreground around
    them (normalized convolution), the more the less of them is foreground.

    Args:
        foreground: ``H×W×3``, not premultiplied.
        alpha: ``H×W``.
    """
    left, top, width, height = cv2.boundingRect(alpha)
    if not width:
        return foreground
    part = slice(top, top + height), slice(left, left + width)
    inside, colors = alpha[part], foreground[part]
    sure = cv2.inRange(inside, np.array(_SURE), np.array(255))
    if not sure.any():
        return foreground
    small = _reduced_size(width, height)
    own = cv2.resize(
        cv2.bitwise_and(colors, colors, mask=sure), small, interpolation=cv2.INTER_AREA
    )
    weight = cv2.resize(sure, small, interpolation=cv2.INTER_AREA) / np.float32(255)
    blurred = _normalized_blur(own.astype(np.float32), weight, 1.5)
    near = cv2.resize(np.rint(blurred).astype(np.uint8), (width, height))
    keep = cv2.merge([inside] * 3)
    result = foreground.copy()
    result[part] = cv2.add(
        cv2.multiply(colors, keep, scale=1 / 255),
        cv2.multiply(near, cv2.bitwise_not(keep), scale=1 / 255),
    )
    return result


def _reduced_size(width: int, height: int) -> tuple[int, int]:
    """Columns and rows at which wide blurs are computed."""
    scale = min(1.0, _REDUCED / min(width, height))
    return max(1, math.ceil(width * scale)), max(1, math.ceil(height * scale))


def _normalized_blur(
    premultiplied: NDArray[np.float32], weight: NDArray[np.float32], sigma: float
) -> NDArray[np.float32]:
    """Weighted Gaussian mean; where no weight is near, that of a wider one, at last of all.

    Args:
        premultiplied: ``h×w×3``, values times their weight.
        weight: ``h×w``, 0 to 1.
        sigma: deviation in pixels.
    """
    total = float(weight.sum())
    if total < _EMPTY:
        return np.zeros_like(premultiplied)
    filled = np.empty_like(premultiplied)
    filled[:] = premultiplied.sum(axis=(0, 1)) / total
    both = cv2.merge([*cv2.split(premultiplied), weight])
    for width in (4 * sigma, sigma):
        sums = _wide_blur(both, width)
        near = sums[..., 3:]
        share = near / (near + _SPARSE)  # no visible step where the sources end
        filled += share * (sums[..., :3] / np.maximum(near, _EMPTY) - filled)
    return filled


def _wide_blur(image: Any, sigma: float) -> Any:
    """About a Gaussian, by two box filters, whose cost doesn't grow with the width."""
    side = 2 * round((math.sqrt(6 * sigma**2 + 1) - 1) / 2) + 1
    for _ in range(2):
        image = cv2.blur(image, (side, side), borderType=cv2.BORDER_REFLECT_101)
    return image

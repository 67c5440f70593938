"""What of a scene stays in the engine: made once a scene and set of weights, read every frame."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime.folding import COLORS, fixed_weights
from dart_ros.runtime.layout import BORDER, HALF_RUN, STAGE1_RUN, Layout, fill_bordered
from dart_ros.runtime.weights import NetworkWeights

Image = NDArray[np.float32]

_PRODUCT = 400
"""Rows of a product of matrices: of larger ones OpenBLAS gives parts to threads that wait for each
other for longer than the product takes."""


@dataclass(frozen=True, eq=False)
class CapturedBackground:
    """The captured scene.

    Attributes:
        plate: H×W×3 uint8 RGB.
        mean: H×W float32 metres.
        std: H×W float32 metres.
        known: H×W bool, where the background's depth is known.
        restless: H×W bool, where its color varied while it was captured; None for nowhere.
    """

    plate: NDArray[np.uint8]
    mean: Image
    std: Image
    known: NDArray[np.bool_]
    restless: NDArray[np.bool_] | None = None

    @property
    def layout(self) -> Layout:
        """Of the scene's frames."""
        return Layout(*self.mean.shape)

    def check_layout(self, layout: Layout) -> None:
        """Raise EngineError unless an engine of this layout can take the background."""
        if layout != self.layout:
            height, width = self.mean.shape
            raise EngineError(
                f"the background is {width}x{height}, the engine is made for "
                f"{layout.width}x{layout.height}"
            )

    @staticmethod
    def blank(height: int, width: int) -> CapturedBackground:
        """A black wall one metre away, for what is made for every scene of a size."""
        wall = np.ones((height, width), np.float32)
        return CapturedBackground(np.zeros((height, width, 3), np.uint8), wall, wall, wall > 0)


def scene_buffers(
    weights: NetworkWeights, background: CapturedBackground, half: bool = False
) -> dict[str, NDArray[Any]]:
    """The inputs of the graphs that stay the same from frame to frame.

    ``plate``, ``mean``, ``std``, ``known``, ``behind``, ``restless``: the background as the base
    network sees it, 1×C×h×w; ``behind`` by :func:`guessed_background`. ``refiner_plate``: the plate
    with a border as the refiner reads it, the 2×2 of each half-size pixel together, in rows of 4
    half-size pixels, 0 to 255. ``refiner_behind``: the same as ``behind`` at half size with a
    border, in rows of 4 pixels. ``refiner_stage1``: what the plate adds to the refiner's first
    convolution, in rows of 2 half-size pixels of 16 channels.

    Args:
        weights: the network's that is in use.
        background: the captured scene.
        half: whether the network runs in float16; depth stays in float32.
    """
    layout = background.layout
    reduction = layout.reduction
    restless = background.restless
    if restless is None:
        restless = np.zeros_like(background.known)
    plate, mean, std, known, restless = (
        _bordered(layout, np.asarray(x))
        for x in (background.plate, background.mean, background.std, background.known, restless)
    )
    inner = slice(BORDER, -BORDER), slice(BORDER, -BORDER)
    behind = np.empty_like(mean)
    fill_bordered(behind, guessed_background(mean[inner], known[inner]))
    squares = _squares(plate)
    rows, columns = layout.reduced
    core = plate[inner].reshape(rows, reduction, columns, reduction, 3)[:, 1:-1, :, 1:-1]
    reduced = core.mean(axis=(1, 3), dtype=np.float32) * np.float32(1 / 255)

    def sampled(image: NDArray[Any]) -> Image:
        start = reduction // 2
        small = image[inner][start::reduction, start::reduction]
        return np.ascontiguousarray(small, np.float32)[None, None]

    dtype = np.float16 if half else np.float32
    return {
        "plate": np.ascontiguousarray(reduced.transpose(2, 0, 1)[None], dtype),
        "mean": sampled(mean),
        "std": sampled(std),
        "known": sampled(known),
        "behind": sampled(behind),
        "restless": sampled(restless),
        "refiner_plate": squares.reshape(-1, COLORS * HALF_RUN).astype(dtype if half else np.uint8),
        "refiner_behind": np.ascontiguousarray(behind[1::2, 1::2]).reshape(-1, HALF_RUN),
        "refiner_stage1": _stage1(weights, squares, known).astype(dtype),
    }


def guessed_background(mean: Image, known: NDArray[np.bool_]) -> Image:
    """The background's depth, with a guess where it is unknown; the numpy form of
    :func:`dart_ros.method.posterior.guessed_background`.

    Args:
        mean: H×W metres.
        known: H×W.

    Returns:
        H×W metres, -1 where nothing at all is known.
    """
    if known.all():
        return mean
    if not known.any():
        return np.full_like(mean, -1)
    return np.where(known, mean, _push_pull(mean, known.astype(np.float32)))


def _push_pull(image: Image, known: Image) -> Image:
    """:func:`dart_ros.method.filters.push_pull` of one image."""
    if image.shape == (1, 1):
        return image * known
    height, width = image.shape
    edges = (0, height % 2), (0, width % 2)
    padded: list[Image] = [np.pad(x, edges) for x in (image * known, known)]
    sums, weights = (x[::2, ::2] + x[1::2, ::2] + x[::2, 1::2] + x[1::2, 1::2] for x in padded)
    coarse = _push_pull(sums / np.maximum(weights, np.float32(1e-6)), np.minimum(weights, 1))
    fine = cv2.resize(coarse, padded[0].shape[::-1], interpolation=cv2.INTER_LINEAR)
    filled: Image = (padded[0] + (1 - padded[1]) * fine)[:height, :width]
    return filled


def _bordered(layout: Layout, image: NDArray[Any]) -> NDArray[Any]:
    target = np.empty((*layout.bordered, *image.shape[2:]), image.dtype)
    fill_bordered(target, image)
    return target


def _squares(plate: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """H×W×3 to H/2×W/2×12: the 2×2 pixels of each half-size pixel, row by row."""
    height, width, _ = plate.shape
    squares = plate.reshape(height // 2, 2, width // 2, 2, 3).transpose(0, 2, 1, 3, 4)
    return np.ascontiguousarray(squares).reshape(height // 2, width // 2, COLORS)


def _stage1(weights: NetworkWeights, squares: NDArray[np.uint8], known: NDArray[np.bool_]) -> Image:
    """The part of the refiner's first convolution over what the scene alone knows."""
    weight, bias = fixed_weights(weights.state, weights.config)
    picture = squares.astype(np.float32)
    if weight.shape[1] > COLORS:
        seen = known[1::2, 1::2, None].astype(np.float32)
        picture = np.concatenate([picture, seen], axis=2)
    height, width, channels = picture.shape
    # Taps are shifts of the flat picture, three of which lie side by side in it: products of
    # matrices. What runs over the ends of rows is cut off.
    flat = picture.reshape(-1, channels)
    runs = np.lib.stride_tricks.as_strided(flat, (len(flat) - 2, 3 * channels), flat.strides)
    taps = weight.transpose(2, 3, 1, 0).reshape(3, 3 * channels, -1)
    count = (height - 3) * width + width - 2
    total = np.zeros((count + 2, len(bias)), np.float32)
    for start in range(0, count, _PRODUCT):
        end = min(start + _PRODUCT, count)
        part = total[start:end]
        part += bias
        for y in range(3):
            part += runs[start + y * width : end + y * width] @ taps[y]
    rows = total.reshape(height - 2, width, -1)[:, :-2]
    return np.ascontiguousarray(rows).reshape(-1, STAGE1_RUN * rows.shape[2])

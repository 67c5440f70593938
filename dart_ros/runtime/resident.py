"""What of a scene stays in the engine: made once a scene and set of weights, read every frame."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dart_ros.method.geometry import PICTURE_MARGIN, base_reduction, padded_sides
from dart_ros.method.network import Background, MattingNetwork, padded, reduced_color, reduced_depth
from dart_ros.method.posterior import guessed_background
from dart_ros.method.refiner import half_size, half_size_channels
from dart_ros.runtime.folding import fold_norm

BORDER = PICTURE_MARGIN
"""Pixels around the padded picture: what the refinement of a tile sees is never cut."""

RUN = 8
"""Pixels of a run in color: windows of tiles are whole runs."""

HALF_RUN = RUN // 2
"""Half-size pixels of a run in the plate and in depth."""

STAGE1_RUN = 2

LIVE = (*range(12), *range(24, 36), 36, 37, 38)
"""Channels of the refiner's picture that come with a frame: color, its difference from the plate,
both differences of depth, known."""

FIXED = (*range(12, 24), 39)
"""Channels of the refiner's picture that the scene knows: the plate, and where depth is known."""

COLORS = 12
"""Channels of color of the 2×2 pixels."""


class Resident(NamedTuple):
    """The scene as the graph reads it, float32 but for bytes.

    ``plate``, ``mean``, ``std``, ``known``, ``behind``: the background as the base network sees it,
    1×C×h×w; the last one by :func:`dart_ros.method.posterior.guessed_background`.
    ``near_plate``: the plate with a border as the refiner reads it, the 2×2 of each half-size pixel
    together, in rows of 4 half-size pixels, uint8.
    ``near_behind``: the same as ``behind`` at half size with a border, in rows of 4 pixels.
    ``stage1``: what the plate adds to the refiner's first convolution, in rows of
    2 half-size pixels of 16 channels.
    """

    plate: Tensor
    mean: Tensor
    std: Tensor
    known: Tensor
    behind: Tensor
    near_plate: Tensor
    near_behind: Tensor
    stage1: Tensor

    @property
    def far(self) -> tuple[Tensor, ...]:
        """What the base network reads."""
        return self[: self._fields.index("near_plate")]


@torch.no_grad()
def prepare(network: MattingNetwork, background: Background) -> Resident:
    """The resident tensors of a scene.

    Args:
        network: the network whose weights are in use.
        background: the captured scene, 1×C×H×W.
    """
    reduction = base_reduction(*background.plate.shape[-2:])
    plate, mean, std, known = (padded(x, reduction) for x in background)
    depth = network.config.depth_in_refiner
    # The frame's own channels are left empty; what is picked of the others is the scene's.
    picture = torch.cat([torch.zeros_like(plate), plate], dim=1)
    if depth:
        picture = torch.cat([picture, known.expand(-1, 4, -1, -1)], dim=1)
    channels = list(FIXED if depth else FIXED[:COLORS])
    weight, bias = fold_norm(network.refiner.stage1)
    weight = weight[:, weight.shape[1] - half_size_channels(network.config) :]
    half = half_size(_replicate(picture, PICTURE_MARGIN))
    stage1 = F.conv2d(half[:, channels], weight[:, channels], bias)
    behind = guessed_background(mean, known)
    return Resident(
        plate=reduced_color(plate, reduction),
        mean=reduced_depth(mean, reduction),
        std=reduced_depth(std, reduction),
        known=reduced_depth(known, reduction),
        behind=reduced_depth(behind, reduction),
        near_plate=_squares(_replicate(plate, BORDER)),
        near_behind=_replicate(behind, BORDER)[..., 1::2, 1::2].reshape(-1, HALF_RUN),
        stage1=_runs(stage1, STAGE1_RUN),
    )


def padded_shape(height: int, width: int) -> tuple[int, int]:
    """Rows and columns of a frame as the graph reads it, with the border."""
    rows, columns = padded_sides(height, width, base_reduction(height, width))
    return rows + 2 * BORDER, columns + 2 * BORDER


class FrameBuffer:
    """Frames with the border that the graph wants, copied into memory that stays the same.

    Args:
        height: rows of a frame.
        width: columns of a frame.
        color: memory to use for color, (H+border)×(W+border)×3 uint8, or None for new memory.
        depth: the same for depth, float32.

    Attributes:
        color: the frame's color with its border.
        depth: the frame's depth with its border.
    """

    def __init__(
        self,
        height: int,
        width: int,
        color: NDArray[np.uint8] | None = None,
        depth: NDArray[np.float32] | None = None,
    ) -> None:
        shape = padded_shape(height, width)
        self.color = np.zeros((*shape, 3), np.uint8) if color is None else color
        self.depth = np.zeros(shape, np.float32) if depth is None else depth
        self._size = height, width

    def fill(self, color: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
        """Copies a frame in.

        Raises:
            ValueError: if the frame is of another size.
        """
        if color.shape != (*self._size, 3) or depth.shape != self._size:
            raise ValueError(
                f"color is {color.shape} and depth {depth.shape}, the engine is made for "
                f"{self._size}"
            )
        _fill(self.color, color)
        _fill(self.depth, depth)


def _fill(target: NDArray[np.generic], image: NDArray[np.generic]) -> None:
    """Copies an image behind the border and repeats its edge all around."""
    bottom, right = BORDER + image.shape[0], BORDER + image.shape[1]
    target[BORDER:bottom, BORDER:right] = image
    target[BORDER:bottom, :BORDER] = image[:, :1]
    target[BORDER:bottom, right:] = image[:, -1:]
    target[:BORDER] = target[BORDER]
    target[bottom:] = target[bottom - 1]


def _squares(image: Tensor) -> Tensor:
    """1×3×H×W in [0, 1] to rows of 4 squares of 2×2 pixels, row by row, 0 to 255."""
    squares = image[0].unflatten(1, (-1, 2)).unflatten(3, (-1, 2)).permute(1, 3, 2, 4, 0)
    return (squares * 255).round().to(torch.uint8).reshape(-1, COLORS * HALF_RUN)


def _replicate(image: Tensor, margin: int) -> Tensor:
    return F.pad(image, (margin, margin, margin, margin), mode="replicate")


def _runs(image: Tensor, run: int) -> Tensor:
    """1×C×H×W to rows of ``run`` pixels, channels last."""
    return image[0].permute(1, 2, 0).reshape(-1, run * image.shape[1]).contiguous()

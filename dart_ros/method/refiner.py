"""RGB-D refinement of the coarse matte (Eq. 11): the two-stage refiner of Background Matting V2
with depth added to what it sees, all of it at half size.

The refiner works on tiles. A tile covers ``4·tile`` pixels of the image and is computed from its
own surroundings alone, so refining some tiles gives exactly what refining the whole image gives
there; ``count=None`` refines everything.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dart_ros.method.base_network import BaseOutput, ConvNorm, start_undecided
from dart_ros.method.config import COLOR_CHANNELS, HIDDEN_CHANNELS, NetworkConfig
from dart_ros.method.geometry import PICTURE_MARGIN, QUARTER_MARGIN, TILE

COARSE_CHANNELS = 4
WIDTH = 16
DEEP_WIDTH = 32
"""Channels of stage one and two; the first convolution sees so much that it must be narrow."""

DIFFERENCE_GAIN = 4.0
"""A sixteen-channel layer has no room to tell for each pixel how far its color is off."""


class Refiner(nn.Module):
    """Alpha and foreground residual of the chosen tiles at full size.

    It works at half size. Stage one sees the hidden channels, coarse alpha and coarse residual
    beside the colors of the 2×2 pixels and one sample of the depth channels; the head behind stage
    two gives alpha and residual of the 2×2 pixels (sub-pixel convolution, Shi et al. 2016).

    Args:
        config: whether depth enters here.
    """

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        picture = half_size_channels(config)
        self.stage1 = _valid(ConvNorm(HIDDEN_CHANNELS + COARSE_CHANNELS + picture, WIDTH))
        self.stage2 = _valid(ConvNorm(WIDTH, DEEP_WIDTH))
        self.head = nn.Conv2d(DEEP_WIDTH, 4 * COARSE_CHANNELS, 1)
        start_undecided(self.head, channels=4)

    def forward(self, base: BaseOutput, picture: Tensor, tiles: Tensor | None) -> Tensor:
        """Refines the chosen tiles and upsamples the rest.

        Args:
            base: the base network's output, B×C×h×w.
            picture: B×C×4h×4w: frame and plate colors in [0, 1] and, unless the network was
                configured without them, the depth channels.
            tiles: int64 B×K tile indices counted row by row, or None for every tile.

        Returns:
            B×4×4h×4w: alpha (not clamped) and foreground residual.
        """
        coarse = torch.cat([base.alpha, base.residual], dim=1)
        quarter = torch.cat([base.hidden, coarse], dim=1)
        if tiles is None:
            return self._refine(
                _replicate(quarter, QUARTER_MARGIN), _replicate(picture, PICTURE_MARGIN)
            )
        refined = self._refine(
            gather_tiles(quarter, tiles, TILE, QUARTER_MARGIN),
            gather_tiles(picture, tiles, 4 * TILE, PICTURE_MARGIN),
        )
        upsampled = F.interpolate(coarse, scale_factor=4.0, mode="bilinear", align_corners=False)
        return scatter_tiles(upsampled, tiles, refined)

    def _refine(self, quarter: Tensor, picture: Tensor) -> Tensor:
        """Surroundings of each tile, with their margins, to the tile itself."""
        doubled = F.interpolate(quarter, scale_factor=2.0, mode="nearest")
        x = torch.cat([doubled, half_size(picture)], dim=1)
        return F.pixel_shuffle(self.head(self.stage2(self.stage1(x))), 2)


def half_size(picture: Tensor) -> Tensor:
    """The picture as the refiner reads it, at half size.

    Args:
        picture: B×C×H×W, H and W even: 3 channels of the frame's color, 3 of the plate's, and what
            there is of depth channels.

    Returns:
        B×(30+C)×H/2×W/2: frame, plate and the size of their difference, over 1/4 and cut to
        [0, 1], for each of the 2×2 pixels, channel by channel and row by row; then one sample of
        each depth channel, since a mean would invent depths at edges.
    """
    frame, plate, depth = picture[:, :3], picture[:, 3:6], picture[:, COLOR_CHANNELS:]
    difference = (DIFFERENCE_GAIN * (frame - plate).abs()).clamp(max=1)
    colors = F.pixel_unshuffle(torch.cat([frame, plate, difference], dim=1), 2)
    return torch.cat([colors, depth[..., 1::2, 1::2]], dim=1)


def half_size_channels(config: NetworkConfig) -> int:
    """Channels of :func:`half_size`."""
    return 30 + config.refiner_channels


def gather_tiles(image: Tensor, tiles: Tensor, size: int, margin: int) -> Tensor:
    """Cuts tiles with a margin out of a batch; beyond the border the edge is repeated.

    Args:
        image: B×C×H×W; ``size`` divides H and W.
        tiles: int64 B×K tile indices counted row by row.
        size: side of a tile in pixels of ``image``.
        margin: pixels added on each side.

    Returns:
        (B·K)×C×(size+2·margin)×(size+2·margin).
    """
    batch, channels, height, width = image.shape
    columns = width // size
    side, stride = size + 2 * margin, width + 2 * margin
    rows = _replicate(image, margin).permute(0, 2, 3, 1).reshape(-1, channels)
    row = torch.div(tiles, columns, rounding_mode="floor")
    corner = row * (size * stride) + (tiles - row * columns) * size
    corner = corner + (height + 2 * margin) * stride * _batch_index(batch, tiles)
    span = torch.arange(side, device=image.device)
    window = (span[:, None] * stride + span[None, :]).reshape(1, -1)
    pixels = rows[corner.reshape(-1, 1) + window]
    return pixels.view(-1, side, side, channels).permute(0, 3, 1, 2)


def scatter_tiles(image: Tensor, tiles: Tensor, values: Tensor) -> Tensor:
    """Replaces tiles of a batch.

    Args:
        image: B×C×H×W.
        tiles: int64 B×K tile indices counted row by row.
        values: (B·K)×C×size×size.
    """
    batch, channels, height, width = image.shape
    size = values.shape[-1]
    rows, columns = height // size, width // size
    blocks = image.view(batch, channels, rows, size, columns, size).permute(0, 2, 4, 1, 3, 5)
    blocks = blocks.reshape(batch * rows * columns, -1).clone()
    index = (tiles + rows * columns * _batch_index(batch, tiles)).reshape(-1)
    # In place, because not every exporter knows the functional form.
    # In mixed precision the tiles come in half of it.
    blocks[index] = values.reshape(index.shape[0], -1).to(blocks.dtype)
    blocks = blocks.view(batch, rows, columns, channels, size, size).permute(0, 3, 1, 4, 2, 5)
    return blocks.reshape(batch, channels, height, width)


def _batch_index(batch: int, like: Tensor) -> Tensor:
    """B×1 indices of the images of a batch."""
    return torch.arange(batch, device=like.device, dtype=like.dtype)[:, None]


def _replicate(image: Tensor, margin: int) -> Tensor:
    return F.pad(image, (margin, margin, margin, margin), mode="replicate")


def _valid(block: ConvNorm) -> ConvNorm:
    """The same block without padding: a tile brings its own margin."""
    convolution = block[0]
    assert isinstance(convolution, nn.Conv2d)
    convolution.padding = (0, 0)
    return block

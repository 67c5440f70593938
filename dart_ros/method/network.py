"""The learned part of the method in one module: base network, error map, refiner."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dart_ros.method.base_network import BaseNetwork, BaseOutput, NetworkConfig
from dart_ros.method.error_map import choose_tiles, combine_errors, depth_error
from dart_ros.method.light import in_plate_light, light_gain
from dart_ros.method.posterior import depth_channels, guessed_background, posterior_map
from dart_ros.method.refiner import TILE, Refiner
from dart_ros.method.shadow import unshadowed

STRIDE = 4 * TILE
"""Pixels of a tile's side."""

REFINED_SHARE = 0.25
"""Share of a 640×480 image that is refined, in training as in use; see :func:`tile_count`."""

MOST_TILES = 1024
"""TopK over more than this doesn't build everywhere."""

_REFERENCE_PIXELS = 640 * 480

_LARGE = 2.0
"""Images of so many times 640×480 go through the base network at a sixth of their sides."""


class Background(NamedTuple):
    """The captured scene as tensors, each B×C×H×W.

    ``plate`` (3 channels in [0, 1]), ``mean`` and ``std`` (metres) and ``known`` (1 where the
    background's depth is known, else 0).
    """

    plate: Tensor
    mean: Tensor
    std: Tensor
    known: Tensor

    @staticmethod
    def blank(height: int, width: int) -> Background:
        """A black wall one metre away, for what is made for every scene of a size."""
        wall = torch.ones(3, 1, 1, height, width).unbind()
        return Background(torch.zeros(1, 3, height, width), *wall)


class MattingOutput(NamedTuple):
    """A batch of mattes.

    Full size: ``alpha`` in [0, 1] and ``foreground`` in [0, 1] (3 channels), in the light of the
    frame. The (padded) size over :func:`base_reduction`: ``coarse_alpha``, ``coarse_residual``,
    ``color_error`` (E_RGB), ``error`` (E, or E_RGB where depth is kept out of it; 0 in shadows) and
    ``posterior`` (A_D). Shadows are taken out of ``alpha`` alone.
    """

    alpha: Tensor
    foreground: Tensor
    coarse_alpha: Tensor
    coarse_residual: Tensor
    color_error: Tensor
    error: Tensor
    posterior: Tensor


class MattingNetwork(nn.Module):
    """From an RGB-D frame and the captured background to alpha and foreground.

    Args:
        config: the encoder and where depth enters.
    """

    def __init__(self, config: NetworkConfig | None = None) -> None:
        super().__init__()
        self.config = config or NetworkConfig()
        self.base = BaseNetwork(self.config)
        self.refiner = Refiner(self.config)

    def forward(
        self,
        color: Tensor,
        depth: Tensor,
        background: Background,
        tiles: int | None = None,
        reduction: int | None = None,
    ) -> MattingOutput:
        """Mattes a batch of any size.

        Args:
            color: B×3×H×W frame in [0, 1].
            depth: B×1×H×W metres, -1 where unknown, or with the guesses of
                :func:`dart_ros.method.blind_sides.continued`.
            background: the captured scene, the same size.
            tiles: how many 16×16 tiles of each image are refined, None for all.
            reduction: 4 or 6, None for :func:`base_reduction` of the size; crops of larger images
                need that of the whole.
        """
        height, width = color.shape[-2:]
        reduction = reduction or base_reduction(height, width)
        color_p, depth_p, plate, mean, std, known = (
            padded(x, reduction) for x in (color, depth, *background)
        )
        behind = guessed_background(mean, known)
        depth_s, mean_s, std_s, known_s, behind_s = (
            reduced_depth(x, reduction) for x in (depth_p, mean, std, known, behind)
        )
        color_s, plate_s = (reduced_color(x, reduction) for x in (color_p, plate))
        gain = torch.ones_like(color[..., :1, :1])
        if self.config.depth_in_light:
            gain = light_gain(color_s, plate_s, depth_s, mean_s, std_s, known_s)
            color_p = in_plate_light(color_p, plate, gain)
            color_s = in_plate_light(color_s, plate_s, gain)
        inputs = [color_s, plate_s]
        posterior = posterior_map(depth_s, mean_s, std_s)
        if self.config.depth_in_base:
            inputs += [posterior, depth_channels(depth_s, behind_s, known_s)]
        base = self.base(torch.cat(inputs, dim=1))

        error = base.error
        if self.config.depth_in_error:
            error = combine_errors(depth_error(posterior, base.alpha), base.error)
        lit = torch.ones_like(posterior)
        if self.config.depth_in_shadow:
            lit = unshadowed(color_s, plate_s, posterior, depth_s, mean_s, std_s)
            error = error * lit
        quarter = BaseOutput(*(to_quarter(x, reduction) for x in base))
        total = (color_p.shape[-2] // STRIDE) * (color_p.shape[-1] // STRIDE)
        chosen = None
        if tiles is not None and tiles < total:
            chosen = choose_tiles(to_quarter(error.detach(), reduction), tiles, TILE)
        picture = torch.cat([color_p, plate], dim=1)
        if self.config.depth_in_refiner:
            picture = torch.cat([picture, depth_channels(depth_p, behind, known)], dim=1)
        fine = self.refiner(quarter, picture, chosen)[..., :height, :width]
        lit = F.interpolate(lit_at_quarter(lit, reduction), scale_factor=4, mode="nearest")
        return MattingOutput(
            alpha=fine[:, :1].clamp(0, 1) * lit[..., :height, :width],
            foreground=(color + gain * fine[:, 1:]).clamp(0, 1),
            coarse_alpha=base.alpha,
            coarse_residual=gain * base.residual,
            color_error=base.error,
            error=error,
            posterior=posterior,
        )


def tile_count(height: int, width: int, share: float = REFINED_SHARE) -> int | None:
    """How many 16×16 tiles of an image are refined; None for all of them.

    Outlines grow with the side of an image, not with its area: so does the number of tiles, and
    the share is that of a 640×480 image. The default gives 300 tiles there, 520 at 1280×720 and
    785 at 1920×1080. Smaller images are refined in the same share as a 640×480 one.

    Args:
        height: rows of the image.
        width: columns of the image.
        share: share of a 640×480 image to refine, above 0 and up to 1; 1 refines everything at
            any size.

    Raises:
        ValueError: if the share is out of range.
    """
    if not 0 < share <= 1:
        raise ValueError(f"the share of refined tiles must be in (0, 1], not {share}")
    if share == 1:
        return None
    total = math.ceil(height / STRIDE) * math.ceil(width / STRIDE)
    larger = max(1.0, height * width / _REFERENCE_PIXELS)
    return min(MOST_TILES, max(1, round(share * total / math.sqrt(larger))))


def base_reduction(height: int, width: int) -> int:
    """4 or 6: the base network sees an image at a quarter or at a sixth of its sides.

    It has to see people whole, and as large as those that it learned from: at a sixth from twice
    the area of 640×480 on. 1280×720 becomes 120 rows, as 640×480 does at a quarter.

    Args:
        height: rows of the image.
        width: columns of the image.
    """
    return 6 if height * width >= _LARGE * _REFERENCE_PIXELS else 4


def reduced_color(image: Tensor, reduction: int) -> Tensor:
    """Small image: the mean of each square without its rim, so of the centre 2×2 of each 4×4
    (bilinear, half-pixel centres) or of the centre 4×4 of each 6×6.

    Args:
        image: B×C×H×W, sides divisible by the reduction.
        reduction: 4 or 6, see :func:`base_reduction`.
    """
    return F.avg_pool2d(image[:, :, 1:-1, 1:-1], reduction - 2, stride=reduction)


def reduced_depth(image: Tensor, reduction: int) -> Tensor:
    """Small depth: one sample of each square, since a mean would invent depths at edges.

    Args:
        image: B×C×H×W, sides divisible by the reduction.
        reduction: 4 or 6, see :func:`base_reduction`.
    """
    return image[:, :, reduction // 2 :: reduction, reduction // 2 :: reduction]


def to_quarter(maps: Tensor, reduction: int) -> Tensor:
    """Maps of the base network at a quarter of the image, where tiles and refiner read them.

    Args:
        maps: B×C×h×w.
        reduction: 4 or 6, see :func:`base_reduction`; at a sixth they are upsampled, bilinear.
    """
    if reduction == 4:
        return maps
    scale = reduction / 4
    return F.interpolate(maps, scale_factor=scale, mode="bilinear", align_corners=False)


def lit_at_quarter(lit: Tensor, reduction: int) -> Tensor:
    """What is in no shadow, 0 or 1 as ``lit``, by :func:`to_quarter`; nothing is half in shadow."""
    return (to_quarter(lit, reduction) > 0.45).to(lit.dtype)


def padded_sides(height: int, width: int, reduction: int) -> tuple[int, int]:
    """Rows and columns of an image as the network reads it: whole tiles, and whole fours of the
    base network's pixels, whose decoder doubles twice.

    Args:
        height: rows of the image.
        width: columns of the image.
        reduction: 4 or 6, see :func:`base_reduction`.
    """
    stride = padding_stride(reduction)
    return height + -height % stride, width + -width % stride


def padding_stride(reduction: int) -> int:
    """What padded sides are multiples of."""
    return math.lcm(STRIDE, 4 * reduction)


def padded(image: Tensor, reduction: int) -> Tensor:
    """Repeats the right and bottom edge up to :func:`padded_sides`."""
    height, width = image.shape[-2:]
    rows, columns = padded_sides(height, width, reduction)
    if (rows, columns) == (height, width):
        return image
    return F.pad(image, (0, columns - width, 0, rows - height), mode="replicate")

"""The learned part of the method in one module: base network, error map, refiner."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dart_ros.method.base_network import BaseNetwork, BaseOutput
from dart_ros.method.config import NetworkConfig
from dart_ros.method.error_map import choose_tiles
from dart_ros.method.geometry import STRIDE, TILE, base_reduction, padded_sides
from dart_ros.method.light import in_plate_light
from dart_ros.method.posterior import depth_channels, guessed_background
from dart_ros.method.refiner import Refiner
from dart_ros.method.stages import Reduced, base_input, tile_error


class Background(NamedTuple):
    """The captured scene as tensors, each B×C×H×W.

    ``plate`` (3 channels in [0, 1]), ``mean`` and ``std`` (metres), ``known`` (1 where the
    background's depth is known, else 0) and ``restless`` (1 where its color varied while it was
    captured, else 0).
    """

    plate: Tensor
    mean: Tensor
    std: Tensor
    known: Tensor
    restless: Tensor

    @staticmethod
    def of_images(
        plate: NDArray[np.uint8],
        mean: NDArray[np.float32],
        std: NDArray[np.float32],
        known: NDArray[np.bool_],
        restless: NDArray[np.bool_] | None = None,
    ) -> Background:
        """A scene as it was captured: plate H×W×3 RGB, the others H×W; mean and std in metres.
        ``restless``: None for nowhere."""
        restless = np.zeros_like(known) if restless is None else restless
        color = torch.from_numpy(plate.copy()).permute(2, 0, 1)[None].float() / 255
        maps = (
            torch.from_numpy(image.copy())[None, None].float()
            for image in (mean, std, known, restless)
        )
        return Background(color.contiguous(), *maps)


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
                :func:`dart_ros.method.blind_sides.extrapolate_depth`.
            background: the captured scene, the same size.
            tiles: how many 16×16 tiles of each image are refined, None for all.
            reduction: 4 or 6, None for :func:`base_reduction` of the size; crops of larger images
                need that of the whole.
        """
        height, width = color.shape[-2:]
        reduction = reduction or base_reduction(height, width)
        color_p, depth_p, plate, mean, std, known, restless = (
            padded(x, reduction) for x in (color, depth, *background)
        )
        behind = guessed_background(mean, known)
        depth_s, mean_s, std_s, known_s, behind_s, restless_s = (
            reduced_depth(x, reduction) for x in (depth_p, mean, std, known, behind, restless)
        )
        color_s, plate_s = (reduced_color(x, reduction) for x in (color_p, plate))
        given = base_input(
            self.config,
            Reduced(color_s, depth_s, plate_s, mean_s, std_s, known_s, behind_s, restless_s),
        )
        _, posterior, gain, lit = given
        if self.config.depth_in_light:
            color_p = in_plate_light(color_p, plate, gain)
        base = self.base(given.maps)
        error = tile_error(self.config, base.error, base.alpha, given)
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


def padded(image: Tensor, reduction: int) -> Tensor:
    """Repeats the right and bottom edge up to :func:`padded_sides`."""
    height, width = image.shape[-2:]
    rows, columns = padded_sides(height, width, reduction)
    if (rows, columns) == (height, width):
        return image
    return F.pad(image, (0, columns - width, 0, rows - height), mode="replicate")

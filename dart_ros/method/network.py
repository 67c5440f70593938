"""The learned part of the method in one module: base network, error map, refiner."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dart_ros.method.base_network import BaseNetwork, NetworkConfig
from dart_ros.method.error_map import choose_tiles, combine_errors, depth_error
from dart_ros.method.light import in_plate_light, light_gain
from dart_ros.method.posterior import depth_channels, posterior_map
from dart_ros.method.refiner import TILE, Refiner

STRIDE = 4 * TILE
"""Image sides are padded to a multiple of this."""

REFINED_SHARE = 0.25
"""Share of a 640×480 image that is refined, in training as in use; see :func:`tile_count`."""

MOST_TILES = 1024
"""TopK over more than this doesn't build everywhere."""

_REFERENCE_PIXELS = 640 * 480


class Background(NamedTuple):
    """The captured scene as tensors, each B×C×H×W.

    ``plate`` (3 channels in [0, 1]), ``mean`` and ``std`` (metres) and ``known`` (1 where the
    background's depth is known, else 0).
    """

    plate: Tensor
    mean: Tensor
    std: Tensor
    known: Tensor


class MattingOutput(NamedTuple):
    """A batch of mattes.

    Full size: ``alpha`` in [0, 1] and ``foreground`` in [0, 1] (3 channels), in the light of the
    frame. A quarter of the (padded) size: ``coarse_alpha``, ``coarse_residual``, ``color_error``
    (E_RGB), ``error`` (E, or E_RGB where depth is kept out of it) and ``posterior`` (A_D).
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
        self, color: Tensor, depth: Tensor, background: Background, tiles: int | None = None
    ) -> MattingOutput:
        """Mattes a batch of any size.

        Args:
            color: B×3×H×W frame in [0, 1].
            depth: B×1×H×W metres, -1 where unknown.
            background: the captured scene, the same size.
            tiles: how many 16×16 tiles of each image are refined, None for all.
        """
        height, width = color.shape[-2:]
        color_p, depth_p, plate, mean, std, known = (
            pad_to_stride(x) for x in (color, depth, *background)
        )
        depth_q, mean_q, std_q, known_q = (quarter_depth(x) for x in (depth_p, mean, std, known))
        color_q, plate_q = quarter_color(color_p), quarter_color(plate)
        gain = torch.ones_like(color[..., :1, :1])
        if self.config.depth_in_light:
            gain = light_gain(color_q, plate_q, depth_q, mean_q, std_q, known_q)
            color_p = in_plate_light(color_p, plate, gain)
            color_q = in_plate_light(color_q, plate_q, gain)
        inputs = [color_q, plate_q]
        posterior = posterior_map(depth_q, mean_q, std_q)
        if self.config.depth_in_base:
            inputs += [posterior, depth_channels(depth_q, mean_q, known_q)]
        base = self.base(torch.cat(inputs, dim=1))

        error = base.error
        if self.config.depth_in_error:
            error = combine_errors(depth_error(posterior, base.alpha), base.error)
        total = (color_p.shape[-2] // STRIDE) * (color_p.shape[-1] // STRIDE)
        chosen = None
        if tiles is not None and tiles < total:
            chosen = choose_tiles(error.detach(), tiles, TILE)
        picture = torch.cat([color_p, plate], dim=1)
        if self.config.depth_in_refiner:
            picture = torch.cat([picture, depth_channels(depth_p, mean, known)], dim=1)
        fine = self.refiner(base, picture, chosen)[..., :height, :width]
        return MattingOutput(
            alpha=fine[:, :1].clamp(0, 1),
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


def quarter_color(image: Tensor) -> Tensor:
    """Quarter-size image: the mean of the centre 2×2 of each 4×4 (bilinear, half-pixel centres).

    Args:
        image: B×C×H×W, sides divisible by 4.
    """
    return F.avg_pool2d(image[:, :, 1:-1, 1:-1], 2, stride=4)


def quarter_depth(image: Tensor) -> Tensor:
    """Quarter-size depth: one sample of each 4×4, since a mean would invent depths at edges.

    Args:
        image: B×C×H×W, sides divisible by 4.
    """
    return image[:, :, 2::4, 2::4]


def pad_to_stride(image: Tensor) -> Tensor:
    """Repeats the right and bottom edge until the sides are multiples of the tile."""
    height, width = image.shape[-2:]
    bottom, right = -height % STRIDE, -width % STRIDE
    if bottom == 0 and right == 0:
        return image
    return F.pad(image, (0, right, 0, bottom), mode="replicate")

"""The whole way of a frame as it is deployed, in stages: bytes in, bytes out.

The mathematics is that of :mod:`dart_ros.method`, which stays the reference; this is its form for
engines. Full-size pictures are never made: tiles are copied out of the frame's bytes in runs of
pixels, and only they become floats. What depends on the scene alone is an input that stays
(:mod:`dart_ros.runtime.scene_buffers`). Upsampling before a convolution is folded into it
(:mod:`dart_ros.runtime.folding`). What depends on the size is a table among the inputs
(:meth:`dart_ros.runtime.layout.Layout.tables`) or follows from the shapes of the inputs, so that
one exported graph serves all sizes.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dart_ros.method.base_network import BaseNetwork, ConvNorm, join
from dart_ros.method.error_map import worst_errors
from dart_ros.method.geometry import STRIDE, TILE
from dart_ros.method.light import in_plate_light
from dart_ros.method.network import lit_at_quarter, reduced_depth, to_quarter
from dart_ros.method.posterior import metres_or_guess
from dart_ros.method.refiner import DIFFERENCE_GAIN
from dart_ros.method.stages import Reduced, base_input, tile_error
from dart_ros.runtime.folding import (
    COLORS,
    HEAD,
    bilinear_taps,
    coarse_weights,
    refiner_weights,
)
from dart_ros.runtime.layout import (
    BORDER,
    HALF_RUN,
    HALF_WINDOW,
    QUARTER_WINDOW,
    RUN,
    STAGE1_WINDOW,
)
from dart_ros.runtime.weights import NetworkWeights


class Coarse(NamedTuple):
    """What the base network makes of a frame.

    ``maps``: (h·w)×16 at a quarter of the padded size: alpha, residual, error and hidden channels,
    cut to their ranges. ``picture``: alpha at the padded size, 0 to 255, in rows of 16 pixels.
    ``gain``: 3, of the frame's light over the plate's. ``lit``: of each tile its rows at a quarter
    of the size, 4×16 pixels, 0 in shadows, else 1. ``residual``: coarse, 1×3×h×w at a quarter of
    the padded size. ``worst``: float32, the largest error of each tile.
    """

    maps: Tensor
    picture: Tensor
    gain: Tensor
    lit: Tensor
    residual: Tensor
    worst: Tensor


class Stage(nn.Module):
    """A part of the graph.

    Args:
        half: whether it computes in float16, for a GPU; the posterior stays in float32. Pictures
            that are put together are then float16 too, because TensorRT doesn't move bytes.
    """

    # Buffers; a module's attributes have no types of their own.
    _vertical: Tensor
    _horizontal: Tensor

    def __init__(self, half: bool) -> None:
        super().__init__()
        self.dtype = torch.float16 if half else torch.float32
        self.wire = torch.float16 if half else torch.uint8

    def _constant(self, name: str, value: Tensor) -> None:
        self.register_buffer(name, value.to(self.dtype))

    def _load(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Takes up folded weights, and drops names that are none of them."""
        self.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()}, strict=False)
        missing = set(dict(self.named_parameters())) ^ set(weights)
        assert not missing, sorted(missing)
        self.to(self.dtype).requires_grad_(False).eval()

    def _register_upsampling(self, channels: int) -> None:
        """Of images of so many channels, which come to lie side by side as bytes of a picture."""
        taps = torch.from_numpy(bilinear_taps(4, 4, 4, 3))
        self._constant("_vertical", taps.t().reshape(3, 1, 4, 1).contiguous())
        across = torch.zeros(STRIDE, channels, channels, 1, TILE + 2)
        for pixel in range(TILE):
            for channel in range(channels):
                rows = across[4 * pixel : 4 * pixel + 4, channel, channel, 0]
                rows[:, pixel : pixel + 3] = taps
        self._constant("_horizontal", across.reshape(-1, channels, 1, TILE + 2))

    def _upsampled(self, image: Tensor) -> Tensor:
        """Bilinear ×4, edge repeated: 1×C×h×w to 4h×(w/4)×16C."""
        channels, columns = image.shape[1], image.shape[3]
        x = F.pad(image, (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
        x = x.reshape(-1, 1, (columns + 2) * channels)
        down = self._vertical
        x = x[:-2] * down[0] + x[1:-1] * down[1] + x[2:] * down[2]
        x = x.reshape(1, -1, columns + 2, channels).permute(0, 3, 1, 2)
        return F.conv2d(x, self._horizontal, stride=(1, TILE)).permute(0, 2, 3, 1)[0]

    def _to_wire(self, image: Tensor) -> Tensor:
        """[0, 1] to 0..255, rounded when it becomes bytes."""
        return (image * 255 + 0.5).to(self.wire)


class CoarseStage(Stage):
    """The base network and the error map.

    Args:
        weights: of the network.
        reduction: 4 or 6, see :func:`dart_ros.method.geometry.base_reduction`.
        half: see :class:`Stage`.
    """

    _inner: Tensor
    _low: Tensor
    _high: Tensor
    _alpha: Tensor
    _residual: Tensor
    _error: Tensor
    _widening: Tensor

    def __init__(self, weights: NetworkWeights, reduction: int, half: bool = False) -> None:
        super().__init__(half)
        self._config = weights.config
        self._reduction = reduction
        base = BaseNetwork(weights.config)
        self.encoder, self.aspp = _without_norms(base.encoder), _without_norms(base.aspp)
        folded = coarse_weights(weights.state)
        self.decoder = FoldedDecoder(
            {k.removeprefix("decoder."): v for k, v in folded.items() if k.startswith("decoder.")}
        )
        self._load(folded)
        low, high = torch.full((2, 1, HEAD, 1, 1), torch.inf).unbind()
        low = -low
        for channel in (0, 4):
            low[:, channel], high[:, channel] = 0, 1
        low[:, 5:] = 0
        self._constant("_low", low)
        self._constant("_high", high)
        pick = torch.eye(HEAD)[:5].view(5, HEAD, 1, 1)
        for name, part in (("_alpha", pick[:1]), ("_residual", pick[1:4]), ("_error", pick[4:])):
            self._constant(name, part.clone())
        # The mean of each square without its rim, of rows that are summed already.
        inner = torch.zeros(3, reduction, 3)
        inner[range(3), 1:-1, range(3)] = 1 / 255 / (reduction - 2) ** 2
        self._constant("_inner", inner.view(3, -1, 1, 1))
        self._constant("_widening", torch.eye(TILE).repeat_interleave(4, 0)[:, None, None])
        self._register_upsampling(1)

    def forward(
        self,
        color: Tensor,
        depth: Tensor,
        plate: Tensor,
        mean: Tensor,
        std: Tensor,
        known: Tensor,
        behind: Tensor,
        restless: Tensor,
        light_samples: Tensor,
    ) -> Coarse:
        """Coarse matte of a frame.

        Args:
            color: (H+border)×(W+border)×3 uint8, see
                :class:`dart_ros.runtime.layout.FrameBuffer`.
            depth: (H+border)×(W+border) float32 metres, -1 where unknown, or with the guesses of
                :func:`dart_ros.method.blind_sides.extrapolate_depth`.
            plate: of the scene, as what follows.
            mean: of the scene.
            std: of the scene.
            known: of the scene.
            behind: of the scene.
            restless: of the scene.
            light_samples: see :func:`dart_ros.method.geometry.light_samples`.
        """
        live = reduced_depth(depth[BORDER:-BORDER, BORDER:-BORDER][None, None], self._reduction)
        small = self._small(color, plate)
        reduced = Reduced(small, live, plate, mean, std, known, behind, restless)
        given = base_input(self._config, reduced, light_samples)
        maps, lit = self._maps(given.maps), given.lit
        alpha, learnt = F.conv2d(maps, self._alpha), F.conv2d(maps, self._error)
        error = tile_error(self._config, learnt, alpha, given)
        if self._reduction > 4:
            # All of it in one go: nobody reads the learnt error again, so its channel is free.
            maps = to_quarter(maps + self._error * (error - learnt), self._reduction)
            alpha, error = F.conv2d(maps, self._alpha), F.conv2d(maps, self._error)
            lit = lit_at_quarter(lit, self._reduction)
        picture = self._upsampled(alpha).clamp(0, 1)
        columns = picture.shape[1]
        # Widened by a convolution and repeated by the product, since expanding is slow.
        wide = F.conv2d(lit, self._widening, stride=(1, TILE)).permute(0, 2, 3, 1)
        repeated = picture.reshape(-1, 4, columns, STRIDE) * wide.transpose(0, 1)
        return Coarse(
            maps=maps.permute(0, 2, 3, 1).reshape(-1, HEAD),
            picture=self._to_wire(repeated.reshape(-1, STRIDE)),
            gain=given.gain.flatten(),
            lit=wide.reshape(-1, TILE, columns, STRIDE).transpose(1, 2).reshape(-1, TILE, STRIDE),
            residual=F.conv2d(maps, self._residual) * given.gain,
            worst=worst_errors(error, TILE)[0].float(),
        )

    def _small(self, color: Tensor, plate: Tensor) -> Tensor:
        """The frame as the base network sees it, 1×3×h×w in [0, 1]."""
        side = self._reduction
        if self.wire != torch.uint8:
            color = color.to(self.wire)  # TensorRT doesn't cut bytes either
        # Rows are summed before anything is picked of them, which would be slow.
        inner = (color[BORDER + row : -BORDER : side].to(self.dtype) for row in range(1, side - 1))
        middle = functools.reduce(torch.add, inner)[:, BORDER:-BORDER]
        middle = middle.reshape(1, -1, plate.shape[3], 3 * side).permute(0, 3, 1, 2)
        return F.conv2d(middle, self._inner)

    def _maps(self, x: Tensor) -> Tensor:
        """The decoder's maps, cut to their ranges."""
        half, quarter, eighth, deep = self.encoder(x)
        maps = self.decoder(self.aspp(deep), (eighth, quarter, half, x))
        return torch.minimum(torch.maximum(maps, self._low), self._high)


class RefiningStage(Stage):
    """Alpha at full size, refined in the chosen tiles.

    Args:
        weights: of the network.
        half: see :class:`Stage`.
    """

    _steps: Tensor
    _last: Tensor

    def __init__(self, weights: NetworkWeights, half: bool = False) -> None:
        super().__init__(half)
        self._config = weights.config
        folded = refiner_weights(weights.state, weights.config)
        for name, value in folded.items():
            self.register_parameter(name, _parameter(value))
        self._load(folded)
        self.register_buffer("_steps", torch.tensor([10.0, 1.0, 0.0]))
        self.register_buffer("_last", torch.tensor([0.0, 0.0, 1.0]))

    def forward(
        self,
        color: Tensor,
        depth: Tensor,
        refiner_plate: Tensor,
        refiner_behind: Tensor,
        refiner_stage1: Tensor,
        maps: Tensor,
        picture: Tensor,
        gain: Tensor,
        lit: Tensor,
        tiles: Tensor,
        color_windows: Tensor,
        half_windows: Tensor,
        stage1_windows: Tensor,
        map_windows: Tensor,
        places: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """Refines the chosen tiles.

        Args:
            color: see :class:`CoarseStage`.
            depth: see there.
            refiner_plate: of the scene, as what follows.
            refiner_behind: of the scene.
            refiner_stage1: of the scene.
            maps: see :class:`Coarse`, as what follows.
            picture: see there.
            gain: see there.
            lit: see there.
            tiles: int32 K, which tiles to refine.
            color_windows: table, as what follows.
            half_windows: table.
            stage1_windows: table.
            map_windows: table.
            places: table.

        Returns:
            alpha of the padded size, uint8, and alpha and residual of the tiles, K×4×16×16.
        """
        dtype, columns = maps.dtype, color.shape[1] - 2 * BORDER
        if self.wire != torch.uint8:
            color = color.to(self.wire)
        around = self._colors_around(color.reshape(-1, 3 * RUN), color_windows, tiles).to(dtype)
        windows = half_windows[tiles].flatten()
        behind = refiner_plate[windows].reshape(-1, HALF_WINDOW, HALF_WINDOW, COLORS).to(dtype)
        if self._config.depth_in_light:
            around = in_plate_light(around, behind, gain.repeat(COLORS // 3), white=255)
        difference = ((around - behind).abs() * (DIFFERENCE_GAIN / 255)).clamp(max=1)
        parts = [around, difference]
        if self._config.depth_in_refiner:
            parts.append(self._depths_around(depth, refiner_behind, windows).to(dtype))
        pixels = torch.cat(parts, dim=3).permute(0, 3, 1, 2)
        weights = dict(self.named_parameters())
        coarse = _take(maps, map_windows, tiles, QUARTER_WINDOW, HEAD)
        x = F.pixel_shuffle(F.conv2d(coarse, weights["stage1_maps"]), 2)
        width = weights["stage1_picture"].shape[0]
        fixed = _take(refiner_stage1, stage1_windows, tiles, STAGE1_WINDOW, width)
        x = F.relu(x + fixed + F.conv2d(pixels, weights["stage1_picture"]))
        x = F.relu(F.conv2d(x, weights["stage2_weight"], weights["stage2_bias"]))
        refined = F.pixel_shuffle(F.conv2d(x, weights["head_weight"], weights["head_bias"]), 2)
        refined = refined * torch.cat([torch.ones_like(gain[:1]), gain])[:, None, None]
        fine = refined[:, 0].clamp(0, 1).reshape(-1, TILE, 4, STRIDE) * lit[tiles][:, :, None]
        rows = _put(picture, places, tiles, self._to_wire(fine).reshape(-1, STRIDE))
        return rows.reshape(-1, columns).to(torch.uint8), refined

    @staticmethod
    def _colors_around(runs: Tensor, table: Tensor, tiles: Tensor) -> Tensor:
        """Color around the tiles, K×12×12×12: of each half-size pixel the 2×2 that it is of."""
        picked = runs[table[tiles].flatten()]
        pairs = picked.reshape(-1, HALF_WINDOW, 2, HALF_WINDOW, 6).transpose(2, 3)
        return pairs.reshape(-1, HALF_WINDOW, HALF_WINDOW, COLORS)

    def _depths_around(self, depth: Tensor, behind: Tensor, windows: Tensor) -> Tensor:
        """How far what is around the tiles lies before the background, K×12×12×3: as in
        :func:`dart_ros.method.posterior.depth_channels`, less the channel of the scene."""
        shape = -1, HALF_WINDOW, HALF_WINDOW
        live = depth[1::2, 1::2].reshape(-1, HALF_RUN)[windows].reshape(shape)
        behind = behind[windows].reshape(shape)
        known, live = (live > 0).to(live.dtype), metres_or_guess(live)
        before = (behind - live) * ((live > 0) & (behind > 0)).to(live.dtype)
        # All three in one go, because stacking single channels is slow.
        return (before[..., None] * self._steps + known[..., None] * self._last).clamp(-1, 1)


class ForegroundStage(Stage):
    """The foreground's colors, of what the other stages have made.

    Args:
        half: see :class:`Stage`.
    """

    def __init__(self, half: bool = False) -> None:
        super().__init__(half)
        self._register_upsampling(3)

    def forward(
        self, color: Tensor, residual: Tensor, tiles: Tensor, refined: Tensor, places: Tensor
    ) -> Tensor:
        """Foreground of a frame.

        Args:
            color: see :class:`CoarseStage`.
            residual: see :class:`Coarse`.
            tiles: see :class:`RefiningStage`.
            refined: see there.
            places: table.

        Returns:
            the padded size×3, uint8 RGB.
        """
        picture = color.to(refined.dtype)[BORDER:-BORDER, BORDER:-BORDER]
        columns = color.shape[1] - 2 * BORDER
        runs = picture.reshape(-1, 3 * STRIDE)
        coarse = self._upsampled(residual).reshape(-1, 3 * STRIDE)
        fine = refined[:, 1:].permute(0, 2, 3, 1).reshape(-1, 3 * STRIDE)
        own = runs[places[tiles].flatten()]
        made = _put(self._shifted(runs, coarse), places, tiles, self._shifted(own, fine))
        return made.reshape(-1, columns, 3).to(torch.uint8)

    def _shifted(self, color: Tensor, residual: Tensor) -> Tensor:
        return ((color + 255 * residual).clamp(0, 255) + 0.5).to(self.wire)


class TileStage(nn.Module):
    """The tiles with the largest errors, for engines that don't leave the choice to the CPU.

    Args:
        count: how many.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self._count = count

    def forward(self, worst: Tensor) -> Tensor:
        """int32, of the largest error of each tile."""
        return torch.topk(worst, self._count, sorted=False).indices.int()


class FoldedDecoder(nn.Module):
    """The decoder, its last two doublings folded into the convolutions behind them.

    Those are exact at any size of whole tiles; the ones before are cut.

    Args:
        weights: by name, of :func:`dart_ros.runtime.folding.coarse_weights`.
    """

    def __init__(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        first: list[nn.Module] = []
        while (weight := weights.get(f"first.{len(first)}.0.weight")) is not None:
            out, channels, kernel, _ = weight.shape
            first.append(nn.Sequential(nn.Conv2d(channels, out, kernel, padding=1), nn.ReLU()))
        self.first = nn.ModuleList(first)
        self.last = _DoublingConvolution("last", weights)
        self.head = _DoublingConvolution("head", weights)

    def forward(self, x: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """See :class:`dart_ros.method.base_network.Decoder`."""
        for block, skip in zip(self.first, skips[:-2], strict=True):
            x = block(join(x, skip))
        head: Tensor = self.head(self.last(x, skips[-2]).relu(), skips[-1])
        return head


class _DoublingConvolution(nn.Module):
    """A 3×3 convolution over a doubled map beside its skip, edges padded with zeros."""

    def __init__(self, name: str, weights: Mapping[str, NDArray[np.float32]]) -> None:
        super().__init__()
        self.map_weight, self.skip_weight, self.bias = (
            _parameter(weights[f"{name}.{part}"]) for part in ("map_weight", "skip_weight", "bias")
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        doubled = F.pixel_shuffle(F.conv2d(x, self.map_weight, padding=1), 2)
        beside = F.conv2d(skip, self.skip_weight, self.bias, padding=1)
        return doubled[..., 1:-1, 1:-1] + beside


def _without_norms(module: nn.Module) -> nn.Module:
    """The module with convolutions that have the batch norms in them, as the weights do."""
    for block in module.modules():
        if isinstance(block, ConvNorm):
            before = block[0]
            assert isinstance(before, nn.Conv2d)
            arguments: dict[str, Any] = {
                name: getattr(before, name) for name in ("stride", "padding", "dilation", "groups")
            }
            kernel: Any = before.kernel_size
            block[0] = nn.Conv2d(before.in_channels, before.out_channels, kernel, **arguments)
            del block[1]
    return module


def _parameter(value: NDArray[np.float32]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(value.copy()), requires_grad=False)


def _take(rows: Tensor, table: Tensor, tiles: Tensor, side: int, channels: int) -> Tensor:
    """Windows of the tiles out of rows of runs of pixels, K×C×side×side."""
    picked = rows[table[tiles].flatten()].reshape(-1, side, side, channels)
    return picked.permute(0, 3, 1, 2)


def _put(runs: Tensor, places: Tensor, tiles: Tensor, fine: Tensor) -> Tensor:
    """The picture in runs of 16 pixels, with those of the refined tiles put in."""
    runs = runs.clone()
    # In place, because not every exporter knows the functional form.
    runs[places[tiles].flatten().long()] = fine
    return runs

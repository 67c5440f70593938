"""The whole way of a frame as it is deployed: bytes in, bytes out.

The mathematics and the weights are those of :mod:`dart_ros.method`, which stays the reference;
this is its form for engines. Full-size pictures are never made: tiles are copied out of the
frame's bytes in runs of pixels, and only they become floats. What depends on the scene alone is
resident (:mod:`dart_ros.runtime.resident`). Upsampling before a convolution is folded into it.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dart_ros.method.blind_sides import metres_or_guess
from dart_ros.method.config import HIDDEN_CHANNELS
from dart_ros.method.error_map import worst_errors
from dart_ros.method.geometry import HALF_MARGIN, QUARTER_MARGIN, STRIDE, TILE, base_reduction
from dart_ros.method.light import in_plate_light
from dart_ros.method.network import (
    Background,
    MattingNetwork,
    lit_at_quarter,
    reduced_depth,
    to_quarter,
)
from dart_ros.method.refiner import COARSE_CHANNELS, DIFFERENCE_GAIN, half_size_channels
from dart_ros.method.stages import BaseInput, Reduced, base_input, tile_error
from dart_ros.method.trimap import depth_corrected_alpha, trimap
from dart_ros.runtime.folding import (
    FoldedDecoder,
    bilinear_taps,
    fold_nearest,
    fold_norm,
    folded,
    learned,
)
from dart_ros.runtime.resident import (
    BORDER,
    COLORS,
    HALF_RUN,
    LIVE,
    RUN,
    STAGE1_RUN,
    Resident,
    padded_shape,
)
from dart_ros.runtime.windows import pixel_windows, run_windows

_HEAD = 1 + 3 + 1 + HIDDEN_CHANNELS
"""Channels of the decoder: alpha, residual, error, hidden."""

_WINDOW = STRIDE + 2 * BORDER
_HALF = STRIDE // 2 + 2 * HALF_MARGIN
_QUARTER = TILE + 2 * QUARTER_MARGIN
_STAGE1 = STRIDE // 2 + 2 * (HALF_MARGIN - 1)


class Parts(NamedTuple):
    """What the foreground is made of, beside the frame.

    ``residual``: coarse, 1×3×h×w at a quarter of the padded size. ``tiles``: int64 K, those that
    were refined. ``refined``: K×4×16×16, alpha and residual.
    """

    residual: Tensor
    tiles: Tensor
    refined: Tensor


class Coarse(NamedTuple):
    """What the base network makes of a frame.

    ``maps``: float32 (h·w)×16 at a quarter of the padded size: alpha, residual, error and hidden
    channels, cut to their ranges. ``picture``: alpha at the padded size, 0 to 255, in rows of 16
    pixels. ``residual``: as in :class:`Parts`. ``worst``: the largest error of each tile.
    ``gain``: 3, of the frame's light over the plate's. ``lit``: of each tile its rows at a quarter
    of the size, 4×16 pixels, 0 in shadows, else 1.
    """

    maps: Tensor
    picture: Tensor
    residual: Tensor
    worst: Tensor
    gain: Tensor
    lit: Tensor


class MattingGraph(nn.Module):
    """Frame to alpha, and to the parts of the foreground.

    Args:
        network: the network, in evaluation mode.
        height: rows of the frames.
        width: columns of the frames.
        tiles: number of 16×16 tiles that are refined, None for all.
        wire: type in which results are put together before they leave; bytes are faster, but
            TensorRT doesn't move them.
    """

    # Buffers; a module's attributes have no types of their own.
    _map_windows: Tensor
    _color_windows: Tensor
    _half_windows: Tensor
    _stage1_windows: Tensor
    _places: Tensor
    _vertical: Tensor
    _horizontal: Tensor
    _horizontal_colors: Tensor
    _widening: Tensor
    _low: Tensor
    _high: Tensor
    _alpha: Tensor
    _residual: Tensor
    _error: Tensor
    _inner: Tensor
    _steps: Tensor
    _last: Tensor

    def __init__(
        self,
        network: MattingNetwork,
        height: int,
        width: int,
        tiles: int | None,
        wire: torch.dtype = torch.uint8,
    ) -> None:
        super().__init__()
        self.config = network.config
        self._encoder = folded(network.base.encoder)
        self._pyramid = folded(network.base.aspp)
        self._decoder = FoldedDecoder(network.base.decoder)
        self._size = height, width
        self._reduction = base_reduction(height, width)
        self._wire = wire
        # The border is less than a tile.
        self._rows, self._columns = (side // STRIDE for side in padded_shape(height, width))
        total = self._rows * self._columns
        self._count = None if tiles is None or tiles >= total else tiles
        self._register_refiner(network)
        self._register_windows()
        self._register_upsampling()
        low, high = torch.full((2, 1, _HEAD, 1, 1), torch.inf).unbind()
        low = -low
        for channel in (0, 4):
            low[:, channel], high[:, channel] = 0, 1
        low[:, 5:] = 0
        self.register_buffer("_low", low)
        self.register_buffer("_high", high)
        pick = torch.eye(_HEAD)[:5].view(5, _HEAD, 1, 1)
        for name, part in (("_alpha", pick[:1]), ("_residual", pick[1:4]), ("_error", pick[4:])):
            self.register_buffer(name, part.clone())
        self.register_buffer("_steps", torch.tensor([10.0, 1.0, 0.0]))
        self.register_buffer("_last", torch.tensor([0.0, 0.0, 1.0]))
        # The mean of each square without its rim, of rows that are summed already.
        inner = torch.zeros(3, self._reduction, 3)
        inner[range(3), 1:-1, range(3)] = 1 / 255 / (self._reduction - 2) ** 2
        self.register_buffer("_inner", inner.view(3, -1, 1, 1))

    def _register_refiner(self, network: MattingNetwork) -> None:
        refiner, config = network.refiner, network.config
        weight, _ = fold_norm(refiner.stage1)
        maps = weight.shape[1] - half_size_channels(config)
        # The maps come in the order of the decoder's channels, the error among them.
        ordered = torch.zeros(weight.shape[0], _HEAD, 3, 3)
        ordered[:, :COARSE_CHANNELS] = weight[:, HIDDEN_CHANNELS:maps]
        ordered[:, -HIDDEN_CHANNELS:] = weight[:, :HIDDEN_CHANNELS]
        live = LIVE if config.depth_in_refiner else LIVE[: 2 * COLORS]
        color, difference, depth = weight[:, maps:][:, list(live)].split(
            [COLORS, COLORS, len(live) - 2 * COLORS], dim=1
        )
        picture = torch.cat([_as_bytes_lie(color) / 255, _as_bytes_lie(difference), depth], dim=1)
        stage2, bias2 = fold_norm(refiner.stage2)
        assert refiner.head.bias is not None
        self._stage1_maps = learned(fold_nearest(ordered))
        self._stage1_picture = learned(picture)
        self._stage2_weight, self._stage2_bias = learned(stage2), learned(bias2)
        self._head_weight = learned(refiner.head.weight)
        self._head_bias = learned(refiner.head.bias)

    def _register_windows(self) -> None:
        grid = self._rows, self._columns
        half, full = STRIDE * self._columns // 2, STRIDE * self._columns
        for name, table in (
            ("_map_windows", pixel_windows(*grid, TILE, QUARTER_MARGIN)),
            ("_color_windows", run_windows(*grid, STRIDE, _WINDOW, RUN, full + 2 * BORDER)),
            (
                "_half_windows",
                run_windows(*grid, STRIDE // 2, _WINDOW // 2, HALF_RUN, half + BORDER),
            ),
            ("_stage1_windows", run_windows(*grid, STRIDE // 2, _STAGE1, STAGE1_RUN, half + 2)),
            ("_places", run_windows(*grid, STRIDE, STRIDE, STRIDE, full)),
        ):
            self.register_buffer(name, table)

    def _register_upsampling(self) -> None:
        taps = bilinear_taps(4, 4, 4, 3)
        self.register_buffer("_vertical", taps.t().reshape(3, 1, 4, 1).contiguous())
        across = torch.zeros(STRIDE, 1, 1, TILE + 2)
        for pixel in range(TILE):
            across[4 * pixel : 4 * pixel + 4, 0, 0, pixel : pixel + 3] = taps
        self.register_buffer("_horizontal", across)
        self.register_buffer("_widening", torch.eye(TILE).repeat_interleave(4, 0)[:, None, None])
        # Three channels side by side, as bytes of a picture lie.
        colors = torch.zeros(STRIDE, 3, 3, 1, TILE + 2)
        for channel in range(3):
            colors[:, channel, channel] = across[:, 0]
        self.register_buffer("_horizontal_colors", colors.reshape(3 * STRIDE, 3, 1, TILE + 2))

    def forward(self, color: Tensor, depth: Tensor, *resident: Tensor) -> tuple[Tensor, Parts]:
        """Alpha of one frame.

        Args:
            color: (H+border)×(W+border)×3, 0 to 255, see
                :class:`dart_ros.runtime.resident.FrameBuffer`.
            depth: (H+border)×(W+border) float32 metres, -1 where unknown, or with the guesses of
                :func:`dart_ros.method.blind_sides.continued`.
            *resident: the fields of :class:`dart_ros.runtime.resident.Resident`.

        Returns:
            alpha H×W, 0 to 255, and the parts of the foreground.
        """
        scene = Resident(*resident)
        coarse = self.coarse(color, depth, *scene.far)
        if self._count is None:
            tiles = torch.arange(self._rows * self._columns, device=color.device)
        else:
            tiles = torch.topk(coarse.worst, self._count, sorted=False).indices
        near = scene.near_plate, scene.near_behind, scene.stage1
        made = coarse.maps, coarse.picture, coarse.gain, coarse.lit
        alpha, refined = self.refine(color, depth, *near, *made, tiles)
        return alpha, Parts(coarse.residual, tiles, refined)

    def coarse(self, color: Tensor, depth: Tensor, *far: Tensor) -> Coarse:
        """The first half of :meth:`forward`: the base network and the error map.

        Args:
            color: as there.
            depth: as there.
            *far: of the scene.
        """
        maps, given = self._base_maps(color, depth, *far)
        gain, lit = given.gain, given.lit
        alpha, learnt = F.conv2d(maps, self._alpha), F.conv2d(maps, self._error)
        error = tile_error(self.config, learnt, alpha, given)
        if self._reduction > 4:
            # All of it in one go: nobody reads the learnt error again, so its channel is free.
            maps = to_quarter(maps + self._error * (error - learnt), self._reduction)
            alpha, error = F.conv2d(maps, self._alpha), F.conv2d(maps, self._error)
            lit = lit_at_quarter(lit, self._reduction)
        picture = self._upsampled(alpha, self._horizontal).clamp(0, 1)
        # Widened by a convolution and repeated by the product, since expanding is slow.
        wide = F.conv2d(lit, self._widening, stride=(1, TILE)).permute(0, 2, 3, 1)
        repeated = picture.view(-1, 4, self._columns, STRIDE) * wide.transpose(0, 1)
        return Coarse(
            maps.permute(0, 2, 3, 1).reshape(-1, _HEAD),
            self._to_wire(repeated.reshape(-1, STRIDE)),
            F.conv2d(maps, self._residual) * gain,
            worst_errors(error, TILE)[0],
            gain.flatten(),
            wide.view(self._rows, TILE, self._columns, STRIDE)
            .transpose(1, 2)
            .reshape(-1, TILE, STRIDE),
        )

    def refine(
        self,
        color: Tensor,
        depth: Tensor,
        near_plate: Tensor,
        near_behind: Tensor,
        stage1: Tensor,
        maps: Tensor,
        picture: Tensor,
        gain: Tensor,
        lit: Tensor,
        tiles: Tensor,
    ) -> tuple[Tensor, Tensor]:
        """The second half of :meth:`forward`: alpha, and the refined tiles.

        Args:
            color: as there.
            depth: as there.
            near_plate: of the scene.
            near_behind: of the scene.
            stage1: of the scene.
            maps: from :meth:`coarse`.
            picture: from :meth:`coarse`.
            gain: from :meth:`coarse`.
            lit: from :meth:`coarse`.
            tiles: int64 K, which tiles to refine.
        """
        refined = self._refined(color, depth, near_plate, near_behind, stage1, maps, gain, tiles)
        fine = refined[:, 0].clamp(0, 1).view(-1, TILE, 4, STRIDE) * lit[tiles][:, :, None]
        fine = self._to_wire(fine).reshape(-1, STRIDE)
        return self._put(picture, tiles, fine, channels=1)[..., 0], refined

    def blank_coarse(self) -> Coarse:
        """What comes of nothing, of the right shapes."""
        pixels = TILE * TILE * self._rows * self._columns
        runs = STRIDE * self._rows * self._columns
        return Coarse(
            torch.zeros(pixels, _HEAD),
            torch.zeros(runs, STRIDE, dtype=self._wire),
            self.blank_parts().residual,
            torch.zeros(self._rows * self._columns),
            torch.ones(3),
            torch.ones(self._rows * self._columns, TILE, STRIDE),
        )

    def blank_parts(self) -> Parts:
        """Parts of nothing, of the right shapes."""
        rows, columns = TILE * self._rows, TILE * self._columns
        count = self._count or self._rows * self._columns
        return Parts(
            torch.zeros(1, 3, rows, columns),
            torch.zeros(count, dtype=torch.int64),
            torch.zeros(count, COARSE_CHANNELS, STRIDE, STRIDE),
        )

    def foreground(self, color: Tensor, residual: Tensor, tiles: Tensor, refined: Tensor) -> Tensor:
        """Foreground of the frame whose parts these are, H×W×3, 0 to 255."""
        runs = color[BORDER:-BORDER, BORDER:-BORDER].reshape(-1, 3 * STRIDE).to(refined.dtype)
        coarse = self._upsampled(residual, self._horizontal_colors).reshape(-1, 3 * STRIDE)
        fine = refined[:, 1:].permute(0, 2, 3, 1).reshape(-1, 3 * STRIDE)
        own = runs[self._places[tiles].flatten()]
        full = self._put(self._shifted(runs, coarse), tiles, self._shifted(own, fine), channels=3)
        return full

    def _base_maps(self, color: Tensor, depth: Tensor, *far: Tensor) -> tuple[Tensor, BaseInput]:
        """The decoder's maps, cut to their ranges, and what the base network read."""
        plate, mean, std, known, behind = far
        dtype, side = self._low.dtype, self._reduction
        rows, columns = (STRIDE * tiles // side for tiles in (self._rows, self._columns))
        # Rows are summed before anything is picked of them, which would be slow.
        inner = (color[BORDER + row : -BORDER : side].to(dtype) for row in range(1, side - 1))
        middle = functools.reduce(torch.add, inner)[:, BORDER:-BORDER]
        middle = middle.reshape(1, rows, columns, 3 * side).permute(0, 3, 1, 2)
        small = F.conv2d(middle, self._inner)
        live = reduced_depth(depth[BORDER:-BORDER, BORDER:-BORDER][None, None], side)
        given = base_input(self.config, Reduced(small, live, plate, mean, std, known, behind))
        x = given.maps
        half, quarter, eighth, deep = self._encoder(x)
        maps = self._decoder(self._pyramid(deep), (eighth, quarter, half, x))
        return torch.minimum(torch.maximum(maps, self._low), self._high), given

    def _refined(
        self,
        color: Tensor,
        depth: Tensor,
        near_plate: Tensor,
        near_behind: Tensor,
        stage1: Tensor,
        maps: Tensor,
        gain: Tensor,
        tiles: Tensor,
    ) -> Tensor:
        """Alpha and residual of the tiles, K×4×16×16."""
        dtype = maps.dtype
        around = self._colors_around(color.reshape(-1, 3 * RUN), tiles).to(dtype)
        behind = self._plate_around(near_plate, tiles).to(dtype)
        if self.config.depth_in_light:
            around = in_plate_light(around, behind, gain.repeat(COLORS // 3), white=255)
        difference = ((around - behind).abs() * (DIFFERENCE_GAIN / 255)).clamp(max=1)
        parts = [around, difference]
        if self.config.depth_in_refiner:
            parts.append(self._depths_around(depth, near_behind, tiles).to(dtype))
        picture = torch.cat(parts, dim=3).permute(0, 3, 1, 2)
        coarse = self._take(maps, self._map_windows, tiles, _QUARTER)
        x = F.pixel_shuffle(F.conv2d(coarse, self._stage1_maps), 2)
        plate = self._take(stage1, self._stage1_windows, tiles, _STAGE1).to(dtype)
        x = F.relu(x + plate + F.conv2d(picture, self._stage1_picture))
        x = F.relu(F.conv2d(x, self._stage2_weight, self._stage2_bias))
        refined = F.pixel_shuffle(F.conv2d(x, self._head_weight, self._head_bias), 2)
        return refined * torch.cat([torch.ones_like(gain[:1]), gain])[:, None, None]

    def _colors_around(self, runs: Tensor, tiles: Tensor) -> Tensor:
        """Color around the tiles, K×12×12×12: of each half-size pixel the 2×2 that it is of."""
        picked = runs[self._color_windows[tiles].flatten()]
        pairs = picked.view(-1, _HALF, 2, _HALF, 6).transpose(2, 3)
        return pairs.reshape(-1, _HALF, _HALF, COLORS)

    def _plate_around(self, runs: Tensor, tiles: Tensor) -> Tensor:
        """The plate around the tiles, K×12×12×12, out of runs that lie in this order already."""
        return runs[self._half_windows[tiles].flatten()].view(-1, _HALF, _HALF, COLORS)

    def _depths_around(self, depth: Tensor, near_behind: Tensor, tiles: Tensor) -> Tensor:
        """How far what is around the tiles lies before the background, K×12×12×3: as in
        :func:`dart_ros.method.posterior.depth_channels`, less the channel of the scene."""
        windows = self._half_windows[tiles].flatten()
        live = depth[1::2, 1::2].reshape(-1, HALF_RUN)[windows].view(-1, _HALF, _HALF)
        behind = near_behind[windows].view(-1, _HALF, _HALF)
        known, live = (live > 0).to(live.dtype), metres_or_guess(live)
        before = (behind - live) * ((live > 0) & (behind > 0)).to(live.dtype)
        # All three in one go, because stacking single channels is slow.
        return (before[..., None] * self._steps + known[..., None] * self._last).clamp(-1, 1)

    @staticmethod
    def _take(rows: Tensor, table: Tensor, tiles: Tensor, side: int) -> Tensor:
        """Windows of the tiles out of rows of runs of pixels, K×C×side×side."""
        picked = rows[table[tiles].flatten()].view(tiles.shape[0], side, side, -1)
        return picked.permute(0, 3, 1, 2)

    def _upsampled(self, image: Tensor, horizontal: Tensor) -> Tensor:
        """Bilinear ×4, edge repeated: 1×C×h×w to 4h×(w/4)×16C, bytes in a picture's order."""
        channels, rows, columns = image.shape[1], TILE * self._rows, TILE * self._columns
        x = F.pad(image, (1, 1, 1, 1), mode="replicate").permute(0, 2, 3, 1)
        x = x.reshape(rows + 2, 1, (columns + 2) * channels)
        down = self._vertical
        x = x[:-2] * down[0] + x[1:-1] * down[1] + x[2:] * down[2]
        x = x.view(1, 4 * rows, columns + 2, channels).permute(0, 3, 1, 2)
        return F.conv2d(x, horizontal, stride=(1, TILE)).permute(0, 2, 3, 1)[0]

    def _put(self, runs: Tensor, tiles: Tensor, fine: Tensor, channels: int) -> Tensor:
        """The picture, H×W×C, of runs of 16 pixels, with those of the refined tiles put in."""
        runs = runs.clone()
        # In place, because not every exporter knows the functional form.
        runs[self._places[tiles].flatten().long()] = fine
        height, width = self._size
        shape = STRIDE * self._rows, STRIDE * self._columns, channels
        return runs.reshape(shape)[:height, :width]

    def _shifted(self, color: Tensor, residual: Tensor) -> Tensor:
        return ((color + 255 * residual).clamp(0, 255) + 0.5).to(self._wire)

    def _to_wire(self, image: Tensor) -> Tensor:
        """[0, 1] to 0..255, rounded when it becomes bytes."""
        return (image * 255 + 0.5).to(self._wire)


class CoarseGraph(nn.Module):
    """:meth:`MattingGraph.coarse` as a module of its own."""

    def __init__(self, graph: MattingGraph) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, *inputs: Tensor) -> Coarse:
        """See there."""
        return self._graph.coarse(*inputs)


class RefiningGraph(nn.Module):
    """:meth:`MattingGraph.refine` as a module of its own, for any number of tiles."""

    def __init__(self, graph: MattingGraph) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, *inputs: Tensor) -> tuple[Tensor, Tensor]:
        """See there."""
        return self._graph.refine(*inputs)


class BakedGraph(nn.Module):
    """The graph with its scene inside.

    Args:
        graph: the graph.
        resident: the scene.
    """

    def __init__(self, graph: MattingGraph, resident: Resident) -> None:
        super().__init__()
        self._graph = graph
        for name, value in resident._asdict().items():
            self.register_buffer(name, value)

    def forward(self, color: Tensor, depth: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Alpha and the three parts, see :meth:`MattingGraph.forward`."""
        resident = (self.get_buffer(name) for name in Resident._fields)
        alpha, parts = self._graph(color, depth, *resident)
        return alpha, *parts


class ForegroundGraph(nn.Module):
    """:meth:`MattingGraph.foreground` as a module of its own, for frames that need it."""

    def __init__(self, graph: MattingGraph) -> None:
        super().__init__()
        self._graph = graph

    def forward(self, color: Tensor, residual: Tensor, tiles: Tensor, refined: Tensor) -> Tensor:
        """Foreground H×W×3."""
        return self._graph.foreground(color, residual, tiles, refined)


class TrimapGraph(nn.Module):
    """Alpha and depth to the trimap (Eq. 12-13).

    Args:
        background: the captured scene, 1×C×H×W.
    """

    def __init__(self, background: Background) -> None:
        super().__init__()
        self.register_buffer("mean", background.mean)
        self.register_buffer("std", background.std)

    def forward(self, alpha: Tensor, depth: Tensor) -> Tensor:
        """Trimap of one frame.

        Args:
            alpha: H×W uint8.
            depth: H×W float32 metres, -1 where unknown.

        Returns:
            H×W uint8: 0 background, 128 unknown, 255 foreground.
        """
        corrected = depth_corrected_alpha(
            alpha[None, None].float() * (1 / 255),
            depth[None, None],
            self.get_buffer("mean"),
            self.get_buffer("std"),
        )
        return (trimap(corrected)[0, 0] * 255 + 0.5).to(torch.uint8)


def _as_bytes_lie(weight: Tensor) -> Tensor:
    """Weights over 2×2 colors, from channel by channel to row by row and pixel by pixel."""
    return weight.unflatten(1, (3, 2, 2)).permute(0, 2, 3, 1, 4, 5).flatten(1, 3)

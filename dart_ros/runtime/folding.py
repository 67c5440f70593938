"""Weights in the form in which they are deployed: fewer steps, the same result.

Batch norms go into their convolutions, doubling into the convolution behind it. The names are
those of the exported graph's initializers (:mod:`dart_ros.export.stages`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from dart_ros.method.config import HIDDEN_CHANNELS, NetworkConfig

Array = NDArray[np.float32]
State = Mapping[str, NDArray[np.floating]]

COARSE_CHANNELS = 4
"""Alpha and residual."""

HEAD = COARSE_CHANNELS + 1 + HIDDEN_CHANNELS
"""Channels of the decoder: alpha, residual, error, hidden."""

COLORS = 12
"""Channels of color of the 2×2 pixels of a half-size pixel."""

LIVE = (*range(12), *range(24, 36), 36, 37, 38)
"""Channels of the refiner's picture that come with a frame: color, its difference from the plate,
both differences of depth, known."""

FIXED = (*range(12, 24), 39)
"""Channels of the refiner's picture that the scene knows: the plate, and where depth is known."""

_NORM_EPSILON = 1e-5


def coarse_weights(state: State) -> dict[str, Array]:
    """What the coarse stage's graph takes, by name.

    Args:
        state: the network's weights by torch's names.
    """
    folded: dict[str, Array] = {}
    for part in ("encoder", "aspp"):
        prefix = f"base.{part}."
        named = {k[len(prefix) :]: v for k, v in state.items() if k.startswith(prefix)}
        folded |= {f"{part}.{name}": value for name, value in _folded(named).items()}
    return folded | _decoder(state)


def refiner_weights(state: State, config: NetworkConfig) -> dict[str, Array]:
    """What the refining stage's graph takes, by name.

    Args:
        state: the network's weights by torch's names.
        config: the network's.
    """
    weight, _ = fold_norm(state, "refiner.stage1")
    maps = HIDDEN_CHANNELS + COARSE_CHANNELS
    # The maps come in the order of the decoder's channels, the error among them.
    ordered = np.zeros((len(weight), HEAD, 3, 3), np.float32)
    ordered[:, :COARSE_CHANNELS] = weight[:, HIDDEN_CHANNELS:maps]
    ordered[:, -HIDDEN_CHANNELS:] = weight[:, :HIDDEN_CHANNELS]
    live = LIVE if config.depth_in_refiner else LIVE[: 2 * COLORS]
    color, difference, depth = np.split(weight[:, maps:][:, live], [COLORS, 2 * COLORS], axis=1)
    stage2, bias2 = fold_norm(state, "refiner.stage2")
    return {
        "stage1_maps": fold_nearest(ordered),
        "stage1_picture": np.concatenate(
            [_as_bytes_lie(color) / np.float32(255), _as_bytes_lie(difference), depth], axis=1
        ),
        "stage2_weight": stage2,
        "stage2_bias": bias2,
        "head_weight": _single(state["refiner.head.weight"]),
        "head_bias": _single(state["refiner.head.bias"]),
    }


def fixed_weights(state: State, config: NetworkConfig) -> tuple[Array, Array]:
    """Weight and bias of what the scene alone adds to the refiner's first convolution.

    Colors are from 0 to 255 there, and the 2×2 pixels lie row by row.

    Args:
        state: the network's weights by torch's names.
        config: the network's.

    Returns:
        O×C×3×3 for 12 colors and, unless depth is kept out, where depth is known; and O.
    """
    weight, bias = fold_norm(state, "refiner.stage1")
    picture = weight[:, HIDDEN_CHANNELS + COARSE_CHANNELS :]
    fixed = picture[:, FIXED if config.depth_in_refiner else FIXED[:COLORS]]
    colors = _as_bytes_lie(fixed[:, :COLORS]) / np.float32(255)
    return np.concatenate([colors, fixed[:, COLORS:]], axis=1), bias


def fold_norm(state: State, name: str) -> tuple[Array, Array]:
    """Convolution and batch norm (``ConvNorm``) as one convolution.

    Args:
        state: weights by torch's names.
        name: of the block, whose convolution is ``0`` and whose batch norm is ``1``.

    Returns:
        Its weight, O×I×k×k, and its bias, O.
    """
    weight = _single(state[f"{name}.0.weight"])
    gamma, beta, mean, var = (
        _single(state[f"{name}.1.{part}"])
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    scale = gamma / np.sqrt(var + np.float32(_NORM_EPSILON))
    return weight * scale[:, None, None, None], beta - mean * scale


def fold_nearest(weight: Array) -> Array:
    """A 3×3 convolution after nearest ×2, as a 2×2 convolution before a pixel shuffle.

    Args:
        weight: O×I×3×3, applied without padding to the upsampled map.

    Returns:
        4O×I×2×2.
    """
    taps = np.zeros((2, 3, 2), np.float32)
    for phase in (0, 1):
        for tap in range(3):
            taps[phase, tap, (phase + tap) // 2] = 1
    folded = np.einsum("oiyx,pya,qxb->opqiab", weight, taps, taps)
    return np.ascontiguousarray(folded.reshape(-1, *folded.shape[3:]), np.float32)


def bilinear_taps(scale: int, offset: int, length: int, sources: int) -> Array:
    """Weights of bilinear upsampling (half-pixel centers) along one axis.

    Args:
        scale: how many pixels a source pixel becomes.
        offset: the first upsampled pixel, counted from where the first source pixel begins.
        length: how many upsampled pixels.
        sources: how many source pixels.

    Returns:
        length×sources.

    Raises:
        ValueError: if the sources don't reach so far.
    """
    taps = np.zeros((length, sources), np.float32)
    for pixel in range(length):
        center = (offset + pixel + 0.5) / scale - 0.5
        first = math.floor(center)
        share = center - first
        if first < 0 or first + (share > 0) >= sources:
            raise ValueError(f"{sources} pixels are too few for {length} pixels from {offset} on")
        taps[pixel, first] += 1 - share
        if share > 0:
            taps[pixel, first + 1] += share
    return taps


def _folded(state: State) -> dict[str, Array]:
    """A part's weights, each batch norm folded into the convolution before it."""
    norms = {k.removesuffix(".1.running_mean") for k in state if k.endswith(".1.running_mean")}
    folded = {}
    for block in norms:
        folded[f"{block}.0.weight"], folded[f"{block}.0.bias"] = fold_norm(state, block)
    for name, value in state.items():
        # Less the layers of the blocks: "block.0.weight", "block.1.bias" and so on.
        if name.rsplit(".", 2)[0] not in norms:
            folded[name] = _single(value)
    return folded


def _decoder(state: State) -> dict[str, Array]:
    """The decoder's last two doublings folded into the convolutions behind them."""
    prefix = "base.decoder"
    count = len({k.split(".")[3] for k in state if k.startswith(f"{prefix}.blocks.")})
    folded: dict[str, Array] = {}
    channels = 0
    for block in range(count):
        weight, bias = fold_norm(state, f"{prefix}.blocks.{block}")
        if block < count - 1:
            folded |= {
                f"decoder.first.{block}.0.weight": weight,
                f"decoder.first.{block}.0.bias": bias,
            }
        else:
            folded |= _doubling("decoder.last", weight, bias, channels)
        channels = len(bias)
    head = _single(state[f"{prefix}.head.weight"]), _single(state[f"{prefix}.head.bias"])
    return folded | _doubling("decoder.head", *head, channels)


def _doubling(name: str, weight: Array, bias: Array, channels: int) -> dict[str, Array]:
    """A 3×3 convolution over a doubled map of so many channels beside its skip."""
    return {
        f"{name}.map_weight": fold_nearest(weight[:, :channels]),
        f"{name}.skip_weight": np.ascontiguousarray(weight[:, channels:]),
        f"{name}.bias": bias,
    }


def _as_bytes_lie(weight: Array) -> Array:
    """Weights over 2×2 colors, from channel by channel to row by row and pixel by pixel."""
    out, _, *kernel = weight.shape
    split = weight.reshape(out, 3, 2, 2, *kernel).transpose(0, 2, 3, 1, 4, 5)
    return split.reshape(out, COLORS, *kernel)


def _single(value: NDArray[np.floating]) -> Array:
    return np.asarray(value, np.float32)

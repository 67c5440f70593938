"""The steps around the base network, shared by the network that learns and the graph that is
deployed."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from dart_ros.method.config import NetworkConfig
from dart_ros.method.error_map import combine_errors, depth_error
from dart_ros.method.light import in_plate_light, light_gain
from dart_ros.method.posterior import depth_channels, posterior_map
from dart_ros.method.shadow import unshadowed


class Reduced(NamedTuple):
    """A frame and its scene as the base network sees them, each B×C×h×w.

    ``color`` and ``plate`` in [0, 1]; ``depth`` in metres, -1 where unknown, or with the guesses of
    :func:`dart_ros.method.blind_sides.extrapolate_depth`; ``mean`` and ``std`` of the background
    in metres; ``known``: 1 where the background's depth is known, else 0; ``behind``: see
    :func:`dart_ros.method.posterior.guessed_background`; ``restless``: 1 where the background's
    color varied while it was captured, else 0.
    """

    color: Tensor
    depth: Tensor
    plate: Tensor
    mean: Tensor
    std: Tensor
    known: Tensor
    behind: Tensor
    restless: Tensor


class BaseInput(NamedTuple):
    """What the base network reads, and what is known before it runs.

    ``maps``: B×C×h×w, the channels of :attr:`dart_ros.method.config.NetworkConfig.base_channels`.
    ``posterior``: A_D. ``gain``: B×3×1×1, of the frame's light over the plate's. ``lit``: B×1×h×w,
    0 in shadows, else 1; all 1 where shadows aren't taken out.
    """

    maps: Tensor
    posterior: Tensor
    gain: Tensor
    lit: Tensor


def base_input(
    config: NetworkConfig, reduced: Reduced, light_samples: Tensor | None = None
) -> BaseInput:
    """Takes light out of the frame, and puts the base network's channels together.

    All results have the type of ``color``; depth is compared in its own.

    Args:
        config: where depth enters.
        reduced: the frame and its scene.
        light_samples: see :func:`dart_ros.method.light.light_gain`.
    """
    color, depth, plate, mean, std, known, behind, restless = reduced
    dtype = color.dtype
    gain = torch.ones(color.shape[0], 3, 1, 1, dtype=dtype, device=color.device)
    if config.depth_in_light:
        gain = light_gain(color, plate, depth, mean, std, known, light_samples).to(dtype)
        color = in_plate_light(color, plate.to(dtype), gain)
    plate = plate.to(dtype)
    posterior = posterior_map(depth, mean, std).to(dtype)
    lit = torch.ones_like(posterior)
    if config.depth_in_shadow or config.shadow_in_base:
        lit = unshadowed(color, plate, posterior, depth, mean, std)
    maps = [color, plate]
    if config.depth_in_base:
        maps += [posterior, depth_channels(depth, behind, known).to(dtype)]
    if config.shadow_in_base:
        maps.append(1 - lit)
    if config.restless_in_base:
        maps.append(restless.to(dtype))
    if not config.depth_in_shadow:
        lit = torch.ones_like(posterior)
    return BaseInput(torch.cat(maps, dim=1), posterior, gain, lit)


def tile_error(config: NetworkConfig, learnt: Tensor, alpha: Tensor, given: BaseInput) -> Tensor:
    """The error map by which tiles are chosen (Eq. 9-10), 0 in shadows.

    Args:
        config: whether depth enters here.
        learnt: E_RGB, B×1×h×w.
        alpha: A_raw, B×1×h×w.
        given: what the base network read.
    """
    error = learnt
    if config.depth_in_error:
        error = combine_errors(depth_error(given.posterior, alpha), learnt)
    return error * given.lit

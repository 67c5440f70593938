"""Weights on disk and in a scene: safetensors, half precision, checked against the network."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import save
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.files import replacing
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import MattingNetwork
from dart_ros.runtime.weights import NetworkWeights, check_state, load_weights

Weights = Mapping[str, NDArray[np.float16]]


def load_network(path: Path | None = None) -> MattingNetwork:
    """The network with the weights of a file, in evaluation mode.

    Args:
        path: a file written by :func:`save_network`; None for the weights that ship.

    Raises:
        FitError: if the file is missing, broken or of another network.
    """
    weights = load_weights(path)
    network = MattingNetwork(weights.config)
    _load_state(network, weights.state, str(path or "the weights that ship"))
    return network.eval()


def grown(network: MattingNetwork, config: NetworkConfig) -> MattingNetwork:
    """The network with further inputs, which have no weight yet: it gives what it gave before, but
    where the configuration changes the rules around it.

    Args:
        network: the network.
        config: what it shall be; the encoder and the use of depth must be the same.

    Raises:
        FitError: if that is another network and not one with further inputs.
    """
    optional = ("depth_in_base", "shadow_in_base", "restless_in_base")
    there, wanted = ([getattr(c, name) for name in optional] for c in (network.config, config))
    # Inputs stand in this order, so a further one stands behind all that there are.
    last = max((number for number, given in enumerate(there) if given), default=-1)
    if there[: last + 1] != wanted[: last + 1]:
        raise _no_growth(network.config, config)
    larger = MattingNetwork(config)
    state = network.state_dict()
    for name, value in larger.state_dict().items():
        given = state.get(name)
        if given is None or given.dim() != 4 or given.shape[1] >= value.shape[1]:
            continue
        state[name] = F.pad(given, (0, 0, 0, 0, 0, value.shape[1] - given.shape[1]))
    try:
        larger.load_state_dict(state)
    except RuntimeError as error:
        raise _no_growth(network.config, config) from error
    return larger.train(network.training)


def _no_growth(before: NetworkConfig, after: NetworkConfig) -> FitError:
    return FitError(
        f"{before} can't become {after}: give the run other weights to start from, or make its "
        "network agree with them"
    )


def save_network(network: MattingNetwork, path: Path, meta: Mapping[str, str]) -> None:
    """Writes the weights in half precision, with the network's shape and ``meta`` beside them.

    Raises:
        FitError: if they can't be written, as on a full disk; what was there is still there then.
    """
    header = {**network.config.metadata(), **meta}
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in _state(network).items()
    }
    try:
        with replacing(path) as temporary:
            # Not by save_file, whose files nobody but their owner can read.
            temporary.write_bytes(save(state, metadata=header))
    except OSError as error:
        raise FitError(
            f"{path} can't be written ({error}): free some disk space and run the same command "
            "again"
        ) from error


def network_with(weights: Weights | None) -> MattingNetwork:
    """The generic network, with a scene's fitted weights in it where it has some.

    Raises:
        FitError: if the weights belong to another network.
    """
    network = load_network()
    if weights is not None:
        _load_state(network, weights, "the scene's fitted weights")
    return network


def weights_of(network: MattingNetwork) -> dict[str, NDArray[np.float16]]:
    """The network's weights as half-precision arrays, to be stored in a scene."""
    return {name: value.half().numpy() for name, value in _state(network).items()}


def deployed(network: MattingNetwork) -> NetworkWeights:
    """The network as engines take it, in full precision."""
    return NetworkWeights(network.config, {k: v.numpy() for k, v in _state(network).items()})


def _state(network: MattingNetwork) -> dict[str, Tensor]:
    """All weights and statistics, less the batch counters that only training reads."""
    state = network.state_dict()
    return {k: v.detach().cpu() for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _load_state(
    network: MattingNetwork, state: Mapping[str, NDArray[np.floating]], source: str
) -> None:
    check_state(state, _state(network), source)
    tensors = {name: torch.from_numpy(np.array(value, np.float32)) for name, value in state.items()}
    network.load_state_dict(tensors, strict=False)

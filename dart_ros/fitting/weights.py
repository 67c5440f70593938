"""Weights on disk and in a scene: safetensors, half precision, checked against the network."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.files import open_regular, replacing
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import MattingNetwork

Weights = Mapping[str, NDArray[np.float16]]


def generic_weights_path() -> Path:
    """Where the weights that ship with the package lie."""
    return Path(str(files("dart_ros"))) / "data" / "weights.safetensors"


def load_network(path: Path | None = None) -> MattingNetwork:
    """The network with the weights of a file, in evaluation mode.

    Args:
        path: a file written by :func:`save_network`; None for the weights that ship.

    Raises:
        FitError: if the file is missing, broken or of another network.
    """
    path = path or generic_weights_path()
    try:
        # A named pipe would block for ever.
        with open_regular(path), safe_open(str(path), framework="pt") as file:
            meta = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise FitError(f"{path} can't be read as weights ({error}): reinstall dart_ros") from error
    network = MattingNetwork(NetworkConfig.from_metadata(meta))
    _load_state(network, state, str(path))
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
    larger = MattingNetwork(config)
    state = network.state_dict()
    for name, value in larger.state_dict().items():
        given = state.get(name)
        if given is None or given.dim() != 4 or given.shape[1] >= value.shape[1]:
            continue
        # All further inputs stand behind those that there were.
        state[name] = F.pad(given, (0, 0, 0, 0, 0, value.shape[1] - given.shape[1]))
    try:
        larger.load_state_dict(state)
    except RuntimeError as error:
        raise FitError(
            f"{network.config} can't become {config}: give the run other weights to start from, or "
            "make its network agree with them"
        ) from error
    return larger.train(network.training)


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
        state = {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}
        _load_state(network, state, "the scene's fitted weights")
    return network


def weights_of(network: MattingNetwork) -> dict[str, NDArray[np.float16]]:
    """The network's weights as half-precision arrays, to be stored in a scene."""
    return {name: value.half().numpy() for name, value in _state(network).items()}


def _state(network: MattingNetwork) -> dict[str, Tensor]:
    """All weights and statistics, less the batch counters that only training reads."""
    state = network.state_dict()
    return {k: v.detach().cpu() for k, v in state.items() if not k.endswith("num_batches_tracked")}


def _fits(value: Tensor, expected: Tensor) -> bool:
    """Whether a value can take another's place: as large, and finite numbers with fractions."""
    fractions = value.is_floating_point() or not expected.is_floating_point()
    return value.shape == expected.shape and fractions and bool(torch.isfinite(value).all())


def _load_state(network: MattingNetwork, state: Mapping[str, Tensor], source: str) -> None:
    expected = _state(network)
    wrong = [k for k, v in expected.items() if k not in state or not _fits(state[k], v)]
    if wrong or len(state) != len(expected):
        raise FitError(
            f"{source}: not the weights of this network ({len(wrong)} of {len(expected)} do not "
            "fit): delete them and fit again"
        )
    network.load_state_dict({k: v.float() for k, v in state.items()}, strict=False)

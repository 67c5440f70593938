"""The network's weights without torch: those that ship, of a file, or fitted to a scene."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from dart_ros.errors import FitError
from dart_ros.files import open_regular
from dart_ros.method.config import NetworkConfig


@dataclass(frozen=True, eq=False)
class NetworkWeights:
    """A network's shape and its weights.

    Attributes:
        config: the shape.
        state: float16 or float32 arrays by torch's names, less the batch counters.
    """

    config: NetworkConfig
    state: Mapping[str, NDArray[np.floating]]

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the weights."""
        digest = hashlib.sha256()
        for name in sorted(self.state):
            value = self.state[name]
            digest.update(f"{name} {value.dtype} {value.shape}\n".encode())
            digest.update(np.ascontiguousarray(value).data)
        return digest.hexdigest()

    def fitted(self, state: Mapping[str, NDArray[np.floating]]) -> NetworkWeights:
        """The same network with weights that were fitted to a scene.

        Raises:
            FitError: if they belong to another network.
        """
        check_state(state, self.state, "the scene's fitted weights")
        return NetworkWeights(self.config, state)


def generic_weights_path() -> Path:
    """Where the weights that ship with the package lie."""
    return Path(str(files("dart_ros"))) / "data" / "weights.safetensors"


def load_weights(path: Path | None = None) -> NetworkWeights:
    """The weights of a file.

    Args:
        path: a file of ``dart-ros train``; None for the weights that ship.

    Raises:
        FitError: if the file is missing or broken.
    """
    path = path or generic_weights_path()
    try:
        # A named pipe would block for ever.
        with open_regular(path), safe_open(str(path), framework="numpy") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise FitError(f"{path} can't be read as weights ({error}): reinstall dart_ros") from error
    return NetworkWeights(NetworkConfig.from_metadata(metadata), state)


def check_state(
    state: Mapping[str, NDArray[Any]], expected: Mapping[str, Any], source: str
) -> None:
    """Raises FitError unless ``state`` can take the place of ``expected``: the same names, arrays
    as large, and finite numbers with fractions."""
    wrong = [name for name, value in expected.items() if not _fits(state.get(name), value)]
    if wrong or len(state) != len(expected):
        raise FitError(
            f"{source}: not the weights of this network ({len(wrong)} of {len(expected)} do not "
            "fit): delete them and fit again"
        )


def _fits(value: NDArray[Any] | None, expected: Any) -> bool:
    if value is None or value.shape != tuple(expected.shape) or value.dtype.kind != "f":
        return False
    return bool(np.isfinite(value).all())

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from dart_ros.fitting import weights
from dart_ros.method.network import MattingNetwork


@pytest.fixture(scope="module", autouse=True)
def _one_thread(one_torch_thread: None) -> None:
    """Holds for all tests of this folder."""


@pytest.fixture(scope="module")
def generic_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MattingNetwork]:
    """A network with random weights in the place of those that ship."""
    torch.manual_seed(5)
    network = MattingNetwork().eval()
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    weights.save_network(network, path, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dart_ros.runtime.weights.generic_weights_path", lambda: path)
        yield network

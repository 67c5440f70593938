from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

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


@pytest.fixture(scope="session")
def in_two_processes() -> Callable[..., None]:
    """Has ``torchrun`` run a script or a module, with its arguments, in two processes."""
    root = str(Path(__file__).parents[2])
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")

    def run(*command: object) -> None:
        # Rarely a thread of torch aborts a process that is done (SIGABRT while it ends).
        for _ in range(3):
            with subprocess.Popen(
                [sys.executable, *torchrun, *map(str, command)],
                cwd=root,
                env={**os.environ, "PYTHONPATH": root, "OMP_NUM_THREADS": "1"},
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
            ) as running:
                try:
                    _, errors = running.communicate(timeout=400)
                except BaseException:
                    running.terminate()  # torchrun ends its processes then
                    raise
            if "exitcode: -6" not in errors:
                break
        assert running.returncode == 0, errors[-2000:]

    return run

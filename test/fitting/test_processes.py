from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from dart_ros.errors import FitError
from dart_ros.fitting.processes import Processes, is_first_process, processes


def test_a_process_alone_agrees_with_itself() -> None:
    network = nn.Linear(1, 1)
    with processes() as alone:
        assert (alone.rank, alone.world, alone.first) == (0, 1, True)
        assert alone.shared(network) is network
        assert alone.agreed(2.5) == 2.5
        assert alone.handed_out({"step": 3}) == {"step": 3}
    assert is_first_process()


def test_a_batch_that_processes_cannot_share_is_refused() -> None:
    three = Processes(0, 3, torch.device("cpu"))
    three.check_batch(6)
    with pytest.raises(FitError, match="batch of 4 can't be shared by 3 processes"):
        three.check_batch(4)


TOGETHER = """
    from torch import nn, ones
    from dart_ros.fitting.processes import is_first_process, processes

    with processes() as together:
        rank = together.rank
        assert together.world == 2 and together.first == is_first_process() == (rank == 0)
        assert together.agreed(rank + 0.1) == 0.1
        assert together.handed_out({"of": rank} if together.first else None) == {"of": 0}
        network = nn.Linear(1, 1, bias=False)
        shared = together.shared(network)
        shared((1 + 2 * rank) * ones(1, 1)).sum().backward()
        assert float(network.weight.grad) == 2.0, network.weight.grad
        del shared  # before the processes part
"""


def test_two_processes_agree_and_share_gradients(
    tmp_path: Path, in_two_processes: Callable[..., None]
) -> None:
    script = tmp_path / "together.py"
    script.write_text(textwrap.dedent(TOGETHER))
    in_two_processes(script)

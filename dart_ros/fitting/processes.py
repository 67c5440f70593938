"""The processes that train together, on several GPUs or machines, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import nn

from dart_ros.errors import FitError

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """One of the processes, and how it agrees with the others.

    Attributes:
        rank: its number, from 0 on.
        world: how many there are.
        device: what it computes on.
    """

    rank: int
    world: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether it is the one that writes files and shows progress."""
        return self.rank == 0

    def shared(self, network: nn.Module) -> nn.Module:
        """A network as it is called in training: its gradients are means over all processes.

        Those of parameters that are frozen now; after that has changed, it is to be shared anew.
        """
        if self.world == 1:
            return network
        return nn.parallel.DistributedDataParallel(
            network, device_ids=[self.device.index] if self.device.type == "cuda" else None
        )

    def check_batch(self, batch: int) -> None:
        """FitError if the processes can't share out so many frames."""
        if batch % self.world:
            raise FitError(
                f"a batch of {batch} can't be shared by {self.world} processes: give a multiple"
            )

    def agreed(self, value: float) -> float:
        """The first process's value, in all of them."""
        if self.world == 1:
            return value
        told = torch.tensor([value], dtype=torch.float64, device=self.device)
        torch.distributed.broadcast(told, src=0)
        return float(told)

    def handed_out(self, value: T) -> T:
        """The same for anything that can be pickled."""
        if self.world == 1:
            return value
        values = [value]
        torch.distributed.broadcast_object_list(values, src=0)
        return values[0]


def is_first_process() -> bool:
    """Whether this process is the one to speak to the user, of those that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"


@contextmanager
def processes() -> Iterator[Processes]:
    """The processes that ``torchrun`` started, or this one alone."""
    cuda = torch.cuda.is_available()
    if "WORLD_SIZE" not in os.environ:
        yield Processes(0, 1, torch.device("cuda" if cuda else "cpu"))
        return
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    torch.distributed.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size(), device)
        # Who leaves first cuts the others off.
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()

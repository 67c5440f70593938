"""TensorBoard's logs of a training or a fit."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from dart_ros.errors import FitError


class Log(Protocol):
    """What is used of TensorBoard."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def close(self) -> None: ...


def open_log(folder: Path, step: int) -> Log:
    """A log that goes on after a step; what an interrupted training logged later is dropped.

    Args:
        folder: made if need be.
        step: steps that are done, 0 at the beginning.

    Raises:
        FitError: if TensorBoard isn't installed or the folder can't be written to.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise FitError("logs need TensorBoard: pip install tensorboard") from error
    try:
        return SummaryWriter(str(folder), purge_step=step + 1)
    except OSError as error:
        raise FitError(f"{folder} can't be written to ({error}): choose another folder") from error

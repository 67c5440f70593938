"""TensorBoard's logs of a training or a fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from torch import Tensor

from dart_ros.errors import FitError


class _Writer(Protocol):
    """What is used of TensorBoard."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...

    def add_image(self, tag: str, img_tensor: Tensor, global_step: int) -> None: ...

    def flush(self) -> None: ...

    def close(self) -> None: ...


class Log:
    """Curves and pictures of a training.

    Args:
        folder: what can't be written is told with its name.
        writer: TensorBoard's.
    """

    def __init__(self, folder: Path, writer: _Writer) -> None:
        self._folder = folder
        self._writer = writer

    def add(self, tag: str, value: float, step: int) -> None:
        """One point of a curve; FitError if it or an earlier one can't be written."""
        with _writable(self._folder):
            self._writer.add_scalar(tag, value, step)

    def show(self, tag: str, picture: Tensor, step: int) -> None:
        """A picture, 3×H×W in [0, 1]; FitError if it or something earlier can't be written."""
        with _writable(self._folder):
            self._writer.add_image(tag, picture, step)

    def flush(self) -> None:
        """Writes what there is, as before a checkpoint; FitError if that can't be done."""
        with _writable(self._folder):
            self._writer.flush()

    def close(self) -> None:
        """Writes what is left; FitError if that can't be done."""
        with _writable(self._folder):
            self._writer.close()


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
    with _writable(folder):
        return Log(folder, SummaryWriter(str(folder), purge_step=step + 1))


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FitError(
            f"{folder} can't be written to ({error}): free some disk space or choose another "
            "folder, and run the same command again"
        ) from error

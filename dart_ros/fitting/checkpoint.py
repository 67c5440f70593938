"""Checkpoints of a training: everything that decides how it goes on, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from dart_ros.errors import FitError
from dart_ros.files import replacing


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint so that a crash at any moment leaves the old one or the new one.

    Args:
        path: the file.
        state: tensors, numbers, strings, and lists and dictionaries of them.

    Raises:
        FitError: if it can't be written, as on a full disk; the old one is still there then.
    """
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
    except (OSError, RuntimeError) as error:
        # torch's writer reports a full disk as a RuntimeError of its own.
        raise FitError(
            f"{path} can't be written ({error}): free some disk space and run the same command "
            "again, it goes on from the last checkpoint"
        ) from error


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Reads a checkpoint; None where there is none.

    Raises:
        FitError: if the file is broken.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        raise FitError(f"{path} can't be read ({error}): delete it and train anew") from error
    if not isinstance(state, dict):
        raise FitError(f"{path} is no checkpoint: delete it and train anew")
    return state

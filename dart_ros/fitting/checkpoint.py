"""Checkpoints of a training: everything that decides how it goes on, in one file."""

from __future__ import annotations

import os
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch.optim.swa_utils import AveragedModel

from dart_ros.errors import FitError
from dart_ros.files import open_regular, replacing
from dart_ros.fitting.optimization import Stepper
from dart_ros.method.network import MattingNetwork


def training_state(
    network: MattingNetwork, mean: AveragedModel, stepper: Stepper
) -> dict[str, Any]:
    """What the next step depends on: a network, the running mean of its weights, the optimizer,
    and torch's random numbers."""
    return {
        "parts": stepper.parts,
        "network": network.state_dict(),
        "mean": mean.state_dict(),
        "optimizer": stepper.optimizer.state_dict(),
        "scaler": stepper.scaler.state_dict(),
        "random": torch.get_rng_state(),
    }


def restore_training(
    state: dict[str, Any], network: MattingNetwork, mean: AveragedModel, stepper: Stepper
) -> None:
    """Puts back what :func:`training_state` held."""
    network.load_state_dict(state["network"])
    mean.load_state_dict(state["mean"])
    stepper.optimizer.load_state_dict(state["optimizer"])
    # A CPU's is empty, which a GPU's doesn't take: it starts with what it has.
    if state["scaler"]:
        stepper.scaler.load_state_dict(state["scaler"])
    stepper.parts = int(state["parts"])
    torch.set_rng_state(state["random"])


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
        with open_regular(path) as file:
            state = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        return None
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        # What torch tells of a pickle that it doesn't trust helps nobody here.
        why = "it is broken" if isinstance(error, UnpicklingError) else error
        raise FitError(f"{path} can't be read ({why}): delete it and train anew") from error
    if not isinstance(state, dict):
        raise FitError(f"{path} is no checkpoint: delete it and train anew")
    return state

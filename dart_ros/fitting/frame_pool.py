"""Composed frames kept on disk, so that a CPU composes them once and trains on them many times."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.files import replacing
from dart_ros.fitting.composition import Batch
from dart_ros.method.network import Background

_STD_STEP = 1e-4
"""Metres of a step of a stored deviation; depths are stored in millimetres."""


class FramePool:
    """A number of frames in a folder, composed when they are first asked for.

    Frames come round again and again: mirrored every other time, and in another order each time.
    Runs whose frames are the same can share a folder, also at the same time.

    Args:
        folder: where they are kept, one file of about 16 bytes a pixel for each.
        frames: how many.
        seed: of the order.
    """

    def __init__(self, folder: Path, frames: int, seed: int) -> None:
        self._folder = folder
        self._frames = frames
        self._seed = seed
        self._order = (0, torch.arange(frames))
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FitError(f"{folder} can't be made ({error}): choose another pool") from error

    def frame(self, number: int, compose: Callable[[int], Batch]) -> Batch:
        """Frame ``number`` of an endless row.

        Args:
            number: from 0 on.
            compose: makes the frame of the pool's index, a batch of one.

        Raises:
            FitError: if the frame can't be written, as on a full disk.
        """
        turn, place = divmod(number, self._frames)
        if self._order[0] != turn:
            generator = torch.Generator().manual_seed(self._seed + turn)
            self._order = turn, torch.randperm(self._frames, generator=generator)
        index = int(self._order[1][place])
        path = self._folder / f"{index:06d}.safetensors"
        try:
            stored = load_file(path)
        except (OSError, SafetensorError):
            stored = _encoded(compose(index))
            _write(path, stored)
        frame = _decoded(stored)
        return _mirrored(frame) if turn % 2 else frame


def _write(path: Path, stored: dict[str, Tensor]) -> None:
    try:
        # Several runs may write the same frame.
        with replacing(path) as temporary:
            save_file(stored, temporary)
    except (OSError, SafetensorError) as error:
        raise FitError(
            f"{path} can't be written ({error}): free some disk space, or give a smaller pool"
        ) from error


def _encoded(frame: Batch) -> dict[str, Tensor]:
    background = frame.background
    images = {
        "color": (frame.color, 255, torch.uint8),
        "plate": (background.plate, 255, torch.uint8),
        "foreground": (frame.foreground, 255, torch.uint8),
        "alpha": (frame.alpha, 255, torch.uint8),
        "known": (background.known, 1, torch.uint8),
        "depth": (frame.depth, 1000, torch.uint16),
        "mean": (background.mean, 1000, torch.uint16),
        "std": (background.std, 1 / _STD_STEP, torch.uint16),
    }
    return {
        name: (image.cpu() * scale).round().clamp(0, torch.iinfo(kind).max).to(kind).contiguous()
        for name, (image, scale, kind) in images.items()
    }


def _decoded(stored: dict[str, Tensor]) -> Batch:
    image = {name: value.float() for name, value in stored.items()}
    depth = image["depth"] / 1000
    background = Background(
        image["plate"] / 255, image["mean"] / 1000, image["std"] * _STD_STEP, image["known"]
    )
    return Batch(
        image["color"] / 255,
        torch.where(depth > 0, depth, -1.0),
        background,
        image["alpha"] / 255,
        image["foreground"] / 255,
    )


def _mirrored(frame: Batch) -> Batch:
    color, depth, alpha, foreground = (
        image.flip(-1) for image in (frame.color, frame.depth, frame.alpha, frame.foreground)
    )
    background = Background(*(image.flip(-1) for image in frame.background))
    return Batch(color, depth, background, alpha, foreground)

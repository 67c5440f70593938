"""Composed frames kept in a folder, so that few CPU cores compose enough for a training."""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.files import replacing
from dart_ros.method.network import Background
from dart_ros.method.posterior import metres_or_guess
from dart_ros.simulation.frames import Batch, Previous

_STD_STEP = 1e-4
"""Metres of a step of a stored deviation; depths are stored in millimetres."""

_WEIGHT_STEPS = 64
"""Steps of a weight of 1; weights are stored up to 255 of them."""

_FEWEST = 64
"""Frames that a pool under renewal has to hold before any is used, or all of a smaller one."""

_PATIENCE = 300.0
"""Seconds in which a pool under renewal has to get its first frames."""

_TRIES = 50
"""Frames that are looked for before the folder is looked at again."""

Compose = Callable[[int], Batch]
"""Makes the frame of a number, a batch of one."""


class PackedBatch(NamedTuple):
    """A batch as it is stored, B×C×H×W, in less than a third of its memory: 19 bytes a pixel, and 7
    more for previous frames.

    Colors, alphas, ``known`` and ``restless`` are uint8, and so are weights, in steps of 1/64.
    ``depth`` (millimetres, 0 unknown, and below 0 where they are a guess), ``mean`` (millimetres)
    and ``std`` (tenths of them) are int16. What is of previous frames is None where there are none.
    """

    color: Tensor
    depth: Tensor
    plate: Tensor
    mean: Tensor
    std: Tensor
    known: Tensor
    restless: Tensor
    alpha: Tensor
    foreground: Tensor
    weight: Tensor
    previous_color: Tensor | None = None
    previous_depth: Tensor | None = None
    previous_alpha: Tensor | None = None
    previous_weight: Tensor | None = None

    def to(self, device: torch.device) -> Batch:
        """The batch itself, on a device."""

        def bytes_(image: Tensor, scale: float) -> Tensor:
            return image.to(device, non_blocking=True).float() / scale

        def metres(image: Tensor) -> Tensor:
            stored = bytes_(image, 1000)
            return torch.where(stored > 0, stored, stored - 1)

        std = bytes_(self.std, 1) * _STD_STEP
        background = Background(
            bytes_(self.plate, 255),
            bytes_(self.mean, 1000),
            std,
            bytes_(self.known, 1),
            bytes_(self.restless, 1),
        )
        previous = None
        if self.previous_color is not None:
            assert self.previous_depth is not None
            assert self.previous_alpha is not None and self.previous_weight is not None
            previous = Previous(
                bytes_(self.previous_color, 255),
                metres(self.previous_depth),
                bytes_(self.previous_alpha, 255),
                bytes_(self.previous_weight, _WEIGHT_STEPS),
            )
        return Batch(
            bytes_(self.color, 255),
            metres(self.depth),
            background,
            bytes_(self.alpha, 255),
            bytes_(self.foreground, 255),
            bytes_(self.weight, _WEIGHT_STEPS),
            previous,
        )

    def map(self, change: Callable[[Tensor], Tensor]) -> PackedBatch:
        """The batch with every one of its images changed alike."""
        return PackedBatch(**{name: change(image) for name, image in self.images().items()})

    def images(self) -> dict[str, Tensor]:
        """The images that there are, by their names."""
        return {name: image for name, image in self._asdict().items() if image is not None}


class FramePool:
    """A number of frames in a folder, composed when they are first asked for.

    Frames come round again and again: mirrored every other time, and in another order each time.
    Runs whose frames are the same can share a folder, also at the same time.

    Args:
        folder: where they are kept, one file of 19 to 26 bytes a pixel for each.
        frames: how many.
        seed: of the order.
        renewed: whether other processes compose the frames and replace them all the while, see
            :meth:`renew`. Whatever is there is then used, in no order.
    """

    def __init__(self, folder: Path, frames: int, seed: int, renewed: bool = False) -> None:
        self._folder = folder
        self._frames = frames
        self._seed = seed
        self._renewed = renewed
        self._order = (0, torch.arange(frames))
        self._there = 0
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FitError(f"{folder} can't be made ({error}): choose another pool") from error

    def frame(self, number: int, compose: Compose) -> PackedBatch:
        """Frame ``number`` of an endless row.

        Args:
            number: from 0 on.
            compose: makes the frame of the pool's index.

        Raises:
            FitError: if the frame can't be written, as on a full disk, or if nobody fills a pool
                under renewal for five minutes.
        """
        if self._renewed:
            return self._any(number)
        turn, place = divmod(number, self._frames)
        if self._order[0] != turn:
            generator = torch.Generator().manual_seed(self._seed + turn)
            self._order = turn, torch.randperm(self._frames, generator=generator)
        index = int(self._order[1][place])
        frame = self._read(index)
        if frame is None:
            frame = _packed(compose(index))
            self._write(index, frame)
        return _mirrored(frame) if turn % 2 else frame

    def renew(self, index: int, turn: int, compose: Compose) -> None:
        """Puts a new frame in place of an old one; in turn 0 only where there is none.

        Raises:
            FitError: if the frame can't be written.
        """
        if turn or not self._path(index).exists():
            self._write(index, _packed(compose(index + turn * self._frames)))

    @property
    def frames(self) -> int:
        """How many frames the pool has when it is full."""
        return self._frames

    def _any(self, number: int) -> PackedBatch:
        generator = torch.Generator().manual_seed(self._seed + number)
        end = time.monotonic() + _PATIENCE
        while time.monotonic() < end:
            if self._there < self._frames:
                there = sum(1 for _ in self._folder.glob("[0-9]*.safetensors"))
                self._there = min(there, self._frames)
            if self._there >= min(_FEWEST, self._frames):
                # Several processes compose, so the last few frames may be farther on.
                for _ in range(_TRIES):
                    index = int(torch.randint(self._there, (), generator=generator))
                    frame = self._read(index)
                    if frame is not None:
                        mirror = bool(torch.rand((), generator=generator) < 0.5)
                        return _mirrored(frame) if mirror else frame
                self._there = 0
            time.sleep(0.2)
        raise FitError(
            f"nobody fills the pool {self._folder}: give pool.renewing a number of processes, or "
            "start the run that renews it"
        )

    def _path(self, index: int) -> Path:
        return self._folder / f"{index:06d}.safetensors"

    def _read(self, index: int) -> PackedBatch | None:
        try:
            stored = load_file(self._path(index))
        except (OSError, SafetensorError):
            return None
        return PackedBatch(**stored)

    def _write(self, index: int, frame: PackedBatch) -> None:
        path = self._path(index)
        try:
            # Several runs may write the same frame.
            with replacing(path) as temporary:
                save_file(frame.images(), temporary)
        except (OSError, SafetensorError) as error:
            raise FitError(
                f"{path} can't be written ({error}): free some disk space, or give a smaller pool"
            ) from error


class Renewal:
    """Processes that compose new frames for pools all the while, until they are ended.

    They end by themselves where the process that started them is gone.

    Args:
        pools: the pools, what makes the frames of each, and how many of it are made in turn.
        workers: how many processes.
    """

    def __init__(self, pools: Sequence[tuple[FramePool, Compose, int]], workers: int) -> None:
        # Forked: foregrounds and rooms are there already, and nobody uses the GPU in there.
        context = multiprocessing.get_context("fork")
        self._processes = [
            context.Process(target=_renew, args=(pools, first, workers, os.getpid()), daemon=True)
            for first in range(workers)
        ]
        for process in self._processes:
            process.start()

    def check(self) -> None:
        """Raises:
        FitError: if one of the processes has ended.
        """
        for process in self._processes:
            if process.exitcode is not None:
                raise FitError(
                    f"a process that renews the pool ended with {process.exitcode}: its error is "
                    "above, or its memory was too small; give fewer processes or a smaller pool"
                )

    def end(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.join()


def _renew(
    pools: Sequence[tuple[FramePool, Compose, int]], first: int, step: int, parent: int
) -> None:
    """One process of a renewal: every ``step``-th frames of each pool, again and again."""
    torch.set_num_threads(1)
    number = first
    while True:
        for pool, compose, share in pools:
            for among in range(share):
                if os.getppid() != parent:
                    return
                turn, index = divmod(number * share + among, pool.frames)
                pool.renew(index, turn, compose)
        number += step


def join_packed(frames: Sequence[PackedBatch]) -> PackedBatch:
    """Several batches as one, all with previous frames or none."""
    parts = [frame.images() for frame in frames]
    return PackedBatch(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})


def _packed(frame: Batch) -> PackedBatch:
    background = frame.background

    def stored(image: Tensor, scale: float, kind: torch.dtype) -> Tensor:
        kinds = torch.iinfo(kind)
        return (image.cpu() * scale).round().clamp(kinds.min, kinds.max).to(kind).contiguous()

    def color(image: Tensor) -> Tensor:
        return stored(image, 255, torch.uint8)

    def metres(depth: Tensor) -> Tensor:
        sign = torch.where(depth > 0, 1.0, -1.0)
        return stored(metres_or_guess(depth) * sign, 1000, torch.int16)

    def weight(image: Tensor) -> Tensor:
        return stored(image, _WEIGHT_STEPS, torch.uint8)

    packed = PackedBatch(
        color=color(frame.color),
        depth=metres(frame.depth),
        plate=color(background.plate),
        mean=stored(background.mean, 1000, torch.int16),
        std=stored(background.std, 1 / _STD_STEP, torch.int16),
        known=stored(background.known, 1, torch.uint8),
        restless=stored(background.restless, 1, torch.uint8),
        alpha=color(frame.alpha),
        foreground=color(frame.foreground),
        weight=weight(frame.weight),
    )
    if frame.previous is None:
        return packed
    return packed._replace(
        previous_color=color(frame.previous.color),
        previous_depth=metres(frame.previous.depth),
        previous_alpha=color(frame.previous.alpha),
        previous_weight=weight(frame.previous.weight),
    )


def _mirrored(frame: PackedBatch) -> PackedBatch:
    return frame.map(lambda image: image.flip(-1))

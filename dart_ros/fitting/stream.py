"""Endless training batches, each decided by the seed and its number alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dart_ros.fitting.composition import MAX_DEPTH, Batch, Composer, RgbdBackground, joined
from dart_ros.fitting.frame_pool import FramePool
from dart_ros.fitting.sprites import Sprite


class CompositionStream(Dataset[Batch]):
    """Batch number N is the same whatever was composed before it, and in whichever process.

    So a training that was interrupted goes on with the batches that it would have seen, and
    several processes share out each batch without talking to each other.

    Args:
        sprites: what can stand in front.
        rooms: where it can stand.
        sizes: (height, width) of the frames; batches take them in turn.
        batch: frames of a whole batch.
        seed: the same seed gives the same frames.
        max_depth: the sensor's range in metres.
        device: where the frames are composed and stay.
        rank: number of this process among ``world``.
        world: number of processes that share a batch; divides ``batch``.
        pools: where the frames of each size are kept to be used again; None composes all anew.
    """

    def __init__(
        self,
        sprites: Sequence[Sprite],
        rooms: Sequence[RgbdBackground],
        sizes: Sequence[tuple[int, int]],
        batch: int,
        seed: int,
        max_depth: float = MAX_DEPTH,
        device: torch.device | None = None,
        rank: int = 0,
        world: int = 1,
        pools: Sequence[FramePool] | None = None,
    ) -> None:
        if batch % world:
            raise ValueError(f"a batch of {batch} can't be shared by {world} processes")
        self._composers = [
            Composer(sprites, rooms, size, max_depth, device=device) for size in sizes
        ]
        self._frames = range(rank * batch // world, (rank + 1) * batch // world)
        self._batch = batch
        self._seed = seed
        self._pools = pools

    def __getitem__(self, number: int) -> Batch:
        turn, place = divmod(number, len(self._composers))
        compose = self._composers[place].frames
        if self._pools is None:
            first = number * self._batch
            return compose([_mix(self._seed, first + i) for i in self._frames])
        first, pool = turn * self._batch, self._pools[place]
        return joined(
            [
                pool.frame(first + i, lambda index: compose([_mix(self._seed, index)]))
                for i in self._frames
            ]
        )

    def batches(self, start: int = 0, workers: int = 0) -> Iterator[Batch]:
        """All batches from number ``start`` on.

        Args:
            start: number of the first batch.
            workers: processes that compose ahead; 0 composes here, when asked.
        """
        numbers: Iterable[int] = itertools.count(start)
        if workers == 0:
            return (self[number] for number in numbers)
        return iter(
            DataLoader(
                self,
                batch_size=None,
                sampler=numbers,
                num_workers=workers,
                prefetch_factor=4,
                worker_init_fn=_one_thread,
            )
        )


def _mix(seed: int, number: int) -> int:
    """A seed of 32 bits, far from those of neighbours."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)

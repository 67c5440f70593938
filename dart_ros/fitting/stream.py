"""Endless training batches, each decided by the seed and its number alone."""

from __future__ import annotations

import itertools
import logging
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from dart_ros.errors import FitError
from dart_ros.fitting.frame_pool import FramePool, PackedBatch, Renewal, join_packed
from dart_ros.simulation.composition import Chances, Composer
from dart_ros.simulation.foregrounds import Foreground
from dart_ros.simulation.frames import MAX_DEPTH, Batch, RgbdBackground
from dart_ros.simulation.mixture import Mixture
from dart_ros.simulation.recorded import RecordedChances, RecordedFrames, RecordedScene

_log = logging.getLogger(__name__)

_SHARED_MEMORY = "/dev/shm"
"""Where torch puts what processes hand to each other."""

_AHEAD = 4
"""Batches that are composed ahead, by all processes together; more where there are more of them."""

_PATIENCE = 600.0
"""Seconds after which a batch is taken for lost."""

_PIXEL_BYTES = 16 * 4
"""Of a batch's images together: 16 channels of float32."""

_PACKED_BYTES = 19
"""The same of a :class:`PackedBatch`."""

_EARLIER_BYTES, _EARLIER_PACKED_BYTES = 6 * 4, 7
"""What previous frames add to them."""


class CompositionStream(Dataset[Batch | PackedBatch]):
    """Batch number N is the same whatever was composed before it, and in whichever process (unless
    pools are renewed meanwhile).

    So a training that was interrupted goes on with the batches that it would have seen, and
    several processes share out each batch without talking to each other.

    Args:
        foregrounds: what can stand in front.
        rooms: where it can stand.
        sizes: (height, width) of the frames; batches take them in turn.
        batch: frames of a whole batch.
        seed: the same seed gives the same frames.
        max_depth: the sensor's range in metres.
        device: where the frames are composed and stay.
        rank: number of this process among ``world``.
        world: number of processes that share a batch; divides ``batch``.
        pools: where the frames of each size are kept to be used again; None composes all anew.
        recorded: scenes whose real frames are among the composed ones.
        recorded_share: of the frames that are real.
        pairs: whether each frame comes with the one before it.
        composition: how often what happens in composed frames.
        changes: how often real frames are changed.
    """

    def __init__(
        self,
        foregrounds: Sequence[Foreground],
        rooms: Sequence[RgbdBackground],
        sizes: Sequence[tuple[int, int]],
        batch: int,
        seed: int,
        max_depth: float = MAX_DEPTH,
        device: torch.device | None = None,
        rank: int = 0,
        world: int = 1,
        pools: Sequence[FramePool] | None = None,
        recorded: Sequence[RecordedScene] = (),
        recorded_share: float = 0.0,
        pairs: bool = False,
        composition: Chances | None = None,
        changes: RecordedChances | None = None,
    ) -> None:
        if batch % world:
            raise ValueError(f"a batch of {batch} can't be shared by {world} processes")
        self._sources = [
            Mixture(
                Composer(
                    *(foregrounds, rooms, size, max_depth),
                    device=device,
                    pairs=pairs,
                    chances=composition,
                ),
                RecordedFrames(recorded, size, pairs, changes) if recorded else None,
                recorded_share,
            )
            for size in sizes
        ]
        self._sizes = list(sizes)
        self._frames = range(rank * batch // world, (rank + 1) * batch // world)
        self._pixels = len(self._frames) * max(height * width for height, width in sizes)
        self._batch = batch
        self._seed = seed
        self._pools = pools
        self._pairs = pairs

    def __getitem__(self, number: int) -> Batch | PackedBatch:
        turn, place = divmod(number, len(self._sources))
        compose = self._sources[place].frames
        if self._pools is None:
            first = number * self._batch
            return compose([_mix(self._seed, first + i) for i in self._frames])
        # A size that comes several times in turn has frames of its own each time.
        size = self._sizes[place]
        share, among = self._sizes.count(size), self._sizes[:place].count(size)
        first, pool = (turn * share + among) * self._batch, self._pools[place]
        return join_packed(
            [
                pool.frame(first + i, lambda index: compose([_mix(self._seed, index)]))
                for i in self._frames
            ]
        )

    def renewal(self, workers: int) -> Renewal:
        """Processes that renew the stream's pools, each size as often as batches are of it."""
        assert self._pools is not None

        def making(source: Mixture) -> Callable[[int], Batch]:
            return lambda index: source.frames([_mix(self._seed, index)])

        shares = Counter(self._sizes)
        places = [self._sizes.index(size) for size in shares]
        jobs = [
            (self._pools[place], making(self._sources[place]), shares[self._sizes[place]])
            for place in places
        ]
        return Renewal(jobs, workers)

    def batches(self, start: int = 0, workers: int = 0) -> Iterator[Batch | PackedBatch]:
        """All batches from number ``start`` on.

        Args:
            start: number of the first batch.
            workers: processes that compose ahead; 0 composes here, when asked, and so does any
                number for which there is too little shared memory.

        Raises:
            FitError: from the iterator, if a process that composes is killed or sends nothing for
                ten minutes.
        """
        numbers: Iterable[int] = itertools.count(start)
        ahead = max(1, _AHEAD // max(1, workers))
        if workers == 0 or not self._fits(ahead * workers):
            return (self[number] for number in numbers)
        return _received(
            iter(
                DataLoader(
                    self,
                    batch_size=None,
                    sampler=numbers,
                    num_workers=workers,
                    prefetch_factor=ahead,
                    timeout=_PATIENCE,
                    pin_memory=torch.cuda.is_available(),
                    worker_init_fn=_one_thread,
                )
            )
        )

    def _fits(self, ahead: int) -> bool:
        """Whether shared memory can hold the batches ahead and the one in use; warns if not."""
        # torch drops a batch that it finds no room for, and waits for it ever after.
        pixel = _PIXEL_BYTES if self._pools is None else _PACKED_BYTES
        if self._pairs:
            pixel += _EARLIER_BYTES if self._pools is None else _EARLIER_PACKED_BYTES
        needed = (ahead + 1) * self._pixels * pixel
        try:
            free = shutil.disk_usage(_SHARED_MEMORY).free
        except OSError:
            free = 0
        if needed > free:
            _log.warning(
                "%s has %.0f MB free and composing ahead takes %.0f MB, so frames are composed in "
                "this process, which is slower: free some, or start docker with --shm-size or "
                "--ipc=host",
                _SHARED_MEMORY,
                free / 1e6,
                needed / 1e6,
            )
        return needed <= free


def _received(batches: Iterator[Batch | PackedBatch]) -> Iterator[Batch | PackedBatch]:
    """What other processes compose, with their end told in the package's own words."""
    try:
        yield from batches
    except FitError as error:
        # It comes with the other process's traceback before it.
        raise FitError(str(error).strip().rpartition("FitError: ")[2]) from error
    except RuntimeError as error:
        # An error inside of a process comes through as "Caught ...", and is a bug.
        if not str(error).startswith("DataLoader"):
            raise
        raise FitError(
            f"the processes that compose frames send no more ({error}): free memory and "
            f"{_SHARED_MEMORY}, start docker with --shm-size or --ipc=host, or train with fewer "
            "workers, and run the same command again"
        ) from error


def _mix(seed: int, number: int) -> int:
    """A seed of 32 bits, far from those of neighbours."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _one_thread(_worker: int) -> None:
    torch.set_num_threads(1)

"""What a replayed camera plays next, and its pictures made ready for publishing ahead of time."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, cycle
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FrameError, RecordingError
from dart_ros.values import Frame

Key = tuple[int, int]
"""Index of a frame in its recording, and which draw of simulated sensor noise is meant."""

_AHEAD = 8
_MOST_BROKEN = 10_000


class FrameSource(Protocol):
    """The part of a recording that is needed here."""

    def frame(self, index: int, repeat: int = 0) -> Frame:
        """Frame ``index``; another ``repeat`` draws the simulated sensor noise anew."""
        ...


@dataclass(frozen=True, eq=False)
class Picture:
    """One frame in the form that a message takes.

    Attributes:
        color: ``H·W·3`` bytes, rgb8.
        depth: ``H·W·2`` bytes, 16UC1 millimetres in the machine's byte order, 0 is unknown.
    """

    color: array[int]
    depth: array[int]

    @property
    def size(self) -> int:
        """Bytes that the picture takes."""
        return len(self.color) + len(self.depth)


def to_picture(frame: Frame) -> Picture:
    """Turn a frame into the bytes of its two messages."""
    return Picture(_bytes(frame.color), _bytes(millimetres(frame.depth)))


def millimetres(depth: NDArray[np.float32]) -> NDArray[np.uint16]:
    """``H×W`` uint16 millimetres of ``H×W`` float32 metres; unknown (negative) becomes 0."""
    return np.rint(np.clip(depth * 1000.0, 0.0, 65535.0)).astype(np.uint16)


def _bytes(image: NDArray[np.uint8] | NDArray[np.uint16]) -> array[int]:
    # rclpy checks every single byte of anything but an array('B').
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).tobytes())
    return data


def there_and_back(keys: Sequence[Key]) -> list[Key]:
    """``keys`` forwards, then backwards without repeating either end: a seamless loop."""
    return [*keys, *keys[-2:0:-1]]


class Playlist:
    """The order in which frames are played: an empty scene in a loop, then an occupied one.

    Args:
        empty: keys of the empty scene, played there and back until told otherwise.
        occupied: keys of the scene with its foreground.
        loop: play the occupied part there and back for ever; else once, and then empty again.

    Raises:
        ValueError: if there is nothing to play.
    """

    def __init__(self, empty: Sequence[Key], occupied: Sequence[Key], loop: bool) -> None:
        if not empty and not occupied:
            raise ValueError("a playlist needs at least one frame")
        self._empty = list(empty)
        self._occupied = list(occupied)
        self._loop = loop
        self._keys = self._play_empty() if empty else self._play_occupied()

    def show(self, occupied: bool) -> None:
        """Go to the start of the occupied part, or of the empty one; ValueError if it has none."""
        if not (self._occupied if occupied else self._empty):
            raise ValueError(f"the recording has no {'occupied' if occupied else 'empty'} frames")
        self._keys = self._play_occupied() if occupied else self._play_empty()

    def __next__(self) -> tuple[Key, bool]:
        """The next key, and whether it belongs to the occupied part."""
        return next(self._keys)

    def _play_empty(self) -> Iterator[tuple[Key, bool]]:
        return cycle([(key, False) for key in there_and_back(self._empty)])

    def _play_occupied(self) -> Iterator[tuple[Key, bool]]:
        if self._loop or not self._empty:
            return cycle([(key, True) for key in there_and_back(self._occupied)])
        return chain(((key, True) for key in self._occupied), self._play_empty())


class PictureQueue:
    """The pictures of a playlist, ready when their time comes.

    Pictures are kept as long as they fit into ``limit`` bytes; others are made again each time,
    a few frames ahead.

    Args:
        source: where frames come from.
        playlist: what is played.
        limit: bytes of pictures to keep.
        reader: the one thread that reads the source.

    Attributes:
        broken: keys that can't be read and are left out, and why.
    """

    def __init__(
        self, source: FrameSource, playlist: Playlist, limit: int, reader: ThreadPoolExecutor
    ) -> None:
        self._source = source
        self._playlist = playlist
        self._limit = limit
        self._kept: dict[Key, Picture] = {}
        self._kept_bytes = 0
        self._reader = reader
        self._ahead: deque[tuple[Key, Future[Picture], bool]] = deque()
        self.broken: dict[Key, str] = {}

    def prepare(self, keys: Sequence[Key], progress: Callable[[int, int], None]) -> int:
        """Make pictures beforehand, as many as fit; returns how many of the keys are ready.

        Raises:
            RecordingError: if the recording can't be read.
        """
        ready = 0
        for key in keys:
            try:
                self._reader.submit(self._make, key).result()
            except FrameError as error:
                self.broken[key] = str(error)
                continue
            if key not in self._kept:
                break
            ready += 1
            progress(ready, len(keys))
        return ready

    def show(self, occupied: bool) -> None:
        """Turn to the occupied or the empty part, from its start, with the next picture.

        Raises:
            ValueError: if the playlist has no such part.
        """
        self._playlist.show(occupied)
        self._ahead.clear()

    def next(self) -> tuple[Picture, bool] | None:
        """The next picture and whether it is of the occupied part; None if it isn't ready yet.

        Raises:
            RecordingError: if the recording can't be read, or none of its frames.
        """
        while True:
            while len(self._ahead) < _AHEAD:
                key, occupied = self._following()
                self._ahead.append((key, self._submit(key), occupied))
            key, future, occupied = self._ahead[0]
            if not future.done():
                return None
            self._ahead.popleft()
            try:
                picture = future.result()
            except FrameError as error:
                self.broken[key] = str(error)
                continue
            return picture, occupied

    def _following(self) -> tuple[Key, bool]:
        """The next key of the playlist that isn't known to be broken."""
        for _ in range(_MOST_BROKEN):
            key, occupied = next(self._playlist)
            if key not in self.broken:
                return key, occupied
        raise RecordingError(
            f"{_MOST_BROKEN} frames in a row can't be read. The first: "
            f"{next(iter(self.broken.values()))}"
        )

    def _submit(self, key: Key) -> Future[Picture]:
        kept = self._kept.get(key)
        if kept is None:
            return self._reader.submit(self._make, key)
        future: Future[Picture] = Future()
        future.set_result(kept)
        return future

    def _make(self, key: Key) -> Picture:
        kept = self._kept.get(key)
        if kept is not None:
            return kept
        picture = to_picture(self._source.frame(*key))
        if self._kept_bytes + picture.size <= self._limit:
            self._kept[key] = picture
            self._kept_bytes += picture.size
        return picture


def noisy_keys(indices: Sequence[int], draws: int) -> list[Key]:
    """Keys of at least ``draws`` pictures of ``indices``, each repeat with noise of its own."""
    repeats = -(-draws // len(indices)) if indices else 0
    return [(index, repeat) for repeat in range(repeats) for index in indices]

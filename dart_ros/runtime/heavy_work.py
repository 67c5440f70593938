"""Fits and builds of engines one after the other, on machines too small for two at a time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Iterator

from dart_ros.runtime.engine_cache import EngineCache

_FEW_CORES = 8
_LITTLE_MEMORY = 16e9  # bytes; a Jetson shares them with its GPU

_LOCK = "heavy_work.lock"


def is_small() -> bool:
    """Whether this machine can't do two heavy works at a time beside what it is there for."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (os.cpu_count() or 1) < _FEW_CORES or memory < _LITTLE_MEMORY


@contextlib.contextmanager
def one_at_a_time(on_wait: Callable[[], None]) -> Iterator[None]:
    """Holds a lock of the user's on a small machine; waits for other processes that hold it.

    The lock is free again when the process ends, however it ends. Where no lock can be made nothing
    is waited for.

    Args:
        on_wait: called once if another process is at work.
    """
    if not is_small():
        yield
        return
    folder = EngineCache().directory
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = (folder / _LOCK).open("w")
    except OSError:
        yield
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield

"""Threads that work on items: the latest one alone, each in turn, or jobs of any kind."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class _Worker(Generic[Item]):
    """A thread that works on the item that waits; put() of a subclass says which one that is.

    Args:
        work: called in the worker thread with each item.
        on_error: called in the worker thread with whatever ``work`` raised; the thread carries on.
        name: name of the thread.
        niceness: of the thread, where the system knows that of a thread (Linux).
    """

    def __init__(
        self,
        work: Callable[[Item], None],
        on_error: Callable[[Exception], None],
        name: str = "worker",
        niceness: int = 0,
    ) -> None:
        self._work = work
        self._on_error = on_error
        self._niceness = niceness
        self._changed = threading.Condition()
        self._waiting: list[Item] = []  # empty or one item
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """End the thread after the item at work and, if it is kept, the one that waits.

        Returns:
            Whether the thread has ended within ``timeout`` seconds.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        if self._niceness:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), self._niceness)
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if not self._waiting:
                    return
                item = self._waiting.pop()
                self._changed.notify_all()
            try:
                self._work(item)
            except Exception as error:
                self._on_error(error)
            # An idle worker must not keep the last images alive.
            del item


class LatestWorker(_Worker[Item]):
    """Works on the latest item put; an item that still waits is replaced and counted."""

    _replaced = 0

    def put(self, item: Item) -> None:
        """Hand over an item; never blocks for longer than the lock is held."""
        with self._changed:
            self._replaced += len(self._waiting)
            self._waiting = [item]
            self._changed.notify()

    @property
    def replaced(self) -> int:
        """Items that a newer one replaced before they were worked on."""
        with self._changed:
            return self._replaced

    def stop(self, timeout: float) -> bool:
        """Drop the waiting item and end the thread after the item at work."""
        with self._changed:
            self._waiting = []
        return super().stop(timeout)


class OrderedWorker(_Worker[Item]):
    """Works on every item in turn; put() blocks while another item waits."""

    def put(self, item: Item) -> None:
        """Hand over an item; blocks while one waits. After :meth:`stop` the item is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._stopping)
            if not self._stopping:
                self._waiting = [item]
                self._changed.notify_all()


class JobThread:
    """Runs jobs one after another in a thread of its own, for what takes longer than a frame.

    Args:
        post: runs a callable in the thread that owns the results (the executor's).
        name: name of the thread.
    """

    def __init__(self, post: Callable[[Callable[[], None]], None], name: str) -> None:
        self._post = post
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(
        self,
        job: Callable[[], Any],
        on_result: Callable[[Any], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Queue ``job``; what it returns or raises is posted to one of the two callbacks."""

        def run() -> None:
            try:
                result = job()
            except Exception as error:
                # The name `error` is unbound when this block ends, hence the default argument.
                self._post(lambda error=error: on_error(error))  # type: ignore[misc]
            else:
                self._post(lambda: on_result(result))

        self._jobs.put(run)

    def stop(self, timeout: float) -> bool:
        """Skip what is queued and end after the job at work.

        Returns:
            Whether the thread has ended within ``timeout`` seconds.
        """
        self._stopping = True
        self._jobs.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            job = self._jobs.get()
            if job is None or self._stopping:
                return
            job()

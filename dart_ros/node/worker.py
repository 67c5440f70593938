"""Threads that work on items: the latest one alone, each in turn, or jobs of any kind."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


class LatestWorker(Generic[Item]):
    """Works on the latest item put; an item that still waits is replaced and counted.

    Args:
        work: called in the worker thread with each item taken from the slot.
        on_error: called in the worker thread with whatever ``work`` raised; the thread goes on.
        name: name of the thread.
    """

    def __init__(
        self,
        work: Callable[[Item], None],
        on_error: Callable[[Exception], None],
        name: str = "worker",
    ) -> None:
        self._work = work
        self._on_error = on_error
        self._changed = threading.Condition()
        self._waiting: list[Item] = []  # the slot: empty or one item
        self._replaced = 0
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand over an item; never blocks for longer than the lock is held."""
        with self._changed:
            if self._waiting:
                self._replaced += 1
            self._waiting = [item]
            self._changed.notify()

    @property
    def replaced(self) -> int:
        """Items that a newer one pushed out of the slot before they were worked on."""
        with self._changed:
            return self._replaced

    def stop(self, timeout: float) -> bool:
        """Drop the waiting item and end the thread after the item at work.

        Returns:
            Whether the thread has ended within ``timeout`` seconds.
        """
        with self._changed:
            self._stopping = True
            self._waiting = []
            self._changed.notify()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._stopping)
                if self._stopping:
                    return
                item = self._waiting.pop()
            try:
                self._work(item)
            except Exception as error:
                self._on_error(error)
            # An idle worker must not keep the last images alive.
            del item


class OrderedWorker(Generic[Item]):
    """Works on every item in turn; who brings one while another still waits, waits himself.

    Args:
        work: called in the worker thread with each item.
        on_error: called in the worker thread with whatever ``work`` raised; the thread goes on.
        name: name of the thread.
    """

    def __init__(
        self, work: Callable[[Item], None], on_error: Callable[[Exception], None], name: str
    ) -> None:
        self._work = work
        self._on_error = on_error
        self._changed = threading.Condition()
        self._waiting: list[Item] = []  # empty or one item
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, item: Item) -> None:
        """Hand over an item; blocks while one waits. After :meth:`stop` the item is dropped."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting or self._stopping)
            if not self._stopping:
                self._waiting = [item]
                self._changed.notify_all()

    def stop(self, timeout: float) -> bool:
        """End the thread after what was handed over.

        Returns:
            Whether the thread has ended within ``timeout`` seconds.
        """
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
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

"""Callables of other threads, run in the executor's thread."""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node


class CallbackQueue:
    """Runs callables in the executor's thread, in the order in which they were posted.

    Args:
        node: node whose executor does the work.
    """

    def __init__(self, node: Node) -> None:
        self._callbacks: deque[Callable[[], None]] = deque()
        self._guard = node.create_guard_condition(self._run)

    def post(self, callback: Callable[[], None]) -> None:
        """Have ``callback`` called soon; from any thread, never blocks."""
        self._callbacks.append(callback)
        # During shutdown the guard may be gone, and nobody is left to run the callback. rclpy has
        # no public name for this exception (Humble to Kilted).
        with contextlib.suppress(rclpy_implementation.InvalidHandle):
            self._guard.trigger()

    def _run(self) -> None:
        while self._callbacks:
            try:
                self._callbacks.popleft()()
            except Exception:
                # The rest must not wait for the next post.
                self._guard.trigger()
                raise

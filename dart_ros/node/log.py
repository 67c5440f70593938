"""The node's log: lines are short, printable, and rare by kind, whatever comes from outside."""

from __future__ import annotations

import re
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from dart_ros.printable import printable

LONGEST = 1000
"""Characters of a line, a reason in the status or an answer; longer ones are cut."""

_PERIOD = 10.0  # seconds over which lines are counted
_MOST_OF_KIND, _MOST = 10, 100  # lines in that time
_FAULT_PERIOD = 5.0  # seconds after which a fault that lasts has its traceback logged again
_KINDS = 200  # that are counted apart; the others share one count


_QUOTED = r"(?<!\w)'[^']*'"  # no apostrophe within a word


def kind_of(text: str) -> str:
    """Return a text without its figures and what it quotes, to tell a new text from new values."""
    return re.sub(r"\d+", "#", re.sub(_QUOTED, "''", text))


def without_figures(text: str) -> str:
    """Return a text without its figures, but with what it quotes: names, encodings, frames."""
    return re.sub(rf"({_QUOTED})|\d+", lambda found: found[1] or "#", text)


class NodeLog:
    """Writes to a logger at most so many lines of a kind; from any thread.

    Args:
        logger: rclpy's.
        now: returns seconds of a steady clock.
    """

    def __init__(self, logger: Any, now: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._now = now
        self._lock = threading.Lock()
        self._kinds: dict[str, deque[float]] = {}
        self._all: deque[float] = deque()
        self._skipped = 0

    # rclpy wants a line of code of its own for each severity.

    def info(self, text: str) -> None:
        """Log what happens."""
        if line := self._line(text):
            self._logger.info(line)

    def warning(self, text: str) -> None:
        """Log what is odd."""
        if line := self._line(text):
            self._logger.warning(line)

    def error(self, text: str) -> None:
        """Log what failed."""
        if line := self._line(text):
            self._logger.error(line)

    def fault(self, error: BaseException) -> None:
        """Log an error that nobody raised on purpose, with its traceback; rarely if it lasts."""
        stack = "".join(traceback.format_tb(error.__traceback__))
        what = printable(f"{type(error).__name__}: {error}", LONGEST)
        text = f"Traceback (most recent call last):\n{stack}{what}"
        if self._allowed(stack, _FAULT_PERIOD):
            self._logger.error(text)

    def _line(self, text: str) -> str:
        """The line to write, empty for none."""
        line = printable(text, LONGEST)
        return line if self._allowed(kind_of(line)) else ""

    def _allowed(self, kind: str, pause: float = 0.0) -> bool:
        """Count a line, and return whether it may be written; says how many before it were not.

        Args:
            kind: of the line.
            pause: seconds after a line of this kind for which the next ones are skipped.
        """
        with self._lock:
            now = self._now()
            if kind not in self._kinds and len(self._kinds) >= _KINDS:
                # Those that nobody has seen lately go first.
                self._kinds = {k: times for k, times in self._kinds.items() if _recent(times, now)}
            known = kind in self._kinds or len(self._kinds) < _KINDS
            lines = self._kinds.setdefault(kind if known else "", deque())
            full = len(_recent(lines, now)) >= _MOST_OF_KIND
            too_soon = bool(lines) and now - lines[-1] < pause
            if full or too_soon or len(_recent(self._all, now)) >= _MOST:
                self._skipped += 1
                return False
            lines.append(now)
            self._all.append(now)
            skipped, self._skipped = self._skipped, 0
        if skipped:
            self._logger.warning(f"{skipped} further lines of the same kinds were not logged")
        return True


def _recent(times: deque[float], now: float) -> deque[float]:
    while times and times[0] <= now - _PERIOD:
        times.popleft()
    return times

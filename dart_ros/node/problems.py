"""Failed requests and the node's own faults: logged, and remembered for the status."""

from __future__ import annotations

import math
import time

from dart_ros.errors import DartError
from dart_ros.node.log import LONGEST, NodeLog
from dart_ros.printable import printable

_REPEAT = 5.0  # seconds after which a fault that lasts is logged again
_MEMORY = 30.0  # seconds for which a failed request stays in the status of an active node
_FAULT_MEMORY = 2.0  # seconds for which a fault of the node's own does


class Problems:
    """What went wrong lately. All methods but :meth:`describe` are for the executor's thread.

    Args:
        log: the node's log.
    """

    def __init__(self, log: NodeLog) -> None:
        self._log = log
        self._last = ""
        self._last_time = 0.0
        self._fault = ""
        self._fault_time = -math.inf

    def describe(self, error: Exception) -> str:
        """Return an error in words; log the traceback of one that nobody raised on purpose."""
        if isinstance(error, DartError):
            return printable(str(error), LONGEST)
        self._log.fault(error)
        return printable(f"internal error, please report it with the log: {error!r}", LONGEST)

    def report(self, reason: str) -> None:
        """Log a failed request and keep it for the status."""
        self._log.error(reason)
        self._last, self._last_time = printable(reason, LONGEST), time.monotonic()

    def report_error(self, error: Exception) -> str:
        """Do what :meth:`report` does with an error; return it in words."""
        reason = self.describe(error)
        self.report(reason)
        return reason

    def report_fault(self, error: Exception) -> None:
        """Report what a callback in the executor's thread raised, once per :data:`_REPEAT`."""
        reason, now = self.describe(error), time.monotonic()
        if reason != self._fault or now - self._fault_time > _REPEAT:
            self.report(reason)
        self._fault, self._fault_time = reason, now

    def forget(self) -> None:
        """Drop the last failed request: a later one succeeded."""
        self._last = ""

    @property
    def last(self) -> str:
        """The last failed request in words, empty if there is none."""
        return self._last

    def recent(self, now: float) -> str:
        """Return the last failed request unless it is old; ``now`` in seconds, monotonic."""
        return self._last if now - self._last_time < _MEMORY else ""

    def recent_fault(self, now: float) -> str:
        """Return the last fault of the node's own unless it is old."""
        return self._fault if now - self._fault_time < _FAULT_MEMORY else ""

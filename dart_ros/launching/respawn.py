"""Whether a node that died is started again: not if it would only die again."""

from __future__ import annotations

from collections import deque

# A node that ends by itself so soon after its very first start was refused something: a
# parameter, a file. It would be refused again.
REFUSED_WITHIN = 20.0
# More deaths than `limit` within this time are no accident.
WINDOW = 60.0


class RespawnPolicy:
    """Counts the deaths of one node.

    Args:
        limit: deaths within a minute after which it is left dead; 0: it is never started again.
        started: when the node was started, in seconds of a steady clock.
    """

    def __init__(self, limit: int, started: float) -> None:
        self._limit = limit
        self._started = started
        self._deaths: deque[float] = deque()
        self._first = True

    def died(self, now: float, code: int) -> str:
        """Note a death; return why the node is not started again, or an empty text if it is.

        Args:
            now: seconds of the steady clock.
            code: the exit code, negative for a signal.
        """
        first, self._first = self._first, False
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        if first and code > 0 and now - self._started < REFUSED_WITHIN:
            return f"ended {how} right after its start; its log above says why"
        self._deaths.append(now)
        while self._deaths[0] < now - WINDOW:
            self._deaths.popleft()
        if self._limit == 0:
            return f"ended {how} and respawn is off"
        if len(self._deaths) > self._limit:
            return f"ended {how}, the {len(self._deaths)}th time within {WINDOW:.0f} s"
        return ""

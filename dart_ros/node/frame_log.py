"""What became of the frames: noted by the threads that work on them, read for the status."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from statistics import median

from dart_ros.node.stream_health import WINDOW

_LONGEST_LATENCY = 60.0  # seconds; what is older comes from another time
_SKEW = 0.1  # seconds by which clocks of a network may differ


@dataclass(frozen=True)
class FrameSummary:
    """What became of the frames lately.

    Attributes:
        matted: mattes computed since the node was activated.
        rate: mattes a second.
        latency: seconds, median from the source stamp to publishing; 0 if it isn't known: without
            mattes, or where the stamps are not of this machine's time (a bag, another clock).
        failing: why the newest frame couldn't be used, empty if it could.
        complaint: the newest complaint about a frame, empty after a while without any.
    """

    matted: int
    rate: float
    latency: float
    failing: str
    complaint: str


class FrameLog:
    """Notes in the worker thread what becomes of each frame; any thread may ask."""

    _MEMORY = 3.0  # seconds for which a complaint stays in the status after the last such frame

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: deque[tuple[float, float]] = deque()
        self._matted = 0
        self._failing = ""
        self._complaint = ""
        self._complained = 0.0
        self._clock_doubt = ""

    def matted(self, now: float, latency: float) -> None:
        """Note a matte; ``now`` in seconds of a steady clock, ``latency`` in seconds."""
        with self._lock:
            self._matted += 1
            self._done.append((now, latency))
            likely = -_SKEW < latency < _LONGEST_LATENCY
            self._clock_doubt = "" if likely else _clock_doubt(latency)

    def usable(self) -> None:
        """Note that the newest frame could be used."""
        with self._lock:
            self._failing = ""

    def failed(self, now: float, reason: str) -> None:
        """Note that the newest frame couldn't be used, and why."""
        with self._lock:
            self._failing = reason
            self._complaint, self._complained = reason, now

    def doubtful(self, now: float, reason: str) -> None:
        """Note that the newest frame was used, but that something is wrong with it."""
        with self._lock:
            self._complaint, self._complained = reason, now

    def summary(self, now: float) -> FrameSummary:
        """Return what happened over the last second."""
        with self._lock:
            while self._done and self._done[0][0] <= now - WINDOW:
                self._done.popleft()
            recent = now - self._complained < self._MEMORY
            return FrameSummary(
                self._matted,
                len(self._done) / WINDOW,
                _latency([latency for _, latency in self._done]),
                self._failing,
                self._complaint if recent else self._clock_doubt if self._done else "",
            )


def _latency(found: list[float]) -> float:
    """The median of those that can be latencies at all, 0 without any."""
    likely = [max(0.0, one) for one in found if -_SKEW < one < _LONGEST_LATENCY]
    return median(likely) if likely else 0.0


def _clock_doubt(latency: float) -> str:
    """Why no latency is told, of frames that seem to be ``latency`` seconds old."""
    apart = abs(latency)
    for unit, length in (("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0)):
        if apart >= 2 * length:
            told = f"{apart / length:.0f} {unit}"
            break
    else:
        told = f"{apart:.0f} s"
    return (
        f"the camera's stamps are {told} {'behind' if latency > 0 else 'ahead of'} the node's "
        "clock, so no latency is told: synchronize the clocks of the machines; for a bag, play it "
        "with --clock and set use_sim_time"
    )

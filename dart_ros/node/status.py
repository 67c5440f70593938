"""What the node says about itself: the status topic and /diagnostics, from the same values."""

from __future__ import annotations

import re
import threading
from collections import deque
from dataclasses import dataclass
from statistics import median

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue

from dart_ros.msg import Status
from dart_ros.node.stream_health import WINDOW

_STATE_NAMES = {
    Status.STATE_INACTIVE: "inactive",
    Status.STATE_WAITING: "waiting for images",
    Status.STATE_NO_SCENE: "no scene",
    Status.STATE_CAPTURING: "capturing",
    Status.STATE_LOADING: "loading",
    Status.STATE_MATTING: "matting",
    Status.STATE_ERROR: "error",
}
_WARNINGS = {Status.STATE_WAITING, Status.STATE_NO_SCENE}


@dataclass(frozen=True)
class FrameSummary:
    """What became of the frames lately.

    Attributes:
        matted: mattes computed since the node was activated.
        rate: mattes a second.
        latency: seconds, median from the source stamp to publishing, 0 without mattes.
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

    def matted(self, now: float, latency: float) -> None:
        """Note a matte; ``now`` in seconds of a steady clock, ``latency`` in seconds."""
        with self._lock:
            self._matted += 1
            self._done.append((now, latency))

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
                median(latency for _, latency in self._done) if self._done else 0.0,
                self._failing,
                self._complaint if recent else "",
            )


def story(status: Status) -> tuple[object, ...]:
    """Return what is worth a message and a line in the log as soon as it changes: not figures."""
    words = without_figures(status.reason), without_figures(status.activity)
    return (status.state, status.scene_id, status.fitting, status.backend, *words)


def without_figures(text: str) -> str:
    """Return a text with its numbers blotted out, to tell a new text from new figures."""
    return re.sub(r"\d+", "#", text)


def diagnostics(status: Status, node_name: str) -> DiagnosticArray:
    """Put a status into the form that diagnostic aggregators and rqt_robot_monitor read."""
    if status.state == Status.STATE_ERROR:
        level = DiagnosticStatus.ERROR
    elif status.state in _WARNINGS or status.reason:
        level = DiagnosticStatus.WARN
    else:
        level = DiagnosticStatus.OK
    values = {
        "scene": status.scene,
        "scene id": status.scene_id,
        "activity": status.activity,
        "frame rate (Hz)": f"{status.frame_rate:.1f}",
        "latency (ms)": f"{status.latency * 1e3:.1f}",
        "frames received": str(status.frames_received),
        "frames matted": str(status.frames_matted),
        "frames dropped": str(status.frames_dropped),
        "backend": status.backend,
    }
    entry = DiagnosticStatus(
        level=level,
        name=f"{node_name}: matting",
        message=status.reason or _STATE_NAMES[status.state],
        hardware_id=status.header.frame_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[entry])
    array.header.stamp = status.header.stamp
    return array

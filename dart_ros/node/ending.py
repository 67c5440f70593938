"""The end of the node, bounded in time whatever a thread, a disk or a process of its own does."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from pathlib import Path

_LAST_RESORT = 3  # seconds more for a process whose interpreter answers no more


class Ending:
    """Ends the process some time after it was asked to end, if it is still there.

    Args:
        seconds: whole seconds from :meth:`begin`; less than ``ros2 launch`` waits before it kills.
    """

    def __init__(self, seconds: int) -> None:
        self._seconds = seconds
        self._begun = False

    @property
    def begun(self) -> bool:
        """Whether the process was asked to end."""
        return self._begun

    def begin(self, *_: object) -> None:
        """Ask the process to end; a handler of signals. Later calls do nothing."""
        if self._begun:
            return
        self._begun = True
        timer = threading.Timer(self._seconds, self._end)
        timer.daemon = True
        timer.start()
        # The kernel ends what hangs in the interpreter's own end or holds its lock.
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(self._seconds + _LAST_RESORT)

    def _end(self) -> None:
        threads = threading.enumerate()
        others = sorted(t.name for t in threads if t is not threading.current_thread())
        print(
            f"matting_node is ended after {self._seconds} s; still at work: {', '.join(others)}",
            file=sys.stderr,
            flush=True,
        )
        kill_children()
        os._exit(0)


def kill_children() -> None:
    """Kill the processes that this one has started; each leads a group of its own."""
    for task in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(OSError):
            for child in map(int, task.read_text().split()):
                with contextlib.suppress(OSError):
                    os.killpg(child, signal.SIGKILL)

"""The fit of the network to a scene, run as a process of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

_NICENESS = 10
_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


@dataclass(frozen=True)
class FitEnd:
    """How a fit ended.

    Attributes:
        improved: whether the scene now holds better weights.
        failed: whether it ended by an error (a cancelled fit hasn't failed).
        message: what happened, in words.
        cancelled: whether it was cancelled before its end.
    """

    improved: bool
    failed: bool
    message: str
    cancelled: bool = False


def fit_command(
    scene: str,
    scenes_dir: str,
    seconds: float,
    engine: tuple[str, float, int],
    extras: Mapping[str, str],
) -> list[str]:
    """Return the command that fits a scene and reports progress as one JSON object a line.

    ``seconds`` is 0 for the fit's own choice. ``engine`` is the backend, refine_fraction and
    threads that it compiles the result for: done in the node that takes the interpreter from the
    frames. ``extras`` are further options; those that are empty are left out.
    """
    backend, refine_fraction, threads = engine
    return [
        *(sys.executable, "-m", "dart_ros.cli", "fit"),
        *("--json-progress", "--scenes-dir", scenes_dir),
        *(("--seconds", f"{seconds:g}") if seconds else ()),
        *("--backend", backend, "--refine-fraction", f"{refine_fraction!r}"),
        *("--threads", f"{threads}"),
        *(word for option, value in extras.items() if value for word in (option, value)),
        *("--", scene),  # whose name may begin with a dash
    ]


def resumption(command: Sequence[str]) -> str:
    """What to type to go on with the fit that a command of :func:`fit_command` began."""
    words = command[command.index("fit") :]
    return shlex.join(["dart-ros", *(word for word in words if word != "--json-progress")])


class FitProcess:
    """A running fit: niced, in a process group of its own, cancelled by SIGTERM, then SIGKILL.

    Args:
        command: prints ``{"progress": 0..1, "message": ...}`` lines, at the end
            ``{"done": true, "improved": bool, "message": ...}`` or ``{"error": ...}``.
        on_progress: called from a thread with the progress, 0 to 1, and the message.
        on_end: called from a thread, once, when the process is gone.

    Raises:
        OSError: if the process can't be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        on_progress: Callable[[float, str], None],
        on_end: Callable[[FitEnd], None],
    ) -> None:
        self._on_progress = on_progress
        self._on_end = on_end
        self._cancelled = False
        self._last: dict[str, Any] = {}
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            # A session of its own: Ctrl-C in a terminal is for the node, which ends the fit itself.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                start_new_session=True,
            )
        except OSError:
            self._errors.close()
            raise
        # It may be gone already.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)
        self._reader = threading.Thread(target=self._read, name="fit reader", daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def cancel(self) -> None:
        """Ask the fit to end and see to it that it does; returns at once."""
        self._cancelled = True
        self._signal(signal.SIGTERM)
        killer = threading.Timer(_PATIENCE, self._signal, [signal.SIGKILL])
        killer.daemon = True
        killer.start()

    def stop(self, timeout: float) -> None:
        """Cancel, and wait until the process is gone; killed after ``timeout`` seconds."""
        self._cancelled = True
        self._signal(signal.SIGTERM)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            self._process.wait()
        self._reader.join(timeout)

    def _signal(self, number: signal.Signals) -> None:
        # poll() first: the id of a process that was waited for may belong to another by now.
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout:
            for line in self._process.stdout:
                self._take(line)
        code = self._process.wait()
        end = self._end(code)
        self._errors.close()
        self._on_end(end)

    def _take(self, line: str) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return  # a library's chatter
        if not isinstance(entry, dict):
            return
        if "progress" in entry:
            self._on_progress(float(entry["progress"]), str(entry.get("message", "")))
        elif "done" in entry or "error" in entry:
            self._last = entry

    def _end(self, code: int) -> FitEnd:
        said = str(self._last.get("message", ""))
        if code == 0 and self._last.get("done"):
            return FitEnd(bool(self._last.get("improved")), False, said)
        if self._cancelled:
            message = "the fit was cancelled, the scene is as it was before"
            return FitEnd(False, False, message, cancelled=True)
        if "error" in self._last:
            why = str(self._last["error"])
        elif code < 0:
            why = f"its process was killed by {signal.Signals(-code).name}"
            if code == -signal.SIGKILL:
                why += " (out of memory?)"
        else:
            why = f"its process ended with status {code}: {self._error_tail()}"
        return FitEnd(False, True, f"the fit failed, the scene is as it was before: {why}")

    def _error_tail(self) -> str:
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

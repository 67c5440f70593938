"""Work in a process of its own, and what it says: one JSON object a line on its standard output.

``{"progress": 0 to 1, "message": words}`` on the way, and at its end ``{"done": true}`` with what
came of it, or ``{"error": why}``. Any other line is what some library prints.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Sequence
from typing import IO, Any

_NICENESS = 10
_PATIENCE = 5.0  # seconds between SIGTERM and SIGKILL


def say(**entry: Any) -> None:
    """Say something as such a process: one line, at once."""
    print(json.dumps(entry), flush=True)


class ChildError(Exception):
    """A process didn't do its work; the text says why.

    Args:
        why: in words.
        own: whether these are its own words.
    """

    def __init__(self, why: str, own: bool = False) -> None:
        super().__init__(why)
        self.own = own


class ChildProcess:
    """A niced process, in a session of its own: Ctrl-C in a terminal is for its parent.

    Args:
        command: what to run.
        given: a file whose content is its standard input, None for none.

    Raises:
        OSError: if it can't be started.
    """

    def __init__(self, command: Sequence[str], given: IO[bytes] | None = None) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL if given is None else given,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError:
            self._errors.close()
            raise
        # It may be gone already.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, _NICENESS)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def follow(
        self,
        on_progress: Callable[[float, str], None] = lambda *_: None,
        patience: float | None = None,
    ) -> dict[str, Any]:
        """Wait until it ends; once, in one thread.

        Args:
            on_progress: called with its progress, 0 to 1, and its message.
            patience: seconds after which it is killed, None for any time.

        Returns:
            What it said when it was done.

        Raises:
            ChildError: if it wasn't.
        """
        timely = True

        def give_up() -> None:
            nonlocal timely
            timely = False
            self.kill()

        late = threading.Timer(patience or 0.0, give_up)
        late.daemon = True
        if patience is not None:
            late.start()
        last: dict[str, Any] = {}
        assert self._process.stdout is not None
        with self._process.stdout as lines, self._errors:
            for line in lines:
                entry = _entry(line)
                if "progress" in entry:
                    on_progress(float(entry["progress"]), str(entry.get("message", "")))
                elif "done" in entry or "error" in entry:
                    last = entry
            code = self._process.wait()
            late.cancel()
            if code == 0 and last.get("done"):
                return last
            if "error" in last:
                raise ChildError(str(last["error"]), own=True)
            if not timely:
                raise ChildError(f"it took more than {patience:g} s and was ended")
            raise ChildError(self._how_it_died(code))

    def end(self, patience: float = _PATIENCE) -> None:
        """Ask it to end, and kill it after ``patience`` seconds; returns at once."""
        self._signal(signal.SIGTERM)
        killer = threading.Timer(patience, self.kill)
        killer.daemon = True
        killer.start()

    def kill(self) -> None:
        """End it and what it has started at once; from any thread."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        # poll() first: the id of a process that was waited for may belong to another by now.
        if self._process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def _how_it_died(self, code: int) -> str:
        if code < 0:
            memory = " (out of memory?)" if code == -signal.SIGKILL else ""
            return f"its process was killed by {signal.Signals(-code).name}{memory}"
        self._errors.seek(0)
        lines = self._errors.read().decode(errors="replace").strip().splitlines()
        return f"its process ended with status {code}: {lines[-1] if lines else 'it said nothing'}"


def _entry(line: str) -> dict[str, Any]:
    """What a line says, nothing where it is a library's chatter."""
    try:
        entry = json.loads(line)
    # Python's parser is recursive.
    except (ValueError, RecursionError):
        return {}
    return entry if isinstance(entry, dict) else {}

"""The fit of the network to a scene, run as a process of its own."""

from __future__ import annotations

import shlex
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from dart_ros.child_process import ChildError, ChildProcess


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
    """Return the command that fits a scene, for :class:`FitProcess`.

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
    """A running fit.

    Args:
        command: says as :mod:`dart_ros.child_process` has it how the fit goes, and at the end
            whether it has ``improved`` the scene.
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
        self._child = ChildProcess(command)
        self._cancelled = False

        def follow() -> None:
            on_end(self._end(on_progress))

        self._follower = threading.Thread(target=follow, name="fit", daemon=True)
        self._follower.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._child.pid

    def cancel(self) -> None:
        """Ask the fit to end and see to it that it does; returns at once."""
        self._cancelled = True
        self._child.end()

    def stop(self, timeout: float) -> None:
        """Cancel, and wait until the process is gone; killed after ``timeout`` seconds."""
        self._cancelled = True
        self._child.end(timeout)
        self._follower.join(2 * timeout)

    def _end(self, on_progress: Callable[[float, str], None]) -> FitEnd:
        try:
            done = self._child.follow(on_progress)
        except ChildError as error:
            if self._cancelled:
                message = "the fit was cancelled, the scene is as it was before"
                return FitEnd(False, False, message, cancelled=True)
            message = f"the fit failed, the scene is as it was before: {error}"
            return FitEnd(False, True, message)
        return FitEnd(bool(done.get("improved")), False, str(done.get("message", "")))

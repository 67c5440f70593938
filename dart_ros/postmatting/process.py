"""Post-matting in a process of its own: it takes seconds, which must not hold up a stream."""

from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
import threading

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import PostMattingError

_NICENESS = 10
_PATIENCE = 600.0  # seconds; the first use of closed form compiles for a minute or more


class PostMattingProcess:
    """See :class:`dart_ros.postmatting.PostMatting`; each frame starts a process, and waits for it.

    Args:
        name: one of :data:`dart_ros.postmatting.NAMES`.
        weights: folder of the weights of ViTMatte, empty for none.
    """

    def __init__(self, name: str, weights: str = "") -> None:
        self._name = name
        self._command = [sys.executable, "-m", "dart_ros.postmatting", name]
        if weights:
            self._command.append(os.path.expanduser(weights))
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._killed = False

    def refine(self, color: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See :meth:`dart_ros.postmatting.PostMatting.refine`; also where the process dies."""
        given = io.BytesIO()
        np.savez(given, color=color, trimap=trimap)
        with self._lock:
            if self._killed:
                raise PostMattingError("Post-matting was given up: the node ends.")
            try:
                # A session of its own: Ctrl-C in a terminal is for the node.
                process = self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise PostMattingError(
                    f"Post-matting's process can't be started ({error}); free some memory."
                ) from error
        # It may be gone already.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        try:
            solved, errors = process.communicate(given.getvalue(), timeout=_PATIENCE)
        except subprocess.TimeoutExpired as error:
            process.kill()
            process.communicate()
            raise PostMattingError(
                f"Post-matting '{self._name}' took more than {_PATIENCE:.0f} s and was ended; use "
                "the alpha without it."
            ) from error
        if process.returncode != 0:
            said = errors.decode(errors="replace").strip().splitlines()
            if process.returncode == 1 and said:
                raise PostMattingError(said[-1])
            raise PostMattingError(
                f"Post-matting '{self._name}' died with status {process.returncode} "
                f"({said[-1] if said else 'out of memory?'}); use the alpha without it."
            )
        return np.asarray(np.load(io.BytesIO(solved)), np.uint8)

    def kill(self) -> None:
        """End the process that runs, and start no more; from any thread."""
        with self._lock:
            self._killed = True
            if self._process is not None:
                self._process.kill()

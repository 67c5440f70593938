"""Post-matting in a process of its own: it takes seconds, which must not hold up a stream."""

from __future__ import annotations

import base64
import io
import os
import sys
import tempfile
import threading
from typing import IO

import numpy as np
from numpy.typing import NDArray

from dart_ros.child_process import ChildError, ChildProcess
from dart_ros.errors import PostMattingError

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
        self._child: ChildProcess | None = None
        self._killed = False

    def refine(self, color: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See :meth:`dart_ros.postmatting.PostMatting.refine`; also where the process dies."""
        with tempfile.TemporaryFile() as given:
            np.savez(given, color=color, trimap=trimap)
            given.seek(0)
            child = self._start(given)
        try:
            done = child.follow(patience=_PATIENCE)
        except ChildError as error:
            if error.own:
                raise PostMattingError(str(error)) from error
            raise PostMattingError(
                f"Post-matting '{self._name}' failed: {error}; use the alpha without it."
            ) from error
        return np.asarray(np.load(io.BytesIO(base64.b64decode(done["alpha"]))), np.uint8)

    def _start(self, given: IO[bytes]) -> ChildProcess:
        with self._lock:
            if self._killed:
                raise PostMattingError("Post-matting was given up: the node ends.")
            try:
                self._child = ChildProcess(self._command, given)
            except OSError as error:
                raise PostMattingError(
                    f"Post-matting's process can't be started ({error}); free some memory."
                ) from error
            return self._child

    def kill(self) -> None:
        """End the process that runs, and start no more; from any thread."""
        with self._lock:
            self._killed = True
            if self._child is not None:
                self._child.kill()

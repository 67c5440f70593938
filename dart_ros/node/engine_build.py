"""Engines built into the cache by a process of its own, so that the node goes on meanwhile.

TensorRT's takes minutes, beside an engine that serves; OpenVINO's takes seconds, in which the
process that traces the network does nothing else. And only a process can be ended.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from dart_ros.commands.build_engine import NOTE
from dart_ros.errors import EngineError
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore

_NICENESS = 10


def build_command(
    backend: str, store: SceneStore, scene: Scene, refine_fraction: float
) -> list[str]:
    """Return the command that builds the engine of a stored scene, for :class:`EngineBuilder`."""
    size = f"{scene.camera.width}x{scene.camera.height}"
    # With "=", since a scene's name may begin with a dash.
    own = [] if scene.weights is None else [f"--scene={store.qualified(scene.name)}"]
    return [
        *(sys.executable, "-m", "dart_ros.cli", "build-engine", f"--size={size}"),
        f"--backend={backend}",
        *own,
        f"--scenes-dir={store.directory}",
        f"--refine-fraction={refine_fraction!r}",
    ]


class EngineBuilder:
    """Runs builds, each a niced process.

    Args:
        engine: what is built, in words.
        command: makes the command of a scene and a refine_fraction; it ends with status 0, or 1
            and the reason as the last line on stderr.
    """

    def __init__(self, engine: str, command: Callable[[Scene, float], Sequence[str]]) -> None:
        self._engine = engine
        self._command = command
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def build(self, scene: Scene, refine_fraction: float, wanted: Callable[[], bool]) -> list[str]:
        """Build the engine of a scene, and wait for it; by one thread at a time.

        Args:
            scene: the scene.
            refine_fraction: see :class:`dart_ros.session.predictor.Predictor`.
            wanted: asked at the last moment; False starts nothing.

        Returns:
            What went wrong on the way, each in words.

        Raises:
            EngineError: if the engine can't be built or kept.
        """
        with self._lock:
            if not wanted():
                return []
            try:
                # A session of its own: Ctrl-C in a terminal is for the node.
                process = self._process = subprocess.Popen(
                    self._command(scene, refine_fraction),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    start_new_session=True,
                )
            except OSError as error:
                raise EngineError(
                    f"the process that builds the {self._engine} can't be started ({error}): "
                    "free some memory and load the scene again"
                ) from error
        # It may be gone already.
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, process.pid, _NICENESS)
        _, errors = process.communicate()
        said = errors.decode(errors="replace").strip().splitlines()
        if process.returncode != 0:
            why = said[-1].removeprefix("dart-ros: ") if said else "it said nothing"
            if process.returncode != 1:
                why = f"its process died with status {process.returncode}: {why}"
            raise EngineError(f"the {self._engine} could not be built: {why}")
        return [line.removeprefix(NOTE) for line in said if line.startswith(NOTE)]

    def kill(self) -> None:
        """End the build that runs; from any thread."""
        with self._lock:
            if self._process is not None:
                self._process.kill()

"""Engines built into the cache by a process of its own, so that the node goes on meanwhile.

TensorRT's takes minutes, beside an engine that serves; OpenVINO's takes seconds, in which the
process that traces the network does nothing else. And only a process can be ended.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence

from dart_ros.child_process import ChildError, ChildProcess
from dart_ros.errors import EngineError
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore


def build_command(
    backend: str, store: SceneStore, scene: Scene, refine_fraction: float
) -> list[str]:
    """Return the command that builds the engine of a stored scene, for :class:`EngineBuilder`."""
    size = f"{scene.camera.width}x{scene.camera.height}"
    # With "=", since a scene's name may begin with a dash.
    own = [] if scene.weights is None else [f"--scene={store.qualified(scene.name)}"]
    return [
        *(sys.executable, "-m", "dart_ros.cli", "build-engine", "--json-progress"),
        f"--size={size}",
        f"--backend={backend}",
        *own,
        f"--scenes-dir={store.directory}",
        f"--refine-fraction={refine_fraction!r}",
    ]


class EngineBuilder:
    """Runs builds, each a process.

    Args:
        engine: what is built, in words.
        command: makes the command of a scene and a refine_fraction; it says as
            :mod:`dart_ros.child_process` has it how the build goes, and at the end has ``notes``.
    """

    def __init__(self, engine: str, command: Callable[[Scene, float], Sequence[str]]) -> None:
        self._engine = engine
        self._command = command
        self._lock = threading.Lock()
        self._child: ChildProcess | None = None

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
                child = self._child = ChildProcess(self._command(scene, refine_fraction))
            except OSError as error:
                raise EngineError(
                    f"the process that builds the {self._engine} can't be started ({error}): "
                    "free some memory and load the scene again"
                ) from error
        try:
            return [str(note) for note in child.follow().get("notes", ())]
        except ChildError as error:
            raise EngineError(f"the {self._engine} could not be built: {error}") from error

    def kill(self) -> None:
        """End the build that runs; from any thread."""
        with self._lock:
            if self._child is not None:
                self._child.kill()

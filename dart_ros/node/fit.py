"""The fit of the network to the scene in use: started, followed, cancelled, its result loaded."""

from __future__ import annotations

from collections.abc import Callable

from dart_ros.errors import FitError
from dart_ros.fitting.available import check
from dart_ros.node.context import NodeContext
from dart_ros.node.fit_process import FitEnd, FitProcess, fit_command, resumption
from dart_ros.node.scene_loader import CLEANED_UP, SceneLoader
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore

_LONGEST = 86400.0  # seconds
_STOP_TIME = 3.0  # seconds that a fit has to end


def _ignore(_: FitEnd) -> None:
    pass


class Fits:
    """Runs one fit at a time. For the executor's thread.

    Args:
        context: of the node.
        store: the folder of scenes.
        scenes: loads the scene again once it holds better weights.
    """

    def __init__(self, context: NodeContext, store: SceneStore, scenes: SceneLoader) -> None:
        self._context = context
        self._store = store
        self._scenes = scenes
        self._process: FitProcess | None = None
        self._name = ""
        self._scene_id = ""
        self._resumption = ""
        self._progress = (0.0, "")
        self._on_end: Callable[[FitEnd], None] = _ignore

    @property
    def running(self) -> bool:
        """Whether a fit runs."""
        return self._process is not None

    @property
    def progress(self) -> tuple[float, str]:
        """How far the fit is, 0 to 1, and in words."""
        return self._progress

    def checked_seconds(self, seconds: float) -> float:
        """Return the length of a fit that was asked for, that of the parameter for 0.

        Raises:
            FitError: if that is no length.
        """
        seconds = seconds or self._context.settings().fit_seconds
        if not 0 <= seconds <= _LONGEST:
            raise FitError(
                f"fit_seconds {seconds:g} is no length of a fit: give up to {_LONGEST:g}, or 0 for "
                "the parameter fit_seconds"
            )
        return seconds

    def check_idle(self) -> None:
        """Raise FitError if a fit runs."""
        if self._process is not None:
            raise FitError(
                f"a fit of '{self._name}' is already running: wait until it is done, or cancel it "
                "(~/cancel_fit)"
            )

    def start(
        self, scene: Scene, seconds: float, on_end: Callable[[FitEnd], None] = _ignore
    ) -> None:
        """Start to fit the network to a scene that is in use.

        Args:
            scene: the scene.
            seconds: length of the fit, 0 for its own choice.
            on_end: called when it has ended.

        Raises:
            FitError: if a fit runs already, torch is missing, or its process can't be started.
        """
        self.check_idle()
        check()
        self._name, self._scene_id = scene.name, scene.id
        self._progress = (0.0, "fitting: starting")
        post = self._context.post
        started: list[FitProcess] = []

        def progressed(progress: float, message: str) -> None:
            post(lambda: setattr(self, "_progress", (progress, message)))

        def ended(end: FitEnd) -> None:
            post(lambda: self._ended(started[0], end))

        settings = self._context.settings()
        engine = settings.backend, settings.refine_fraction, settings.threads
        extras = {"--foregrounds": settings.fit_foregrounds, "--teacher": settings.fit_teacher}
        folder, name = str(self._store.directory), self._store.qualified(scene.name)
        command = fit_command(name, folder, seconds, engine, extras)
        self._resumption = resumption(command)
        try:
            started.append(FitProcess(command, progressed, ended))
        except OSError as error:
            raise FitError(
                f"the fit could not be started ({error}): free some memory and try again"
            ) from error
        self._process, self._on_end = started[0], on_end

    def cancel(self) -> tuple[bool, str]:
        """Ask the fit to end; returns whether one runs, and what to tell."""
        if self._process is None:
            return False, "no fit is running"
        self._process.cancel()
        return True, f"the fit of '{self._name}' is being cancelled"

    def ending(self) -> Callable[[], None]:
        """Return what ends the fit that runs now and waits for it, for another thread to call."""
        process = self._process

        def end() -> None:
            if process is not None:
                self._context.log.info("the fit that runs is cancelled by a new capture")
                process.stop(_STOP_TIME)

        return end

    def stop(self) -> None:
        """End the fit that runs, and wait for it."""
        if self._process is not None:
            self._process.stop(_STOP_TIME)
            self._process = None
            self._on_end(FitEnd(False, False, CLEANED_UP, cancelled=True))

    def _ended(self, process: FitProcess, end: FitEnd) -> None:
        if self._process is not process:
            return
        self._process = None
        self._tell(end)
        self._on_end(end)

    def _tell(self, end: FitEnd) -> None:
        text = f"fit of '{self._name}': {end.message}"
        if end.failed:
            if self._store.unfinished_fit(self._scene_id).exists():
                text += f"; this resumes it: {self._resumption}"
            self._context.problems.report(text)
            return
        self._context.log.info(text)
        if end.improved:
            self._scenes.reload(self._name, self._scene_id)

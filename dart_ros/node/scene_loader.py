"""The scene in use with its engine: loaded, built and replaced beside the executor's thread."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from dart_ros.errors import DartError, EngineError, MessageError, SceneError
from dart_ros.node.context import NodeContext
from dart_ros.node.engine_build import EngineBuilder
from dart_ros.node.worker import JobThread
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.bumped_camera import BumpedCamera
from dart_ros.session.predictor import Inferred
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Frame, Matte

CLEANED_UP = "the node was cleaned up meanwhile: configure and activate it, then try again"
"""Why a scene isn't loaded if the node's configuration ends before."""


class ScenePredictor(Protocol):
    """What a scene is matted with, see :class:`dart_ros.session.predictor.Predictor`."""

    @property
    def backend(self) -> str:
        """The engine that runs."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """Why engines that would have been preferred do not run."""
        ...

    @property
    def improvable(self) -> bool:
        """Whether TensorRT would be faster, once its engine is built."""
        ...

    @property
    def background(self) -> CapturedBackground:
        """What frames are matted before."""
        ...

    def set_background(self, background: CapturedBackground) -> None:
        """Matte before another background from the next frame on; from any thread."""
        ...

    def infer(self, frame: Frame, foreground: bool = True) -> Inferred:
        """Have the engine matte one frame."""
        ...

    def finish(self, inferred: Inferred, trimap: bool = True) -> Matte:
        """Return the matte of a frame; each frame once, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """A scene, its engine with this refine_fraction, and what tells that the camera was bumped."""

    scene: Scene
    predictor: ScenePredictor
    refine_fraction: float
    bumped: BumpedCamera


@dataclass(eq=False)
class _Configuration:
    """What the loader thread knows from one configuration of the node to its cleanup.

    A job keeps that of its own time, so that one which ends too late leaves nothing behind.
    """

    wanted: str = ""  # name of the scene that was asked for last
    newest: Scene | None = None  # the one that an engine was built for last
    rebuild_queued: bool = False


class SceneLoader:
    """Has the scene in use, and makes the next one in a thread of its own.

    Where TensorRT's engine has to be built first, another engine serves while a process builds it;
    what OpenVINO has to compile first is compiled by a process too, and waited for.
    All methods are for the executor's thread, in which the callbacks are called as well.

    Args:
        context: of the node.
        store: the folder of scenes.
        make_predictor: makes a predictor of a scene, a backend, a refine_fraction and a number of
            threads; with ``ready_only`` one that needn't be waited for, with ``compile_apart``
            called where it has to be compiled.
        builder: builds TensorRT's engines.
        compiler: compiles OpenVINO's.
    """

    def __init__(
        self,
        context: NodeContext,
        store: SceneStore,
        make_predictor: Callable[..., ScenePredictor],
        builder: EngineBuilder,
        compiler: EngineBuilder,
    ) -> None:
        self._context = context
        self._store = store
        self._make_predictor = make_predictor
        self._builder = builder
        self._compiler = compiler
        self._compiling = False
        self._jobs = JobThread(context.post, "loader")
        self._builds = JobThread(context.post, "engine builds")
        self._loaded: Loaded | None = None
        self._configuration = _Configuration()
        self._activities: list[str] = []
        self._builds_queued = 0
        self._noted: set[str] = set()
        self._built: tuple[Scene, float] | None = None  # what TensorRT's engine was built for last

    @property
    def loaded(self) -> Loaded | None:
        """The scene in use; from any thread."""
        return self._loaded

    def in_use(self) -> Loaded:
        """Return the scene in use.

        Raises:
            SceneError: if there is none.
        """
        if self._loaded is None:
            raise SceneError("there is no background yet: capture one or load a scene first")
        return self._loaded

    @property
    def loading(self) -> bool:
        """Whether a scene or its engine is on the way."""
        return bool(self._activities)

    @property
    def activity(self) -> str:
        """What goes on in words, empty if nothing does."""
        if self._activities:
            once = ": compiling the network, once for all scenes of this size"
            return self._activities[0] + (once if self._compiling else "")
        return "building the TensorRT engine" if self._builds_queued else ""

    def load(
        self,
        name: str,
        camera: tuple[int, int] | None,
        on_loaded: Callable[[Loaded], None] = lambda _: None,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Load a scene and use it.

        Args:
            name: name of the scene.
            camera: width and height of what the camera sends, None if unknown; a scene of another
                size is refused.
            on_loaded: called when it is in use.
            on_error: called with the reason if it can't be had; what was in use stays.
        """
        configuration = self._configuration

        def job() -> Loaded:
            configuration.wanted = name
            return self._load(name, camera, configuration)

        self._submit(job, f"loading scene '{name}'", on_loaded, on_error)

    def reload(self, name: str, scene_id: str) -> None:
        """Load a scene again, whose weights are new, unless another is in use by then."""
        configuration = self._configuration

        def job() -> Loaded | None:
            newest = configuration.newest
            if newest is None or newest.id != scene_id:
                return None
            return self._build(self._store.load(name), configuration)

        self._submit(job, f"loading scene '{name}'")

    def add(
        self,
        make: Callable[[], Scene],
        activity: str,
        on_loaded: Callable[[Loaded], None],
        on_error: Callable[[str], None],
    ) -> None:
        """Make a scene, save it and use it.

        Args:
            make: makes the scene, in the loader thread.
            activity: what goes on in words.
            on_loaded: called when it is saved and in use.
            on_error: called with the reason if that fails.
        """
        configuration = self._configuration

        def job() -> Loaded:
            serial = self._context.settings().camera_serial
            scene = replace(make(), captured_by=self._context.name, serial=serial)
            self._store.save(scene)
            # At once: a node that ends while the engine is built finds its scene again.
            self._remember(scene)
            configuration.wanted = scene.name
            try:
                return self._build(scene, configuration)
            except DartError as error:
                raise EngineError(
                    f"scene '{scene.name}' was captured and saved, but cannot be used: {error}"
                ) from error

        self._submit(job, activity, on_loaded, on_error)

    def rebuild(self, camera: tuple[int, int] | None) -> None:
        """Build the engine anew, for settings that have changed; a scene that failed has a chance.

        Args:
            camera: see :meth:`load`.
        """
        configuration = self._configuration
        idle = self._loaded is None and not self._activities and not configuration.wanted
        if idle or configuration.rebuild_queued:
            return

        def job() -> Loaded | None:
            # Before the settings are read, so that a later change queues another one.
            configuration.rebuild_queued = False
            if configuration.newest is not None:
                return self._build(configuration.newest, configuration)
            if configuration.wanted:
                return self._load(configuration.wanted, camera, configuration)
            return None

        configuration.rebuild_queued = True
        self._submit(job, "building the engine")

    def clear(self) -> None:
        """Drop the scene in use and all that is on the way; those who wait for it get an error."""
        self._loaded = None
        self._built = None
        self._configuration = _Configuration()
        self._builder.kill()
        self._compiler.kill()

    def stop(self, timeout: float) -> bool:
        """Do what :meth:`clear` does, and end the threads.

        Returns:
            Whether each has ended within ``timeout`` seconds; a job at work can't be interrupted.
        """
        self.clear()
        return all([thread.stop(timeout) for thread in (self._jobs, self._builds)])

    def _submit(
        self,
        job: Callable[[], Loaded | None],
        activity: str,
        on_loaded: Callable[[Loaded], None] = lambda _: None,
        on_error: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Have the loader thread make what is used from the next frame on; None changes nothing."""
        configuration = self._configuration

        def loaded(made: Loaded | None) -> None:
            self._activities.pop(0)
            if configuration is not self._configuration:
                on_error(CLEANED_UP)
            elif made is not None:
                self._loaded = made
                try:
                    self._tell_use(made)
                    on_loaded(made)
                except Exception as error:
                    # The caller gets an answer in any case.
                    on_error(self._context.problems.report_error(error))
                self._improve(made)

        def failed(error: Exception) -> None:
            self._activities.pop(0)
            if configuration is not self._configuration:
                on_error(CLEANED_UP)
            else:
                on_error(self._context.problems.report_error(error))

        self._activities.append(activity)
        self._jobs.submit(job, loaded, failed)

    def _tell_use(self, made: Loaded) -> None:
        self._context.problems.forget()
        self._note(made.predictor.notes)
        self._context.log.info(f"scene '{made.scene.id}' is in use, on {made.predictor.backend}")

    # ---- in the loader thread --------------------------------------------------------------

    def _load(
        self, name: str, camera: tuple[int, int] | None, configuration: _Configuration
    ) -> Loaded:
        scene = self._store.load(name)
        if camera is not None:
            check_size(*camera, scene)
        self._check_owner(scene)
        return self._build(scene, configuration)

    def _check_owner(self, scene: Scene) -> None:
        """SceneError for a scene of another camera, a warning for one of another node."""
        serial = self._context.settings().camera_serial
        if serial and scene.serial and serial != scene.serial:
            raise SceneError(
                f"scene '{scene.name}' was captured by the camera of serial number "
                f"'{scene.serial}', this node's has '{serial}' (camera_serial): load that camera's "
                "own scene or capture the background again (~/capture_background)"
            )
        if serial and serial == scene.serial:
            return
        mine = self._context.name
        others = {scene.captured_by} if scene.captured_by else self._other_users(scene.name)
        if others - {mine}:
            done = "captured" if scene.captured_by else "also used last"
            self._context.log.warning(
                f"scene '{scene.name}' was {done} by {', '.join(sorted(others - {mine}))}: if that "
                "is another camera, capture the background again (~/capture_background)"
            )

    def _other_users(self, name: str) -> set[str]:
        """Nodes that used the shared scene of a name last; nobody noted who captured it."""
        with contextlib.suppress(SceneError):
            return {node for node, last in self._store.last_used().items() if last == name}
        return set()

    def _build(self, scene: Scene, configuration: _Configuration) -> Loaded:
        settings = self._context.settings()
        predictor = self._make_predictor(
            scene,
            settings.backend,
            settings.refine_fraction,
            settings.threads,
            ready_only=True,
            compile_apart=lambda: self._compile(scene, settings.refine_fraction, configuration),
        )
        configuration.newest = scene
        self._remember(scene)
        return Loaded(scene, predictor, settings.refine_fraction, BumpedCamera(scene.plate))

    def _remember(self, scene: Scene) -> None:
        """Have the scene loaded at the next start."""
        try:
            if self._store.last(self._context.name) != scene.name:
                self._store.set_last(self._context.name, scene.name)
        except SceneError as error:
            # A full disk is no reason not to use the scene.
            self._context.log.warning(str(error))

    def _note(self, notes: Iterable[str]) -> None:
        """Log what was noted about engines, once each: it is the same for every scene."""
        for note in notes:
            if note not in self._noted:
                self._noted.add(note)
                self._context.log.info(note)

    def _compile(self, scene: Scene, refine_fraction: float, configuration: _Configuration) -> None:
        """Leave the engine in the cache; where that fails it is made here, which holds all up."""
        self._compiling = True
        try:
            notes = self._compiler.build(
                scene, refine_fraction, lambda: configuration is self._configuration
            )
            self._note(notes)
        except EngineError as error:
            if configuration is self._configuration:
                self._context.log.warning(f"{error}; the node makes it itself, and loses frames")
        finally:
            self._compiling = False
        if configuration is not self._configuration:
            raise EngineError(CLEANED_UP)

    # ---- TensorRT's engine -----------------------------------------------------------------

    def _improve(self, made: Loaded) -> None:
        """Have the engine built that takes long, then use it, unless another scene is in use."""
        target = (made.scene, made.refine_fraction)
        # One that is built and yet not found must not be built again and again.
        if not made.predictor.improvable or self._built == target:
            return

        def built(notes: list[str]) -> None:
            self._builds_queued -= 1
            self._note(notes)
            if self._loaded is made:
                self._built = target
                self.rebuild(None)

        def failed(error: Exception) -> None:
            self._builds_queued -= 1
            if self._loaded is made:
                self._context.problems.report_error(error)

        self._builds_queued += 1
        self._builds.submit(
            lambda: self._builder.build(
                made.scene, made.refine_fraction, lambda: self._loaded is made
            ),
            built,
            failed,
        )


def check_size(width: int, height: int, scene: Scene) -> None:
    """Raise MessageError unless a camera that sends ``width``×``height`` pixels fits a scene."""
    if (width, height) != (scene.camera.width, scene.camera.height):
        raise MessageError(
            f"the camera sends {width}x{height} images, but scene '{scene.name}' was captured at "
            f"{scene.camera.width}x{scene.camera.height}: set the camera to that size, load another"
            " scene (~/load_scene) or capture the background again (~/capture_background)"
        )

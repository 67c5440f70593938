"""The scene in use with its engine: loaded, built and replaced beside the executor's thread."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import DartError, EngineError, MessageError, SceneError
from dart_ros.node.context import NodeContext
from dart_ros.node.engine_build import EngineBuilder
from dart_ros.node.worker import JobThread
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.bumped_camera import BumpedCamera
from dart_ros.session.predictor import Inferred, background_of
from dart_ros.session.scene import Scene, blank_scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Camera, Frame, Matte

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

    def set_background(
        self, background: CapturedBackground, replaces: CapturedBackground | None = None
    ) -> bool:
        """Matte before another background from the next frame on; from any thread."""
        ...

    def for_scene(self, scene: Scene) -> ScenePredictor | None:
        """A predictor of another scene with the same engine, None if that doesn't do."""
        ...

    def set_mask(self, mask: NDArray[np.uint8] | None) -> None:
        """Lay another mask over what is matted; from any thread."""
        ...

    def infer(self, frame: Frame, foreground: bool = True) -> Inferred:
        """Have the engine matte one frame."""
        ...

    def finish(self, inferred: Inferred, trimap: bool = True) -> Matte:
        """Return the matte of a frame; each frame once, in their order."""
        ...


@dataclass(frozen=True, eq=False)
class Loaded:
    """A scene as it was captured and with what it has learnt since, its engine with this
    refine_fraction, and what tells that the camera was bumped."""

    scene: Scene
    predictor: ScenePredictor
    refine_fraction: float
    bumped: BumpedCamera
    learned: Scene


@dataclass(frozen=True, eq=False)
class _Ready:
    """A scene that was in use and can be again at once, and the state of its file."""

    loaded: Loaded
    file: tuple[int, ...]


@dataclass(eq=False)
class _Configuration:
    """What the loader thread knows from one configuration of the node to its cleanup.

    A job keeps that of its own time, so that one which ends too late leaves nothing behind.
    """

    wanted: str = ""  # name of the scene that was asked for last
    newest: Scene | None = None  # the one that an engine was built for last
    rebuild_queued: bool = False
    engine: tuple[object, ...] = ()  # the settings that the engines below were made with
    ready: OrderedDict[str, _Ready] = field(default_factory=OrderedDict)  # by name, last used last
    blank: ScenePredictor | None = None  # made before there was a scene
    prepared: tuple[int, int] | None = None  # for this size


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
        self._preparing = 0
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
        return len(self._activities) > self._preparing

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

    def prepare(self, size: tuple[int, int]) -> None:
        """Make the engine before there is a scene, so that mattes follow a capture at once.

        Does nothing where a scene is in use or on the way, the size has been prepared for, or the
        engine is torch's.

        Args:
            size: width and height of what the camera sends.
        """
        configuration = self._configuration
        if self._loaded or self._activities or configuration.prepared == size:
            return
        if self._context.settings().backend == "torch":
            return  # it compiles nothing, and its import would hold up the capture's frames
        configuration.prepared = size

        def job() -> None:
            scene = blank_scene(Camera.uncalibrated(*size))
            self._use_settings(configuration)
            configuration.blank = self._made(scene, configuration)

        def ended() -> None:
            self._preparing -= 1

        self._preparing += 1
        self._submit(job, "preparing the engine", on_end=ended)

    def reload(self, name: str, scene_id: str) -> None:
        """Load a scene again, whose weights are new, unless another is in use by then."""
        configuration = self._configuration

        def job() -> Loaded | None:
            newest = configuration.newest
            if newest is None or newest.id != scene_id:
                return None
            return self._read(name, configuration, owner=False)

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
            scene = replace(scene, mask=self._mask_of_before(scene))
            self._store.save(scene)
            # At once: a node that ends while the engine is built finds its scene again.
            self._remember(scene)
            configuration.wanted = scene.name
            try:
                return self._build(scene, configuration, self._store.file_state(scene.name))
            except DartError as error:
                raise EngineError(
                    f"scene '{scene.name}' was captured and saved, but cannot be used: {error}"
                ) from error

        self._submit(job, activity, on_loaded, on_error)

    def set_mask(
        self,
        make: Callable[[Scene], NDArray[np.uint8] | None],
        on_done: Callable[[None], None],
        on_error: Callable[[str], None],
    ) -> None:
        """Set the mask of the scene in use, and save it with the scene.

        Args:
            make: makes the mask of the scene, in the loader thread.
            on_done: called when it is saved and in use.
            on_error: called with the reason if that fails.
        """
        loaded = self.in_use()

        def job() -> None:
            masked = replace(self._store.load(loaded.scene.name), mask=make(loaded.scene))
            self._store.save_mask(masked)
            loaded.predictor.set_mask(masked.mask)

        self._jobs.submit(
            job, on_done, lambda error: on_error(self._context.problems.report_error(error))
        )

    def rebuild(self, camera: tuple[int, int] | None) -> None:
        """Build the engine anew, for settings that have changed; a scene that failed has a chance.

        Args:
            camera: see :meth:`load`.
        """
        configuration = self._configuration
        configuration.prepared = None
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
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """Have the loader thread make what is used from the next frame on; None changes nothing."""
        configuration = self._configuration

        def loaded(made: Loaded | None) -> None:
            self._activities.pop(0)
            on_end()
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
            on_end()
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
        self._use_settings(configuration)
        ready = configuration.ready.get(name)
        if ready is not None and ready.file == self._store.file_state(name):
            made = ready.loaded
            if camera is not None:
                check_size(*camera, made.scene)
            self._check_owner(made.scene)
            configuration.ready.move_to_end(name)
            configuration.newest = made.scene
            self._remember(made.scene)
            return made
        return self._read(name, configuration, camera)

    def _read(
        self,
        name: str,
        configuration: _Configuration,
        camera: tuple[int, int] | None = None,
        owner: bool = True,
    ) -> Loaded:
        """Read a scene and make its engine; ``owner``: whether it is checked whose it is."""
        file = self._store.file_state(name)
        scene = self._store.load(name)
        if camera is not None:
            check_size(*camera, scene)
        if owner:
            self._check_owner(scene)
        return self._build(scene, configuration, file)

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

    def _use_settings(self, configuration: _Configuration) -> None:
        """Drop the engines that were made with other settings than those in force."""
        settings = self._context.settings()
        engine = (settings.backend, settings.threads, settings.refine_fraction)
        if engine != configuration.engine:
            configuration.engine, configuration.blank = engine, None
            configuration.ready.clear()

    def _made(self, scene: Scene, configuration: _Configuration) -> ScenePredictor:
        """A predictor of a scene: with an engine that there is, or else with a new one."""
        engines = [ready.loaded.predictor for ready in reversed(configuration.ready.values())]
        for predictor in (*engines, configuration.blank):
            # One that can be improved waits for TensorRT's.
            if predictor is None or predictor.improvable:
                continue
            if (shared := predictor.for_scene(scene)) is not None:
                return shared
        settings = self._context.settings()
        return self._make_predictor(
            scene,
            settings.backend,
            settings.refine_fraction,
            settings.threads,
            ready_only=True,
            compile_apart=lambda: self._compile(scene, settings.refine_fraction, configuration),
        )

    def _keep_ready(
        self, made: Loaded, file: tuple[int, ...], configuration: _Configuration
    ) -> None:
        ready = configuration.ready
        ready[made.scene.name] = _Ready(made, file)
        ready.move_to_end(made.scene.name)
        while len(ready) > max(1, self._context.settings().ready_scenes):
            ready.popitem(last=False)

    def _build(
        self, scene: Scene, configuration: _Configuration, file: tuple[int, ...] = ()
    ) -> Loaded:
        settings = self._context.settings()
        self._use_settings(configuration)
        predictor = self._made(scene, configuration)
        configuration.newest = scene
        self._remember(scene)
        learned = self._learned(scene)
        if learned is not scene:
            predictor.set_background(background_of(learned))
        bumped = BumpedCamera(learned.plate, scene.plate)
        made = Loaded(scene, predictor, settings.refine_fraction, bumped, learned)
        self._keep_ready(made, file, configuration)
        return made

    def _mask_of_before(self, scene: Scene) -> NDArray[np.uint8] | None:
        """The mask of the scene whose place a new capture takes."""
        with contextlib.suppress(SceneError):
            before = self._store.load(scene.name)
            if before.camera == scene.camera:
                return before.mask
        return None

    def _learned(self, scene: Scene) -> Scene:
        """A scene with what it has learnt since its capture, if there is anything."""
        try:
            return self._store.learned(scene) or scene
        except SceneError as error:
            self._context.log.warning(f"{error} The scene is used as it was captured.")
            return scene

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

"""The background of the scene in use goes on learning, in a thread beside the frames."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import SceneError
from dart_ros.node.context import NodeContext
from dart_ros.node.scene_loader import Loaded
from dart_ros.node.worker import JobThread, LatestWorker
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.living_background import LearningSettings, LivingBackground
from dart_ros.session.predictor import background_of
from dart_ros.session.scene_store import SceneStore
from dart_ros.session.view_changes import Thing
from dart_ros.values import Frame

_PERIOD = 1.0  # seconds between two frames that are learnt from
_USE_PERIOD = 20.0  # seconds between two backgrounds for the engine, unless something is absorbed
_STOP_TIME = 3.0  # seconds to wait for the frame that is being learnt from
_NICENESS = 10  # of the thread: frames come first


@dataclass(eq=False)
class _Learner:
    """What learns for one scene in use."""

    loaded: Loaded
    living: LivingBackground
    given: CapturedBackground  # that the predictor was given, or had
    used: float  # when
    saved: float
    changed: bool = False  # since it was saved


class BackgroundLearning:
    """Learns from a frame a second while the node mattes, and saves what it has learnt.

    Args:
        context: of the node.
        store: where what was learnt is saved.
        on_error: called in the thread of the learning with whatever it raised.
    """

    def __init__(
        self, context: NodeContext, store: SceneStore, on_error: Callable[[Exception], None]
    ) -> None:
        self._context = context
        self._store = store
        self._due = 0.0
        self._lock = threading.Lock()  # around all that learns
        self._learner: _Learner | None = None
        self._things: tuple[Thing, ...] = ()
        self._drift = 1.0
        self._worker = LatestWorker(self._learn, on_error, "background learning", _NICENESS)
        self._requests = JobThread(context.post, "background requests")

    @property
    def things(self) -> tuple[Thing, ...]:
        """What was put down or taken away; from any thread."""
        return self._things

    @property
    def drift(self) -> float:
        """Scale of the sensor's depth over that of the capture; from any thread."""
        return self._drift

    def offer(self, frame: Frame, alpha: NDArray[np.uint8], loaded: Loaded) -> None:
        """Have a frame and its matte learnt from if it is time; in the thread of the outputs."""
        settings = self._context.settings()
        now = time.monotonic()
        if now >= self._due and (settings.learn_background or settings.absorb_seconds):
            self._due = now + _PERIOD
            self._worker.put((frame, alpha, loaded))

    def absorb(
        self,
        region: tuple[int, int, int, int] | None,
        persons_size: bool,
        on_done: Callable[[list[Thing]], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Make things part of the background, see
        :meth:`dart_ros.session.living_background.LivingBackground.absorb`."""

        def job(learner: _Learner) -> list[Thing]:
            absorbed = learner.living.absorb(region, persons_size)
            self._use(learner)
            return absorbed

        self._request(job, on_done, on_error)

    def undo(self, on_done: Callable[[int], None], on_error: Callable[[Exception], None]) -> None:
        """Take the last absorption back."""

        def job(learner: _Learner) -> int:
            parts = learner.living.undo()
            self._use(learner)
            return parts

        self._request(job, on_done, on_error)

    def restore(
        self,
        loaded: Loaded,
        on_done: Callable[[None], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        """Go back to a scene in use as it was captured; also to one of which nothing was learnt
        since it was loaded."""

        def job() -> None:
            with self._lock:
                self._store.forget_learned(loaded.scene.name)
                captured = background_of(loaded.scene)
                loaded.predictor.set_background(captured)
                self._learner = _started(loaded, captured, loaded.scene.drift)
                self._things, self._drift = (), loaded.scene.drift

        self._requests.submit(job, on_done, on_error)

    def forget(self) -> None:
        """Save, and keep nothing of the scene in use.

        The thread that learns is niced: where others take the processor, it may be at one frame
        for minutes, and what it learnt since it saved is given up.
        """
        if not self._lock.acquire(timeout=_STOP_TIME):
            self._context.log.warning(
                "the background is still being learnt: what was learnt last isn't saved"
            )
            return
        try:
            if self._learner is not None:
                self._save(self._learner)
            self._learner = None
            self._things, self._drift = (), 1.0
        finally:
            self._lock.release()

    def stop(self, timeout: float) -> bool:
        """Save and end the threads; whether they have ended within ``timeout`` seconds each."""
        ended = all([thread.stop(timeout) for thread in (self._worker, self._requests)])
        if ended:
            self.forget()
        return ended

    def _request(
        self,
        job: Callable[[_Learner], object],
        on_done: Callable[..., None],
        on_error: Callable[[Exception], None],
    ) -> None:
        def run() -> object:
            with self._lock:
                if self._learner is None:
                    raise SceneError(
                        "the background hasn't begun to learn: it needs a scene, mattes that "
                        "somebody subscribes to, and learn_background or absorb_seconds"
                    )
                return job(self._learner)

        self._requests.submit(run, on_done, on_error)

    # ---- in the thread of the learning -----------------------------------------------------

    def _learn(self, item: tuple[Frame, NDArray[np.uint8], Loaded]) -> None:
        frame, alpha, loaded = item
        settings = self._context.settings()
        learning = LearningSettings(
            settings.learn_background,
            settings.learn_seconds,
            settings.absorb_seconds,
            settings.absorb_persons_size,
        )
        with self._lock:
            learner = self._learner_of(loaded)
            absorbed = learner.living.add(frame, alpha, learning, frame.stamp * 1e-9)
            for thing in absorbed:
                self._context.log.info(
                    f"{described(thing)} is part of the background now (~/undo_absorb takes it "
                    "back)"
                )
            now = time.monotonic()
            due = absorbed or now - learner.used >= _USE_PERIOD
            if due and learner.living.worth_using():
                self._use(learner)
            self._things = tuple(learner.living.things)
            self._drift = learner.living.model.drift
            if now - learner.saved >= settings.save_learned_seconds:
                self._save(learner)

    def _learner_of(self, loaded: Loaded) -> _Learner:
        """The learner of a scene in use; another background than it gave is where it goes on."""
        learner, in_use = self._learner, loaded.predictor.background
        if learner is not None and learner.loaded is loaded and learner.given is in_use:
            return learner
        drift = loaded.learned.drift
        if learner is not None and learner.loaded is not loaded:
            self._save(learner)
            if learner.loaded.scene.id == loaded.scene.id:
                # The same scene with another engine, which was made of an older state.
                newest = learner.living.background()
                if loaded.predictor.set_background(newest, in_use):
                    in_use = newest
                drift = learner.living.model.drift
        elif learner is not None:
            drift = learner.living.model.drift
        self._learner = _started(loaded, in_use, drift)
        return self._learner

    def _use(self, learner: _Learner) -> None:
        """Give the engine what was learnt."""
        background = learner.living.background()
        # Unless the camera was pushed meanwhile: the next frame goes on from there.
        if learner.loaded.predictor.set_background(background, learner.given):
            learner.given, learner.used = background, time.monotonic()
            learner.changed = True

    def _save(self, learner: _Learner) -> None:
        learner.saved = time.monotonic()
        if not learner.changed:
            return
        learner.changed = False
        now = datetime.now(timezone.utc)
        try:
            self._store.save_learned(learner.living.learned(learner.loaded.scene, now))
        except SceneError as error:
            self._context.log.warning(str(error))


def described(thing: Thing) -> str:
    """A thing in words, such as ``something that was put down (0.12 m², at 320, 96)``."""
    size = f"{thing.area:.2f} m²" if thing.area else f"{thing.box[2]}x{thing.box[3]} pixels"
    return f"something that was {thing.kind} ({size}, at {thing.box[0]}, {thing.box[1]})"


def _started(loaded: Loaded, background: CapturedBackground, drift: float) -> _Learner:
    learned = loaded.learned
    living = LivingBackground(
        background,
        learned.color_deviation,
        learned.depth_noise or DepthNoise(),
        learned.max_depth,
        learned.camera,
        drift,
    )
    now = time.monotonic()
    return _Learner(loaded, living, background, now, now)

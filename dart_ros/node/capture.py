"""The capture of the empty background: its frames, the scene made of them, its end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import CaptureError, DartError, FitError
from dart_ros.node.context import NodeContext
from dart_ros.node.fit import Fits
from dart_ros.node.scene_loader import Loaded, SceneLoader
from dart_ros.session.capture import BackgroundCapture, outlined
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.registration import told
from dart_ros.session.scene import Scene, check_name
from dart_ros.values import Frame

_FEWEST_FRAMES, _MOST_FRAMES = 2, 10000  # of one capture; with one nobody can tell what moves


@dataclass(frozen=True)
class CaptureOutcome:
    """How a capture ended.

    Attributes:
        success: whether the scene is captured, saved and in use.
        message: what was done, or why not and what to do.
        scene_id: id of the scene.
        frames_used: frames that the scene was made of.
        known_depth_share: share of pixels, 0 to 1, whose depth was known at least once.
        cancelled: whether it was cancelled.
    """

    success: bool
    message: str
    scene_id: str = ""
    frames_used: int = 0
    known_depth_share: float = 0.0
    cancelled: bool = False


class CaptureSession:
    """A capture that the worker thread feeds and the executor's thread watches.

    Args:
        name: of the scene, checked.
        frames_wanted: frames to take.
        max_depth: range of the sensor in metres.
        noise: of the depth sensor.
        fit_seconds: length of the fit that is to follow, 0 for its own choice; None for no fit.
        on_end: called with the outcome, once, in the executor's thread.
    """

    def __init__(
        self,
        name: str,
        frames_wanted: int,
        max_depth: float,
        noise: DepthNoise,
        fit_seconds: float | None,
        on_end: Callable[[CaptureOutcome], None],
    ) -> None:
        self.name = name
        self.fit_seconds = fit_seconds
        self.frames_wanted = frames_wanted
        self.on_end = on_end
        self._last_frame = time.monotonic()
        self._capture = BackgroundCapture(frames_wanted, max_depth, noise)
        self._closed = False

    def add(self, frame: Frame) -> bool:
        """Take a frame; in the worker thread.

        Returns:
            Whether this frame was the last that was needed. Later ones are ignored.

        Raises:
            CaptureError: if the frame can't be part of the background; the capture is over then.
        """
        if self._closed:
            return False
        try:
            self._capture.add(frame)
        except CaptureError:
            self._closed = True
            raise
        self._last_frame = time.monotonic()
        self._closed = self._capture.done
        return self._closed

    def silent_for(self) -> float:
        """Return the seconds since the last usable frame, or since the start."""
        return 0.0 if self._closed else time.monotonic() - self._last_frame

    @property
    def frames_taken(self) -> int:
        """Frames that are in the background so far."""
        return self._capture.frames

    @property
    def progress(self) -> float:
        """Share of the frames taken, 0 to 1."""
        return self._capture.progress

    @property
    def note(self) -> str:
        """What it waits for in words, empty if it takes frames."""
        return self._capture.note

    @property
    def picture(self) -> NDArray[np.uint8] | None:
        """The frame in which something moved, if it was refused for that: ``H×W×3`` RGB."""
        return self._capture.picture

    def finish(self) -> Scene:
        """Make the scene; CaptureError if too little came in."""
        return self._capture.finish(self.name)


class Capture:
    """Runs one capture at a time. Its methods are for the executor's thread but :meth:`feed`.

    Args:
        context: of the node.
        scenes: saves the scene and uses it.
        fits: fits the network to it afterwards.
        show: publishes a picture (``H×W×3`` RGB uint8) of what moved or is restless.
    """

    def __init__(
        self,
        context: NodeContext,
        scenes: SceneLoader,
        fits: Fits,
        show: Callable[[NDArray[np.uint8]], None],
    ) -> None:
        self._context = context
        self._show = show
        self._scenes = scenes
        self._fits = fits
        self._session: CaptureSession | None = None
        self._saving: CaptureSession | None = None

    @property
    def session(self) -> CaptureSession | None:
        """The capture that takes frames; from any thread."""
        return self._session

    def check_idle(self) -> None:
        """Raise CaptureError if a capture takes frames or is being saved."""
        if (self._session or self._saving) is not None:
            raise CaptureError("a background is being captured: wait until it is done")

    @property
    def activity(self) -> str:
        """What the capture that takes frames does in words, empty if there is none."""
        session = self._session
        if session is None:
            return ""
        return (
            f"capturing '{session.name}': frame {session.frames_taken} of {session.frames_wanted}"
            + (f", {session.note}" if session.note else "")
        )

    def start(
        self,
        scene: str,
        frames: int,
        fit_seconds: float | None,
        on_end: Callable[[CaptureOutcome], None],
    ) -> CaptureSession | None:
        """Start a capture.

        Args:
            scene: name of the scene.
            frames: frames to take, 0 for the parameter capture_frames.
            fit_seconds: length of the fit that is to follow, 0 for the parameter fit_seconds; None
                for no fit.
            on_end: called with the outcome, at once if the capture is refused.

        Returns:
            The capture, None if it is refused.
        """
        busy = self._session or self._saving
        settings = self._context.settings()
        frames = frames or settings.capture_frames
        try:
            if busy is not None:
                raise CaptureError(
                    f"a capture of '{busy.name}' is already running: wait until it is done"
                )
            if not _FEWEST_FRAMES <= frames <= _MOST_FRAMES:
                raise CaptureError(
                    f"a capture takes {_FEWEST_FRAMES} to {_MOST_FRAMES} frames, not {frames}"
                )
            if fit_seconds is not None:
                fit_seconds = self._fits.checked_seconds(fit_seconds)
            check_name(scene)
            noise = DepthNoise(
                settings.depth_noise_absolute,
                settings.depth_noise_quadratic,
                settings.depth_noise_relative,
            )
            session = CaptureSession(scene, frames, settings.max_depth, noise, fit_seconds, on_end)
        except DartError as error:
            self._context.problems.report(str(error))
            on_end(CaptureOutcome(False, str(error)))
            return None
        self._context.log.info(f"capturing '{scene}': {frames} frames")
        self._session = session
        return session

    def cancel(self, session: CaptureSession | None = None) -> bool:
        """Start to cancel a capture.

        Args:
            session: the capture, None for the one that takes frames.

        Returns:
            Whether it takes frames; one that is being saved can't be cancelled any more.
        """
        session = session or self._session
        if session is None or session is not self._session:
            return False
        outcome = CaptureOutcome(
            False, f"the capture of '{session.name}' was cancelled", cancelled=True
        )
        self._context.post(lambda: self._end_if_current(session, outcome))
        return True

    def feed(self, session: CaptureSession, frame: Frame) -> None:
        """Give a frame to a capture; in the worker's thread."""
        try:
            done = session.add(frame)
        except CaptureError as error:
            picture, words = session.picture, str(error)
            if picture is not None:
                self._show(picture)
                words += " ~/capture_picture shows where."
            outcome = CaptureOutcome(False, words)
            self._context.post(lambda: self._end_if_current(session, outcome))
            return
        if done:
            self._context.post(lambda: self._complete(session))

    def give_up(self, reason: str) -> None:
        """End the capture that takes frames, if there is one."""
        if self._session is not None:
            self._end(self._session, CaptureOutcome(False, reason))

    def give_up_if_silent(self, why: Callable[[], str]) -> None:
        """Do so if no usable frame has come for the parameter capture_timeout.

        Args:
            why: says in words why no usable frame comes, empty if nothing is wrong with them.
        """
        session = self._session
        if session is None or session.silent_for() <= self._context.settings().capture_timeout:
            return
        self.give_up(
            f"no usable frames for {session.silent_for():.1f} s (capture_timeout), "
            f"{session.frames_taken} of {session.frames_wanted} taken: "
            + (why() or "frames come too rarely")
        )

    def _end_if_current(self, session: CaptureSession, outcome: CaptureOutcome) -> None:
        if self._session is session:
            self._end(session, outcome)

    def _end(self, session: CaptureSession, outcome: CaptureOutcome) -> None:
        self._session = self._saving = None
        if outcome.success:
            self._context.log.info(f"scene '{outcome.scene_id}': {outcome.message}")
        elif outcome.cancelled:
            self._context.log.info(outcome.message)
        else:
            self._context.problems.report(outcome.message)
        session.on_end(outcome)

    def _complete(self, session: CaptureSession) -> None:
        if self._session is not session:
            return
        self._session, self._saving = None, session
        end_fit = self._fits.ending()

        def make() -> Scene:
            scene = session.finish()
            end_fit()  # it must not write its result over the new scene
            return scene

        self._scenes.add(
            make,
            f"saving scene '{session.name}' and building its engine",
            lambda made: self._captured(session, made),
            lambda reason: self._end(session, CaptureOutcome(False, reason)),
        )

    def _captured(self, session: CaptureSession, made: Loaded) -> None:
        scene = made.scene
        message = f"captured {scene.frames} frames, depth known in {scene.known_share:.0%}"
        restless = scene.restless()
        self._show(outlined(scene.plate, restless))
        if restless.any():
            message += f", {restless.mean():.1%} of the picture restless, see ~/capture_picture"
        if offset := told(scene.depth_offset):
            message += f"; {offset}"
        if scene.known_share == 0:
            message += " (depth is unknown everywhere: mattes will come from color alone)"
            self._context.problems.report(
                "the captured scene has no depth at all: check the depth sensor"
            )
        if session.fit_seconds is not None:
            message += f"; {self._fit(scene, session.fit_seconds)}"
        self._end(session, CaptureOutcome(True, message, scene.id, scene.frames, scene.known_share))

    def _fit(self, scene: Scene, seconds: float) -> str:
        """Start a fit; returns what to tell about it."""
        if not self._context.active():
            return "not fitted to it: the node is not active any more"
        try:
            self._fits.start(scene, seconds)
        except FitError as error:
            self._context.problems.report(str(error))
            return str(error)
        length = f" for {seconds:g} s" if seconds else ""
        return f"fitting to it{length}, see ~/status"

"""The node's actions: what the services of the same kind do, with feedback and cancel."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node

from dart_ros.action import CaptureBackground, FitScene, TakeStill
from dart_ros.errors import DartError
from dart_ros.node.camera_input import CameraInput
from dart_ros.node.capture import Capture, CaptureOutcome
from dart_ros.node.context import INACTIVE, NodeContext
from dart_ros.node.deferred_action import DeferredAction, Goal
from dart_ros.node.fit import Fits
from dart_ros.node.fit_process import FitEnd
from dart_ros.node.scene_loader import Loaded, SceneLoader
from dart_ros.node.still import StillOutcome, Stills
from dart_ros.session.scene import check_name


class Actions:
    """Offers the actions. For the executor's thread.

    Args:
        node: owner of the actions.
        context: of the node.
        camera: tells the size of what the camera sends.
        scenes: loads the scene to fit.
        capture: captures scenes.
        fits: fits them.
        stills: takes stills.
    """

    def __init__(
        self,
        node: Node,
        context: NodeContext,
        camera: CameraInput,
        scenes: SceneLoader,
        capture: Capture,
        fits: Fits,
        stills: Stills,
    ) -> None:
        self._context = context
        self._camera = camera
        self._scenes = scenes
        self._capture = capture
        self._fits = fits
        self._stills = stills
        actions: Sequence[tuple[Any, str, Callable[[Goal], None]]] = (
            (CaptureBackground, "~/capture_background", self._capture_asked),
            (FitScene, "~/fit_scene", self._fit_asked),
            (TakeStill, "~/take_still", self._still_asked),
        )
        self._actions = [
            DeferredAction(node, context, kind, name, self._when_active(kind, asked))
            for kind, name, asked in actions
        ]

    @property
    def pending(self) -> int:
        """How many goals wait for their result."""
        return sum(action.pending for action in self._actions)

    def update(self) -> None:
        """Publish feedback."""
        for action in self._actions:
            action.update()

    def close(self) -> None:
        """End all goals."""
        for action in self._actions:
            action.abort_open("the node ends")

    def _when_active(self, kind: Any, asked: Callable[[Goal], None]) -> Callable[[Goal], None]:
        def checked(goal: Goal) -> None:
            if self._context.active():
                asked(goal)
            else:
                self._refuse(goal, kind.Result(), INACTIVE)

        return checked

    def _refuse(self, goal: Goal, result: Any, reason: str) -> None:
        self._context.problems.report(reason)
        result.message = reason
        goal.end(result, success=False)

    def _capture_asked(self, goal: Goal) -> None:
        request = goal.request

        def ended(outcome: CaptureOutcome) -> None:
            result = CaptureBackground.Result(
                message=outcome.message,
                scene_id=outcome.scene_id,
                frames_used=outcome.frames_used,
                known_depth_share=outcome.known_depth_share,
            )
            goal.end(result, outcome.success)

        fit_seconds = request.fit_seconds if request.fit else None
        session = self._capture.start(request.scene, request.frames, fit_seconds, ended)
        if session is None:
            return

        def feedback() -> CaptureBackground.Feedback:
            return CaptureBackground.Feedback(
                activity=self._capture.activity or self._scenes.activity,
                progress=session.progress,
                frames_taken=session.frames_taken,
                frames_wanted=session.frames_wanted,
            )

        goal.follow(feedback, lambda: self._capture.cancel(session))

    def _fit_asked(self, goal: Goal) -> None:
        request, result = goal.request, FitScene.Result()
        try:
            self._capture.check_idle()
            self._fits.check_idle()
            seconds = self._fits.checked_seconds(request.seconds)
            if request.scene:
                check_name(request.scene)
            else:
                self._scenes.in_use()
        except DartError as error:
            self._refuse(goal, result, str(error))
            return
        started = cancelled = False

        def ended(end: FitEnd) -> None:
            result.message, result.improved = end.message, end.improved
            goal.end(result, success=not (end.failed or end.cancelled))

        def fit(made: Loaded) -> None:
            nonlocal started
            result.scene_id = made.scene.id
            if cancelled:
                result.message = "the fit was cancelled before it began"
                goal.end(result, success=False)
                return
            try:
                self._fits.start(made.scene, seconds, ended)
                started = True
            except DartError as error:
                self._refuse(goal, result, str(error))

        def failed(reason: str) -> None:
            result.message = reason
            goal.end(result, success=False)

        def cancel() -> bool:
            nonlocal cancelled
            cancelled = True
            if started:
                self._fits.cancel()
            return True

        def feedback() -> FitScene.Feedback:
            progress, activity = self._fits.progress
            if not self._fits.running:
                progress, activity = 0.0, self._scenes.activity
            return FitScene.Feedback(activity=activity, progress=progress)

        goal.follow(feedback, cancel)
        loaded = self._scenes.loaded
        if loaded is not None and request.scene in ("", loaded.scene.name):
            fit(loaded)
        else:
            self._scenes.load(request.scene, self._camera.size(), fit, failed)

    def _still_asked(self, goal: Goal) -> None:
        request = goal.request

        def ended(outcome: StillOutcome) -> None:
            result = TakeStill.Result(message=outcome.message, file=outcome.file, **outcome.images)
            goal.end(result, outcome.success)

        still = self._stills.start(request.file, request.images, ended)
        if still is not None:
            goal.follow(
                lambda: TakeStill.Feedback(activity=still.activity),
                lambda: self._stills.cancel(still),
            )

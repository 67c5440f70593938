"""The matting node: color and depth in, mattes out; docs/parameters.md has topics and services.

The executor's thread owns the state: it takes messages, answers services and reports. The worker
thread turns the latest pair into a matte (or feeds it to a capture); the sender publishes it while
the worker is at the next one. What takes seconds has threads of its own: the scene loader has two,
another lists scenes, one more waits for the post-matting of stills. All of them hand results over
through the mailbox; what they read of the state (`_capture`, `_scenes.loaded`, `_still`,
`settings`) is replaced as a whole, never changed in place.
"""

from __future__ import annotations

import math
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from types import FrameType
from typing import Any

import cv2
import rclpy
import torch
from builtin_interfaces.msg import Time
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState
from rclpy.clock import Clock, ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import Trigger

from dart_ros.errors import CaptureError, DartError, SceneError
from dart_ros.msg import SceneInfo, Status
from dart_ros.node.capture_session import CaptureSession
from dart_ros.node.deferred_service import DeferredService, Mailbox, Reply
from dart_ros.node.engine_build import EngineBuilder, build_command
from dart_ros.node.fit_process import FitEnd, FitProcess, fit_command, resumption
from dart_ros.node.image_messages import ImagePair, frame_from_pair
from dart_ros.node.outputs import COLORED, Outputs
from dart_ros.node.parameters import NodeParameters, Settings
from dart_ros.node.scene_loader import Loaded, SceneLoader, ScenePredictor, check_size
from dart_ros.node.status import FrameLog, FrameSummary, diagnostics, story, without_figures
from dart_ros.node.still import Finished, Still
from dart_ros.node.stream_health import COLOR, DEPTH, INFO, StreamHealth
from dart_ros.node.synchronizer import COLOR as COLOR_SIDE
from dart_ros.node.synchronizer import DEPTH as DEPTH_SIDE
from dart_ros.node.synchronizer import PairSynchronizer
from dart_ros.node.worker import JobThread, LatestWorker, OrderedWorker
from dart_ros.postmatting.process import PostMattingProcess
from dart_ros.session.predictor import Predictor
from dart_ros.session.scene import Scene, check_name
from dart_ros.session.scene_store import SceneStore, SceneSummary, scope_of
from dart_ros.srv import CaptureBackground, ListScenes, LoadScene, TakeStill
from dart_ros.values import Frame, Matte

_TICK = 0.1  # seconds between two looks at the node's state
_STATUS_PERIOD = 1.0  # seconds between two statuses when nothing changes
_SILENCE = 1.0  # seconds without a pair after which the node says that it waits
_REPEAT = 5.0  # seconds after which a fault that goes on is logged again
_TROUBLE_MEMORY = 30.0  # seconds for which a failed request stays in the status of a node that runs
_FEWEST_FRAMES, _MOST_FRAMES = 2, 10000  # of one capture; with one nobody can tell what moves
_LONGEST_FIT = 86400.0  # seconds
_AND = "; "  # between two reasons in the status
_MOTION_PERIOD = 1.0  # seconds between two looks whether the camera has moved
_GENTLY = 3.0  # seconds that threads and processes have to end at shutdown


@dataclass(frozen=True, eq=False)
class _Matted:
    """A matte on its way out."""

    outputs: Outputs
    wanted: frozenset[str]
    pair: ImagePair
    frame: Frame
    matte: Matte | None  # None if only camera_info is wanted


class MattingNode(LifecycleNode):
    """The lifecycle node ``matting_node``.

    Raises:
        rclpy.exceptions.ParameterException: if a parameter given at start is refused.
    """

    def __init__(self) -> None:
        super().__init__("matting_node")
        self._params = NodeParameters(self, self._parameters_changed)
        self._mailbox = Mailbox(self)
        self._files = JobThread(self._mailbox.post, "scene files")
        scope = scope_of(self.get_fully_qualified_name())
        self._store = SceneStore(self._params.settings.scenes_dir, scope)
        self._scenes = SceneLoader(
            self._store,
            self.get_fully_qualified_name(),
            lambda: self._params.settings,
            Predictor,
            EngineBuilder("TensorRT engine", partial(build_command, "tensorrt", self._store)),
            EngineBuilder("OpenVINO engine", partial(build_command, "openvino", self._store)),
            self._mailbox.post,
            self._scene_used,
            self._scene_failed,
            self.get_logger(),
        )

        self._active = False
        self._inputs: list[Any] = []
        self._outputs: Outputs | None = None
        self._worker: LatestWorker[ImagePair] | None = None
        self._unfinished: LatestWorker[ImagePair] | None = None  # at a frame when it had to end
        self._sender: OrderedWorker[_Matted] | None = None
        self._frames = FrameLog()
        self._health = StreamHealth()
        self._synchronizer: PairSynchronizer | None = None
        self._info: CameraInfo | None = None
        self._pairs = 0
        self._active_since = 0.0
        self._next_look = 0.0  # of the worker, when there is nothing to do but to look for faults
        self._next_motion_look = 0.0
        self._moved = False  # at the last look

        self._capture: CaptureSession | None = None
        self._finishing: CaptureSession | None = None
        self._capture_reply: Reply | None = None
        self._fit: FitProcess | None = None
        self._fit_scene = ("", "")  # name and id
        self._fit_progress = (0.0, "")
        self._fit_resumption = ""
        self._still: Still | None = None
        self._stills = JobThread(self._mailbox.post, "stills")
        self._post_matting: PostMattingProcess | None = None
        self._trouble = ""
        self._troubled = 0.0
        self._fault = ""
        self._faulty = -math.inf
        self._told_whole: dict[str, float] = {}  # when, by the place in the code

        self._status_publisher = self.create_publisher(
            Status,
            "~/status",
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._status_time = 0.0
        self._told: tuple[object, ...] = ()
        self._last_reason = ""
        services: Sequence[tuple[Any, str, Callable[[Any, Reply], None]]] = (
            (CaptureBackground, "~/capture_background", self._capture_requested),
            (LoadScene, "~/load_scene", self._load_requested),
            (ListScenes, "~/list_scenes", self._list_requested),
            (TakeStill, "~/take_still", self._still_requested),
            (Trigger, "~/cancel_fit", self._cancel_requested),
        )
        self._deferred = [DeferredService(self, *service) for service in services]
        self._refuse_wrong_transitions()
        # A steady clock: the node has to report also while simulated time stands still.
        self.create_timer(_TICK, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

    # ---- lifecycle -------------------------------------------------------------------------

    def _refuse_wrong_transitions(self) -> None:
        """Have a transition that isn't possible refused: rclpy raises instead, out of its own
        code, and whoever asked would wait for ever."""
        service = self._service_change_state
        change = service.callback

        def changed(request: ChangeState.Request, response: ChangeState.Response) -> Any:
            try:
                return change(request, response)
            except rclpy_implementation.RCLError:
                asked = request.transition.label or request.transition.id
                state = self._state_machine.current_state[1]
                self.get_logger().error(f"transition '{asked}' is refused: the node is {state}")
                response.success = False
                return response

        service.callback = changed

    def bring_up(self) -> None:
        """Configure and activate, if the parameter autostart says so."""
        if not self._params.settings.autostart:
            return
        if self.trigger_configure() == TransitionCallbackReturn.SUCCESS:
            self.trigger_activate()

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Make the publishers and start to load the scene."""
        return self._logged(self._configure) or super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe and start to work."""
        if self._unfinished is not None and not self._unfinished.stop(_GENTLY):
            self.get_logger().error(
                "can't activate: the engine is still at a frame from before; try again later"
            )
            return TransitionCallbackReturn.FAILURE
        return self._logged(self._activate) or super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop to work and take the subscriptions back, so that the camera may rest."""
        return self._logged(self._deactivate) or super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Drop the scene and the publishers; a running fit is cancelled."""
        return self._logged(self._clean_up) or super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Do what deactivation and cleanup do."""
        return self._logged(self._clean_up) or super().on_shutdown(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Go back to the unconfigured state after a transition that failed."""
        return self._logged(self._clean_up) or super().on_error(state)

    def _logged(self, step: Callable[[], None]) -> TransitionCallbackReturn | None:
        # rclpy turns an exception into an ERROR transition without a word.
        try:
            step()
        except Exception:
            self.get_logger().error(traceback.format_exc())
            return TransitionCallbackReturn.ERROR
        return None

    def _configure(self) -> None:
        self._outputs = Outputs(self)
        name = self._params.settings.scene or self._last_scene()
        if name:
            self._scenes.load(name, self._camera_size())

    def _last_scene(self) -> str | None:
        try:
            return self._store.last(self.get_fully_qualified_name())
        except SceneError as error:
            self._report(str(error))
            return None

    def _activate(self) -> None:
        self._health = StreamHealth()
        self._frames = FrameLog()
        self._info = None
        self._pairs = 0
        self._active_since = time.monotonic()
        self._sender = OrderedWorker(self._send, self._work_failed, "sending")
        self._worker = LatestWorker(self._process, self._work_failed, "matting")
        self._synchronize()
        kinds: Sequence[tuple[Any, str, Callable[[Any], None]]] = (
            (Image, "color/image_raw", self._on_color),
            (Image, "depth/image_raw", self._on_depth),
            (CameraInfo, "color/camera_info", self._on_info),
        )
        self._inputs = [
            self.create_subscription(
                kind,
                topic,
                callback,
                QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for kind, topic, callback in kinds
        ]
        self._active = True

    def _deactivate(self) -> None:
        self._active = False
        for subscription in self._inputs:
            self.destroy_subscription(subscription)
        self._inputs = []
        # Two threads must never work with one engine.
        if self._worker is not None and not self._worker.stop(_GENTLY):
            self._unfinished = self._worker
        if self._sender is not None:
            self._sender.stop(_GENTLY)
        self._worker = self._sender = None
        if self._capture is not None:
            self._end_capture("the node was deactivated during the capture")
        if self._still is not None:
            self._end_still(self._still, "the node was deactivated before the still was done")
        if self._post_matting is not None:
            self._post_matting.kill()

    def _clean_up(self) -> None:
        self._deactivate()
        if self._fit is not None:
            self._fit.stop(_GENTLY)
            self._fit = None
        self._scenes.clear()
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None

    def close(self) -> bool:
        """End everything; False if a thread is still at work (an engine being built)."""
        sender = self._sender
        self._clean_up()
        threads = (self._unfinished, sender, self._scenes, self._files, self._stills)
        ended = all([thread is None or thread.stop(_GENTLY) for thread in threads])
        for service in self._deferred:
            service.refuse_open("the node ends")
        return ended

    # ---- images in, in the executor's thread -----------------------------------------------

    def _synchronize(self) -> None:
        self._synchronizer = PairSynchronizer(self._params.settings.sync_slop, self._on_pair)

    def _on_color(self, message: Image) -> None:
        self._health.topics[COLOR].count(time.monotonic())
        if self._synchronizer is not None:
            self._synchronizer.add(COLOR_SIDE, message)

    def _on_depth(self, message: Image) -> None:
        self._health.topics[DEPTH].count(time.monotonic())
        if self._synchronizer is not None:
            self._synchronizer.add(DEPTH_SIDE, message)

    def _on_info(self, message: CameraInfo) -> None:
        self._health.topics[INFO].count(time.monotonic())
        self._info = message

    def _on_pair(self, color: Image, depth: Image) -> None:
        # Without camera_info nothing can be made of it; the watchdog will tell.
        if self._info is None or self._worker is None:
            return
        self._health.pairs.count(time.monotonic())
        self._pairs += 1
        self._worker.put(ImagePair(color, depth, self._info))

    # ---- the way of a frame, in the worker thread ------------------------------------------

    def _process(self, pair: ImagePair) -> None:
        capture, loaded, still = self._capture, self._scenes.loaded, self._still
        outputs, sender = self._outputs, self._sender
        if still is not None and still.taken:
            still = None
        wanted = frozenset[str]() if outputs is None else outputs.wanted()
        idle = loaded is None or not (wanted or still)
        if capture is None and idle and not self._look_anyway():
            return
        frame = frame_from_pair(pair, self._params.settings.max_depth)
        if capture is not None:
            self._feed(capture, frame)
        elif loaded is not None:
            check_size(frame.camera.width, frame.camera.height, loaded.scene)
            if outputs is not None and sender is not None and (wanted or still):
                matte = self._matte(loaded.predictor, wanted, still, pair, frame)
                sender.put(_Matted(outputs, wanted, pair, frame, matte))
        if not (frame.depth > 0).any():
            self._frames.doubtful(
                time.monotonic(),
                "depth is unknown in the whole image, so mattes come from color alone: check the "
                "depth sensor (range, max_depth, emitter, covered lens)",
            )
        elif loaded is not None and capture is None:
            self._compare_cameras(frame.camera.frame_id, loaded.scene)
            self._look_for_motion(frame, loaded)
        # Of one that was handed to the sender only he knows.
        if loaded is None or capture is not None or idle:
            self._frames.usable()

    def _compare_cameras(self, frame_id: str, scene: Scene) -> None:
        """Complain if the frame comes from another camera than the scene, as far as names tell."""
        captured = scene.camera.frame_id
        if frame_id and captured and frame_id != captured:
            self._frames.doubtful(
                time.monotonic(),
                f"the camera's frame_id is '{frame_id}', but scene '{scene.name}' was captured in "
                f"'{captured}': if that is another camera, load its own scene (~/load_scene) or "
                "capture the background again (~/capture_background)",
            )

    def _look_for_motion(self, frame: Frame, loaded: Loaded) -> None:
        """Complain if the camera has moved since the scene was captured."""
        now = time.monotonic()
        if now < self._next_motion_look:
            return
        self._next_motion_look = now + _MOTION_PERIOD
        pixels = loaded.motion.pixels(frame.color)
        before, self._moved = self._moved, pixels is not None and pixels > loaded.motion.tolerance
        if before and self._moved:  # a shake goes over
            self._frames.doubtful(
                now,
                f"the camera has moved by about {pixels:.0f} pixels since scene "
                f"'{loaded.scene.name}' was captured: put it back, or capture the background again "
                "(~/capture_background)",
            )

    def _look_anyway(self) -> bool:
        """Whether to look at a frame that nobody needs, so that the status tells what is wrong."""
        now = time.monotonic()
        if now < self._next_look:
            return False
        self._next_look = now + 1.0
        return True

    def _matte(
        self,
        predictor: ScenePredictor,
        wanted: frozenset[str],
        still: Still | None,
        pair: ImagePair,
        frame: Frame,
    ) -> Matte | None:
        if wanted == {"camera_info"} and still is None:
            return None
        matte = predictor.predict(
            frame,
            trimap="trimap" in wanted or still is not None,
            foreground=bool(COLORED & wanted) or still is not None,
        )
        if still is not None:
            still.take(pair.color.header, frame, matte)
            self._mailbox.post(lambda: self._still_taken(still))
        return matte

    def _send(self, matted: _Matted) -> None:
        """Publish a matte, in the sender's thread."""
        outputs, wanted, pair, frame = matted.outputs, matted.wanted, matted.pair, matted.frame
        if matted.matte is None:
            outputs.publish_camera_info(pair)
        else:
            outputs.publish(wanted, pair, frame, matted.matte, self._params.settings)
            latency = (self.get_clock().now().nanoseconds - frame.stamp) * 1e-9
            self._frames.matted(time.monotonic(), latency)
        self._frames.usable()

    def _feed(self, capture: CaptureSession, frame: Frame) -> None:
        try:
            done = capture.add(frame)
        except CaptureError as error:
            reason = str(error)
            self._mailbox.post(lambda: self._capture_failed(capture, reason))
            return
        if done:
            self._mailbox.post(lambda: self._capture_complete(capture))

    def _work_failed(self, error: Exception) -> None:
        self._frames.failed(time.monotonic(), self._told_reason(error))

    def _told_reason(self, error: Exception) -> str:
        """What to tell of an error; one that nobody raised on purpose goes into the log whole."""
        if isinstance(error, DartError):
            return str(error)
        place = "".join(traceback.format_tb(error.__traceback__))
        now = time.monotonic()
        if now - self._told_whole.get(place, -math.inf) > _REPEAT:
            self._told_whole[place] = now
            text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self.get_logger().error(text)
        return f"internal error, please report it with the log: {error!r}"

    # ---- scenes ----------------------------------------------------------------------------

    def _scene_used(self, made: Loaded) -> None:
        self._trouble = ""
        for note in made.predictor.notes:
            self.get_logger().info(note)
        self.get_logger().info(f"scene '{made.scene.id}' is in use, on {made.predictor.backend}")

    def survived(self, error: Exception) -> None:
        """Report a fault of the node's own in the executor's thread, not for each message anew."""
        reason = self._told_reason(error)
        if reason != self._fault or time.monotonic() - self._faulty > _REPEAT:
            self._report(reason)
        self._fault, self._faulty = reason, time.monotonic()

    def _scene_failed(self, error: Exception) -> str:
        reason = self._told_reason(error)
        self._report(reason)
        return reason

    def _camera_size(self) -> tuple[int, int] | None:
        """Width and height of what the camera sends now, None while it is silent."""
        if self._info is None or self._health.topics[INFO].rate(time.monotonic()) == 0:
            return None
        return self._info.width, self._info.height

    def _load_requested(self, request: LoadScene.Request, reply: Reply) -> None:
        if not self._active:
            self._refuse(reply, "the node is not active: activate it first")
            return

        def loaded(made: Loaded) -> None:
            reply.response.success = True
            reply.response.scene_id = made.scene.id
            reply.response.message = f"scene '{made.scene.name}' is in use"
            reply.send()

        try:
            check_name(request.scene)
        except SceneError as error:
            self._refuse(reply, str(error))
            return
        self._scenes.load(request.scene, self._camera_size(), loaded, reply.refuse)

    def _list_requested(self, _: ListScenes.Request, reply: Reply) -> None:
        def listed(scenes: list[SceneSummary]) -> None:
            reply.response.success = True
            reply.response.message = f"{len(scenes)} scenes in {self._store.directory}"
            loaded = self._scenes.loaded
            current = loaded.scene.id if loaded is not None else None
            reply.response.scenes = [_scene_info(scene, current) for scene in scenes]
            reply.send()

        self._files.submit(self._store.list, listed, lambda error: reply.refuse(str(error)))

    # ---- capture ---------------------------------------------------------------------------

    def _capture_requested(self, request: CaptureBackground.Request, reply: Reply) -> None:
        settings = self._params.settings
        busy = self._capture or self._finishing
        frames = request.frames or settings.capture_frames
        seconds = request.fit_seconds or settings.fit_seconds
        if not self._active:
            self._refuse(reply, "the node is not active: activate it first")
        elif busy is not None:
            self._refuse(
                reply, f"a capture of '{busy.name}' is already running: wait until it is done"
            )
        elif not _FEWEST_FRAMES <= frames <= _MOST_FRAMES:
            self._refuse(
                reply, f"a capture takes {_FEWEST_FRAMES} to {_MOST_FRAMES} frames, not {frames}"
            )
        elif not 0 <= seconds <= _LONGEST_FIT:
            self._refuse(
                reply,
                f"fit_seconds {seconds:g} is no length of a fit: give up to {_LONGEST_FIT:g}, or "
                "0 for the parameter fit_seconds",
            )
        else:
            try:
                check_name(request.scene)
                fit_seconds = seconds if request.fit else None
                capture = CaptureSession(request.scene, frames, settings.max_depth, fit_seconds)
            except DartError as error:
                self._refuse(reply, str(error))
                return
            self._capture_reply = reply
            self._capture = capture
            self.get_logger().info(f"capturing '{request.scene}': {frames} frames")

    def _capture_failed(self, capture: CaptureSession, reason: str) -> None:
        if self._capture is capture:
            self._end_capture(reason)

    def _end_capture(self, reason: str) -> None:
        self._capture = self._finishing = None
        reply, self._capture_reply = self._capture_reply, None
        if reply is not None:
            self._refuse(reply, reason)

    def _capture_complete(self, capture: CaptureSession) -> None:
        if self._capture is not capture:
            return
        self._capture, self._finishing = None, capture
        fit = self._fit

        def make() -> Scene:
            scene = capture.finish()
            if fit is not None:
                self.get_logger().info("the fit that runs is cancelled by a new capture")
                fit.stop(_GENTLY)  # it must not write its result over the new scene
            return scene

        activity = f"saving scene '{capture.name}' and building its engine"
        self._scenes.add(make, activity, self._captured, self._end_capture)

    def _captured(self, made: Loaded) -> None:
        scene, capture = made.scene, self._finishing
        reply, self._capture_reply, self._finishing = self._capture_reply, None, None
        message = f"captured {scene.frames} frames, depth known in {scene.known_share:.0%}"
        if scene.known_share == 0:
            message += " (depth is unknown everywhere: mattes will come from color alone)"
            self._report("the captured scene has no depth at all: check the depth sensor")
        if capture is not None and capture.fit_seconds is not None:
            message += (
                self._start_fit(scene, capture.fit_seconds)
                if self._active
                else "; not fitted to it: the node is not active any more"
            )
        self.get_logger().info(f"scene '{scene.id}': {message}")
        if reply is not None:
            reply.response.success = True
            reply.response.message = message
            reply.response.scene_id = scene.id
            reply.response.frames_used = scene.frames
            reply.response.known_depth_share = scene.known_share
            reply.send()

    # ---- fit -------------------------------------------------------------------------------

    def _start_fit(self, scene: Scene, seconds: float) -> str:
        """Start to fit the network to a scene; returns what to tell about it."""
        self._fit_scene = (scene.name, scene.id)
        self._fit_progress = (0.0, "fitting: starting")
        post = self._mailbox.post
        started: list[FitProcess] = []

        def progressed(progress: float, message: str) -> None:
            post(lambda: setattr(self, "_fit_progress", (progress, message)))

        def ended(end: FitEnd) -> None:
            post(lambda: self._fit_ended(started[0], end))

        settings = self._params.settings
        engine = settings.backend, settings.refine_fraction, settings.threads
        folder = str(self._store.directory)
        extras = {"--sprites": settings.fit_sprites, "--teacher": settings.fit_teacher}
        qualified = self._store.qualified(scene.name)
        command = fit_command(qualified, folder, seconds, engine, extras)
        self._fit_resumption = resumption(command)
        try:
            started.append(FitProcess(command, progressed, ended))
        except OSError as error:
            self._report(f"the fit could not be started: {error}")
            return f"; the fit could not be started: {error}"
        self._fit = started[0]
        length = f" for {seconds:g} s" if seconds else ""
        return f"; fitting to it{length}, see ~/status"

    def _fit_ended(self, fit: FitProcess, end: FitEnd) -> None:
        if self._fit is not fit:
            return
        self._fit = None
        name, scene_id = self._fit_scene
        text = f"fit of '{name}': {end.message}"
        if end.failed:
            if self._store.unfinished_fit(scene_id).exists():
                text += f"; this goes on with it: {self._fit_resumption}"
            self._report(text)
            return
        self.get_logger().info(text)
        if end.improved:
            self._scenes.reload(name, scene_id)

    def _cancel_requested(self, _: Trigger.Request, reply: Reply) -> None:
        reply.response.success = self._fit is not None
        if self._fit is None:
            reply.response.message = "no fit is running"
        else:
            self._fit.cancel()
            reply.response.message = f"the fit of '{self._fit_scene[0]}' is being cancelled"
        self.get_logger().info(f"cancel_fit: {reply.response.message}")
        reply.send()

    # ---- stills ----------------------------------------------------------------------------

    def _still_requested(self, request: TakeStill.Request, reply: Reply) -> None:
        if not self._active:
            self._refuse(reply, "the node is not active: activate it first")
        elif self._capture is not None or self._finishing is not None:
            self._refuse(reply, "a background is being captured: wait until it is done")
        elif self._scenes.loaded is None:
            self._refuse(reply, "there is no background yet: capture one or load a scene first")
        elif self._still is not None:
            self._refuse(reply, "a still is already being taken: wait until it is done")
        else:
            self._still = Still(reply, request.file)

    def _still_taken(self, still: Still) -> None:
        if self._still is not still:
            return
        settings = self._params.settings
        post = PostMattingProcess(settings.post_matting, settings.post_matting_weights)
        self._post_matting = post

        def finished(made: Finished) -> None:
            if self._still is not still:
                return
            self._still = None
            self.get_logger().info(f"take_still: {made.message}")
            for name, image in made.images.items():
                setattr(still.reply.response, name, image)
            still.reply.response.success = True
            still.reply.response.message = made.message
            still.reply.send()

        def failed(error: Exception) -> None:
            self._end_still(still, self._told_reason(error))

        self._stills.submit(lambda: still.finish(post), finished, failed)

    def _end_still(self, still: Still, reason: str) -> None:
        if self._still is still:
            self._still = None
            still.give_up()
            self._refuse(still.reply, reason)

    # ---- parameters ------------------------------------------------------------------------

    def _parameters_changed(self, before: Settings, after: Settings) -> None:
        if before.sync_slop != after.sync_slop and self._active:
            self._synchronize()
        engine = (after.backend, after.threads, after.refine_fraction)
        changed = engine != (before.backend, before.threads, before.refine_fraction)
        if changed:
            self._scenes.rebuild(self._camera_size())

    # ---- what the node says about itself ---------------------------------------------------

    def _report(self, trouble: str) -> None:
        """Log a failed request and keep it for the status."""
        self.get_logger().error(trouble)
        self._trouble, self._troubled = trouble, time.monotonic()

    def _refuse(self, reply: Reply, reason: str) -> None:
        self._report(reason)
        reply.refuse(reason)

    def _tick(self) -> None:
        now = time.monotonic()
        frames = self._frames.summary(now)
        capture = self._capture
        if capture is not None and capture.silent_for() > self._params.settings.capture_timeout:
            why = frames.failing or self._why_no_pairs(now)
            self._end_capture(
                f"no usable frames for {capture.silent_for():.1f} s (capture_timeout), "
                f"{capture.frames_taken} of {capture.frames_wanted} taken: {why}"
            )
        still = self._still
        if still is not None and still.waiting_for() > self._params.settings.capture_timeout:
            self._end_still(still, self._why_no_still(still, now, frames))
        status = self._status(now, frames)
        told = story(status)
        if told == self._told and now - self._status_time < _STATUS_PERIOD:
            return
        # Trouble was logged when it came up.
        why = status.reason.removesuffix(self._trouble).removesuffix(_AND)
        reason = without_figures(why)
        if why and reason != self._last_reason:
            self.get_logger().warning(why)
        self._told, self._status_time, self._last_reason = told, now, reason
        self._status_publisher.publish(status)
        self._diagnostics_publisher.publish(diagnostics(status, self.get_fully_qualified_name()))

    def _why_no_still(self, still: Still, now: float, frames: FrameSummary) -> str:
        why = frames.failing
        if self._capture is not None:
            why = "a background is being captured"
        elif not why and self._health.silent_for(now, self._active_since) > _SILENCE:
            why = self._why_no_pairs(now)
        waited = f"no usable frame in {still.waiting_for():.1f} s (capture_timeout)"
        return f"{waited}: {why or 'the engine is still at an earlier one'}"

    def _status(self, now: float, frames: FrameSummary) -> Status:
        status = Status()
        status.header.stamp = self.get_clock().now().to_msg()
        status.state, status.reason = self._state(now, frames)
        if self._info is not None:
            status.header.frame_id = self._info.header.frame_id
        loaded = self._scenes.loaded
        if loaded is not None:
            status.scene = loaded.scene.name
            status.scene_id = loaded.scene.id
            status.backend = loaded.predictor.backend
        status.fitting = self._fit is not None
        status.activity, status.progress = self._activity()
        status.frame_rate = frames.rate
        status.latency = frames.latency
        status.frames_received = self._pairs
        status.frames_matted = frames.matted
        status.frames_dropped = self._worker.replaced if self._worker is not None else 0
        return status

    def _state(self, now: float, frames: FrameSummary) -> tuple[int, str]:
        """Return the state, and why nothing is published or what went wrong lately."""
        recent = self._trouble if now - self._troubled < _TROUBLE_MEMORY else ""
        if not self._active:
            return Status.STATE_INACTIVE, _joined("the node is not active", recent)
        silent = self._health.silent_for(now, self._active_since) > _SILENCE
        if now - self._faulty < _SILENCE + _STATUS_PERIOD:
            return Status.STATE_ERROR, self._fault
        if self._capture is not None:
            why = self._why_no_pairs(now) if silent else frames.failing or frames.complaint
            return Status.STATE_CAPTURING, _joined(why, recent)
        if silent:
            return Status.STATE_WAITING, _joined(self._why_no_pairs(now), recent)
        if frames.failing:
            return Status.STATE_ERROR, frames.failing
        if self._scenes.loaded is None and self._scenes.loading:
            return Status.STATE_LOADING, recent
        if self._scenes.loaded is None:
            hint = "no background yet: call ~/capture_background while the view is empty"
            # Why there is none is no matter of time.
            return Status.STATE_NO_SCENE, _joined(hint, self._trouble)
        return Status.STATE_MATTING, _joined(frames.complaint, recent)

    def _activity(self) -> tuple[str, float]:
        """Return what goes on in words, and how far it is, 0 to 1."""
        capture = self._capture
        if capture is not None:
            words = f"capturing '{capture.name}': frame {capture.frames_taken} of "
            return words + str(capture.frames_wanted), capture.progress
        if self._scenes.activity:
            return self._scenes.activity, 0.0
        if self._fit is not None:
            progress, words = self._fit_progress
            return words, progress
        if self._still is not None:
            return "taking a still", 0.0
        if self._scenes.loaded and self._outputs is not None and not self._outputs.wanted():
            return "idle: no output has a subscriber", 0.0
        return "", 0.0

    def _why_no_pairs(self, now: float) -> str:
        names = (COLOR, DEPTH, INFO)
        topics = {n: sub.topic_name for n, sub in zip(names, self._inputs, strict=True)}
        publishers = {name: self.count_publishers(topic) for name, topic in topics.items()}
        gap = self._synchronizer.gap if self._synchronizer is not None else None
        slop = self._params.settings.sync_slop
        return self._health.why_no_pairs(now, topics, publishers, gap, slop)


def _joined(why: str, trouble: str) -> str:
    return _AND.join(text for text in (why, trouble) if text)


def _scene_info(summary: SceneSummary, current: str | None) -> SceneInfo:
    return SceneInfo(
        name=summary.name,
        scene_id=summary.id,
        captured_at=_time(summary.captured),
        width=summary.size[0],
        height=summary.size[1],
        fitted=summary.fitted,
        loaded=bool(summary.id) and summary.id == current,
        captured_by=summary.captured_by,
        problem=summary.problem or "",
    )


def _time(when: datetime | None) -> Time:
    """A time as a message, as near as it holds one; zero for none."""
    seconds = 0 if when is None else math.floor(when.timestamp())
    return Time(sec=min(max(seconds, 0), 2**31 - 1))


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0 after a clean end, 1 if a parameter given at start was refused or rclpy failed.
    """
    stopping = failed = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    # Handlers of our own: rclpy's take the context away under a worker that still publishes.
    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    # Torch's threads wait for each other, which on a busy machine takes ten times as long as one
    # thread; the torch engine, which needs more, asks for them itself.
    torch.set_num_threads(1)
    # OpenCV's take the cores from the engine's, for steps of a fraction of a millisecond.
    cv2.setNumThreads(1)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        node = MattingNode()
    except ParameterException as error:
        rclpy.logging.get_logger("matting_node").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.bring_up()
    # The timer of the node wakes the executor often enough to see the flag.
    while rclpy.ok() and not stopping:
        try:
            executor.spin_once(timeout_sec=1.0)
        except Exception as error:
            if not _raised_in_callback(error):
                node.get_logger().fatal(traceback.format_exc())
                failed = True
                break
            node.survived(error)
    ended = node.close()
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    if not ended:
        # An engine that is still being built can't be interrupted and must not hold the exit up.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(failed)
    return int(failed)


def _raised_in_callback(error: Exception) -> bool:
    """Whether a callback of this package raised; after what rclpy itself raises it can be deaf."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    modules = (frame.f_globals.get("__name__", "") for frame in frames)
    return any(name == "__main__" or name.startswith("dart_ros") for name in modules)


if __name__ == "__main__":
    sys.exit(main())

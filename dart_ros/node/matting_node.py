"""The matting node: color and depth in, mattes out; docs/parameters.md has topics and services.

The executor's thread owns the state: it takes messages, answers requests and reports. What takes
longer has a thread or a process of its own, in one of the parts, which post their results to the
callback queue: ``camera_input`` pairs messages; ``frame_pipeline`` makes and publishes mattes, with
``motion_watch`` beside it; ``scene_loader`` has the scene in use and its engine; ``capture``,
``fit`` and ``still`` do what ``services`` and ``actions`` ask for; ``status`` tells how it goes.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial

import cv2
import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from dart_ros.errors import SceneError
from dart_ros.node.actions import Actions
from dart_ros.node.background_learning import BackgroundLearning
from dart_ros.node.callback_queue import CallbackQueue
from dart_ros.node.camera_input import CameraInput
from dart_ros.node.capture import Capture
from dart_ros.node.capture_pictures import CapturePictures
from dart_ros.node.context import NodeContext
from dart_ros.node.ending import Ending
from dart_ros.node.engine_build import EngineBuilder, build_command
from dart_ros.node.fit import Fits
from dart_ros.node.frame_pipeline import FramePipeline
from dart_ros.node.log import NodeLog
from dart_ros.node.outputs import Outputs
from dart_ros.node.parameters import NodeParameters, Settings
from dart_ros.node.problems import Problems
from dart_ros.node.scene_loader import SceneLoader
from dart_ros.node.services import Services
from dart_ros.node.shared_memory import clean_at_start, transport_problem
from dart_ros.node.spinning import deliver, spin, start
from dart_ros.node.status import StatusReporter
from dart_ros.node.still import Stills
from dart_ros.node.transitions import refuse_wrong_transitions
from dart_ros.session.predictor import Predictor
from dart_ros.session.scene_store import SceneStore, scope_of

_TICK = 0.1  # seconds between two looks at the node's state
_STOP_TIME = 3.0  # seconds that each thread has to end
_END_TIME = 10  # seconds that all have; ros2 launch kills after 15


class MattingNode(LifecycleNode):
    """The lifecycle node ``matting_node``.

    Raises:
        rclpy.exceptions.ParameterException: if a parameter given at start is refused.
    """

    def __init__(self) -> None:
        super().__init__("matting_node")
        self._params = NodeParameters(self, self._parameters_changed)
        self._active = False
        self._outputs: Outputs | None = None
        self._log = NodeLog(self.get_logger())
        self.problems = Problems(self._log)
        self._node_context = context = NodeContext(
            name=self.get_fully_qualified_name(),
            log=self._log,
            settings=lambda: self._params.settings,
            post=CallbackQueue(self).post,
            now=lambda: self.get_clock().now().nanoseconds,
            active=lambda: self._active,
            problems=self.problems,
        )
        self._store = SceneStore(self._params.settings.scenes_dir, scope_of(context.name))
        self._scenes = SceneLoader(
            context,
            self._store,
            Predictor,
            EngineBuilder("TensorRT engine", partial(build_command, "tensorrt", self._store)),
            EngineBuilder("OpenVINO engine", partial(build_command, "openvino", self._store)),
        )
        self._fits = Fits(context, self._store, self._scenes)
        self._capture = Capture(
            context, self._scenes, self._fits, lambda picture: self._pictures.show(picture)
        )
        self._stills = Stills(context, self._scenes, self._capture)
        self._learning = BackgroundLearning(context, self._store, self._log.fault)
        self._pipeline = FramePipeline(
            context, self._scenes, self._capture, self._stills, self._learning
        )
        self._camera = CameraInput(self, context, self._pipeline.put, transport_problem)
        work = (self._scenes, self._capture, self._fits, self._stills)
        learning = self._learning
        self._status = StatusReporter(self, context, self._camera, self._pipeline, *work, learning)
        self._own_services = Services(self, context, self._store, self._camera, *work, learning)
        self._actions = Actions(self, context, self._camera, *work)
        # Its overrides of QoS are parameters, which all parts follow: after them.
        self._pictures = CapturePictures(self)
        refuse_wrong_transitions(self, self._log)
        # A steady clock: the node has to report also while simulated time stands still.
        self.create_timer(_TICK, self._tick, clock=Clock(clock_type=ClockType.STEADY_TIME))

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
        if not self._pipeline.ended(_STOP_TIME):
            self._log.error(
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

    def close(self) -> bool:
        """End everything; False if a thread is still at work (an engine being built)."""
        waiting = self._actions.pending > 0
        self._clean_up()
        ended = [
            self._pipeline.ended(_STOP_TIME),
            self._learning.stop(_STOP_TIME),
            self._scenes.stop(_STOP_TIME),
            self._stills.stop(_STOP_TIME),
            self._own_services.close(_STOP_TIME),
        ]
        self._actions.close()
        if waiting and self.executor is not None:
            deliver(self.executor)
        return all(ended)

    def _logged(self, step: Callable[[], None]) -> TransitionCallbackReturn | None:
        # rclpy turns an exception into an ERROR transition without a word.
        try:
            step()
        except Exception as error:
            self._log.fault(error)
            return TransitionCallbackReturn.ERROR
        return None

    def _configure(self) -> None:
        self._outputs = Outputs(self, self._node_context)
        name = self._params.settings.scene
        try:
            name = name or self._store.last(self.get_fully_qualified_name()) or ""
        except SceneError as error:
            self.problems.report(str(error))
        if name:
            self._scenes.load(name, self._camera.size())

    def _activate(self) -> None:
        if self._outputs is None:
            raise ValueError("a node that isn't configured can't be activated")
        self._pipeline.start(self._outputs)
        self._camera.start()
        self._active = True

    def _deactivate(self) -> None:
        self._active = False
        self._camera.stop()
        self._pipeline.stop(_STOP_TIME)
        self._capture.give_up("the node was deactivated during the capture")
        self._stills.give_up("the node was deactivated before the still was done")

    def _clean_up(self) -> None:
        self._deactivate()
        self._fits.stop()
        self._learning.forget()
        self._scenes.clear()
        if self._outputs is not None:
            self._outputs.destroy()
        self._outputs = None

    def _parameters_changed(self, before: Settings, after: Settings) -> None:
        self._camera.follow(before, after)
        engine = (after.backend, after.threads, after.refine_fraction)
        if engine != (before.backend, before.threads, before.refine_fraction):
            self._scenes.rebuild(self._camera.size())

    def _tick(self) -> None:
        self._capture.give_up_if_silent(self._why_no_frame)
        self._stills.give_up_if_silent(self._why_no_frame)
        size = self._camera.size()
        if self._active and size is not None:
            self._scenes.prepare(size)
        self._status.update()
        self._actions.update()

    def _why_no_frame(self) -> str:
        """Why no usable frame comes, empty if nothing is wrong with those that come."""
        now = time.monotonic()
        failing = self._pipeline.log.summary(now).failing
        return failing or (self._camera.why_no_pairs(now) if self._camera.silent(now) else "")


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM.

    Returns:
        0 after a clean end, 1 if a parameter given at start was refused or rclpy failed.
    """
    ending = Ending(_END_TIME)
    # Handlers of our own: rclpy's take the context away under a worker that still publishes.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ending.begin)
    # OpenCV's take the cores from the engine's, for steps of a fraction of a millisecond.
    cv2.setNumThreads(1)
    clean_at_start(rclpy.logging.get_logger("matting_node"))
    node = start(args, MattingNode)
    if node is None:
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    node.bring_up()
    failed = not spin(executor, node.problems, lambda: not ending.begun)
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


if __name__ == "__main__":
    sys.exit(main())

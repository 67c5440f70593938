"""What the node says about itself: the status topic and /diagnostics, from the same values."""

from __future__ import annotations

import time

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions

from dart_ros.msg import MovedThing, Status
from dart_ros.node.background_learning import BackgroundLearning
from dart_ros.node.camera_input import CameraInput
from dart_ros.node.capture import Capture
from dart_ros.node.context import NodeContext
from dart_ros.node.fit import Fits
from dart_ros.node.frame_log import FrameSummary
from dart_ros.node.frame_pipeline import FramePipeline
from dart_ros.node.log import LONGEST, kind_of, without_figures
from dart_ros.node.scene_loader import SceneLoader
from dart_ros.node.still import Stills
from dart_ros.printable import printable
from dart_ros.session.view_changes import Thing

_STATE_NAMES = {
    Status.STATE_INACTIVE: "inactive",
    Status.STATE_WAITING: "waiting for images",
    Status.STATE_NO_SCENE: "no scene",
    Status.STATE_CAPTURING: "capturing",
    Status.STATE_LOADING: "loading",
    Status.STATE_MATTING: "matting",
    Status.STATE_ERROR: "error",
}
_WARNINGS = {Status.STATE_WAITING, Status.STATE_NO_SCENE}
_PERIOD = 1.0  # seconds between two statuses when nothing changes
_LONGEST_NAME = 200  # characters of a frame_id
_AND = "; "  # between two reasons


class StatusReporter:
    """Publishes the status once a second and at each change, and logs each new reason.

    Args:
        node: owner of the publishers.
        context: of the node.
        camera: tells why no pairs come.
        pipeline: tells what became of the frames.
        scenes: has the scene in use.
        capture: tells how far it is.
        fits: likewise.
        stills: likewise.
        learning: tells what has moved.
    """

    def __init__(
        self,
        node: Node,
        context: NodeContext,
        camera: CameraInput,
        pipeline: FramePipeline,
        scenes: SceneLoader,
        capture: Capture,
        fits: Fits,
        stills: Stills,
        learning: BackgroundLearning,
    ) -> None:
        self._learning = learning
        self._node = node
        self._context = context
        self._camera = camera
        self._pipeline = pipeline
        self._scenes = scenes
        self._capture = capture
        self._fits = fits
        self._stills = stills
        self._status_publisher = node.create_publisher(
            Status,
            "~/status",
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )
        self._diagnostics_publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._published = 0.0
        self._last_key: tuple[object, ...] = ()
        self._last_reason = ""

    def update(self) -> None:
        """Publish the status if it is time; in the executor's thread."""
        now = time.monotonic()
        status = self._status(now)
        key = change_key(status)
        if key == self._last_key and now - self._published < _PERIOD:
            return
        # Failed requests were logged when they failed.
        why = status.reason.removesuffix(self._context.problems.last).removesuffix(_AND)
        reason = without_figures(why)
        if why and reason != self._last_reason:
            self._context.log.warning(why)
        self._last_key, self._published, self._last_reason = key, now, reason
        self._status_publisher.publish(status)
        self._diagnostics_publisher.publish(diagnostics(status, self._context.name))

    def _status(self, now: float) -> Status:
        frames = self._pipeline.log.summary(now)
        status = Status()
        status.header.stamp = self._node.get_clock().now().to_msg()
        status.header.frame_id = printable(self._camera.frame_id, _LONGEST_NAME)
        status.state, reason = self._state(now, frames)
        status.reason = printable(reason, LONGEST)
        loaded = self._scenes.loaded
        if loaded is not None:
            status.scene = loaded.scene.name
            status.scene_id = loaded.scene.id
            status.backend = loaded.predictor.backend
        status.fitting = self._fits.running
        activity, status.progress = self._activity()
        status.activity = printable(activity, LONGEST)
        status.frame_rate = frames.rate
        status.latency = frames.latency
        status.frames_received = self._camera.pairs
        status.frames_matted = frames.matted
        status.frames_dropped = self._pipeline.dropped
        status.moved = [_message(thing) for thing in self._learning.things]
        status.depth_scale = self._learning.drift
        return status

    def _state(self, now: float, frames: FrameSummary) -> tuple[int, str]:
        """Return the state, and why nothing is published or what went wrong lately."""
        recent = self._context.problems.recent(now)
        if not self._context.active():
            return Status.STATE_INACTIVE, _joined("the node is not active", recent)
        silent = self._camera.silent(now)
        fault = self._context.problems.recent_fault(now)
        if fault:
            return Status.STATE_ERROR, fault
        if self._capture.session is not None:
            why = self._camera.why_no_pairs(now) if silent else frames.failing or frames.complaint
            return Status.STATE_CAPTURING, _joined(why, recent)
        if silent:
            return Status.STATE_WAITING, _joined(self._camera.why_no_pairs(now), recent)
        if frames.failing:
            return Status.STATE_ERROR, frames.failing
        if self._scenes.loaded is None and self._scenes.loading:
            return Status.STATE_LOADING, recent
        if self._scenes.loaded is None:
            hint = "no background yet: call ~/capture_background while the view is empty"
            why = _joined(hint, self._camera.complaint(now))
            # Why there is none is no matter of time.
            return Status.STATE_NO_SCENE, _joined(why, self._context.problems.last)
        why = _joined(frames.complaint, self._camera.complaint(now))
        return Status.STATE_MATTING, _joined(why, recent)

    def _activity(self) -> tuple[str, float]:
        """Return what goes on in words, and how far it is, 0 to 1."""
        session = self._capture.session
        if session is not None:
            return self._capture.activity, session.progress
        if self._scenes.activity:
            return self._scenes.activity, 0.0
        if self._fits.running:
            progress, words = self._fits.progress
            return words, progress
        if self._stills.running:
            return "taking a still", 0.0
        if self._scenes.loaded and self._pipeline.idle:
            return "idle: no output has a subscriber", 0.0
        return "", 0.0


def _message(thing: Thing) -> MovedThing:
    left, top, width, height = thing.box
    return MovedThing(
        kind=thing.kind,
        x=left,
        y=top,
        width=width,
        height=height,
        area=thing.area,
        seconds=thing.still,
        left_behind=thing.left_behind,
        persons_size=thing.persons_size,
    )


def _joined(why: str, trouble: str) -> str:
    return _AND.join(text for text in (why, trouble) if text)


def change_key(status: Status) -> tuple[object, ...]:
    """Return what is worth a message as soon as it changes: figures alone are not."""
    words = kind_of(status.reason), kind_of(status.activity)
    scene = status.scene_id, status.fitting, status.backend, len(status.moved)
    return (status.state, *scene, *words)


def diagnostics(status: Status, node_name: str) -> DiagnosticArray:
    """Put a status into the form that diagnostic aggregators and rqt_robot_monitor read."""
    if status.state == Status.STATE_ERROR:
        level = DiagnosticStatus.ERROR
    elif status.state in _WARNINGS or status.reason:
        level = DiagnosticStatus.WARN
    else:
        level = DiagnosticStatus.OK
    values = {
        "scene": status.scene,
        "scene id": status.scene_id,
        "activity": status.activity,
        "moved things": str(len(status.moved)),
        "frame rate (Hz)": f"{status.frame_rate:.1f}",
        "latency (ms)": f"{status.latency * 1e3:.1f}" if status.latency else "unknown",
        "frames received": str(status.frames_received),
        "frames matted": str(status.frames_matted),
        "frames dropped": str(status.frames_dropped),
        "backend": status.backend,
    }
    entry = DiagnosticStatus(
        level=level,
        name=f"{node_name}: matting",
        message=status.reason or _STATE_NAMES[status.state],
        hardware_id=status.header.frame_id,
        values=[KeyValue(key=key, value=value) for key, value in values.items()],
    )
    array = DiagnosticArray(status=[entry])
    array.header.stamp = status.header.stamp
    return array

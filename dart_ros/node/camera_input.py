"""The camera's topics: subscribed to, paired, and watched for what doesn't arrive."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import (
    DurabilityPolicy,
    QoSCompatibility,
    QoSProfile,
    ReliabilityPolicy,
    qos_check_compatible,
)
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from dart_ros.node.context import NodeContext
from dart_ros.node.image_messages import ImagePair, frame_name, stamp_of
from dart_ros.node.parameters import Settings
from dart_ros.node.stream_health import (
    COLOR,
    DEPTH,
    INFO,
    RGBD,
    InputTopic,
    PairingLimits,
    Publisher,
    StreamHealth,
)
from dart_ros.session import pairing
from dart_ros.session.pairing import Pairing

SILENCE = 1.0
"""Seconds without a pair after which the camera counts as silent."""

_LOOK_PERIOD = 1.0  # seconds between two looks at who publishes the inputs
_LATE = 0.25  # seconds that one image of a pair waits for the other, from which on it is told
_LONGEST_FRAME_ID = 256

_TOPICS = {
    COLOR: "color/image_raw",
    DEPTH: "depth/image_raw",
    INFO: "color/camera_info",
    RGBD: "rgbd",
}
_MESSAGE_SETTINGS = ("image_transport", "depth_image_transport", "rgbd")
_PAIRING_SETTINGS = ("sync_slop", "sync_wait", "depth_time_offset")


class CameraInput:
    """Subscribes to color, depth and camera_info, or to rgbd, and hands on pairs.

    For the executor's thread.

    Args:
        node: owner of the subscriptions.
        context: of the node.
        on_pair: called with each pair.
        transport_problem: returns what keeps images from being sent as they should be, empty if
            nothing.
    """

    def __init__(
        self,
        node: Node,
        context: NodeContext,
        on_pair: Callable[[ImagePair], None],
        transport_problem: Callable[[], str],
    ) -> None:
        self._node = node
        self._context = context
        self._on_pair = on_pair
        self._transport_problem = transport_problem
        self._subscriptions: dict[str, Any] = {}
        self._latched: Any = None
        self._reset()

    def _reset(self) -> None:
        self._health = StreamHealth()
        self._pairing: Pairing[Any] = Pairing()
        self._info: CameraInfo | None = None
        self._size: tuple[int, int] | None = None
        self._frame_id = ""
        self._rectified = False
        self._pairs = 0
        self._since = time.monotonic()
        self._next_look = 0.0
        self._next_search = 0.0
        self._complaint = ""

    def start(self) -> None:
        """Subscribe."""
        self._reset()
        settings = self._context.settings()
        self._pair_anew(settings)
        if settings.rgbd:
            from realsense2_camera_msgs.msg import RGBD as RgbdMessage

            self._health = StreamHealth((RGBD,))
            self._subscribe(RGBD, RgbdMessage, self._on_rgbd, _TOPICS[RGBD])
        else:
            self._subscribe_to_image(COLOR, self._on_color, settings.image_transport)
            self._subscribe_to_image(DEPTH, self._on_depth, settings.depth_image_transport)
            self._subscribe(INFO, CameraInfo, self._on_info, _TOPICS[INFO])
        first = next(iter(self._subscriptions.values()))
        # By the convention of image_proc: image_rect, image_rect_color, and not image_raw.
        self._rectified = "/image_rect" in first.topic_name

    def stop(self) -> None:
        """Take the subscriptions back, so that the camera may rest."""
        for subscription in (*self._subscriptions.values(), self._latched):
            if subscription is not None:
                self._node.destroy_subscription(subscription)
        self._subscriptions, self._latched = {}, None

    def follow(self, before: Settings, after: Settings) -> None:
        """Subscribe or pair anew if parameters have changed that matter for it."""

        def changed(names: tuple[str, ...]) -> bool:
            return any(getattr(before, name) != getattr(after, name) for name in names)

        if not self._subscriptions:
            return
        if changed(_MESSAGE_SETTINGS):
            self.stop()
            self.start()
        elif changed(_PAIRING_SETTINGS):
            self._pair_anew(after)

    @property
    def pairs(self) -> int:
        """Pairs since :meth:`start`."""
        return self._pairs

    @property
    def frame_id(self) -> str:
        """The frame_id of the newest color image, empty before the first."""
        return self._frame_id

    def size(self) -> tuple[int, int] | None:
        """Return width and height of what the camera sends now, None while it is silent."""
        return None if self.silent(time.monotonic()) else self._size

    def silent(self, now: float) -> bool:
        """Whether no pairs come; ``now`` in seconds of a steady clock."""
        return self._health.silent_for(now, self._since) > SILENCE

    def why_no_pairs(self, now: float) -> str:
        """Return in words why no pairs come."""
        inputs = {name: self._input(name) for name in self._subscriptions}
        settings = self._context.settings()
        limits = PairingLimits(settings.sync_slop, settings.sync_wait, settings.depth_time_offset)
        problem = self._transport_problem()
        return self._health.why_no_pairs(now, inputs, self._pairing.gap, limits, problem)

    def complaint(self, now: float) -> str:
        """Return in words what is wrong with the topics although pairs come, empty if nothing."""
        if now >= self._next_look:
            self._next_look = now + _LOOK_PERIOD
            self._complaint = self._look()
        return self._complaint

    def _look(self) -> str:
        if problem := self._transport_problem():
            return problem
        crowds = [self._input(name).crowded for name in self._subscriptions]
        if any(crowds):
            told = ", ".join(crowd for crowd in crowds if crowd)
            return f"{told}, whose messages mix: stop all but one"
        waited = dict(zip((COLOR, DEPTH), self._pairing.waited, strict=True))
        early = max(waited, key=lambda side: waited[side])
        if waited[early] < _LATE:
            return ""
        late = DEPTH if early == COLOR else COLOR
        return (
            f"{late} comes {waited[early]:.2f} s after its {early}, by the stamps, and so do the "
            "mattes: if it doesn't really, the clocks differ: set depth_time_offset"
        )

    def _pair_anew(self, settings: Settings) -> None:
        self._pairing = Pairing(settings.sync_slop, settings.depth_time_offset, settings.sync_wait)

    # ---- subscriptions ---------------------------------------------------------------------

    def _subscribe(self, name: str, kind: Any, callback: Callable[[Any], None], topic: str) -> None:
        self._subscriptions[name] = self._node.create_subscription(
            kind,
            topic,
            callback,
            QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def _subscribe_to_image(
        self, name: str, callback: Callable[[Any], None], transport: str
    ) -> None:
        kind = Image if transport == "raw" else CompressedImage
        self._subscribe(name, kind, callback, self._transported(_TOPICS[name], transport))

    def _transported(self, topic: str, transport: str) -> str:
        """The topic of a transport, as image_transport names it: after the remapped image topic."""
        if transport == "raw":
            return topic
        remapped = self._node.resolve_topic_name(topic)
        if remapped == self._node.resolve_topic_name(topic, only_expand=True):
            return f"{topic}/{transport}"  # which may be remapped itself
        return remapped if remapped.endswith(f"/{transport}") else f"{remapped}/{transport}"

    def _subscribe_to_latched_info(self) -> None:
        """Get what a transient-local publisher of camera_info published before this node came.

        Only a transient-local subscription gets it, which a volatile publisher would refuse, and
        log that: so there has to be one of the other kind.
        """
        now = time.monotonic()
        if self._latched is not None or now < self._next_search or INFO not in self._subscriptions:
            return
        self._next_search = now + _LOOK_PERIOD
        topic = self._subscriptions[INFO].topic_name
        if any(
            endpoint.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
            for endpoint in self._node.get_publishers_info_by_topic(topic)
        ):
            self._latched = self._node.create_subscription(
                CameraInfo,
                _TOPICS[INFO],
                self._on_latched_info,
                QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            )

    def _input(self, name: str) -> InputTopic:
        """What the ROS graph shows of an input."""
        subscription = self._subscriptions[name]
        kind = subscription.msg_type
        wanted = f"{kind.__module__.partition('.')[0]}/msg/{kind.__name__}"
        publishers = []
        for endpoint in self._node.get_publishers_info_by_topic(subscription.topic_name):
            compatible, why = qos_check_compatible(endpoint.qos_profile, subscription.qos_profile)
            problem = why if compatible == QoSCompatibility.ERROR else ""
            publishers.append(Publisher(endpoint.topic_type, problem))
        return InputTopic(subscription.topic_name, wanted, publishers)

    # ---- messages --------------------------------------------------------------------------

    def _on_color(self, message: Image | CompressedImage) -> None:
        self._on_image(COLOR, pairing.COLOR, message)

    def _on_depth(self, message: Image | CompressedImage) -> None:
        self._on_image(DEPTH, pairing.DEPTH, message)

    def _on_image(self, name: str, side: int, message: Any) -> None:
        self._health.topics[name].count(time.monotonic())
        for pair in self._pairing.add(side, stamp_of(message), message, len(message.data)):
            self._paired(*pair, self._info)

    def _on_rgbd(self, message: Any) -> None:
        self._health.topics[RGBD].count(time.monotonic())
        # The driver makes this message of aligned depth alone, and names it by the depth camera.
        self._paired(message.rgb, message.depth, message.rgb_camera_info, aligned=True)

    def _on_info(self, message: CameraInfo) -> None:
        self._health.topics[INFO].count(time.monotonic())
        self._info = message

    def _on_latched_info(self, message: CameraInfo) -> None:
        self._info = message

    def _paired(
        self, color: Any, depth: Any, info: CameraInfo | None, aligned: bool = False
    ) -> None:
        if info is None:
            self._subscribe_to_latched_info()
        self._health.pairs.count(time.monotonic())
        self._pairs += 1
        self._frame_id = frame_name(color.header.frame_id[:_LONGEST_FRAME_ID])
        if isinstance(color, Image):
            self._size = color.width, color.height
        elif info is not None:
            self._size = info.width, info.height
        self._on_pair(ImagePair(color, depth, info, self._rectified, aligned))

"""The camera's topics: subscribed to, paired, and watched for what doesn't arrive."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image

from dart_ros.node.context import NodeContext
from dart_ros.node.image_messages import ImagePair
from dart_ros.node.stream_health import COLOR, DEPTH, INFO, StreamHealth
from dart_ros.node.synchronizer import COLOR as COLOR_SIDE
from dart_ros.node.synchronizer import DEPTH as DEPTH_SIDE
from dart_ros.node.synchronizer import PairSynchronizer

SILENCE = 1.0
"""Seconds without a pair after which the camera counts as silent."""


class CameraInput:
    """Subscribes to color, depth and camera_info, and hands on pairs. For the executor's thread.

    Args:
        node: owner of the subscriptions.
        context: of the node.
        on_pair: called with each pair, once camera_info has come.
    """

    def __init__(
        self, node: Node, context: NodeContext, on_pair: Callable[[ImagePair], None]
    ) -> None:
        self._node = node
        self._context = context
        self._on_pair = on_pair
        self._subscriptions: list[Any] = []
        self._synchronizer: PairSynchronizer | None = None
        self._reset()

    def start(self) -> None:
        """Subscribe."""
        self._reset()
        self.restart_pairing()
        kinds: Sequence[tuple[Any, str, Callable[[Any], None]]] = (
            (Image, "color/image_raw", self._on_color),
            (Image, "depth/image_raw", self._on_depth),
            (CameraInfo, "color/camera_info", self._on_info),
        )
        self._subscriptions = [
            self._node.create_subscription(
                kind,
                topic,
                callback,
                QoSProfile(depth=5, reliability=ReliabilityPolicy.BEST_EFFORT),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for kind, topic, callback in kinds
        ]

    def stop(self) -> None:
        """Take the subscriptions back, so that the camera may rest."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions = []

    def restart_pairing(self) -> None:
        """Pair anew, by the settings in force."""
        slop = self._context.settings().sync_slop
        self._synchronizer = PairSynchronizer(slop, self._paired)

    @property
    def pairs(self) -> int:
        """Pairs since :meth:`start`."""
        return self._pairs

    @property
    def frame_id(self) -> str:
        """The frame_id of the newest camera_info, empty before the first."""
        return self._info.header.frame_id if self._info is not None else ""

    def size(self) -> tuple[int, int] | None:
        """Return width and height of what the camera sends now, None while it is silent."""
        if self._info is None or self._health.topics[INFO].rate(time.monotonic()) == 0:
            return None
        return self._info.width, self._info.height

    def silent(self, now: float) -> bool:
        """Whether no pairs come; ``now`` in seconds of a steady clock."""
        return self._health.silent_for(now, self._since) > SILENCE

    def why_no_pairs(self, now: float) -> str:
        """Return in words why no pairs come."""
        names = (COLOR, DEPTH, INFO)
        topics = {n: sub.topic_name for n, sub in zip(names, self._subscriptions, strict=True)}
        publishers = {name: self._node.count_publishers(topic) for name, topic in topics.items()}
        gap = self._synchronizer.gap if self._synchronizer is not None else None
        slop = self._context.settings().sync_slop
        return self._health.why_no_pairs(now, topics, publishers, gap, slop)

    def _reset(self) -> None:
        self._health = StreamHealth()
        self._info: CameraInfo | None = None
        self._pairs = 0
        self._since = time.monotonic()

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

    def _paired(self, color: Image, depth: Image) -> None:
        # Without camera_info nothing can be made of it; the status tells that it is missing.
        if self._info is None:
            return
        self._health.pairs.count(time.monotonic())
        self._pairs += 1
        self._on_pair(ImagePair(color, depth, self._info))

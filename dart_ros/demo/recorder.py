"""The demo's own node: it calls the services, follows the status and records what is published.

Images are kept as they come off the wire and are decoded only when the recording is over, so that
watching the stream takes next to nothing from the nodes that are being measured.
"""

from __future__ import annotations

import contextlib
import json
import struct
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.client import Client
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rclpy.subscription import Subscription
from sensor_msgs.msg import Image
from std_srvs.srv import SetBool, Trigger

from dart_ros.demo.replay_node import COLOR_TOPIC, DEPTH_TOPIC
from dart_ros.msg import Status
from dart_ros.srv import CaptureBackground

MATTE_TOPICS = {
    name: f"matting_node/{name}" for name in ("alpha", "trimap", "foreground", "composite")
}
TOPICS = {"color": COLOR_TOPIC, "depth": DEPTH_TOPIC, **MATTE_TOPICS}

_PIXELS: dict[str, tuple[Any, ...]] = {
    "rgb8": (np.uint8, 3),
    "mono8": (np.uint8,),
    "16UC1": (np.uint16,),
}
_CAMERA = "replay_node"
_MATTING = "matting_node"


@dataclass
class Track:
    """What was received on one topic.

    Attributes:
        stamps: source stamps in nanoseconds, in the order of arrival.
        arrivals: times of arrival in nanoseconds, same clock.
        messages: serialized messages by source stamp, where they are kept.
    """

    stamps: list[int] = field(default_factory=list)
    arrivals: list[int] = field(default_factory=list)
    messages: dict[int, bytes] = field(default_factory=dict)


def stamp_of(message: bytes) -> int:
    """Source stamp, in nanoseconds, of a serialized message that begins with a header.

    The first four bytes say how the others are encoded; the second is odd for little endian.
    """
    order = "<" if message[1] & 1 else ">"
    seconds, nanoseconds = struct.unpack_from(order + "iI", message, 4)
    return int(seconds) * 1_000_000_000 + int(nanoseconds)


class Recorder:
    """The demo's node, spun by a thread of its own; used as a context.

    Args:
        limit: bytes of messages to keep; later ones are counted but not kept.
    """

    def __init__(self, limit: int) -> None:
        # The demo handles signals itself: it still has to talk to the nodes that it stops.
        rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
        self._node = Node("dart_ros_demo")
        self._limit = limit
        self._kept = 0
        self._lock = threading.Lock()
        self._tracks: dict[str, Track] = {}
        self._subscriptions: list[Subscription] = []
        self._status: Status | None = None
        self._status_at = 0.0
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._node.create_subscription(Status, f"{_MATTING}/status", self._on_status, latched)
        self._occupied = self._node.create_client(SetBool, f"{_CAMERA}/occupied")
        self._publish = self._node.create_client(SetBool, f"{_CAMERA}/publish")
        self._report = self._node.create_client(Trigger, f"{_CAMERA}/report")
        self._capture = self._node.create_client(
            CaptureBackground, f"{_MATTING}/capture_background"
        )
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self._node)
        self._thread = threading.Thread(target=self._spin, name="demo recorder", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop spinning and leave ROS."""
        rclpy.try_shutdown()
        self._thread.join(5.0)
        self._node.destroy_node()

    def status(self, newer_than: float = 0.0) -> Status | None:
        """The node's last status if it came after the given ``time.monotonic()``, else None."""
        with self._lock:
            return self._status if self._status_at > newer_than else None

    def camera_ready(self) -> bool:
        """Whether the camera's services are there."""
        return all(
            client.service_is_ready() for client in (self._occupied, self._publish, self._report)
        )

    def matting_ready(self) -> bool:
        """Whether the matting node's capture service is there."""
        return bool(self._capture.service_is_ready())

    def start_capture(self, request: CaptureBackground.Request) -> Pending:
        """Ask the matting node to capture the background."""
        return Pending(self._capture, request)

    def show_occupied(self) -> Pending:
        """Ask the camera to play the occupied part from its start."""
        return Pending(self._occupied, SetBool.Request(data=True))

    def publish(self, on: bool) -> Pending:
        """Ask the camera to go on or to pause."""
        return Pending(self._publish, SetBool.Request(data=on))

    def report(self) -> Pending:
        """Ask the camera for its figures, see :func:`camera_figures`."""
        return Pending(self._report, Trigger.Request())

    def subscribe(self, keep: Mapping[str, bool]) -> None:
        """Subscribe to topics by their names in :data:`TOPICS`; True keeps their messages."""
        qos = QoSProfile(depth=30, reliability=ReliabilityPolicy.RELIABLE)
        with self._lock:
            self._tracks = {name: Track() for name in keep}
        for name, kept in keep.items():
            self._subscriptions.append(
                self._node.create_subscription(
                    Image, TOPICS[name], self._receiver(name, kept), qos, raw=True
                )
            )

    def unsubscribe(self) -> None:
        """End all subscriptions to images."""
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        self._subscriptions.clear()

    def take(self) -> dict[str, Track]:
        """What was received since the last call, by name."""
        with self._lock:
            taken = self._tracks
            self._tracks = {name: Track() for name in taken}
            self._kept = 0
        return taken

    def _receiver(self, name: str, kept: bool) -> Any:
        clock = self._node.get_clock()

        def receive(message: bytes) -> None:
            now = clock.now().nanoseconds
            stamp = stamp_of(message)
            with self._lock:
                track = self._tracks[name]
                track.stamps.append(stamp)
                track.arrivals.append(now)
                if kept and self._kept + len(message) <= self._limit:
                    track.messages[stamp] = message
                    self._kept += len(message)

        return receive

    def _on_status(self, message: Status) -> None:
        with self._lock:
            self._status = message
            self._status_at = time.monotonic()

    def _spin(self) -> None:
        with contextlib.suppress(ExternalShutdownException):
            self._executor.spin()


class Pending:
    """A call of a service on its way."""

    def __init__(self, client: Client, request: Any) -> None:
        self._future = client.call_async(request)

    def done(self) -> bool:
        """Whether the answer is there."""
        return bool(self._future.done())

    def result(self) -> Any:
        """The answer; raises what the call raised."""
        return self._future.result()


def camera_figures(answer: Trigger.Response) -> dict[str, Any]:
    """The camera's figures: published, late, rate, width, height, occupied_frames."""
    figures: dict[str, Any] = json.loads(answer.message)
    return figures


def pixels_of(message: bytes) -> NDArray[Any]:
    """Pixels of a serialized image as the camera and the node publish them, rows unpadded.

    Returns:
        ``H×W×3`` uint8 RGB of rgb8, ``H×W`` uint8 of mono8, ``H×W`` uint16 millimetres of 16UC1.
    """
    image = deserialize_message(message, Image)
    dtype, *channels = _PIXELS[image.encoding]
    return np.frombuffer(image.data, dtype).reshape(image.height, image.width, *channels)

"""The node ``virtual_camera``: a matting node's composite as a camera of a fixed rate."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Sequence
from types import FrameType
from typing import Any

import cv2
import numpy as np
import rclpy
from numpy.typing import NDArray
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image

from dart_ros.errors import SinkError
from dart_ros.msg import Status
from dart_ros.session.compositing import blend, cover
from dart_ros.virtual_camera.notice import notice
from dart_ros.virtual_camera.sinks import Sink, open_sink

_GREEN = (0, 177, 64)
_STALE = 1.0  # seconds without a frame after which the notice is shown
_CHANNELS = {"rgb8": 3, "rgba8": 4}
_TITLES = {
    Status.STATE_INACTIVE: "Matting is not active",
    Status.STATE_WAITING: "Waiting for the camera",
    Status.STATE_NO_SCENE: "No background yet",
    Status.STATE_CAPTURING: "Capturing the background",
    Status.STATE_LOADING: "Loading",
    Status.STATE_ERROR: "Error",
}
_NOBODY = "Matting node not found"


class VirtualCamera(Node):
    """Sends the latest picture at a fixed rate, or a notice while there is none.

    Raises:
        SinkError: if the device or pipe can't be used.
        rclpy.exceptions.ParameterException: if a parameter is refused.
    """

    def __init__(self) -> None:
        super().__init__("virtual_camera")
        device = self._declared("device", "/dev/video10", "Video device, or pipe:PATH.")
        picture = self._declared("picture", "composite", "composite, or cutout over green.")
        name = self._declared("matting_node", "matting_node", "Name of the matting node.")
        self._width = self._declared("width", 1280, "Pixels of the camera.")
        self._height = self._declared("height", 720, "Pixels of the camera.")
        rate = float(self._declared("rate", 30.0, "Frames a second."))
        if picture not in ("composite", "cutout"):
            raise SinkError(f"picture '{picture}' is unknown: use composite or cutout")
        if not (16 <= self._width <= 7680 and 16 <= self._height <= 4320 and 1 <= rate <= 120):
            raise SinkError(
                f"{self._width}x{self._height} at {rate:g} Hz is no camera: use 16x16 to 7680x4320 "
                "pixels and 1 to 120 Hz"
            )
        self._sink: Sink = open_sink(device, self._width, self._height, rate)
        self._picture: NDArray[np.uint8] | None = None
        self._came = 0.0
        self._status: Status | None = None
        self._notice: tuple[tuple[str, str], NDArray[np.uint8]] | None = None
        topic = f"{name}/{'composite' if picture == 'composite' else 'foreground'}"
        latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
        self.create_subscription(Image, topic, self._on_image, latest)
        self.create_subscription(
            Status,
            f"{name}/status",
            self._on_status,
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
        )
        self.create_timer(1 / rate, self._send)
        self.get_logger().info(
            f"{topic} goes to {device}, {self._width}x{self._height} at {rate:g} Hz"
        )

    def close(self) -> None:
        """End the camera."""
        self._sink.close()

    def _declared(self, name: str, default: Any, description: str) -> Any:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return self.declare_parameter(name, default, descriptor).value

    def _on_status(self, message: Status) -> None:
        self._status = message

    def _on_image(self, message: Image) -> None:
        channels = _CHANNELS.get(message.encoding)
        if channels is None or len(message.data) < message.height * message.step:
            return
        rows = np.frombuffer(message.data, np.uint8)[: message.height * message.step]
        rows = rows.reshape(message.height, message.step)[:, : channels * message.width]
        pixels = rows.reshape(message.height, message.width, channels)
        if channels == 4:
            green = np.empty((message.height, message.width, 3), np.uint8)
            green[:] = _GREEN
            alpha = np.ascontiguousarray(pixels[..., 3])
            color = np.ascontiguousarray(pixels[..., :3])
            pixels = blend(color, alpha, green)
        self._picture, self._came = pixels, time.monotonic()

    def _send(self) -> None:
        fresh = time.monotonic() - self._came < _STALE
        if fresh and self._picture is not None:
            if self._picture.shape[:2] != (self._height, self._width):
                self._picture = cover(self._picture, self._width, self._height)
            frame = self._picture
        else:
            frame = self._words()
        self._sink.send(frame)

    def _words(self) -> NDArray[np.uint8]:
        """The notice, drawn anew when its words change."""
        status = self._status
        words = (_NOBODY, "")
        if status is not None:
            words = (_TITLES.get(status.state, "No picture"), status.reason)
        if self._notice is None or self._notice[0] != words:
            self._notice = (words, notice(self._width, self._height, *words))
        return self._notice[1]


def main(args: Sequence[str] | None = None) -> int:
    """Run until SIGINT or SIGTERM.

    Returns:
        0 after a clean end, 1 if the camera can't be used.
    """
    stopping = False

    def stop(_: int, __: FrameType | None) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    cv2.setNumThreads(1)
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    logger = rclpy.logging.get_logger("virtual_camera")
    try:
        node = VirtualCamera()
    except (SinkError, ParameterException) as error:
        logger.fatal(str(error))
        rclpy.try_shutdown()
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    failed = 0
    try:
        while rclpy.ok() and not stopping:
            executor.spin_once(timeout_sec=0.5)
    except SinkError as error:
        logger.fatal(str(error))
        failed = 1
    node.close()
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    return failed


if __name__ == "__main__":
    sys.exit(main())

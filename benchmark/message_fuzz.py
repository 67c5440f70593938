"""Broken camera messages at a running node: ``python -m benchmark.message_fuzz --messages 12000``.

In stretches of a hundred pairs, each broken in one to three ways, all drawn by a seed. After each
stretch good pairs come, and the node must matte them as it did before; it must not die, hang, or
log more than a megabyte.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, Image

from dart_ros.demo.domain import own_domain
from dart_ros.srv import CaptureBackground

WIDTH, HEIGHT = 160, 120
STRETCH = 100
LOG_LIMIT = 1_000_000
"""Bytes that the node may log over all messages."""

_IN_A_ROW = 3  # mattes that have to be right
_FRAME = "camera_color_optical_frame"
_PATIENCE = 60.0  # seconds for what takes far less
_TEXTS = ("", "\n", "\x1b[2J", "/", "ä", "a" * 300, "b" * 200_000, "rgb8\n[ERROR] forged", "%s%n")
_ENCODINGS = (
    *("rgb8", "bgr8", "rgba8", "bgra8", "mono8", "mono16", "rgb16", "16UC1", "32FC1", "64FC1"),
    *("yuv422", "yuyv", "nv12", "nv21", "bayer_rggb8", "bayer_grbg16", "8UC3", "jpeg", *_TEXTS),
)
_SIDES = (0, 1, 2, 3, 119, 121, 480, 640, 1 << 14, 1 << 20, (1 << 32) - 1)
_LONG = (0, 1, 17, 319, 321, 479, 481, 1 << 20, 1 << 31, (1 << 32) - 1)


def good_pair(stamp: int, occupied: bool = True) -> tuple[Image, Image, CameraInfo]:
    """Make the messages of a wall 3 m away, with a block before it if wanted.

    Args:
        stamp: nanoseconds.
        occupied: whether the block is there.
    """
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    texture = 110 + 40 * np.sin(x / 9.0) * np.cos(y / 7.0)
    color = np.stack([texture, texture * 0.8, texture * 0.6], axis=-1).astype(np.uint8)
    depth = np.full((HEIGHT, WIDTH), 3000, np.uint16)
    if occupied:
        block = slice(HEIGHT // 4, HEIGHT), slice(3 * WIDTH // 8, 5 * WIDTH // 8)
        color[block], depth[block] = (40, 60, 200), 1200
    info = CameraInfo(width=WIDTH, height=HEIGHT)
    info.k = [120.0, 0.0, 79.5, 0.0, 120.0, 59.5, 0.0, 0.0, 1.0]
    messages = _image(color, "rgb8"), _image(depth, "16UC1"), info
    for message in messages:
        message.header.frame_id = _FRAME
        _set_stamp(message, stamp)
    return messages


def broken_pair(random: np.random.Generator, stamp: int) -> tuple[Image, Image, CameraInfo]:
    """Make messages that are broken in one to three ways.

    Args:
        random: draws the ways.
        stamp: nanoseconds, where the stamp isn't what breaks.
    """
    color, depth, info = good_pair(stamp)
    ways: list[Callable[[], None]] = [
        *(lambda m=m: _break_encoding(random, m) for m in (color, depth)),
        *(lambda m=m: _break_size(random, m) for m in (color, depth)),
        *(lambda m=m: _break_data(random, m) for m in (color, depth)),
        *(lambda m=m: _break_stamp(random, m) for m in (color, depth, info)),
        *(lambda m=m: _break_frame(random, m) for m in (color, depth, info)),
        lambda: _break_depth(random, depth),
        lambda: _reshape(random, color, depth),
        lambda: _break_info(random, info),
    ]
    for index in random.choice(len(ways), random.integers(1, 4), replace=False):
        ways[index]()
    return color, depth, info


def _image(pixels: NDArray[Any], encoding: str) -> Image:
    message = Image(encoding=encoding, height=pixels.shape[0], width=pixels.shape[1])
    message.step = pixels.nbytes // pixels.shape[0]
    message.data = array("B", pixels.tobytes())
    return message


def _set_stamp(message: Any, stamp: int) -> None:
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 10**9)


def _pick(random: np.random.Generator, choices: tuple[Any, ...]) -> Any:
    return choices[random.integers(len(choices))]


def _break_encoding(random: np.random.Generator, message: Image) -> None:
    message.encoding = _pick(random, _ENCODINGS)
    message.is_bigendian = int(random.integers(0, 256))


def _break_size(random: np.random.Generator, message: Image) -> None:
    field = _pick(random, ("width", "height", "step"))
    setattr(message, field, int(_pick(random, _LONG if field == "step" else _SIDES)))


def _break_data(random: np.random.Generator, message: Image) -> None:
    length = int(random.integers(0, 2 * len(message.data)))
    message.data = array("B", random.bytes(length))


def _break_stamp(random: np.random.Generator, message: Any) -> None:
    stamp = message.header.stamp
    stamp.sec = int(_pick(random, (0, -1, -(1 << 31), (1 << 31) - 1, stamp.sec, stamp.sec - 1)))
    stamp.nanosec = int(_pick(random, (0, 10**9, (1 << 32) - 1, stamp.nanosec)))


def _break_frame(random: np.random.Generator, message: Any) -> None:
    message.header.frame_id = _pick(random, _TEXTS)


def _break_depth(random: np.random.Generator, message: Image) -> None:
    values = np.array([np.nan, np.inf, -np.inf, -1.0, 0.0, 1e-40, 3.0, 1e30], np.float32)
    pixels = values[random.integers(0, len(values), (HEIGHT, WIDTH))]
    message.encoding, message.step = "32FC1", 4 * WIDTH
    message.data = array("B", pixels.tobytes())


def _reshape(random: np.random.Generator, color: Image, depth: Image) -> None:
    """Both images whole, of a size that no scene has."""
    width, height = _pick(random, ((1, 480), (640, 1), (1, 1), (2, 3), (161, 120), (120, 160)))
    for message, size in ((color, 3), (depth, 2)):
        message.width, message.height, message.step = width, height, size * width
        message.data = array("B", random.bytes(size * width * height))


def _break_info(random: np.random.Generator, info: CameraInfo) -> None:
    number = float(_pick(random, (0.0, -1.0, float("nan"), float("inf"), 1e300, 1e-300)))
    info.k = [number] * 9
    info.d = [number] * int(random.integers(0, 40))
    info.distortion_model = _pick(random, ("plumb_bob", "equidistant", *_TEXTS))
    info.width = int(_pick(random, _SIDES))


@dataclass(frozen=True)
class Result:
    """What became of the node.

    Attributes:
        messages: that it was sent, of color, depth and camera_info together.
        recoveries: seconds from the end of each stretch to a matte that is right again.
        log_bytes: that it logged.
    """

    messages: int
    recoveries: list[float]
    log_bytes: int


class FuzzError(Exception):
    """The node died, hung, logged too much or mattes wrongly; the text tells which."""


class Fuzz:
    """A node process of its own and a camera that breaks; a context manager.

    Args:
        seed: of all that is drawn.
        domain: ROS domain of its own.
    """

    def __init__(self, seed: int, domain: int) -> None:
        self._random = np.random.default_rng(seed)
        self._folder = tempfile.TemporaryDirectory()
        self._log = Path(self._folder.name) / "node.log"
        environment = {
            **os.environ, "ROS_DOMAIN_ID": str(domain), "ROS_LOG_DIR": self._folder.name,
        }  # fmt: skip
        options = [f"scenes_dir:={self._folder.name}/scenes", "backend:=torch", "threads:=1"]
        command = [sys.executable, "-m", "dart_ros.node.matting_node", "--ros-args"]
        for option in options:
            command += ["-p", option]
        with open(self._log, "wb") as log:
            self._process = subprocess.Popen(
                command, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=domain)
        self._node = rclpy.create_node("fuzz", context=self._context)
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._publishers = [
            self._node.create_publisher(kind, topic, qos)
            for kind, topic in (
                (Image, "color/image_raw"),
                (Image, "depth/image_raw"),
                (CameraInfo, "color/camera_info"),
            )
        ]
        self._mattes: dict[tuple[int, int], NDArray[np.uint8]] = {}
        self._subscriptions = [
            self._node.create_subscription(Image, "/matting_node/alpha", self._matted, 10),
            self._node.create_subscription(Image, "/matting_node/foreground", lambda _: None, 10),
        ]
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._node)
        self._reference: NDArray[np.uint8] | None = None

    def __enter__(self) -> Fuzz:
        """Itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the node."""
        self._process.kill()
        self._process.wait()
        self._executor.shutdown()
        self._node.destroy_node()
        self._context.try_shutdown()
        self._folder.cleanup()

    @property
    def log(self) -> bytes:
        """What the node printed."""
        return self._log.read_bytes()

    def run(self, messages: int) -> Result:
        """Send broken messages.

        Args:
            messages: how many, at least; three make a pair with its camera_info.

        Raises:
            FuzzError: if the node doesn't stand it.
        """
        self._capture()
        self._mattes_rightly()
        recoveries: list[float] = []
        sent = 0
        while sent < messages:
            for _ in range(STRETCH):
                self._send(broken_pair(self._random, time.time_ns()))
                self._spin(0.005)
                sent += 3
            start = time.monotonic()
            self._mattes_rightly()
            recoveries.append(time.monotonic() - start)
            if self._log.stat().st_size > LOG_LIMIT:
                raise FuzzError(f"after {sent} messages {self._log.stat().st_size} bytes of log")
        return Result(sent, recoveries, self._log.stat().st_size)

    def _capture(self) -> None:
        client = self._node.create_client(CaptureBackground, "/matting_node/capture_background")
        self._until(client.service_is_ready, "no service to capture")
        self._until(lambda: self._publishers[0].get_subscription_count() > 0, "no subscription")
        future = client.call_async(CaptureBackground.Request(scene="room", frames=10))

        def captured() -> bool:
            self._send(good_pair(time.time_ns(), occupied=False))
            return bool(future.done())

        self._until(captured, "no answer to the capture")
        if not future.result().success:
            raise FuzzError(f"the capture failed: {future.result().message}")

    def _mattes_rightly(self) -> None:
        """Send good pairs until some in a row come back matted as good pairs were at first.

        Not the first alone: it may be paired with a broken image of the same time.
        """
        self._mattes.clear()
        sent: list[tuple[int, int]] = []

        def right() -> bool:
            pair = good_pair(time.time_ns())
            sent.append((pair[0].header.stamp.sec, pair[0].header.stamp.nanosec))
            self._send(pair)
            last = [self._mattes[stamp] for stamp in sent if stamp in self._mattes][-_IN_A_ROW:]
            if self._reference is None and len(last) == _IN_A_ROW:
                self._reference = last[-1]
            return len(last) == _IN_A_ROW and all(self._is_right(alpha) for alpha in last)

        self._until(right, "no right mattes of good pairs")

    def _is_right(self, alpha: NDArray[np.uint8]) -> bool:
        different = np.abs(alpha.astype(int) - self._reference) > 2
        return bool(different.mean() < 0.001)

    def _until(self, done: Callable[[], bool], otherwise: str) -> None:
        end = time.monotonic() + _PATIENCE
        while not done():
            self._spin(1 / 30)
            if self._process.poll() is not None:
                raise FuzzError(f"the node died ({self._process.poll()}): {self._tail()}")
            if time.monotonic() > end:
                raise FuzzError(f"{otherwise} for {_PATIENCE:.0f} s: {self._tail()}")

    def _send(self, messages: tuple[Image, Image, CameraInfo]) -> None:
        color, depth, info = messages
        for publisher, message in zip(self._publishers, (color, depth, info), strict=True):
            publisher.publish(message)

    def _matted(self, message: Image) -> None:
        if (message.width, message.height) == (WIDTH, HEIGHT):
            alpha = np.frombuffer(message.data, np.uint8).reshape(HEIGHT, WIDTH)
            self._mattes[message.header.stamp.sec, message.header.stamp.nanosec] = alpha

    def _spin(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=left)

    def _tail(self) -> str:
        return self._log.read_text(errors="replace")[-2000:]


def main() -> int:
    """Run the fuzzer and print what became of the node."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--log", type=Path, help="where to keep the node's log")
    options = parser.parse_args()
    with Fuzz(options.seed, domain=own_domain()) as fuzz:
        try:
            result = fuzz.run(options.messages)
            if options.log:
                options.log.write_bytes(fuzz.log)
        except FuzzError as error:
            print(error)
            return 1
    slowest = max(result.recoveries)
    print(
        f"{result.messages} messages: no death, no hang, no wrong matte, {result.log_bytes} bytes "
        f"of log; a good pair was matted again after {slowest:.1f} s at the latest"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())

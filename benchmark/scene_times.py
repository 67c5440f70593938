"""How long captures and switches of scenes take: ``python -m benchmark.scene_times``.

Captures two scenes of the recording that ships, in a real node beside a camera process at 30 Hz,
then switches between them. A matte counts as one of the scene once its frame is younger than the
service's answer.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import Image

from benchmark.node_speed import PATIENCE, resized
from dart_ros.commands.options import MAX_DEPTH, positive_integer, size
from dart_ros.demo.harness import (
    DemoError,
    end_by_signals,
    running_camera,
    running_matting_node,
    set_environment,
)
from dart_ros.demo.pictures import gradient, save_png
from dart_ros.errors import DartError
from dart_ros.msg import Status
from dart_ros.srv import CaptureBackground, LoadScene

SCENES = ("left", "right")


class Operator:
    """Somebody who calls the node's services and waits for its mattes; used as a context."""

    def __init__(self) -> None:
        rclpy.init()
        self._node = rclpy.create_node("scene_times")
        self._capture = self._node.create_client(
            CaptureBackground, "matting_node/capture_background"
        )
        self._load = self._node.create_client(LoadScene, "matting_node/load_scene")
        self._newest = 0  # nanoseconds, stamp of the newest alpha
        self._node.create_subscription(Image, "matting_node/alpha", self._on_alpha, 30)
        latched = QoSProfile(depth=1, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
        self._received = 0
        self._node.create_subscription(Status, "matting_node/status", self._on_status, latched)

    def close(self) -> None:
        """Leave ROS."""
        self._node.destroy_node()
        rclpy.try_shutdown()

    def wait_for_stream(self) -> None:
        """Wait until the node receives frames."""
        self._until(lambda: self._received > 0, "the node has no frames")

    def capture(self, scene: str) -> tuple[float, float]:
        """Capture a scene; milliseconds until the answer, and from it to the scene's first matte.

        Raises:
            DemoError: if it is refused or nothing comes in time.
        """
        return self._timed(self._capture, CaptureBackground.Request(scene=scene))

    def load(self, scene: str) -> tuple[float, float]:
        """Switch to a scene; figures and errors as of :meth:`capture`."""
        return self._timed(self._load, LoadScene.Request(scene=scene))

    def _timed(self, client: Any, request: Any) -> tuple[float, float]:
        begun = time.perf_counter()
        future = client.call_async(request)
        self._until(future.done, "a service doesn't answer")
        answered = time.perf_counter()
        answer = future.result()
        if not answer.success:
            raise DemoError(answer.message)
        since = self._node.get_clock().now().nanoseconds
        self._until(lambda: self._newest > since, "no matte comes")
        return 1e3 * (answered - begun), 1e3 * (time.perf_counter() - answered)

    def _until(self, condition: Callable[[], bool], otherwise: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline:
                raise DemoError(f"{otherwise} within {PATIENCE:.0f} s")
            rclpy.spin_once(self._node, timeout_sec=0.05)

    def _on_alpha(self, message: Image) -> None:
        stamp = message.header.stamp
        self._newest = max(self._newest, 10**9 * stamp.sec + stamp.nanosec)

    def _on_status(self, message: Status) -> None:
        self._received = message.frames_received


def measure(height: int, width: int, switches: int, backend: str) -> dict[str, list[float]]:
    """Milliseconds of all captures and switches.

    Raises:
        DartError: if a node fails.
    """
    times: dict[str, list[float]] = {
        key: [] for key in ("capture", "matte after a capture", "switch", "matte after a switch")
    }
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        scenes = folder / "scenes"
        scenes.mkdir()
        set_environment(folder)
        save_png(scenes / "background.png", gradient(width, height))
        recording = str(resized(folder / "recording", height, width))
        operator = stack.enter_context(contextlib.closing(Operator()))
        stack.enter_context(running_camera({"recording": recording, "rate": 30.0}, folder))
        stack.enter_context(running_matting_node(backend, MAX_DEPTH, folder, scenes))
        operator.wait_for_stream()
        for scene in SCENES:
            answer, matte = operator.capture(scene)
            times["capture"].append(answer)
            times["matte after a capture"].append(matte)
        for turn in range(switches):
            answer, matte = operator.load(SCENES[turn % 2])
            times["switch"].append(answer)
            times["matte after a switch"].append(matte)
    return times


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.scene_times", description=__doc__)
    parser.add_argument("--size", type=size, default=(480, 640), metavar="WxH")
    parser.add_argument("--switches", type=positive_integer, default=20)
    parser.add_argument("--backend", default="auto")
    options = parser.parse_args()
    end_by_signals()
    try:
        times = measure(*options.size, options.switches, options.backend)
    except DartError as error:
        print(f"scene_times: {error}", file=sys.stderr)
        return 1
    for name, values in times.items():
        told = f"{np.median(values):.0f} ms (median), {max(values):.0f} ms (longest)"
        print(f"{name}: {told}, of {len(values)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

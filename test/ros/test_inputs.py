"""Cameras and pipelines as others have them: compressed, late, latched, at two rates, twice."""

from __future__ import annotations

import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from robot import (
    FRAME_ID,
    HEIGHT,
    PATIENCE,
    WIDTH,
    NodeProcess,
    Robot,
    empty_view,
    image,
    occupied_view,
)
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2

from dart_ros.msg import Status
from dart_ros.node.image_messages import stamp_of

pytestmark = pytest.mark.ros
SILENT = replace(empty_view(), silent=frozenset({"color", "depth", "info"}))
PERIOD = 1 / 30


@pytest.fixture(scope="module")
def node(robot: Robot, scenes_dir: Path) -> Iterator[NodeProcess]:
    """A node whose camera_info was published once, before it started, and never again."""
    qos = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    latched = robot.node.create_publisher(CameraInfo, "/latched_info", qos)
    info = CameraInfo(width=WIDTH, height=HEIGHT, k=list(empty_view().info_matrix))
    info.header.frame_id = FRAME_ID
    latched.publish(info)
    made = NodeProcess(
        scenes_dir,
        "backend:=torch",
        "threads:=1",
        remaps=["color/camera_info:=/latched_info"],
    )
    try:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        assert robot.capture("room").success
        robot.view = occupied_view()
        yield made
        assert made.stop() == 0, made.log
        assert "Traceback" not in made.log and "incompatible QoS" not in made.log
    finally:
        if made.process.poll() is None:
            made.process.kill()


@contextmanager
def streaming(robot: Robot, send: Callable[[int, int], None]) -> Iterator[None]:
    """Call `send` with the number and the stamp of each frame, while the robot's camera rests."""
    before, robot.view = robot.view, SILENT
    running = True

    def stream() -> None:
        number = 0
        while running:
            send(number, robot.node.get_clock().now().nanoseconds)
            number += 1
            time.sleep(PERIOD)

    thread = threading.Thread(target=stream)
    thread.start()
    try:
        yield
    finally:
        running = False
        thread.join()
        robot.view = before


def pair_at(stamp: int) -> tuple[Image, Image]:
    view = occupied_view()
    return (
        image(view.color, "rgb8", FRAME_ID, stamp),
        image(view.depth, "16UC1", FRAME_ID, stamp),
    )


def compressed(header: Any, kind: str, data: bytes) -> CompressedImage:
    return CompressedImage(header=header, format=kind, data=data)


def matted(robot: Robot, count: int = 5) -> list[Any]:
    alpha = robot.subscribe(Image, "alpha")
    try:
        messages: list[Any] = alpha.next(count)
        return messages
    finally:
        alpha.close()


def test_camera_info_that_was_latched_arrives(node: NodeProcess, robot: Robot) -> None:
    points = robot.subscribe(PointCloud2, "points")
    assert points.next()[0].width > 0
    points.close()


@pytest.mark.parametrize("frames", [0, 12])
def test_depth_that_comes_frames_after_its_color(
    node: NodeProcess, robot: Robot, frames: int
) -> None:
    late: deque[Image] = deque()

    def send(_: int, stamp: int) -> None:
        color, depth = pair_at(stamp)
        robot._color.publish(color)
        late.append(depth)
        if len(late) > frames:
            robot._depth.publish(late.popleft())

    with streaming(robot, send):
        if frames:
            robot.wait_for_state(Status.STATE_MATTING, "s after its color")
        assert len(matted(robot, 10)) == 10


def test_color_of_twice_the_rate_of_depth(node: NodeProcess, robot: Robot) -> None:
    stamps = []

    def send(number: int, stamp: int) -> None:
        color, depth = pair_at(stamp)
        robot._color.publish(color)
        if number % 2:
            stamps.append(stamp)
            robot._depth.publish(depth)

    with streaming(robot, send):
        mattes = matted(robot, 10)
    # Frames of the robot's own camera may still be under way.
    got = [stamp_of(m) for m in mattes if not robot.was_published(m.header.stamp)]
    assert got and set(got) <= set(stamps)


def test_a_clock_that_is_set_back(node: NodeProcess, robot: Robot) -> None:
    back = 0

    def send(_: int, stamp: int) -> None:
        color, depth = pair_at(stamp - back)
        robot._color.publish(color)
        robot._depth.publish(depth)

    with streaming(robot, send):
        matted(robot, 3)
        back = 30 * 10**9
        start = time.monotonic()
        alpha = robot.subscribe(Image, "alpha")
        while time.monotonic() < start + PATIENCE:
            stamp = alpha.next()[0].header.stamp.sec
            if stamp < robot.node.get_clock().now().nanoseconds // 10**9 - 20:
                break
        else:
            raise AssertionError("no matte of the time that was set back")
        alpha.close()


def test_two_publishers_on_one_topic_are_told(node: NodeProcess, robot: Robot) -> None:
    qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
    second = robot.node.create_publisher(Image, "color/image_raw", qos)
    try:
        robot.wait_for_state(Status.STATE_MATTING, "2 publishers on /color/image_raw, whose")
    finally:
        robot.node.destroy_publisher(second)
    robot.wait_for(lambda s: "2 publishers" not in s.reason and s.state == Status.STATE_MATTING)


def jpeg(pixels: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", pixels[..., ::-1])[1].tobytes()


def png_depth(pixels: np.ndarray) -> bytes:
    return struct.pack("<iff", 0, 0.0, 0.0) + cv2.imencode(".png", pixels)[1].tobytes()


def test_compressed_images(node: NodeProcess, robot: Robot) -> None:
    colors = robot.node.create_publisher(CompressedImage, "color/image_raw/compressed", 5)
    depths = robot.node.create_publisher(CompressedImage, "depth/image_raw/compressedDepth", 5)
    cut: int | None = None
    depth_data = png_depth(occupied_view().depth)

    def send(_: int, stamp: int) -> None:
        color, depth = pair_at(stamp)
        view = occupied_view()
        colors.publish(compressed(color.header, "rgb8; jpeg compressed", jpeg(view.color)[:cut]))
        kind = "16UC1; compressedDepth png"
        depths.publish(compressed(depth.header, kind, depth_data))

    with streaming(robot, send):
        assert robot.set_parameter("image_transport", "compressed").successful
        assert robot.set_parameter("depth_image_transport", "compressedDepth").successful
        robot.wait_for_state(Status.STATE_MATTING)
        matted(robot)
        cut = 300
        robot.wait_for_state(Status.STATE_ERROR, "can't be decoded or is cut short")
        cut, depth_data = None, png_depth(occupied_view().depth)[:100]
        robot.wait_for_state(Status.STATE_ERROR, "depth image of 88 bytes")
        depth_data = png_depth(occupied_view().depth)
        robot.wait_for_state(Status.STATE_MATTING)
        points = robot.subscribe(PointCloud2, "points")
        assert points.next()[0].width > 0
        points.close()
    assert robot.set_parameter("image_transport", "raw").successful
    assert robot.set_parameter("depth_image_transport", "raw").successful
    robot.wait_for_state(Status.STATE_MATTING)
    for publisher in (colors, depths):
        robot.node.destroy_publisher(publisher)


def test_a_topic_of_another_type_is_told_as_such(node: NodeProcess, robot: Robot) -> None:
    wrong = robot.node.create_publisher(Image, "depth/image_raw/compressed", 5)
    assert robot.set_parameter("depth_image_transport", "compressed").successful
    status = robot.wait_for_state(Status.STATE_WAITING, "/depth/image_raw/compressed carries")
    assert "'sensor_msgs/msg/Image', not sensor_msgs/msg/CompressedImage" in status.reason
    assert "set depth_image_transport to raw" in status.reason and "QoS" not in status.reason
    assert robot.set_parameter("depth_image_transport", "raw").successful
    robot.wait_for_state(Status.STATE_MATTING)
    robot.node.destroy_publisher(wrong)


@pytest.mark.skipif(find_spec("realsense2_camera_msgs") is not None, reason="they are here")
def test_rgbd_without_its_messages_is_refused(node: NodeProcess, robot: Robot) -> None:
    refused = robot.set_parameter("rgbd", True)
    assert not refused.successful and "install realsense2_camera_msgs" in refused.reason


def test_rgbd_of_the_real_driver_is_matted(node: NodeProcess, robot: Robot) -> None:
    """Its depth is aligned to color and named by the depth camera all the same."""
    messages = pytest.importorskip("realsense2_camera_msgs.msg", reason="needs the driver's")
    assert robot.set_parameter("rgbd", True).successful
    status = robot.wait_for_state(Status.STATE_WAITING, "rgbd 0 Hz: nobody publishes")
    assert "enable_rgbd" in status.reason
    publisher = robot.node.create_publisher(messages.RGBD, "rgbd", 5)
    info = CameraInfo(width=WIDTH, height=HEIGHT, k=list(empty_view().info_matrix))

    def send(_: int, stamp: int) -> None:
        message = messages.RGBD()
        message.rgb, message.depth = pair_at(stamp)
        message.header.stamp = info.header.stamp = message.rgb.header.stamp
        message.header.frame_id = "camera_rgbd_optical_frame"
        message.depth.header.frame_id = "camera_depth_optical_frame"
        message.rgb_camera_info = message.depth_camera_info = info
        publisher.publish(message)

    with streaming(robot, send):
        robot.wait_for_state(Status.STATE_MATTING)
        assert len(matted(robot)) == 5
        points = robot.subscribe(PointCloud2, "points")
        assert points.next()[0].header.frame_id == FRAME_ID
        points.close()
    assert robot.set_parameter("rgbd", False).successful
    robot.wait_for_state(Status.STATE_MATTING)
    robot.node.destroy_publisher(publisher)

"""The way of a user through the real node: wait, capture, matte, look at it, load another."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from robot import (
    FRAME_ID,
    HEIGHT,
    PATIENCE,
    WIDTH,
    NodeProcess,
    Robot,
    empty_view,
    occupied_view,
    pixels_of,
)
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from waiting import wait_for

from dart_ros.msg import Status
from dart_ros.srv import CaptureBackground, ListScenes, LoadScene
from dart_ros.values import UNKNOWN_DEPTH

pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1")


@pytest.fixture(scope="module")
def captured(node: NodeProcess, robot: Robot) -> CaptureBackground.Response:
    """The response to the capture that the tests of this module build upon."""
    robot.wait_for_state(Status.STATE_NO_SCENE, "call ~/capture_background")
    request = CaptureBackground.Request(scene="room", frames=30)
    begun = time.time_ns()
    wait = robot.begin(CaptureBackground, "capture_background", request)
    # The node goes on to report while the service waits for its answer.
    status = robot.wait_for_state(Status.STATE_CAPTURING, since=begun)
    assert "capturing 'room'" in status.activity and 0 <= status.progress < 1
    return wait(60)


@contextmanager
def listening(robot: Robot, kind: Any, name: str) -> Iterator[Any]:
    listener = robot.subscribe(kind, name)
    yield listener
    listener.close()


def test_capture_answers_with_what_it_took(
    captured: CaptureBackground.Response, robot: Robot, scenes_dir: Path
) -> None:
    assert captured.success, captured.message
    assert captured.frames_used == 30
    assert captured.known_depth_share == 1.0
    assert captured.scene_id.startswith("room-2")
    assert [path.name for path in scenes_dir.glob("*.safetensors")] == ["room.safetensors"]
    status = robot.wait_for_state(Status.STATE_MATTING)
    assert (status.scene, status.scene_id) == ("room", captured.scene_id)
    assert status.backend.startswith("torch")


def test_nothing_is_computed_without_a_subscriber(
    captured: CaptureBackground.Response, robot: Robot
) -> None:
    before = robot.wait_for(lambda s: "no output has a subscriber" in s.activity)
    after = robot.wait_for(
        lambda s: (
            s.state == Status.STATE_MATTING and s.frames_received >= before.frames_received + 20
        )
    )
    assert after.frames_matted == before.frames_matted and after.frame_rate == 0.0


def test_every_output_carries_stamp_and_frame_of_its_source(
    captured: CaptureBackground.Response, robot: Robot
) -> None:
    robot.view = occupied_view()
    kinds = {
        "alpha": (Image, "mono8"),
        "trimap": (Image, "mono8"),
        "foreground": (Image, "rgba8"),
        "composite": (Image, "rgb8"),
        "foreground_depth": (Image, "16UC1"),
        "points": (PointCloud2, ""),
        "camera_info": (CameraInfo, ""),
    }
    listeners = {name: robot.subscribe(kind, name) for name, (kind, _) in kinds.items()}
    try:
        listeners["points"].next(3)
        got = {name: listener.next(5) for name, listener in listeners.items()}
        wait_for(lambda: bool(common_stamps(listeners.values())), "a frame of all outputs")
    finally:
        for listener in listeners.values():
            listener.close()
    for name, (_, encoding) in kinds.items():
        for message in got[name]:
            assert message.header.frame_id == FRAME_ID, name
            assert robot.was_published(message.header.stamp), name
        if encoding:
            assert (message.encoding, message.width, message.height) == (encoding, WIDTH, HEIGHT)
    # One frame of all outputs, to hold them against each other.
    stamp = max(common_stamps(listeners.values()))
    one = {name: by_stamp(listener.messages, stamp) for name, listener in listeners.items()}
    alpha = pixels_of(one["alpha"])[..., 0]
    assert set(np.unique(pixels_of(one["trimap"]))) <= {0, 128, 255}
    foreground = pixels_of(one["foreground"])
    np.testing.assert_array_equal(foreground[..., 3], alpha)
    assert not foreground[alpha == 0].any() and (alpha == 0).mean() > 0.5  # the room stays private
    weight = alpha[..., None] / 255
    exact = weight * foreground[..., :3] + (1 - weight) * np.array([0, 177, 64])
    assert np.abs(pixels_of(one["composite"]) - exact).max() <= 1
    depth = np.frombuffer(one["foreground_depth"].data, np.uint16).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(depth, np.where(alpha >= 128, robot.view.depth, 0))
    assert one["points"].width == np.count_nonzero(alpha >= 128)
    assert list(one["camera_info"].k) == list(robot.view.info_matrix)
    robot.view = empty_view()


def by_stamp(messages: list[Any], stamp: tuple[int, int]) -> Any:
    return next(m for m in messages if (m.header.stamp.sec, m.header.stamp.nanosec) == stamp)


def common_stamps(listeners: Iterable[Any]) -> set[tuple[int, int]]:
    stamps = [
        {(m.header.stamp.sec, m.header.stamp.nanosec) for m in listener.messages}
        for listener in listeners
    ]
    return set.intersection(*stamps)


def test_depth_in_metres_comes_out_in_metres(
    captured: CaptureBackground.Response, robot: Robot
) -> None:
    view = occupied_view()
    robot.view = replace(view, depth=view.depth.astype(np.float32) / 1000, depth_encoding="32FC1")
    with listening(robot, Image, "foreground_depth") as listener:
        message = next(m for m in iter(lambda: listener.next()[0], None) if m.encoding == "32FC1")
    depth = np.frombuffer(message.data, np.float32)
    assert ((depth > 0) | np.isnan(depth)).all() and UNKNOWN_DEPTH not in depth
    robot.view = empty_view()


@pytest.mark.parametrize(
    ("encoding", "code"),
    [
        ("bgr8", cv2.COLOR_RGB2BGR),
        ("rgba8", cv2.COLOR_RGB2RGBA),
        ("bgra8", cv2.COLOR_RGB2BGRA),
        ("mono8", cv2.COLOR_RGB2GRAY),
        ("yuv422", cv2.COLOR_RGB2YUV_UYVY),
    ],
)
def test_every_encoding_of_color_is_understood(
    captured: CaptureBackground.Response, robot: Robot, encoding: str, code: int
) -> None:
    color = cv2.cvtColor(empty_view().color, code).reshape(HEIGHT, WIDTH, -1)
    robot.show(replace(empty_view(), color=color, color_encoding=encoding))
    with listening(robot, Image, "alpha") as listener:
        last = listener.next(4)[-1]
    # Nobody is there, whatever the bytes are called; grey has lost the room's colors.
    assert encoding == "mono8" or pixels_of(last).mean() < 5
    robot.wait_for_state(Status.STATE_MATTING)
    robot.view = empty_view()


def test_depth_may_be_called_mono16(captured: CaptureBackground.Response, robot: Robot) -> None:
    robot.show(replace(occupied_view(), depth_encoding="mono16"))
    with listening(robot, Image, "alpha") as listener:
        assert pixels_of(listener.next(2)[-1]).mean() > 5
    robot.wait_for_state(Status.STATE_MATTING)
    robot.view = empty_view()


def test_status_and_diagnostics_tell_rate_latency_and_level(
    captured: CaptureBackground.Response, robot: Robot
) -> None:
    diagnostics = robot.listen(DiagnosticArray, "/diagnostics")
    with listening(robot, Image, "alpha"):
        status = robot.wait_for(lambda s: s.frame_rate > 0 and s.latency > 0)
        assert 0 < status.latency < 10
        assert status.frames_matted + status.frames_dropped <= status.frames_received
        (entry,) = diagnostics.next()[0].status
        end = time.monotonic() + PATIENCE
        while entry.level != DiagnosticStatus.OK:  # where the machine holds images up
            assert time.monotonic() < end, entry
            (entry,) = diagnostics.next()[0].status
    diagnostics.close()
    assert entry.name == "/matting_node: matting"
    assert {pair.key: pair.value for pair in entry.values}["scene"] == "room"


def test_parameters_change_the_next_frames(
    captured: CaptureBackground.Response, robot: Robot, tmp_path: Path
) -> None:
    picture = tmp_path / "backdrop.png"
    cv2.imwrite(str(picture), np.full((50, 50, 3), (10, 20, 250), np.uint8))  # BGR
    with listening(robot, Image, "composite") as listener:
        for name, value, color in (
            ("composite_color", [200, 100, 50], (200, 100, 50)),
            ("composite_image", str(picture), (250, 20, 10)),
            ("composite_image", "", (200, 100, 50)),
        ):
            assert robot.set_parameter(name, value).successful
            end = time.monotonic() + PATIENCE
            while np.median(off_color(listener.next()[0], color)) >= 40:  # it was on its way
                assert time.monotonic() < end, f"{name} {value} changes nothing"


def off_color(message: Image, color: tuple[int, int, int]) -> np.ndarray:
    """By how much the pixels of a corner are not of a color."""
    corner = pixels_of(message)[:8, :8].reshape(-1, 3).astype(int)
    return np.abs(corner - color).max(axis=1)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("max_depth", -1.0, "max_depth"),
        ("refine_fraction", 1.5, "refine_fraction"),
        ("capture_frames", 0, "capture_frames"),
        ("sync_slop", 0.0, "sync_slop"),
        ("max_depth", "far", "max_depth is a number"),
        ("composite_color", [0, 0, 300], "0 to 255"),
        ("composite_image", "/no/such.png", "does not exist"),
        ("backend", "quantum", "use one of auto"),
        ("scenes_dir", "/elsewhere", "read-only"),
    ],
)
def test_bad_parameters_are_refused_with_the_reason(
    node: NodeProcess, robot: Robot, name: str, value: Any, words: str
) -> None:
    result = robot.set_parameter(name, value)
    assert not result.successful
    assert words in result.reason


def test_another_engine_is_built_while_the_old_one_serves(
    captured: CaptureBackground.Response, robot: Robot, node: NodeProcess
) -> None:
    in_use = f"scene '{captured.scene_id}' is in use"
    with listening(robot, Image, "alpha") as listener:
        listener.next()
        built, seen = node.log.count(in_use), len(robot.statuses)
        assert robot.set_parameter("refine_fraction", 0.5).successful
        end = time.monotonic() + PATIENCE
        while node.log.count(in_use) == built:
            assert time.monotonic() < end, node.log
            listener.next()
        listener.next(3)
    # A machine that does other things as well may hold the images up.
    served = {Status.STATE_MATTING, Status.STATE_WAITING}
    assert {status.state for status in robot.statuses[seen:]} <= served


def test_scenes_are_listed_and_loaded(
    captured: CaptureBackground.Response, robot: Robot, scenes_dir: Path
) -> None:
    # A copy under another name is a scene of that name; half a file is listed with its problem.
    whole = (scenes_dir / "room.safetensors").read_bytes()
    (scenes_dir / "copy.safetensors").write_bytes(whole)
    (scenes_dir / "half.safetensors").write_bytes(whole[: len(whole) // 2])
    listed = robot.call(ListScenes, "list_scenes", ListScenes.Request())
    assert listed.success
    scenes = {scene.name: scene for scene in listed.scenes}
    assert set(scenes) == {"room", "copy", "half"}
    assert (scenes["room"].width, scenes["room"].height) == (WIDTH, HEIGHT)
    assert scenes["room"].loaded and not scenes["half"].loaded
    assert abs(scenes["room"].captured_at.sec - time.time()) < 3600
    assert scenes["half"].captured_at.sec == 0
    assert scenes["room"].captured_by == "/matting_node"
    assert "cut short" in scenes["half"].problem and not scenes["room"].problem

    loaded = robot.call(LoadScene, "load_scene", LoadScene.Request(scene="copy"))
    assert loaded.success and loaded.scene_id == captured.scene_id
    robot.wait_for(lambda s: s.scene == "copy" and s.state == Status.STATE_MATTING)


@pytest.mark.parametrize(
    ("scene", "words"),
    [("half", "cut short"), ("nowhere", "no scene 'nowhere'"), ("../room", "can't name a scene")],
)
def test_a_scene_that_cannot_be_loaded_leaves_the_old_one(
    captured: CaptureBackground.Response, robot: Robot, node: NodeProcess, scene: str, words: str
) -> None:
    before = robot.statuses[-1].scene_id
    answer = robot.call(LoadScene, "load_scene", LoadScene.Request(scene=scene))
    assert not answer.success
    assert words in answer.message
    assert words in node.log
    status = robot.wait_for_state(Status.STATE_MATTING, words)
    assert status.scene_id == before

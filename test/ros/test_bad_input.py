"""Everything that can go wrong on the way in: told on the service, in status and log, survived."""

from __future__ import annotations

import re
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from robot import (
    FRAME_ID,
    PATIENCE,
    Listener,
    NodeProcess,
    Robot,
    View,
    empty_view,
    occupied_view,
    pixels_of,
)
from sensor_msgs.msg import Image, PointCloud2

from dart_ros.msg import Status
from dart_ros.node.image_messages import stamp_of
from dart_ros.node.log import without_figures
from dart_ros.srv import CaptureBackground

pytestmark = pytest.mark.ros
TIMEOUT = 5.0
PARAMETERS = ("backend:=torch", "threads:=1", f"capture_timeout:={TIMEOUT}")


@pytest.fixture(scope="module")
def alpha(node: NodeProcess, robot: Robot) -> Iterator[Listener]:
    """The mattes of a node that has a scene."""
    robot.wait_for_state(Status.STATE_NO_SCENE)
    assert robot.capture("room").success
    listener = robot.subscribe(Image, "alpha")
    listener.next()
    yield listener
    listener.close()


@pytest.fixture(autouse=True)
def goes_on(node: NodeProcess, robot: Robot, alpha: Listener) -> Iterator[None]:
    """After each test the camera is mended, and the node must matte again by itself."""
    yield
    robot.view = empty_view()
    robot.wait_for(lambda s: s.state == Status.STATE_MATTING, what="of a node that goes on")
    alpha.next(2)
    assert node.process.poll() is None
    assert "Traceback" not in node.log


def with_depth(value: float, dtype: type) -> View:
    encoding = "32FC1" if dtype is np.float32 else "16UC1"
    return replace(empty_view(), depth=np.full((120, 160), value, dtype), depth_encoding=encoding)


BROKEN: dict[str, tuple[View, str]] = {
    "sizes": (
        replace(empty_view(), depth=np.full((60, 80), 3000, np.uint16)),
        "color is 160x120 but depth is 80x60, so depth isn't aligned to color: switch the align",
    ),
    "frames": (
        replace(empty_view(), depth_frame="camera_depth_optical_frame"),
        "depth in frame 'camera_depth_optical_frame', so depth isn't aligned",
    ),
    "color encoding": (replace(empty_view(), color_encoding="rgb7"), "'rgb7'"),
    "depth encoding": (replace(empty_view(), depth_encoding="64FC1"), "'64FC1'"),
    "color as depth": (replace(empty_view(), depth_encoding="rgb8"), "encoding 'rgb8'"),
    "truncated color": (replace(empty_view(), color_bytes=1000), "cut short"),
    "truncated depth": (replace(empty_view(), depth_bytes=1000), "cut short"),
    "no data at all": (replace(empty_view(), color_bytes=0), "cut short"),
    "resolution": (empty_view(80, 60), "80x60 images, but scene 'room' was captured at 160x120"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_stream_that_cannot_be_matted(
    robot: Robot, alpha: Listener, node: NodeProcess, case: str
) -> None:
    robot.view, words = BROKEN[case]
    robot.wait_for_state(Status.STATE_ERROR, words)
    assert words in node.log
    told = time.time_ns()
    time.sleep(0.5)
    # Mattes of frames before may still be under way.
    assert all(stamp_of(message) < told for message in alpha.messages)


@pytest.mark.parametrize("case", ["sizes", "truncated depth"])
def test_a_capture_from_such_a_stream_is_refused(robot: Robot, alpha: Listener, case: str) -> None:
    robot.view, words = BROKEN[case]
    robot.wait_for_state(Status.STATE_ERROR)
    answer = robot.capture("broken")
    assert not answer.success
    assert words in answer.message and "0 of 12 taken" in answer.message


def test_broken_images_between_good_ones_are_told(
    robot: Robot, alpha: Listener, node: NodeProcess
) -> None:
    # Not one alone: it might be replaced while it waits for the worker.
    robot.views += [replace(empty_view(), color_bytes=7), empty_view()] * 1000
    robot.wait_for(lambda s: "holds 7 of" in s.reason)
    robot.views = []
    robot.wait_for(lambda s: s.state == Status.STATE_MATTING and "holds 7" not in s.reason)
    assert "holds 7 of" in node.log


@pytest.mark.parametrize(
    "view",
    [
        with_depth(0, np.uint16),
        with_depth(float("nan"), np.float32),
        with_depth(float("inf"), np.float32),
        with_depth(-2.0, np.float32),
        with_depth(60000, np.uint16),
    ],
    ids=["zero", "nan", "infinite", "negative", "out of range"],
)
def test_a_stream_without_any_depth_is_matted_but_told(
    robot: Robot, alpha: Listener, node: NodeProcess, view: View
) -> None:
    robot.view = view
    robot.wait_for_state(Status.STATE_MATTING, "depth is unknown in the whole image")
    alpha.next(3)
    assert "depth is unknown in the whole image" in node.log


def test_another_camera_is_matted_but_told(
    robot: Robot, alpha: Listener, node: NodeProcess
) -> None:
    robot.view = replace(empty_view(), color_frame="left_camera", depth_frame="left_camera")
    words = "frame_id is 'left_camera', but scene 'room' was captured in 'camera_color_optical_fram"
    robot.wait_for_state(Status.STATE_MATTING, words)
    alpha.next(3)
    assert words in node.log
    robot.view = empty_view()
    robot.wait_for(lambda s: s.state == Status.STATE_MATTING and not s.reason)


def poster_seen(right: int) -> View:
    """The view of a camera before a poster, moved to the right by so many pixels."""
    noise = np.random.default_rng(0).integers(0, 255, (140, 180, 3), np.uint8)
    poster = cv2.GaussianBlur(noise, (0, 0), 1.5)
    return replace(empty_view(), color=poster[10:130, 10 + right : 170 + right].copy())


def test_a_camera_that_has_moved_is_told(robot: Robot, alpha: Listener, node: NodeProcess) -> None:
    assert robot.set_parameter("compensate_motion", 0.0).successful
    robot.show(poster_seen(0))
    assert robot.capture("poster").success
    robot.view = poster_seen(6)
    words = "pixels since scene 'poster' was captured: put it back, or capture the background"
    status = robot.wait_for_state(Status.STATE_MATTING, words)
    found = re.search(r"the camera has moved by about ([\d.]+) pixels", status.reason)
    assert found is not None and 5 <= float(found[1]) <= 7
    assert words in node.log
    alpha.next(3)
    robot.view = poster_seen(0)
    robot.wait_for(lambda s: s.state == Status.STATE_MATTING and not s.reason)
    assert robot.set_parameter("compensate_motion", 12.0).successful
    robot.show(empty_view())
    assert robot.capture("room").success


def made_up_for(status: Status) -> float:
    """Pixels by which the status says that the camera was pushed, 0 without a word."""
    found = re.search(r"moved by about ([\d.]+) pixels .* which is made up for", status.reason)
    return float(found[1]) if found else 0.0


def wait_for_emptiness(alpha: Listener) -> None:
    """Wait for a matte of the empty view: others may be under way."""
    end = time.monotonic() + PATIENCE
    while pixels_of(alpha.next()[0]).mean() >= 5:
        assert time.monotonic() < end, "somebody is seen in an empty view"


def test_a_camera_that_was_pushed_is_made_up_for(robot: Robot, alpha: Listener) -> None:
    robot.show(poster_seen(0))
    assert robot.capture("poster").success
    wait_for_emptiness(alpha)
    for right in (6, 3, 0):
        robot.view = poster_seen(right)
        robot.wait_for(
            lambda s, right=right: (
                s.state == Status.STATE_MATTING and abs(made_up_for(s) - right) < 0.5
            )
        )
        wait_for_emptiness(alpha)
    robot.show(empty_view())
    assert robot.capture("room").success


def test_a_capture_without_any_depth_is_flagged(
    robot: Robot, alpha: Listener, node: NodeProcess
) -> None:
    robot.view = with_depth(float("nan"), np.float32)
    robot.wait_for_state(Status.STATE_MATTING, "depth is unknown")
    answer = robot.capture("flat")
    assert answer.success
    assert answer.known_depth_share == 0.0 and "depth is unknown everywhere" in answer.message
    assert "the captured scene has no depth at all" in node.log


SILENT: dict[str, tuple[frozenset[str], tuple[str, ...]]] = {
    "depth": (frozenset({"depth"}), ("depth 0 Hz", "/depth/image_raw has a publisher but", "QoS")),
    "all": (frozenset({"color", "depth", "info"}), ("color 0 Hz, depth 0 Hz, camera_info 0 Hz",)),
}


@pytest.mark.parametrize("case", ["depth", "all"])
def test_a_camera_that_stops(robot: Robot, alpha: Listener, node: NodeProcess, case: str) -> None:
    silent, words = SILENT[case]
    robot.view = replace(empty_view(), silent=silent)
    for word in words:
        robot.wait_for_state(Status.STATE_WAITING, word)
        # Logged once, perhaps before the last rate has come down to 0.
        logged = map(without_figures, node.log.splitlines())
        assert any(without_figures(word) in line for line in logged)


def lateness(status: Status) -> float:
    """Seconds by which the status says that depth comes late, 0 without a word."""
    found = re.search(r"depth comes ([\d.]+) s after its color", status.reason)
    return float(found[1]) if found else 0.0


def test_stamps_that_do_not_match(robot: Robot, alpha: Listener) -> None:
    robot.view = replace(empty_view(), depth_delay=0.5)
    # As far as the stamps tell, depth comes half a second late, but for a frame's time or so.
    robot.wait_for(lambda s: s.state == Status.STATE_MATTING and abs(lateness(s) - 0.5) < 0.05)
    assert robot.set_parameter("depth_time_offset", 0.5).successful
    robot.wait_for(lambda s: s.state == Status.STATE_MATTING and not s.reason)
    robot.view = replace(empty_view(), depth_delay=7.5)
    # Where color has come and its depth has not, it is a frame more.
    words = "raise sync_wait if depth comes so late, or set depth_time_offset to 7.5 if the clocks"
    robot.wait_for_state(Status.STATE_WAITING, words)
    assert robot.set_parameter("depth_time_offset", 7.5).successful
    robot.wait_for_state(Status.STATE_MATTING)
    assert robot.set_parameter("depth_time_offset", 0.0).successful


def test_aligned_depth_in_the_frame_of_the_depth_camera(robot: Robot, alpha: Listener) -> None:
    robot.view = replace(empty_view(), depth_frame="camera_depth_optical_frame")
    robot.wait_for_state(Status.STATE_ERROR, "set the parameter depth_is_aligned to true")
    assert robot.set_parameter("depth_is_aligned", True).successful
    robot.wait_for_state(Status.STATE_MATTING)
    robot.view = replace(empty_view(), depth_frame=f"/{FRAME_ID}")
    assert robot.set_parameter("depth_is_aligned", False).successful
    alpha.next(5)
    robot.wait_for_state(Status.STATE_MATTING)


@pytest.mark.parametrize(
    ("view", "reason"),
    [
        (replace(empty_view(), info_matrix=(0.0,) * 9), "camera_info has no usable camera mat"),
        (replace(empty_view(), silent=frozenset({"info"})), ""),
    ],
)
def test_mattes_need_no_camera_matrix_but_points_do(
    robot: Robot, alpha: Listener, node: NodeProcess, view: View, reason: str
) -> None:
    robot.show(view)
    alpha.next(5)
    if reason:
        points = robot.subscribe(PointCloud2, "points")
        robot.wait_for_state(Status.STATE_MATTING, f"~/points can't be computed: {reason}")
        robot.view = empty_view()
        points.next(2)
        points.close()


def test_a_capture_needs_no_camera_matrix(robot: Robot, alpha: Listener, scenes_dir: Path) -> None:
    robot.show(replace(empty_view(), info_matrix=(0.0,) * 9))
    answer = robot.capture("room")
    assert answer.success, answer.message
    robot.wait_for_state(Status.STATE_MATTING)
    alpha.next(2)
    robot.view = empty_view()
    assert robot.capture("room").success


def test_a_capture_of_a_camera_that_has_stopped_is_refused_in_time(
    robot: Robot, alpha: Listener
) -> None:
    robot.view = replace(empty_view(), silent=frozenset({"depth"}))
    robot.wait_for_state(Status.STATE_WAITING)
    start = time.monotonic()
    answer = robot.capture("stopped")
    assert not answer.success
    assert "no usable frames" in answer.message and "depth 0 Hz" in answer.message
    assert TIMEOUT - 0.1 < time.monotonic() - start < TIMEOUT + 20


def during_capture(robot: Robot, scene: str, act: Callable[[], None]) -> CaptureBackground.Response:
    wait = robot.begin(
        CaptureBackground, "capture_background", CaptureBackground.Request(scene=scene, frames=3000)
    )
    robot.wait_for(lambda s: s.state == Status.STATE_CAPTURING and s.progress > 0.002)
    act()
    return wait(60)


def show(robot: Robot, view: View) -> Callable[[], None]:
    return lambda: setattr(robot, "view", view)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (occupied_view(), "Something moves in the view"),
        (empty_view(80, 60), "keep the camera's resolution"),
        (replace(empty_view(), silent=frozenset({"color", "depth"})), "no usable frames"),
    ],
    ids=["moves", "resolution", "stops"],
)
def test_a_capture_is_given_up(
    robot: Robot, alpha: Listener, node: NodeProcess, scenes_dir: Path, view: View, words: str
) -> None:
    answer = during_capture(robot, "disturbed", show(robot, view))
    assert not answer.success
    assert words in answer.message and words in node.log
    assert not (scenes_dir / "disturbed.safetensors").exists()
    robot.view = empty_view()
    robot.wait_for_state(Status.STATE_MATTING, words)


def test_a_second_capture_is_refused_and_the_first_goes_on(
    robot: Robot, alpha: Listener, node: NodeProcess
) -> None:
    wait = robot.begin(
        CaptureBackground, "capture_background", CaptureBackground.Request(scene="one", frames=300)
    )
    robot.wait_for_state(Status.STATE_CAPTURING)
    second = robot.capture("two")
    words = "capture of 'one' is already running"
    assert not second.success and words in second.message and words in node.log
    robot.wait_for_state(Status.STATE_CAPTURING, words)
    first = wait(60)
    assert first.success and first.frames_used == 300


@pytest.mark.parametrize("name", ["", "a/b", "../escape", ".hidden", "ä", "x" * 65, "a\nb"])
def test_names_that_are_not_plain_are_refused(
    robot: Robot, alpha: Listener, scenes_dir: Path, name: str
) -> None:
    before = sorted(scenes_dir.parent.rglob("*"))
    answer = robot.capture(name)
    assert not answer.success and "can't name a scene" in answer.message
    assert sorted(scenes_dir.parent.rglob("*")) == before


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"frames": 10_001}, "2 to 10000 frames"),
        ({"frames": 1}, "2 to 10000 frames"),
        ({"fit": True, "fit_seconds": -1.0}, "fit_seconds"),
        ({"fit": True, "fit_seconds": float("nan")}, "fit_seconds"),
        ({"fit": True, "fit_seconds": 1e6}, "fit_seconds"),
    ],
)
def test_requests_that_make_no_sense_are_refused(
    robot: Robot, alpha: Listener, request_: dict[str, float], words: str
) -> None:
    answer = robot.capture("room", **{"frames": 12, **request_})
    assert not answer.success and words in answer.message


def test_a_full_disk_leaves_the_old_scene(
    robot: Robot, alpha: Listener, node: NodeProcess, scenes_dir: Path
) -> None:
    old = (scenes_dir / "room.safetensors").read_bytes()
    pid = node.process.pid
    limits = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    # From now on no file of the node may grow beyond 100 kB: what a full disk does to a write.
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        answer = robot.capture("room")
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, limits)
    assert not answer.success
    assert "can't be written" in answer.message and "free some space" in answer.message
    assert "can't be written" in node.log
    robot.wait_for_state(Status.STATE_MATTING, "can't be written")
    assert (scenes_dir / "room.safetensors").read_bytes() == old
    assert not list(scenes_dir.glob(".*"))  # nothing half written is left behind
    assert robot.capture("room").success


def test_a_client_that_leaves_does_no_harm(robot: Robot, alpha: Listener, scenes_dir: Path) -> None:
    begun = time.time_ns()
    robot.begin(
        CaptureBackground, "capture_background", CaptureBackground.Request(scene="left", frames=20)
    )
    robot.wait_for_state(Status.STATE_CAPTURING, since=begun)
    robot.forget("capture_background")
    robot.wait_for(lambda s: s.scene == "left" and s.state == Status.STATE_MATTING)
    assert (scenes_dir / "left.safetensors").exists()


def test_many_requests_at_once_each_get_an_answer(robot: Robot, alpha: Listener) -> None:
    waits = [
        robot.begin(
            CaptureBackground,
            "capture_background",
            CaptureBackground.Request(scene=f"s{i}", frames=100),  # not done before the last
        )
        for i in range(5)
    ]
    answers = [wait(60) for wait in waits]
    assert [answer.success for answer in answers].count(True) == 1

"""Stills: post-matting in the node, while its mattes go on, and what can go wrong with it."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from robot import (
    FRAME_ID,
    HEIGHT,
    PATIENCE,
    WIDTH,
    NodeProcess,
    Robot,
    block,
    empty_view,
    halted_child,
    occupied_view,
    pixels_of,
)
from sensor_msgs.msg import Image

from dart_ros.msg import Status
from dart_ros.postmatting import create_post_matting
from dart_ros.srv import CaptureBackground, TakeStill

pytest.importorskip("pymatting")
pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1", "capture_timeout:=5.0")


@pytest.fixture(scope="module", autouse=True)
def captured(node: NodeProcess, robot: Robot) -> Iterator[None]:
    robot.wait_for_state(Status.STATE_NO_SCENE)
    refused = robot.call(TakeStill, "take_still", TakeStill.Request())
    assert not refused.success and "no background yet" in refused.message
    assert robot.capture("room").success
    robot.show(occupied_view())
    yield
    robot.view = empty_view()


def test_a_still_comes_while_the_mattes_go_on(robot: Robot, node: NodeProcess) -> None:
    mattes = robot.subscribe(Image, "alpha")
    mattes.next(2)
    wait = robot.begin(TakeStill, "take_still", TakeStill.Request(images=True))
    pid = halted_child(node.process.pid)
    mattes.next(10)
    os.kill(pid, signal.SIGCONT)
    answer = wait(PATIENCE)
    mattes.close()
    assert answer.success, answer.message
    for image, encoding in ((answer.alpha, "mono8"), (answer.trimap, "mono8")):
        assert (image.encoding, image.width, image.height) == (encoding, WIDTH, HEIGHT)
        assert image.header.frame_id == FRAME_ID
        assert robot.was_published(image.header.stamp)
    alpha, trimap = pixels_of(answer.alpha)[..., 0], pixels_of(answer.trimap)[..., 0]
    wanted = create_post_matting("closed-form").refine(occupied_view().color, trimap)
    np.testing.assert_array_equal(alpha, wanted)
    foreground = pixels_of(answer.foreground)
    np.testing.assert_array_equal(foreground[..., 3], alpha)
    assert not foreground[alpha == 0].any()
    inner = tuple(slice(part.start + 10, part.stop - 10) for part in block())
    assert np.abs(foreground[inner][..., :3].astype(int) - (40, 60, 200)).mean() < 8


def test_a_still_needs_no_subscriber_and_can_be_a_file(robot: Robot, tmp_path: Path) -> None:
    file = tmp_path / "still.png"
    answer = robot.call(TakeStill, "take_still", TakeStill.Request(file=str(file)))
    assert answer.success and str(file) in answer.message
    assert answer.alpha.width == 0
    picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.shape == (HEIGHT, WIDTH, 4)
    rows, columns = block()
    assert picture[rows, columns, 3].mean() > 240 and picture[..., 3].mean() < 100
    assert not picture[picture[..., 3] == 0].any()  # the room stays private
    assert [path.name for path in tmp_path.iterdir()] == ["still.png"]


@pytest.mark.parametrize(
    ("file", "reason"), [("/nowhere/still.png", "can't be written"), ("/tmp/still.jpg", ".png")]
)
def test_a_file_that_cannot_be_written(robot: Robot, file: str, reason: str) -> None:
    answer = robot.call(TakeStill, "take_still", TakeStill.Request(file=file))
    assert not answer.success and reason in answer.message
    robot.wait_for_state(Status.STATE_MATTING, reason)


def test_a_method_that_cannot_be_had(robot: Robot, tmp_path: Path) -> None:
    refused = robot.set_parameter("post_matting", "magic")
    assert not refused.successful and "closed-form" in refused.reason
    refused = robot.set_parameter("post_matting", "vitmatte")
    assert not refused.successful and "set post_matting_weights" in refused.reason
    assert robot.set_parameter("post_matting_weights", str(tmp_path)).successful
    assert robot.set_parameter("post_matting", "vitmatte").successful
    answer = robot.call(TakeStill, "take_still", TakeStill.Request())
    assert not answer.success and "config.json" in answer.message
    assert robot.set_parameter("post_matting", "closed-form").successful
    assert robot.set_parameter("post_matting_weights", "").successful


def test_two_at_once_and_a_process_that_is_killed(robot: Robot, node: NodeProcess) -> None:
    first = robot.begin(TakeStill, "take_still", TakeStill.Request())
    pid = halted_child(node.process.pid)
    second = robot.begin(TakeStill, "take_still", TakeStill.Request())
    assert "already being taken" in second(60).message
    os.kill(pid, signal.SIGKILL)
    answer = first(60)
    assert not answer.success and "killed by SIGKILL" in answer.message
    assert robot.call(TakeStill, "take_still", TakeStill.Request()).success


def test_no_usable_frame_comes(robot: Robot) -> None:
    robot.view = replace(occupied_view(), silent=frozenset({"depth"}))
    robot.wait_for_state(Status.STATE_WAITING)
    answer = robot.call(TakeStill, "take_still", TakeStill.Request())
    assert not answer.success and "no usable frame" in answer.message
    robot.view = occupied_view()
    robot.wait_for_state(Status.STATE_MATTING)


def test_a_capture_takes_the_frames(robot: Robot) -> None:
    request = CaptureBackground.Request(scene="other", frames=300)
    begun = time.time_ns()
    captured = robot.begin(CaptureBackground, "capture_background", request)
    robot.wait_for_state(Status.STATE_CAPTURING, since=begun)
    answer = robot.call(TakeStill, "take_still", TakeStill.Request())
    assert not answer.success and "a background is being captured" in answer.message
    assert captured(60).success
    robot.show(empty_view())
    assert robot.capture("room").success
    robot.show(occupied_view())


def test_the_node_is_deactivated_meanwhile(robot: Robot, node: NodeProcess) -> None:
    def change(number: int) -> bool:
        request = ChangeState.Request(transition=Transition(id=number))
        return bool(robot.call(ChangeState, "change_state", request).success)

    wait = robot.begin(TakeStill, "take_still", TakeStill.Request())
    assert change(Transition.TRANSITION_DEACTIVATE)
    # Services have queues of their own: the node may take either request first.
    told = wait(60).message
    assert "deactivated" in told or "not active" in told
    assert "not active" in robot.call(TakeStill, "take_still", TakeStill.Request()).message
    assert change(Transition.TRANSITION_ACTIVATE)
    robot.wait_for_state(Status.STATE_MATTING)
    assert robot.call(TakeStill, "take_still", TakeStill.Request()).success

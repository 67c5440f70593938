"""The actions of a real node: feedback, cancel and results, and the services beside them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from action_msgs.msg import GoalStatus
from robot import (
    HEIGHT,
    NODE,
    PATIENCE,
    WIDTH,
    NodeProcess,
    Robot,
    empty_view,
    halted_child,
    occupied_view,
    pixels_of,
)
from std_srvs.srv import Trigger
from waiting import wait_for

from dart_ros.action import CaptureBackground, FitScene, TakeStill
from dart_ros.msg import Status
from dart_ros.srv import TakeStill as TakeStillService

pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1", "capture_timeout:=5.0", "capture_scene:=button")


class Run:
    """A goal that was sent to a node."""

    def __init__(self, robot: Robot, kind: Any, name: str, goal: Any, node: str = NODE) -> None:
        self.feedback: list[Any] = []
        client = robot.action_client(kind, name, node)
        sent = robot.in_executor(
            lambda: client.send_goal_async(goal, lambda m: self.feedback.append(m.feedback))
        )
        wait_for(sent.done)
        assert sent.result().accepted
        self._handle = sent.result()
        self._robot = robot
        self._result = robot.in_executor(self._handle.get_result_async)

    def cancel(self) -> bool:
        """Ask the node to cancel the goal; whether it agrees."""
        asked = self._robot.in_executor(self._handle.cancel_goal_async)
        wait_for(asked.done)
        return bool(asked.result().goals_canceling)

    def end(self) -> tuple[int, Any]:
        """Wait for the status and the result."""
        wait_for(self._result.done)
        return self._result.result().status, self._result.result().result

    def wait_for(self, activity: str) -> None:
        """Wait for a feedback with these words."""
        wait_for(lambda: any(activity in feedback.activity for feedback in self.feedback), activity)


@pytest.fixture(scope="module", autouse=True)
def captured(node: NodeProcess, robot: Robot) -> Iterator[None]:
    robot.wait_for_state(Status.STATE_NO_SCENE)
    status, result = Run(robot, FitScene, "fit_scene", FitScene.Goal()).end()
    assert status == GoalStatus.STATUS_ABORTED and "no background yet" in result.message
    yield
    robot.view = empty_view()


def capture(robot: Robot, scene: str, frames: int, **more: Any) -> Run:
    goal = CaptureBackground.Goal(scene=scene, frames=frames, **more)
    return Run(robot, CaptureBackground, "capture_background", goal)


def test_a_capture_tells_how_far_it_is(robot: Robot) -> None:
    run = capture(robot, "room", 40)
    status, result = run.end()
    assert status == GoalStatus.STATUS_SUCCEEDED and result.message.startswith("captured 40")
    assert result.frames_used == 40 and result.known_depth_share == 1.0
    assert result.scene_id.startswith("room-")
    taken = [feedback.frames_taken for feedback in run.feedback]
    assert taken == sorted(taken) and len(set(taken)) > 3
    for feedback in run.feedback:
        assert feedback.frames_wanted == 40
        assert feedback.progress == pytest.approx(feedback.frames_taken / 40)
    run.wait_for("capturing 'room'")


def test_a_capture_is_cancelled(robot: Robot, scenes_dir: Path) -> None:
    before = sorted(scenes_dir.rglob("*.safetensors"))
    run = capture(robot, "never", 5000)
    wait_for(lambda: any(feedback.frames_taken > 2 for feedback in run.feedback))
    assert capture(robot, "second", 10).end()[0] == GoalStatus.STATUS_ABORTED
    assert run.cancel()
    status, result = run.end()
    assert status == GoalStatus.STATUS_CANCELED and "was cancelled" in result.message
    assert sorted(scenes_dir.rglob("*.safetensors")) == before
    assert robot.wait_for_state(Status.STATE_MATTING).scene == "room"


def test_a_capture_that_cannot_be_is_aborted_with_the_reason(robot: Robot) -> None:
    for scene, frames, words in (("a/b", 10, "can't name a scene"), ("room", 1, "2 to 10000")):
        status, result = capture(robot, scene, frames).end()
        assert status == GoalStatus.STATUS_ABORTED and words in result.message
    robot.view = replace(empty_view(), silent=frozenset({"depth"}))
    robot.wait_for_state(Status.STATE_WAITING)
    status, result = capture(robot, "room", 10).end()
    assert status == GoalStatus.STATUS_ABORTED and "no usable frames" in result.message
    robot.view = empty_view()
    robot.wait_for_state(Status.STATE_MATTING)


def test_a_button_captures_the_scene_of_the_parameter(robot: Robot) -> None:
    answer = robot.call(Trigger, "capture", Trigger.Request())
    assert answer.success and answer.message.startswith("captured 100 frames")
    assert robot.wait_for_state(Status.STATE_MATTING).scene == "button"
    assert robot.set_parameter("capture_frames", 5000).successful  # so that it isn't done before
    wanted = robot.begin(Trigger, "capture", Trigger.Request())
    robot.wait_for_state(Status.STATE_CAPTURING)
    assert robot.call(Trigger, "cancel_capture", Trigger.Request()).success
    assert "was cancelled" in wanted(PATIENCE).message
    assert not robot.call(Trigger, "cancel_capture", Trigger.Request()).success
    assert robot.set_parameter("capture_frames", 100).successful


def test_a_fit_is_followed_and_cancelled(robot: Robot) -> None:
    assert robot.capture("other").success
    # Of a scene that isn't in use, which is loaded first.
    run = Run(robot, FitScene, "fit_scene", FitScene.Goal(scene="room", seconds=300.0))
    run.wait_for("fitting")
    assert robot.wait_for(lambda s: s.fitting).scene == "room"
    status, result = Run(robot, FitScene, "fit_scene", FitScene.Goal()).end()
    assert status == GoalStatus.STATUS_ABORTED and "already running" in result.message
    assert run.cancel()
    status, result = run.end()
    assert status == GoalStatus.STATUS_CANCELED and not result.improved
    assert "as it was before" in result.message and result.scene_id.startswith("room-")
    robot.wait_for(lambda s: not s.fitting)


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ({"scene": "../x"}, "can't name a scene"),
        ({"scene": "nowhere"}, "no scene 'nowhere'"),
        ({"seconds": -1.0}, "no length of a fit"),
        ({"seconds": float("nan")}, "no length of a fit"),
    ],
)
def test_fits_that_cannot_be(robot: Robot, goal: dict[str, Any], words: str) -> None:
    status, result = Run(robot, FitScene, "fit_scene", FitScene.Goal(**goal)).end()
    assert status == GoalStatus.STATUS_ABORTED and words in result.message


def test_a_still_goes_into_a_file_unless_images_are_asked_for(robot: Robot, tmp_path: Path) -> None:
    pytest.importorskip("pymatting")
    assert robot.capture("room").success
    robot.show(occupied_view())
    assert robot.set_parameter("stills_dir", str(tmp_path / "stills")).successful
    run = Run(robot, TakeStill, "take_still", TakeStill.Goal())
    status, result = run.end()
    assert status == GoalStatus.STATUS_SUCCEEDED and result.file in result.message
    run.wait_for("solving")
    assert result.alpha.width == 0 and Path(result.file).parent == tmp_path / "stills"
    picture = cv2.imread(result.file, cv2.IMREAD_UNCHANGED)
    assert picture is not None and picture.shape == (HEIGHT, WIDTH, 4)

    status, result = Run(robot, TakeStill, "take_still", TakeStill.Goal(images=True)).end()
    assert status == GoalStatus.STATUS_SUCCEEDED and not result.file
    np.testing.assert_array_equal(pixels_of(result.foreground)[..., 3], picture[..., 3])
    assert len(list((tmp_path / "stills").iterdir())) == 1

    answer = robot.call(TakeStillService, "take_still", TakeStillService.Request())
    assert answer.success and answer.alpha.width == 0 and Path(answer.file).is_file()


def test_a_still_is_cancelled(robot: Robot, node: NodeProcess, tmp_path: Path) -> None:
    file = tmp_path / "still.png"
    run = Run(robot, TakeStill, "take_still", TakeStill.Goal(file=str(file)))
    halted_child(node.process.pid)  # so that it isn't done before
    run.wait_for("solving")
    assert run.cancel()
    status, result = run.end()
    assert status == GoalStatus.STATUS_CANCELED and "cancelled" in result.message
    time.sleep(0.5)
    assert not file.exists()


def test_goals_that_run_when_the_node_ends_get_a_result(robot: Robot, tmp_path: Path) -> None:
    # No camera: the goal waits for frames.
    parameters = ("backend:=torch", "threads:=1", f"capture_timeout:={PATIENCE}")
    node = NodeProcess(tmp_path, *parameters, namespace="/brief")
    try:
        goal = CaptureBackground.Goal(scene="room")
        run = Run(robot, CaptureBackground, "capture_background", goal, "/brief/matting_node")
        run.wait_for("capturing 'room'")
        robot.meet("/brief/matting_node")  # and it has been asked for the result by then
        assert node.stop() == 0
        status, result = run.end()
        assert status == GoalStatus.STATUS_ABORTED and "deactivated" in result.message
    finally:
        node.process.kill()

"""The fit in its own process: progress, result, cancelling, dying, and the end of the node."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from robot import (
    PATIENCE,
    Listener,
    NodeProcess,
    Robot,
    children,
    empty_view,
    occupied_view,
    start_fit,
)
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from dart_ros.msg import Status
from dart_ros.session.scene_store import SceneStore
from dart_ros.srv import CaptureBackground

pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1", f"capture_timeout:={PATIENCE}")


@pytest.fixture(scope="module")
def alpha(node: NodeProcess, robot: Robot) -> Iterator[Listener]:
    """The mattes, which have to go on all the time."""
    robot.wait_for_state(Status.STATE_NO_SCENE)
    robot.rate = 5.0  # what the mattes don't take is the fit's
    listener = robot.subscribe(Image, "alpha")
    yield listener
    listener.close()


def is_gone(pid: int) -> Callable[[Status], bool]:
    return lambda status: not status.fitting and not Path(f"/proc/{pid}").exists()


def test_a_fit_reports_and_its_result_is_taken_over(
    robot: Robot, node: NodeProcess, alpha: Listener, scenes_dir: Path
) -> None:
    answer = robot.capture("fitted", fit=True, fit_seconds=3.0)
    assert answer.success, answer.message
    # Generic weights serve meanwhile.
    robot.wait_for(
        lambda s: (
            s.state == Status.STATE_MATTING
            and s.fitting
            and "fitting: " in s.activity
            and "starting" not in s.activity
        ),
        240,
        "of a fit beside the mattes",
    )
    (pid,) = children(node.process.pid)
    assert os.getpriority(os.PRIO_PROCESS, pid) >= 10
    alpha.next(2)
    robot.wait_for(lambda s: not s.fitting, 600)
    status = robot.wait_for(lambda s: s.state == Status.STATE_MATTING and not s.activity)
    assert "fit of 'fitted'" in node.log and not status.reason
    assert status.scene_id == answer.scene_id
    # Whether three seconds improve anything is the fit's to judge; the node follows.
    improved = SceneStore(scenes_dir).load("fitted").weights is not None
    assert node.log.count(f"scene '{answer.scene_id}' is in use") == (2 if improved else 1)
    alpha.next(2)


def test_cancel_fit(robot: Robot, node: NodeProcess, alpha: Listener, scenes_dir: Path) -> None:
    pid = start_fit(robot, node, "cancelled", 300.0)
    before = (scenes_dir / "cancelled.safetensors").read_bytes()
    answer = robot.call(Trigger, "cancel_fit", Trigger.Request())
    assert answer.success and "'cancelled'" in answer.message
    robot.wait_for(is_gone(pid))
    assert "the fit was cancelled" in node.log
    assert (scenes_dir / "cancelled.safetensors").read_bytes() == before
    again = robot.call(Trigger, "cancel_fit", Trigger.Request())
    assert not again.success and again.message == "no fit is running"
    alpha.next(2)


def test_a_fit_that_dies_is_told_and_the_scene_stays(
    robot: Robot, node: NodeProcess, alpha: Listener, scenes_dir: Path
) -> None:
    pid = start_fit(robot, node, "killed", 300.0)
    before = (scenes_dir / "killed.safetensors").read_bytes()
    os.kill(pid, signal.SIGKILL)
    status = robot.wait_for_state(Status.STATE_MATTING, "killed by SIGKILL")
    assert not status.fitting and "killed by SIGKILL" in node.log
    assert (scenes_dir / "killed.safetensors").read_bytes() == before
    alpha.next(2)


def test_a_capture_that_is_refused_leaves_the_fit_alone(
    robot: Robot, node: NodeProcess, alpha: Listener
) -> None:
    pid = start_fit(robot, node, "kept", 300.0)
    request = CaptureBackground.Request(scene="walked-through", frames=300)
    wait = robot.begin(CaptureBackground, "capture_background", request)
    robot.wait_for(lambda s: s.state == Status.STATE_CAPTURING and s.progress > 0)
    robot.view = occupied_view()
    answer = wait(PATIENCE)
    robot.show(empty_view())
    assert not answer.success and "moves" in answer.message
    status = robot.wait_for_state(Status.STATE_MATTING)
    assert status.fitting and status.scene == "kept" and children(node.process.pid) == [pid]
    assert robot.call(Trigger, "cancel_fit", Trigger.Request()).success
    robot.wait_for(is_gone(pid))


def test_a_new_capture_cancels_the_fit(
    robot: Robot, node: NodeProcess, alpha: Listener, scenes_dir: Path
) -> None:
    pid = start_fit(robot, node, "again", 300.0)
    answer = robot.capture("again")
    assert answer.success
    # Gone before the new scene was saved: its result can't come over it.
    assert not Path(f"/proc/{pid}").exists()
    robot.wait_for(is_gone(pid))
    status = robot.wait_for_state(Status.STATE_MATTING)
    assert (status.scene, status.scene_id) == ("again", answer.scene_id)
    assert SceneStore(scenes_dir).load("again").id == answer.scene_id
    alpha.next(2)

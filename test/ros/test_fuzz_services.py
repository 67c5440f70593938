"""A short run of the fuzzer of services; ``python -m benchmark.fuzz_services`` has the long one."""

from __future__ import annotations

from pathlib import Path

import pytest
from robot import NodeProcess, Robot
from sensor_msgs.msg import Image
from service_calls import fuzz

from dart_ros.msg import Status

pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1", "capture_timeout:=5.0")


def test_random_calls_are_all_answered(robot: Robot, node: NodeProcess, tmp_path: Path) -> None:
    robot.wait_for_state(Status.STATE_NO_SCENE)
    assert robot.capture("room").success
    answers = fuzz(robot, seed=1, callers=8, seconds=8.0, stills=str(tmp_path))
    assert len(answers) > 8 and sum(answers.values()) > 40
    assert node.process.poll() is None
    assert robot.capture("room").success or robot.capture("room").success
    alpha = robot.subscribe(Image, "alpha")
    alpha.next(2)
    alpha.close()
    assert len(node.log.encode()) < 200_000 and "\x1b" not in node.log

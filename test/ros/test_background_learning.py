"""A real node tells what was put down, absorbs it, takes it back, and remembers it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from geometry_msgs.msg import Point32, Polygon
from robot import (
    HEIGHT,
    PATIENCE,
    WIDTH,
    NodeProcess,
    Robot,
    block,
    empty_view,
    occupied_view,
    pixels_of,
)
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from dart_ros.msg import Status
from dart_ros.srv import Absorb, SetMask

pytestmark = pytest.mark.ros
PARAMETERS = (
    "backend:=onnxruntime",
    "threads:=1",
    "absorb_seconds:=0.0",
    "save_learned_seconds:=1.0",
)
SLOW = ("capture_timeout:=60.0",)  # for machines that do other things as well
CORNERS = ((0, 0), (30, 0), (30, 20), (0, 20))


def wait_for_alpha(robot: Robot, wanted: Callable[[np.ndarray], bool], what: str) -> None:
    listener = robot.subscribe(Image, "alpha")
    try:
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end:
            (message,) = listener.next()
            alpha = pixels_of(message)[..., 0]
            if wanted(alpha):
                return
    finally:
        listener.close()
    raise AssertionError(f"no {what}; the last alpha of the block is {alpha[block()].mean()}")


def opaque(alpha: np.ndarray) -> bool:
    return bool(alpha[block()].mean() > 200)


def gone(alpha: np.ndarray) -> bool:
    return bool(alpha[block()].mean() < 10)


def trigger(robot: Robot, name: str) -> Trigger.Response:
    return robot.call(Trigger, name, Trigger.Request())


def test_what_was_put_down_is_told_absorbed_taken_back_and_remembered(
    robot: Robot, scenes_dir: Path, tmp_path: Path
) -> None:
    node = NodeProcess(scenes_dir, *PARAMETERS, *SLOW)
    robot.wait_for_state(Status.STATE_NO_SCENE)
    for answer in (trigger(robot, "undo_absorb"), robot.call(Absorb, "absorb", Absorb.Request())):
        assert not answer.success and "begun to learn" in answer.message
    answer = trigger(robot, "restore_scene")
    assert not answer.success and "no background yet" in answer.message
    assert robot.capture("room").success
    listener = robot.subscribe(Image, "alpha")  # only what is matted is learnt
    robot.view = occupied_view()
    wait_for_alpha(robot, opaque, "block")
    # The thread that learns is niced.
    status = robot.wait_for(lambda s: len(s.moved) == 1 and s.moved[0].seconds > 4, 3 * PATIENCE)
    (thing,) = status.moved
    rows, columns = block()
    assert thing.kind == "put down" and not thing.left_behind
    assert abs(thing.x - columns.start) <= 8 and abs(thing.y - rows.start) <= 8
    width = (columns.stop - columns.start) * 1.2 / 120
    assert thing.area == pytest.approx(width * (rows.stop - rows.start) * 1.2 / 120, rel=0.4)
    assert status.depth_scale == pytest.approx(1, abs=0.01)

    elsewhere = Absorb.Request(x=0, y=0, width=30, height=30)
    answer = robot.call(Absorb, "absorb", elsewhere)
    assert not answer.success and "nothing there" in answer.message
    answer = robot.call(Absorb, "absorb", Absorb.Request(persons_size=True))
    assert answer.success and answer.count == 1, answer.message
    wait_for_alpha(robot, gone, "absorbed block")
    robot.wait_for(lambda s: not s.moved)
    assert trigger(robot, "undo_absorb").success
    wait_for_alpha(robot, opaque, "block that is taken back")
    answer = trigger(robot, "undo_absorb")
    assert not answer.success and "nothing was absorbed" in answer.message
    robot.wait_for(lambda s: len(s.moved) == 1 and s.moved[0].seconds > 4, 3 * PATIENCE)
    everything = Absorb.Request(x=0, y=0, width=WIDTH, height=HEIGHT)
    assert robot.call(Absorb, "absorb", everything).success
    wait_for_alpha(robot, gone, "block that is absorbed again")
    listener.close()
    captured = (scenes_dir / "room.safetensors").read_bytes()
    assert node.stop() == 0, node.log
    assert (scenes_dir / "room.learned").exists()

    restored = tmp_path / "restored"
    shutil.copytree(scenes_dir, restored)
    unwatched = NodeProcess(restored, *PARAMETERS)
    robot.wait_for(lambda s: s.scene == "room")
    assert trigger(robot, "restore_scene").success, "what nobody subscribes to isn't learnt from"
    assert not (restored / "room.learned").exists()
    assert unwatched.stop() == 0, unwatched.log

    again = NodeProcess(scenes_dir, *PARAMETERS)
    listener = robot.subscribe(Image, "alpha")
    try:
        wait_for_alpha(robot, gone, "block that is remembered")
        polygon = Polygon(points=[Point32(x=float(x), y=float(y)) for x, y in CORNERS])
        assert robot.call(SetMask, "set_mask", SetMask.Request(foreground=[polygon])).success
        wait_for_alpha(robot, lambda alpha: (alpha[1:19, 1:29] == 255).all(), "masked corner")
        mask = np.full((HEIGHT, WIDTH), 128, np.uint8)
        mask[:, WIDTH // 2 :] = 0
        cv2.imwrite(str(scenes_dir / "mask.png"), mask)
        request = SetMask.Request(file=str(scenes_dir / "mask.png"))
        assert robot.call(SetMask, "set_mask", request).success
        refused = robot.call(SetMask, "set_mask", SetMask.Request(file="/no/such.png"))
        assert not refused.success and "can't be read" in refused.message
        robot.wait_for(lambda s: s.state == Status.STATE_MATTING)
        assert trigger(robot, "restore_scene").success
        assert not (scenes_dir / "room.learned").exists()
        half = WIDTH // 2
        wait_for_alpha(
            robot,
            lambda alpha: alpha[block()][:, : half - block()[1].start].mean() > 200,
            "block of the scene as it was captured",
        )
        wait_for_alpha(robot, lambda alpha: not alpha[:, half:].any(), "masked half")
        assert robot.call(SetMask, "set_mask", SetMask.Request()).success
        wait_for_alpha(robot, opaque, "whole block")
    finally:
        listener.close()
        robot.view = empty_view()
        assert again.stop() == 0, again.log
    plain = (scenes_dir / "room.safetensors").read_bytes()
    assert len(plain) == len(captured), "the mask is gone again"

"""What comes from outside makes neither a long log nor a forged one, in a real node."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from robot import NodeProcess, Robot, View, empty_view
from sensor_msgs.msg import Image

from dart_ros.msg import Status
from dart_ros.srv import CaptureBackground, LoadScene, TakeStill

pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1", "capture_timeout:=5.0")
FORGED = "\x1b[2J\n[FATAL] [0.0] [matting_node]: forged\r\n"
LONG = FORGED + "x" * 2_000_000


def views(count: int) -> list[View]:
    """Frames with a long encoding or frame_id, a new one each time."""
    made = []
    for i in range(count):
        name = f"{i}{LONG}{i}"
        made += [
            replace(empty_view(), color_encoding=name),
            replace(empty_view(), depth_encoding=name),
            replace(empty_view(), color_frame=name),
            replace(empty_view(), color_frame=name, depth_frame=name),
        ]
    return made


def test_long_names_in_messages_and_requests(robot: Robot, node: NodeProcess) -> None:
    robot.wait_for_state(Status.STATE_NO_SCENE)
    assert robot.capture("room").success
    alpha = robot.subscribe(Image, "alpha")
    told = robot.listen(DiagnosticArray, "/diagnostics")
    alpha.next()
    seen = len(robot.statuses)
    robot.views += views(12)
    end = time.monotonic() + 8
    while robot.views and time.monotonic() < end:
        time.sleep(0.1)
    robot.views = []
    for kind, name, request in (
        (LoadScene, "load_scene", LoadScene.Request(scene=LONG)),
        (CaptureBackground, "capture_background", CaptureBackground.Request(scene=LONG)),
        (TakeStill, "take_still", TakeStill.Request(file=LONG)),
        (TakeStill, "take_still", TakeStill.Request(file="/" + "y" * 10_000_000 + ".png")),
    ):
        start = time.monotonic()
        answer = robot.call(kind, name, request)
        assert not answer.success and len(answer.message) < 1200 and answer.message.isprintable()
        assert time.monotonic() - start < 30
    request = ChangeState.Request(transition=Transition(label=LONG))
    assert not robot.call(ChangeState, "change_state", request).success
    assert not robot.set_parameter("composite_image", LONG).successful
    robot.wait_for_state(Status.STATE_MATTING)
    alpha.next(2)
    for listener in (alpha, told):
        listener.close()
    assert len(node.log.encode()) < 100_000
    assert "\x1b" not in node.log and "\n[FATAL]" not in node.log
    for status in robot.statuses[seen:]:
        for text in (status.reason, status.activity, status.header.frame_id):
            assert len(text) <= 1000 and text.isprintable()
    for array in told.messages:
        for entry in array.status:
            texts = [entry.message, entry.hardware_id, *(pair.value for pair in entry.values)]
            assert all(len(text) <= 1000 and text.isprintable() for text in texts)


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("/tmp/still.jpg", "not named .png"),
        ("~nobody-of-that-name/x.png", "can't be had"),
        ("/no/such/folder/x.png", "there is no folder '/no/such/folder'"),
        ("/dev/full.png/x.png", "there is no folder"),
        ("/proc/version/x.png", "there is no folder"),
        ("z" * 300 + ".png", "can't be had"),
        ("/tmp", "not named .png"),
        ("a\nb.png", "control characters"),
    ],
)
def test_files_of_stills_are_checked_before_anything_is_computed(
    robot: Robot, node: NodeProcess, tmp_path: Path, file: str, words: str
) -> None:
    seen = len(robot.statuses)
    answer = robot.call(TakeStill, "take_still", TakeStill.Request(file=file))
    assert not answer.success and words in answer.message
    robot.wait_for(lambda _: True)
    assert not any("still" in status.activity for status in robot.statuses[seen:])


def test_a_folder_named_like_a_picture_is_refused(robot: Robot, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    request = TakeStill.Request(file=str(tmp_path / "folder.png"))
    answer = robot.call(TakeStill, "take_still", request)
    assert not answer.success and "no regular file" in answer.message

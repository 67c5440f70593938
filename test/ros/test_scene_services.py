"""Scenes of a real node are listed with pictures, renamed and deleted."""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from robot import HEIGHT, PATIENCE, WIDTH, NodeProcess, Robot, empty_view
from sensor_msgs.msg import CompressedImage

from dart_ros.msg import Status
from dart_ros.srv import DeleteScene, ListScenes, LoadScene, RenameScene

pytestmark = pytest.mark.ros
PARAMETERS = ("backend:=torch", "threads:=1")


def test_scenes_are_renamed_and_deleted_as_operators_do(
    node: NodeProcess, robot: Robot, scenes_dir: Path
) -> None:
    robot.wait_for_state(Status.STATE_NO_SCENE)
    # The view can be set up before there is a scene.
    listener = robot.subscribe(CompressedImage, "input/compressed")
    (message,) = listener.next()
    listener.close()
    picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
    color = empty_view().color
    assert picture.shape == (HEIGHT, WIDTH, 3)
    assert np.abs(picture[..., ::-1].astype(int) - color).mean() < 6
    assert robot.was_published(message.header.stamp)

    for scene in ("hall", "lab"):
        assert robot.capture(scene).success
    listed = robot.call(ListScenes, "list_scenes", ListScenes.Request(thumbnails=True))
    assert [scene.name for scene in listed.scenes] == ["hall", "lab"]
    for scene in listed.scenes:
        small = cv2.imdecode(np.frombuffer(scene.thumbnail.data, np.uint8), cv2.IMREAD_COLOR)
        assert max(small.shape[:2]) <= 160
    plain = robot.call(ListScenes, "list_scenes", ListScenes.Request())
    assert not any(scene.thumbnail.data for scene in plain.scenes)

    # The one in use is called otherwise from now on, and isn't deleted.
    answer = robot.call(RenameScene, "rename_scene", RenameScene.Request(scene="lab", name="den"))
    assert answer.success, answer.message
    robot.wait_for(lambda s: s.scene == "den" and s.state == Status.STATE_MATTING)
    for scene, why in (("den", "in use"), ("attic", "no scene"), ("../x", "can't name")):
        answer = robot.call(DeleteScene, "delete_scene", DeleteScene.Request(scene=scene))
        assert not answer.success and why in answer.message.lower().replace("there is ", "")
    for name, why in (("hall", "already"), ("a/b", "can't name a scene"), ("", "can't name")):
        request = RenameScene.Request(scene="den", name=name)
        answer = robot.call(RenameScene, "rename_scene", request)
        assert not answer.success and why in answer.message
    answer = robot.call(DeleteScene, "delete_scene", DeleteScene.Request(scene="hall"))
    assert answer.success, answer.message
    assert {path.name for path in scenes_dir.glob("*.safetensors")} == {"den.safetensors"}
    assert not robot.call(LoadScene, "load_scene", LoadScene.Request(scene="hall")).success
    assert robot.call(LoadScene, "load_scene", LoadScene.Request(scene="den")).success


@pytest.mark.parametrize("name", ["composite", "alpha", "foreground"])
def test_compressed_topics_hold_what_the_raw_ones_do(
    node: NodeProcess, robot: Robot, name: str
) -> None:
    from robot import occupied_view, pixels_of
    from sensor_msgs.msg import Image

    robot.view = occupied_view()
    raw, compressed = (
        robot.subscribe(Image, name),
        robot.subscribe(CompressedImage, f"{name}/compressed"),
    )
    try:
        both: list[tuple[Image, CompressedImage]] = []
        end = time.monotonic() + PATIENCE
        while not both:
            assert time.monotonic() < end, "no frame came on both"
            raw.next()
            compressed.next()
            stamps = {(m.header.stamp.sec, m.header.stamp.nanosec): m for m in raw.messages}
            both = [
                (stamps[key], m)
                for m in compressed.messages
                if (key := (m.header.stamp.sec, m.header.stamp.nanosec)) in stamps
            ]
        image, message = both[-1]
    finally:
        raw.close()
        compressed.close()
        robot.view = empty_view()
    decoded = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    pixels = pixels_of(image)
    if name == "alpha":
        assert message.format.startswith("mono8; png")
        np.testing.assert_array_equal(decoded, pixels[..., 0])
    elif name == "foreground":
        np.testing.assert_array_equal(cv2.cvtColor(decoded, cv2.COLOR_BGRA2RGBA), pixels)
    else:
        assert message.format == "rgb8; jpeg compressed bgr8"
        assert np.abs(decoded[..., ::-1].astype(int) - pixels).mean() < 4

"""Several cameras with one folder of scenes, and scenes of another camera."""

from __future__ import annotations

import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
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
from sensor_msgs.msg import Image
from waiting import wait_for

from dart_ros.msg import Status
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore, all_scenes
from dart_ros.srv import CaptureBackground, ListScenes, LoadScene
from dart_ros.values import Camera

pytestmark = pytest.mark.ros
TORCH = ("backend:=torch", "threads:=1")
SIZE = (HEIGHT, WIDTH)
SAME_TOPICS = [
    f"{topic}:=/{topic}" for topic in ("color/image_raw", "depth/image_raw", "color/camera_info")
]


def scene(name: str, **other: Any) -> Scene:
    """As the robot's camera would capture it."""
    camera = Camera(WIDTH, HEIGHT, 120.0, 120.0, 79.5, 59.5, FRAME_ID)
    return replace(
        Scene(
            name=name,
            id=f"{name}-20260101T000000Z-abcdef",
            camera=camera,
            plate=empty_view().color,
            depth_mean=np.full(SIZE, 3.0, np.float32),
            depth_std=np.full(SIZE, 0.03, np.float32),
            depth_count=np.full(SIZE, 10, np.uint16),
            frames=10,
            captured_at="2026-01-01T00:00:00+00:00",
            max_depth=5.46,
        ),
        **other,
    )


def test_two_cameras_capture_scenes_of_one_name(robot: Robot, tmp_path: Path) -> None:
    views = {"/left": empty_view(), "/right": empty_view()}
    views["/right"] = replace(views["/right"], color=255 - views["/right"].color)
    ids = {}
    for namespace, view in views.items():
        name = f"{namespace}/matting_node"
        node = NodeProcess(tmp_path, *TORCH, namespace=namespace, remaps=SAME_TOPICS)
        try:
            robot.show(view, name)
            request = CaptureBackground.Request(scene="lab", frames=12)
            answer = robot.call(CaptureBackground, "capture_background", request, node=name)
            assert answer.success, answer.message
            ids[namespace] = answer.scene_id
            assert node.stop() == 0
        finally:
            if node.process.poll() is None:
                node.stop(signal.SIGKILL)
    assert [item.name for item in all_scenes(tmp_path)] == ["left/lab", "right/lab"]
    for namespace, view in views.items():
        found = SceneStore(tmp_path, namespace[1:]).load("lab")
        assert found.id == ids[namespace] and found.captured_by == f"{namespace}/matting_node"
        assert np.abs(found.plate.astype(int) - view.color).max() <= 1
    node = NodeProcess(tmp_path, *TORCH, namespace="/left", remaps=SAME_TOPICS)
    try:
        listener = robot.listen(Status, "/left/matting_node/status")
        end = time.monotonic() + PATIENCE
        while not (status := listener.next()[0]).scene:
            assert time.monotonic() < end
        listener.close()
        assert (status.scene, status.scene_id) == ("lab", ids["/left"])
        request = ListScenes.Request()
        listed = robot.call(ListScenes, "list_scenes", request, node="/left/matting_node")
        assert [(item.name, item.loaded) for item in listed.scenes] == [("lab", True)]
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.stop(signal.SIGKILL)


def test_a_scene_of_another_camera_is_refused_or_told(robot: Robot, tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    mine = scene("mine", serial="123", captured_by="/matting_node")
    store.save(mine)
    store.save(scene("other", serial="456"))
    store.save(scene("moved", captured_by="/left/matting_node"))
    store.save(scene("tele", camera=replace(mine.camera, fx=130.0, fy=130.0)))
    node = NodeProcess(tmp_path, *TORCH, "camera_serial:='123'", "scene:=mine")
    try:
        status = robot.wait_for_state(Status.STATE_MATTING)
        assert "captured" not in status.reason
        answer = robot.call(LoadScene, "load_scene", LoadScene.Request(scene="other"))
        assert not answer.success and "serial number '456'" in answer.message
        assert robot.wait_for_state(Status.STATE_MATTING).scene == "mine"
        assert robot.call(LoadScene, "load_scene", LoadScene.Request(scene="moved")).success
        assert "scene 'moved' was captured by /left/matting_node" in node.log
        assert robot.call(LoadScene, "load_scene", LoadScene.Request(scene="tele")).success
        status = robot.wait_for_state(Status.STATE_MATTING, "camera_info says fx 120.0")
        assert "captured with fx 130.0" in status.reason
        assert robot.capture("new").success
        assert store.load("new").serial == "123"
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.stop(signal.SIGKILL)


def test_a_node_that_dies_while_the_engine_is_built_finds_its_scene_again(
    robot: Robot, tmp_path: Path
) -> None:
    fault = """
import time
from dart_ros.node import matting_node
def slow(*arguments, **options):
    time.sleep(600)
matting_node.Predictor = slow
"""
    node = NodeProcess(tmp_path, *TORCH, fault=fault)
    try:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        request = CaptureBackground.Request(scene="room", frames=12)
        robot.begin(CaptureBackground, "capture_background", request)
        robot.wait_for(lambda s: "building its engine" in s.activity, what="of a scene being saved")
        end = time.monotonic() + PATIENCE
        while SceneStore(tmp_path).last("/matting_node") is None:
            assert time.monotonic() < end
            time.sleep(0.02)
    finally:
        node.stop(signal.SIGKILL)
    node = NodeProcess(tmp_path, *TORCH)
    try:
        assert robot.wait_for_state(Status.STATE_MATTING).scene == "room"
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.stop(signal.SIGKILL)


def test_what_moved_in_a_capture_is_shown(robot: Robot, tmp_path: Path) -> None:
    node = NodeProcess(tmp_path, *TORCH)
    try:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        pictures = robot.listen(Image, "/matting_node/capture_picture")
        robot.meet()
        request = CaptureBackground.Request(scene="room", frames=2000)
        wait = robot.begin(CaptureBackground, "capture_background", request)
        robot.wait_for_state(Status.STATE_CAPTURING)
        robot.view = occupied_view()
        answer = wait(PATIENCE)
        assert not answer.success and "moves in the view" in answer.message
        assert "~/capture_picture shows where" in answer.message
        wait_for(lambda: bool(pictures.messages), "the picture")
        picture = pixels_of(pictures.messages[-1])
        red = (picture == (255, 40, 40)).all(axis=2)
        assert red.any() and abs(np.nonzero(red)[1].mean() - WIDTH / 2) < 15
        robot.show(empty_view())
        answer = robot.capture("room")
        assert answer.success and "restless" not in answer.message
        wait_for(lambda: len(pictures.messages) > 1, "the picture")
        assert len(pictures.messages) == 2
        pictures.close()
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.stop(signal.SIGKILL)

"""Start, end and life cycle of the real node."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rclpy.qos import ReliabilityPolicy
from robot import (
    PATIENCE,
    NodeProcess,
    Robot,
    children,
    empty_view,
    occupied_view,
    start_fit,
)
from sensor_msgs.msg import Image
from waiting import alive, wait_for

from dart_ros.msg import Status
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.srv import CaptureBackground, LoadScene
from dart_ros.values import Camera

pytestmark = pytest.mark.ros
TORCH = ("backend:=torch", "threads:=1")


BETTER = """
import json, os, sys, time
from dataclasses import replace
import numpy as np
from dart_ros.fitting.weights import network_with, weights_of
from dart_ros.session.scene_store import SceneStore
folder, name, hold = sys.argv[2:]
while os.path.exists(hold):
    time.sleep(0.01)
store = SceneStore(folder)
weights = {key: np.zeros_like(value) for key, value in weights_of(network_with(None)).items()}
store.save(replace(store.load(name), weights=weights))
print(json.dumps({"done": True, "improved": True, "message": "better"}))
"""


def waiting(file: Path, owner: str, name: str) -> str:
    """Code that has something of a module's or class's wait while a file is there."""
    module, _, thing = owner.rpartition(".")
    return f"""
import os, time
from {module} import {thing}
original = {thing}.{name}
def waiting(*arguments, **options):
    while os.path.exists({str(file)!r}):
        time.sleep(0.01)
    return original(*arguments, **options)
{thing}.{name} = waiting
"""


@contextmanager
def running(
    scenes_dir: Path, *parameters: str, namespace: str = "/", fault: str = ""
) -> Iterator[NodeProcess]:
    node = NodeProcess(scenes_dir, *TORCH, *parameters, namespace=namespace, fault=fault)
    try:
        yield node
    finally:
        if node.process.poll() is None:
            node.stop(signal.SIGKILL)


def change(robot: Robot, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(robot.call(ChangeState, "change_state", request).success)


def scene(name: str, width: int = 160, height: int = 120) -> Scene:
    size = (height, width)
    return Scene(
        name=name,
        id=f"{name}-20260101T000000Z-abcdef",
        camera=Camera(width, height, 120.0, 120.0, 79.5, 59.5),
        plate=empty_view(width, height).color,
        depth_mean=np.full(size, 3.0, np.float32),
        depth_std=np.full(size, 0.01, np.float32),
        depth_count=np.full(size, 10, np.uint16),
        frames=10,
        captured_at="2026-01-01T00:00:00+00:00",
        max_depth=5.46,
    )


@pytest.mark.parametrize(
    ("parameter", "words"),
    [
        ("max_depth:=0.0", "max_depth"),
        ("max_depth:=three", "max_depth is a number, not three"),
        ("scene:=1.5", "scene is a text, not 1.5; quote it"),
        ("post_matting:=vitmatte", "needs weights"),
        ("composite_image:=/no/such.png", "does not exist"),
        ("scenes_dir:=~nobody-of-that-name/x", "can't be had"),
        ("scene:=../escape", "no plain name"),
    ],
)
def test_a_bad_value_at_start_ends_the_node_with_the_reason(
    tmp_path: Path, parameter: str, words: str
) -> None:
    node = NodeProcess(tmp_path, parameter)
    assert node.process.wait(PATIENCE) == 1
    node.stop()
    assert words in node.log
    assert "Traceback" not in node.log


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_the_node_cleanly(robot: Robot, tmp_path: Path, how: signal.Signals) -> None:
    store = SceneStore(tmp_path)
    store.save(scene("last"))
    store.set_last("/matting_node", "last")
    before = set(os.listdir("/dev/shm"))
    with running(tmp_path) as node:
        # The last scene is loaded at start, without being asked.
        robot.wait_for(lambda s: s.state == Status.STATE_MATTING and s.scene == "last")
        listener = robot.subscribe(Image, "alpha")
        listener.next(3)
        own = segments_of(node.process.pid) - before
        assert own, "Fast DDS without shared memory?"
        assert node.stop(how) == 0
        listener.close()
    assert "Traceback" not in node.log and "Error" not in node.log
    assert not own & set(os.listdir("/dev/shm"))


def segments_of(pid: int) -> set[str]:
    """Segments of shared memory that a process uses; the queues named port may be others' too."""
    maps = Path(f"/proc/{pid}/maps").read_text()
    return set(re.findall(r"/dev/shm/(fast\w*?_(?!port)\w+)", maps))


def test_a_damaged_last_scene_is_told_and_a_capture_mends_it(robot: Robot, tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(scene("room"))
    store.set_last("/matting_node", "room")
    file = store.path("room")
    file.write_bytes(file.read_bytes()[:-1000])
    with running(tmp_path) as node:
        robot.wait_for_state(Status.STATE_NO_SCENE, "cut short")
        assert "cut short" in node.log
        assert robot.capture("room").success
        robot.wait_for_state(Status.STATE_MATTING)
        assert node.stop() == 0


def test_each_of_two_nodes_goes_on_with_its_own_last_scene(robot: Robot, tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    last = {"/left": "hall", "/right": "yard"}
    for namespace, name in last.items():
        store.save(scene(name))
        store.set_last(f"{namespace}/matting_node", name)
    with running(tmp_path, namespace="/left") as left, running(tmp_path, namespace="/right"):
        for namespace, name in last.items():
            listener = robot.listen(Status, f"{namespace}/matting_node/status")
            end = time.monotonic() + PATIENCE
            while not (found := listener.next()[0].scene):
                assert time.monotonic() < end
            listener.close()
            assert found == name
        assert left.stop() == 0
    assert store.last_used() == {"/left/matting_node": "hall", "/right/matting_node": "yard"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="the first backend works here")
def test_another_backend_brings_back_the_scene_that_failed(robot: Robot, tmp_path: Path) -> None:
    SceneStore(tmp_path).save(scene("room"))
    with running(tmp_path, "scene:=room", "backend:=tensorrt") as node:
        robot.wait_for_state(Status.STATE_NO_SCENE, "no NVIDIA GPU")
        assert robot.set_parameter("backend", "torch").successful
        status = robot.wait_for_state(Status.STATE_MATTING)
        assert status.scene == "room" and status.backend.startswith("torch")
        assert node.stop() == 0


def test_a_scene_of_another_size_is_told_with_what_to_do(robot: Robot, tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(scene("small", 80, 60))
    store.save(scene("right"))
    with running(tmp_path, "scene:=small") as node:
        words = "sends 160x120 images, but scene 'small' was captured at 80x60"
        status = robot.wait_for_state(Status.STATE_ERROR, words)
        assert "capture the background again" in status.reason and words in node.log
        answer = robot.call(LoadScene, "load_scene", LoadScene.Request(scene="right"))
        assert answer.success, answer.message
        robot.wait_for_state(Status.STATE_MATTING)
        # While the camera runs a scene that can't fit is not taken at all.
        answer = robot.call(LoadScene, "load_scene", LoadScene.Request(scene="small"))
        assert not answer.success and words in answer.message
        status = robot.wait_for_state(Status.STATE_MATTING)
        assert status.scene == "right"
        assert node.stop() == 0


def test_a_lifecycle_manager_can_lead_the_node(robot: Robot, tmp_path: Path) -> None:
    def state() -> str:
        answer = robot.call(GetState, "get_state", GetState.Request())
        return str(answer.current_state.label)

    def reliability(topic: str) -> list[ReliabilityPolicy]:
        found = robot.node.get_subscriptions_info_by_topic(topic)
        return [one.qos_profile.reliability for one in found]

    SceneStore(tmp_path).save(scene("room"))
    qos = "qos_overrides./color/image_raw.subscription.reliability:=reliable"
    with running(tmp_path, "autostart:=false", "scene:=room", qos) as node:
        assert state() == "unconfigured"
        robot.wait_for_state(Status.STATE_INACTIVE)
        answer = robot.capture("early")
        assert not answer.success and "not active" in answer.message
        for _ in range(2):
            assert change(robot, Transition.TRANSITION_CONFIGURE)
            assert change(robot, Transition.TRANSITION_ACTIVATE)
            assert state() == "active"
            wait_for(lambda: reliability("/color/image_raw") == [ReliabilityPolicy.RELIABLE])
            wait_for(lambda: reliability("/depth/image_raw") == [ReliabilityPolicy.BEST_EFFORT])
            listener = robot.subscribe(Image, "alpha")
            listener.next(2)
            robot.wait_for_state(Status.STATE_MATTING)
            wait = robot.begin(
                CaptureBackground,
                "capture_background",
                CaptureBackground.Request(scene="cut", frames=3000),
            )
            robot.wait_for_state(Status.STATE_CAPTURING)
            assert change(robot, Transition.TRANSITION_DEACTIVATE)
            answer = wait(PATIENCE)
            assert not answer.success and "deactivated" in answer.message
            robot.wait_for_state(Status.STATE_INACTIVE)
            wait_for(lambda: robot.node.count_subscribers("/color/image_raw") == 0)
            listener.close()
            assert change(robot, Transition.TRANSITION_CLEANUP)
            assert state() == "unconfigured"
        assert node.stop() == 0
    assert "Traceback" not in node.log


def test_a_scene_that_is_ready_after_the_cleanup_is_not_used(robot: Robot, tmp_path: Path) -> None:
    SceneStore(tmp_path).save(scene("room"))
    with running(tmp_path, "autostart:=false", "scene:=room") as node:
        robot.wait_for_state(Status.STATE_INACTIVE)
        assert change(robot, Transition.TRANSITION_CONFIGURE)
        assert change(robot, Transition.TRANSITION_CLEANUP)
        robot.wait_for(lambda s: not s.activity, what="of a loader at rest")
        time.sleep(0.3)
        status = robot.wait_for(lambda _: True)
        assert not status.scene and not status.backend and "is in use" not in node.log
        assert change(robot, Transition.TRANSITION_CONFIGURE)
        robot.wait_for(lambda s: s.scene == "room")
        assert node.stop() == 0


def test_transitions_that_are_not_possible_are_refused(robot: Robot, tmp_path: Path) -> None:
    def change(**transition: object) -> bool:
        request = ChangeState.Request(transition=Transition(**transition))
        return bool(robot.call(ChangeState, "change_state", request).success)

    with running(tmp_path) as node:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        # As a lifecycle manager does that doesn't know of autostart.
        assert not change(id=Transition.TRANSITION_CONFIGURE)
        assert not change(id=Transition.TRANSITION_CLEANUP)
        assert not change(label="no such transition")
        assert "transition '1' is refused: the node is active" in node.log
        robot.wait_for_state(Status.STATE_NO_SCENE)
        assert robot.capture("room").success
        assert change(id=Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert not change(id=Transition.TRANSITION_ACTIVE_SHUTDOWN)
        assert node.stop() == 0
    assert "Traceback" not in node.log


def wait_for_a_hanging_engine(robot: Robot) -> None:
    """Wait for a status without mattes although pairs come."""
    robot.wait_for(
        lambda s: s.state == Status.STATE_MATTING and s.frame_rate == 0,
        what="of an engine that hangs",
    )


def test_no_second_thread_works_with_an_engine_that_hangs(robot: Robot, tmp_path: Path) -> None:
    SceneStore(tmp_path).save(scene("room"))
    hang = tmp_path / "hang"
    fault = waiting(hang, "dart_ros.session.predictor.Predictor", "infer")
    alpha = robot.subscribe(Image, "alpha")
    try:
        with running(tmp_path, "scene:=room", fault=fault) as node:
            alpha.next(2)
            hang.touch()
            wait_for_a_hanging_engine(robot)
            assert change(robot, Transition.TRANSITION_DEACTIVATE)
            assert not change(robot, Transition.TRANSITION_ACTIVATE)
            assert "can't activate: the engine is still at a frame from before" in node.log
            robot.wait_for_state(Status.STATE_INACTIVE)
            hang.unlink()
            # It is refused until the frame from before is done.
            wait_for(lambda: change(robot, Transition.TRANSITION_ACTIVATE))
            robot.wait_for_state(Status.STATE_MATTING)
            alpha.next(2)
            assert node.stop() == 0
        assert "Traceback" not in node.log
    finally:
        alpha.close()


def test_a_scene_that_is_saved_in_a_node_that_rests_is_not_fitted(
    robot: Robot, tmp_path: Path
) -> None:
    hold = tmp_path / "hold"
    hold.touch()
    fault = waiting(hold, "dart_ros.node.matting_node", "Predictor")
    scenes = tmp_path / "scenes"
    with running(scenes, fault=fault) as node:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        request = CaptureBackground.Request(scene="room", frames=12, fit=True)
        wait = robot.begin(CaptureBackground, "capture_background", request)
        robot.wait_for(lambda s: "saving" in s.activity, what="of a capture that is being saved")
        assert change(robot, Transition.TRANSITION_DEACTIVATE)
        hold.unlink()
        answer = wait(PATIENCE)
        assert answer.success and "not fitted to it: the node is not active" in answer.message
        assert change(robot, Transition.TRANSITION_ACTIVATE)
        status = robot.wait_for_state(Status.STATE_MATTING)
        assert status.scene == "room" and not status.fitting
        assert node.stop() == 0
    assert "Traceback" not in node.log


def test_who_waits_for_a_capture_is_told_that_the_node_ends(robot: Robot, tmp_path: Path) -> None:
    fault = """
import time
from dart_ros.node import matting_node
def slow(*arguments, **options):
    time.sleep(60.0)
    raise RuntimeError("too late")
matting_node.Predictor = slow
"""
    with running(tmp_path, fault=fault) as node:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        request = CaptureBackground.Request(scene="room", frames=12)
        wait = robot.begin(CaptureBackground, "capture_background", request)
        robot.wait_for(lambda s: "saving" in s.activity, what="of a capture that is being saved")
        assert node.stop() == 0
        answer = wait(PATIENCE)
        assert not answer.success and "the node ends" in answer.message


def test_better_weights_are_swapped_in_between_two_frames(robot: Robot, tmp_path: Path) -> None:
    """The node's part alone: another command stands in for the fit, whose weights give no alpha."""
    hold = tmp_path / "hold"
    hold.touch()
    fault = f"""
import sys
from dart_ros.node import fit
fit.fit_command = lambda name, folder, *_: [
    sys.executable, "-c", {BETTER!r}, "fit", folder, name, {str(hold)!r}
]
"""
    alpha = robot.subscribe(Image, "alpha")
    try:
        with running(tmp_path / "scenes", fault=fault) as node:
            robot.wait_for_state(Status.STATE_NO_SCENE)
            assert robot.capture("swapped", fit=True).success
            # Without depth in the block: what depth is sure of is no matter of the weights.
            view = occupied_view()
            depth = np.where(view.depth == view.depth.max(), view.depth, 0)
            robot.view = replace(view, depth=depth)
            wait_for(lambda: any(alpha.next()[0].data), "a matte with the weights of before")
            hold.unlink()
            robot.wait_for(lambda s: "fit of 'swapped': better" in node.log, 3 * PATIENCE)
            wait_for(lambda: not any(alpha.next()[0].data), "a matte with the better weights")
            assert not any(alpha.next()[0].data)
            stamps = [(m.header.stamp.sec, m.header.stamp.nanosec) for m in alpha.messages]
            assert stamps == sorted(set(stamps))
            assert node.log.count("is in use") == 2
            assert node.stop() == 0
    finally:
        robot.view = empty_view()
        alpha.close()


def test_the_end_of_the_node_is_the_end_of_the_fit(robot: Robot, tmp_path: Path) -> None:
    with running(tmp_path) as node:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        fit = start_fit(robot, node, "room", 300.0)
        assert node.stop(signal.SIGTERM) == 0
        wait_for(lambda: not alive(fit), "the end of the fit")
    assert "Traceback" not in node.log


def test_a_node_whose_threads_hang_ends_in_time(robot: Robot, tmp_path: Path) -> None:
    """Learning and a matte that never end, as where others take the processor, and a child."""
    SceneStore(tmp_path).save(scene("room"))
    hang = tmp_path / "hang"
    fault = waiting(hang, "dart_ros.session.predictor.Predictor", "infer")
    fault += """
import subprocess
from dart_ros.session.living_background import LivingBackground
from dart_ros.node.matting_node import MattingNode
LivingBackground.add = lambda *_: time.sleep(1000)
subprocess.Popen(["sleep", "1000"], start_new_session=True)
close = MattingNode.close
def stuck(self):
    close(self)
    time.sleep(1000)
MattingNode.close = stuck
"""
    alpha = robot.subscribe(Image, "alpha")
    try:
        with running(tmp_path, "scene:=room", fault=fault) as node:
            alpha.next(2)
            hang.touch()
            wait_for_a_hanging_engine(robot)
            (child,) = children(node.process.pid)
            begun = time.monotonic()
            assert node.stop(signal.SIGTERM) == 0
            assert time.monotonic() - begun < 20.0
        assert "still being learnt" in node.log
        assert "matting_node is ended after 10 s; still at work: " in node.log
        assert "background learning" in node.log.splitlines()[-1]
        wait_for(lambda: not alive(child), "the end of its child")
    finally:
        alpha.close()


def test_a_service_that_waits_costs_no_processor(robot: Robot, tmp_path: Path) -> None:
    with running(tmp_path, "capture_timeout:=60.0") as node:
        robot.wait_for_state(Status.STATE_NO_SCENE)
        robot.view = replace(empty_view(), silent=frozenset({"color", "depth", "info"}))
        robot.wait_for_state(Status.STATE_WAITING)
        resting = processor_share(node.process.pid)
        robot.begin(
            CaptureBackground, "capture_background", CaptureBackground.Request(scene="long")
        )
        robot.wait_for_state(Status.STATE_CAPTURING)
        # What works now and then, as discovery does, is no loop.
        waiting = min(processor_share(node.process.pid) for _ in range(3))
        robot.view = empty_view()
        assert waiting < resting + 0.1, (resting, waiting)
        assert node.stop() == 0


def processor_share(pid: int, seconds: float = 1.5) -> float:
    """Processor time that a process takes, as a share of one core."""

    def ticks() -> int:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])

    before, start = ticks(), time.monotonic()
    time.sleep(seconds)
    return (ticks() - before) / os.sysconf("SC_CLK_TCK") / (time.monotonic() - start)


@pytest.mark.parametrize(
    "place",
    [
        "camera_input.CameraInput._on_info",  # in the executor's thread
        "frame_pipeline._Run._process",  # in the worker's
        "frame_pipeline._Run._send",  # in the sender's
    ],
)
def test_faults_of_its_own_are_told_and_the_node_goes_on(
    robot: Robot, tmp_path: Path, place: str
) -> None:
    store = SceneStore(tmp_path)
    store.save(scene("last"))
    store.set_last("/matting_node", "last")
    fault = f"""
from dart_ros.node import camera_input, frame_pipeline, scene_loader
sound, calls, loaders = {place}, [], []
make = scene_loader.SceneLoader.__init__
def made(loader, *arguments):
    loaders.append(loader)
    make(loader, *arguments)
scene_loader.SceneLoader.__init__ = made
def unsound(part, *arguments):
    if loaders[0].loaded is not None:
        calls.append(1)
    if 0 < len(calls) <= 60:
        raise ZeroDivisionError("what nobody thought of")
    return sound(part, *arguments)
{place} = unsound
"""
    alpha = robot.subscribe(Image, "alpha")
    try:
        begun = time.monotonic()
        with running(tmp_path, fault=fault) as node:
            told = robot.wait_for_state(Status.STATE_ERROR, "internal error")
            assert "what nobody thought of" in told.reason
            alpha.next(2)
            robot.wait_for_state(Status.STATE_MATTING)
            assert node.stop() == 0
            # One each five seconds; how long sixty frames take is up to the machine.
            assert 1 <= node.log.count("Traceback") <= 2 + (time.monotonic() - begun) / 5
    finally:
        alpha.close()


def test_what_rclpy_itself_raises_ends_the_node(tmp_path: Path) -> None:
    """After a message that it couldn't take its executor is deaf."""
    fault = """
from dart_ros.node import matting_node
space = {"__name__": "rclpy.executors"}
exec("def spin_once(self, timeout_sec): raise RuntimeError('take failed')", space)
matting_node.SingleThreadedExecutor.spin_once = space["spin_once"]
"""
    with running(tmp_path, fault=fault) as node:
        assert node.process.wait(PATIENCE) == 1
        assert node.log.count("take failed") == 1

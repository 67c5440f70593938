"""The camera as a process of its own, over real DDS."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.qos import QoSProfile, ReliabilityPolicy  # noqa: E402
from rosbags.rosbag2 import StoragePlugin, Writer  # noqa: E402
from rosbags.typesys import Stores, get_typestore  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402
from std_srvs.srv import SetBool, Trigger  # noqa: E402

from dart_ros.demo.domain import own_domain  # noqa: E402

WIDTH, HEIGHT = 64, 48
DOMAIN = own_domain()
NAMESPACE = "/robot"
COLOR = f"{NAMESPACE}/camera/camera/color/image_raw"
COLOR_INFO = f"{NAMESPACE}/camera/camera/color/camera_info"
DEPTH = f"{NAMESPACE}/camera/camera/aligned_depth_to_color/image_raw"
DEPTH_INFO = f"{NAMESPACE}/camera/camera/aligned_depth_to_color/camera_info"
MATRIX = [60.0, 0.0, 31.5, 0.0, 61.0, 23.5, 0.0, 0.0, 1.0]

pytestmark = pytest.mark.ros


def value(number: int) -> int:
    """Gray level of a frame, and a tenth of its depth in millimetres."""
    return 100 + 10 * number


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Frames 0 to 2 are empty, 3 to 6 are not; each is of one value."""
    path = tmp_path_factory.mktemp("levels")
    for number in range(7):
        color = np.full((HEIGHT, WIDTH, 3), value(number), np.uint8)
        depth = np.full((HEIGHT, WIDTH), 10 * value(number), np.uint16)
        depth[0, 0] = 0
        assert cv2.imwrite(str(path / f"color_{number:04d}.png"), color)
        assert cv2.imwrite(str(path / f"depth_{number:04d}.png"), depth)
    (path / "sequence.json").write_text(
        json.dumps(
            {
                **{"width": WIDTH, "height": HEIGHT, "K": MATRIX, "fps": 20},
                **{"empty_frames": [[0, 2]], "occupied_frames": [3, 6]},
            }
        ),
        encoding="utf-8",
    )
    return path


@pytest.fixture(scope="module", params=[StoragePlugin.MCAP, StoragePlugin.SQLITE3])
def bag(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Half a second of value(0), then one of value(1), at 20 Hz under names of its own."""
    path = tmp_path_factory.mktemp("bag") / "stream"
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    with Writer(path, version=9, storage_plugin=request.param) as writer:
        connections = {
            topic: writer.add_connection(topic, f"sensor_msgs/msg/{kind}", typestore=store)
            for topic, kind in (("/c", "Image"), ("/d", "Image"), ("/i", "CameraInfo"))
        }
        for number in range(30):
            stamp = 10**9 + number * 50_000_000
            time_type = types["builtin_interfaces/msg/Time"]
            header = types["std_msgs/msg/Header"](time_type(*divmod(stamp, 10**9)), "there")
            level = value(int(number >= 10))
            color = np.full(HEIGHT * WIDTH * 3, level, np.uint8)
            depth = np.full(HEIGHT * WIDTH, 10 * level, np.uint16).view(np.uint8)
            image = types["sensor_msgs/msg/Image"]
            messages = {
                "/c": image(header, HEIGHT, WIDTH, "bgr8", 0, WIDTH * 3, color),
                "/d": image(header, HEIGHT, WIDTH, "16UC1", 0, WIDTH * 2, depth),
                "/i": types["sensor_msgs/msg/CameraInfo"](
                    header,
                    HEIGHT,
                    WIDTH,
                    "plumb_bob",
                    np.zeros(5),
                    np.array(MATRIX),
                    np.eye(3).ravel(),
                    np.zeros(12),
                    0,
                    0,
                    types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False),
                ),
            }
            for topic, message in messages.items():
                kind = connections[topic].msgtype
                writer.write(connections[topic], stamp, store.serialize_cdr(message, kind))
    return path


class Camera:
    """The process, and what it publishes, by topic."""

    def __init__(self, log: Path, *parameters: str) -> None:
        self._log = log
        arguments = ["--ros-args", "-r", f"__ns:={NAMESPACE}"]
        for parameter in parameters:
            arguments += ["-p", parameter]
        with open(log, "wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "dart_ros.demo.replay_node", *arguments],
                env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self._context = rclpy.Context()
        rclpy.init(context=self._context, domain_id=DOMAIN)
        self.node = rclpy.create_node("viewer", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self.node)
        self.seen: dict[str, list[Any]] = {}
        # None is lost while this process waits for the processor.
        qos = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
        for topic, kind in (
            (COLOR, Image),
            (DEPTH, Image),
            (COLOR_INFO, CameraInfo),
            (DEPTH_INFO, CameraInfo),
        ):
            self.seen[topic] = []
            self.node.create_subscription(kind, topic, self.seen[topic].append, qos)

    @property
    def log(self) -> str:
        """What the process printed so far."""
        return self._log.read_text(encoding="utf-8")

    def until(self, condition: Callable[[], bool], timeout: float = 90.0) -> None:
        """Receive until the condition holds."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, self.log
            assert self.process.poll() is None, self.log
            self._executor.spin_once(timeout_sec=0.05)

    def levels(self, count: int) -> list[int]:
        """Levels of so many color images that are published after this call."""
        called = time.time_ns()
        self.until(lambda: len(self.colors(called)) >= count)
        return [message.data[0] for message in self.colors(called)[:count]]

    def colors(self, since: int) -> list[Any]:
        """Color images published since then, in nanoseconds."""
        return [message for message in self.seen[COLOR] if stamp(message) >= since]

    def call(self, name: str, request: Any) -> Any:
        """Call a service of the camera."""
        kind = Trigger if isinstance(request, Trigger.Request) else SetBool
        client = self.node.create_client(kind, f"{NAMESPACE}/replay_node/{name}")
        self.until(client.service_is_ready)
        # DDS loses what is answered before the camera has found the client; images don't pile up.
        found = time.monotonic() + 0.3
        self.until(lambda: time.monotonic() > found)
        # On a machine that does other things as well it may take longer; all can be asked again.
        asked = [client.call_async(request)]
        again = time.monotonic() + 5.0

        def answered() -> bool:
            nonlocal again
            if time.monotonic() > again:
                asked.append(client.call_async(request))
                again += 5.0
            return any(future.done() for future in asked)

        self.until(answered)
        return next(future.result() for future in asked if future.done())

    def report(self) -> dict[str, Any]:
        """The camera's figures."""
        figures: dict[str, Any] = json.loads(self.call("report", Trigger.Request()).message)
        return figures

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """End the process and return its exit status."""
        self.process.send_signal(how)
        return self.process.wait(90)

    def close(self) -> None:
        """Leave, whatever state things are in."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._executor.shutdown()
        self.node.destroy_node()
        self._context.try_shutdown()


@pytest.fixture
def camera(tmp_path: Path) -> Iterator[Callable[..., Camera]]:
    """Starts cameras, which are ended after the test."""
    started: list[Camera] = []

    def start(*parameters: str) -> Camera:
        started.append(Camera(tmp_path / f"log{len(started)}", *parameters))
        return started[-1]

    yield start
    for made in started:
        made.close()


def test_it_is_a_realsense_camera_to_all_who_listen(
    folder: Path, camera: Callable[..., Camera]
) -> None:
    replay = camera(f'recording:="{folder}"')
    # They are found one by one.
    replay.until(lambda: len(replay.seen[COLOR]) >= 25 and len(common_stamps(replay)) >= 20)
    color, depth = replay.seen[COLOR], replay.seen[DEPTH]

    one = color[5]
    assert (one.width, one.height, one.encoding, one.step) == (WIDTH, HEIGHT, "rgb8", 3 * WIDTH)
    assert one.header.frame_id == "camera_color_optical_frame"
    assert len(one.data) == 3 * WIDTH * HEIGHT
    deep = depth[5]
    assert (deep.width, deep.height, deep.encoding, deep.step) == (WIDTH, HEIGHT, "16UC1", 128)
    millimetres = np.frombuffer(deep.data, np.uint16)
    assert millimetres[0] == 0
    assert set(millimetres[1:]) <= {10 * value(n) for n in range(3)}
    info = replay.seen[COLOR_INFO][5]
    assert (info.width, info.height, list(info.k)) == (WIDTH, HEIGHT, MATRIX)
    assert list(info.p) == [60.0, 0.0, 31.5, 0.0, 0.0, 61.0, 23.5, 0.0, 0.0, 0.0, 1.0, 0.0]

    # Color, depth and both infos of a moment share their stamp, and so do their pictures.
    stamps = {topic: [stamp(m) for m in messages] for topic, messages in replay.seen.items()}
    common = common_stamps(replay)
    levels = {stamp(m): m.data[0] for m in color}
    depths = {stamp(m): np.frombuffer(m.data, np.uint16)[1] for m in depth}
    assert all(depths[moment] == 10 * levels[moment] for moment in common)
    # Never faster than the recording; how much slower is up to the machine's other work.
    times = np.array(stamps[COLOR][-20:]) / 1e9
    assert 0.9 * 0.05 <= (times[-1] - times[0]) / 19 < 1.0


def stamp(message: Any) -> int:
    return int(message.header.stamp.sec) * 10**9 + int(message.header.stamp.nanosec)


def common_stamps(replay: Camera) -> set[int]:
    return set.intersection(*({stamp(m) for m in messages} for messages in replay.seen.values()))


def test_the_foreground_enters_on_request_and_everything_is_counted(
    folder: Path, camera: Callable[..., Camera]
) -> None:
    replay = camera(f'recording:="{folder}"', "rate:=40.0")
    first = replay.levels(8)
    assert set(first) == {value(0), value(1), value(2)}
    assert all(abs(one - following) == 10 for one, following in pairwise(first))

    assert replay.call("publish", SetBool.Request(data=False)).success
    assert replay.call("occupied", SetBool.Request(data=True)).success
    before = replay.report()
    assert (before["rate"], before["width"], before["occupied_frames"]) == (40.0, WIDTH, 4)
    time.sleep(0.2)
    assert replay.report()["published"] == before["published"], "it publishes in its pause"
    resumed = time.time_ns()
    assert replay.call("publish", SetBool.Request(data=True)).success
    replay.until(lambda: len(replay.colors(resumed)) >= 8)
    assert [m.data[0] for m in replay.colors(resumed)[:8]] == [
        value(n) for n in (3, 4, 5, 6, 5, 4, 3, 4)
    ]

    assert replay.call("publish", SetBool.Request(data=False)).success
    published = replay.report()["published"] - before["published"]
    replay.until(lambda: len(replay.colors(resumed)) == published)
    assert replay.stop() == 0
    assert f"published {before['published'] + published} pairs" in replay.log
    assert "Traceback" not in replay.log


def test_the_foreground_enters_by_itself_and_leaves(
    folder: Path, camera: Callable[..., Camera]
) -> None:
    replay = camera(f'recording:="{folder}"', "empty_seconds:=2.0", "loop:=false")
    replay.until(lambda: "empty again" in replay.log)
    levels = replay.levels(3)
    assert set(levels) <= {value(n) for n in range(3)}
    assert replay.stop(signal.SIGTERM) == 0
    assert replay.log.index("the foreground enters") < replay.log.index("has left")


def test_a_bag_is_played_with_its_first_seconds_as_the_empty_scene(
    bag: Path, camera: Callable[..., Camera]
) -> None:
    replay = camera(
        f'recording:="{bag}"',
        *('color_topic:="/c"', 'depth_topic:="/d"', 'info_topic:="/i"', "bag_empty_seconds:=0.5"),
    )
    assert set(replay.levels(5)) == {value(0)}
    assert replay.report()["rate"] == pytest.approx(20.0)
    assert replay.call("occupied", SetBool.Request(data=True)).success
    replay.levels(1)
    assert set(replay.levels(5)) == {value(1)}
    assert replay.stop() == 0
    assert "Traceback" not in replay.log


def test_what_cannot_be_played_ends_with_the_reason(
    folder: Path, tmp_path: Path, camera: Callable[..., Camera]
) -> None:
    missing = camera(f'recording:="{tmp_path / "none"}"')
    wrong = camera(f'recording:="{folder}"', "rate:=1000.0")
    assert missing.process.wait(90) == 1
    assert "There is no recording" in missing.log
    assert wrong.process.wait(90) == 1
    assert "rate" in wrong.log
    assert "Traceback" not in missing.log + wrong.log


def test_broken_frames_are_skipped_and_whole_numbers_will_do(
    folder: Path, tmp_path: Path, camera: Callable[..., Camera]
) -> None:
    broken = tmp_path / "7"
    shutil.copytree(folder, broken)
    for name in ("color_0001.png", "depth_0004.png"):
        (broken / name).write_bytes((broken / name).read_bytes()[:60])
    replay = camera(f'recording:="{broken}"', "rate:=25", "empty_seconds:=2", "depth_unit:=0.002")
    replay.until(lambda: "the foreground enters" in replay.log)
    replay.levels(4)
    assert set(replay.levels(12)) == {value(n) for n in (3, 5, 6)}
    replay.until(lambda: bool(replay.seen[DEPTH]))
    deep = np.frombuffer(replay.seen[DEPTH][0].data, np.uint16)
    assert set(deep[1:]) <= {20 * value(n) for n in (0, 2, 3, 5, 6)}
    assert replay.report()["rate"] == 25
    assert replay.stop() == 0
    assert "skipping 2 frames that can't be read" in replay.log and "color_0001" in replay.log
    assert "Traceback" not in replay.log


DROPS = """
import os, signal, sys
from dart_ros.demo import replay_node
class Dropped:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
tick = replay_node.ReplayNode._on_tick
def dropping(node):
    tick(node)
    Dropped()
replay_node.ReplayNode._on_tick = dropping
sys.exit(replay_node.main())
"""


def said_until_its_end(script: str, folder: Path) -> str:
    """What a camera that a script runs writes to stderr, until it ends cleanly."""
    ended = subprocess.run(
        [sys.executable, "-c", script, "--ros-args", "-p", f'recording:="{folder}"'],
        env={**os.environ, "ROS_DOMAIN_ID": str(DOMAIN)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    assert ended.returncode == 0
    return ended.stderr


def test_an_interrupt_is_not_lost_where_python_drops_an_object(folder: Path) -> None:
    told = said_until_its_end(DROPS, folder)
    assert "published 1 pairs" in told and "KeyboardInterrupt" not in told


PREPARES = """
import os, signal, sys, time
from dart_ros.demo import replay_node
def prepare(queue, keys, progress):
    os.kill(os.getpid(), signal.SIGINT)
    for done in range(300):
        progress(done, 300)
        time.sleep(0.1)
    return len(keys)
replay_node.PictureQueue.prepare = prepare
sys.exit(replay_node.main())
"""


def test_a_camera_that_prepares_can_be_interrupted(folder: Path) -> None:
    told = said_until_its_end(PREPARES, folder)
    assert "preparing" in told and "prepared" not in told
    assert "Traceback" not in told and "KeyboardInterrupt" not in told

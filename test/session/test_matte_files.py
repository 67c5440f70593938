"""Mattes in files: what is written is what the Predictor made, from a folder and from a bag."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dart_ros.errors import RecordingError
from dart_ros.session.capture import BackgroundCapture
from dart_ros.session.matte_files import (
    ALPHA_TOPIC,
    TRIMAP_TOPIC,
    BagWriter,
    MatteWriter,
    PictureWriter,
    VideoWriter,
)
from dart_ros.session.predictor import Predictor
from dart_ros.session.recording import (
    CAMERA_INFO_TOPIC,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    open_recording,
)
from dart_ros.session.scene import Scene
from dart_ros.values import Camera, Frame, Matte

OFFICE = Path(__file__).resolve().parents[3] / "shared" / "real" / "office"
CAMERA = Camera(33, 25, 40.0, 40.0, 16.0, 12.0, "optical")
STORE = get_typestore(Stores.ROS2_HUMBLE)


def example(number: int) -> tuple[Frame, Matte]:
    rng = np.random.default_rng(number)
    color, foreground = rng.integers(0, 256, (2, CAMERA.height, CAMERA.width, 3), np.uint8)
    alpha = rng.integers(0, 256, (CAMERA.height, CAMERA.width), np.uint8)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), alpha.shape)
    stamp = 1_700_000_000_123_456_789 + number * 33_000_000
    frame = Frame(color, np.ones(alpha.shape, np.float32), stamp, CAMERA)
    return frame, Matte(alpha, foreground, trimap)


def read_bag(path: Path) -> dict[str, list[Any]]:
    """Messages of each topic, with their time in the bag."""
    found: dict[str, list[Any]] = {}
    with AnyReader([path], default_typestore=STORE) as reader:
        for connection, time, raw in reader.messages():
            message = reader.deserialize(raw, connection.msgtype)
            found.setdefault(connection.topic, []).append((time, message))
    return found


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_pictures(tmp_path: Path) -> None:
    frame, matte = example(0)
    with PictureWriter(tmp_path / "a" / "b") as writer:
        writer.add(7, frame, matte)
    files = sorted(file.name for file in writer.path.iterdir())
    assert files == ["alpha_0007.png", "foreground_0007.png", "trimap_0007.png"]
    for kind, expected in (("alpha", matte.alpha), ("trimap", matte.trimap)):
        read = cv2.imread(str(writer.path / f"{kind}_0007.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(read, expected)
    bgra = cv2.imread(str(writer.path / "foreground_0007.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(bgra[..., 2::-1], matte.foreground)
    np.testing.assert_array_equal(bgra[..., 3], matte.alpha)


def test_bag(tmp_path: Path) -> None:
    with BagWriter(tmp_path / "out") as writer:
        for number in range(3):
            writer.add(number, *example(number))
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    found = read_bag(tmp_path / "out")
    assert {topic: len(messages) for topic, messages in found.items()} == {
        ALPHA_TOPIC: 3,
        TRIMAP_TOPIC: 3,
    }
    for number in range(3):
        frame, matte = example(number)
        for topic, expected in ((ALPHA_TOPIC, matte.alpha), (TRIMAP_TOPIC, matte.trimap)):
            time, message = found[topic][number]
            header = message.header
            assert time == frame.stamp == header.stamp.sec * 10**9 + header.stamp.nanosec
            assert header.frame_id == "optical" and message.encoding == "mono8"
            pixels = message.data.reshape(message.height, message.step)
            np.testing.assert_array_equal(pixels, expected)


def test_a_bag_needs_rosbags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rosbags.rosbag2", None)
    with pytest.raises(RecordingError, match="pip install rosbags"):
        BagWriter(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_video_of_odd_sides(tmp_path: Path) -> None:
    with VideoWriter(tmp_path / "out.mp4", CAMERA, 10.0) as writer:
        for number in range(4):
            frame, _ = example(number)
            white = np.full(frame.depth.shape, 255, np.uint8)
            writer.add(number, frame, Matte(white, frame.color, 0 * white))
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    shown = []
    while (got := video.read())[0]:
        shown.append(got[1])
    assert len(shown) == 4 and shown[0].shape == (26, 100, 3)
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(10.0)
    assert shown[2][4:20, 40:60].mean() > 230 and shown[2][4:20, 75:95].mean() < 25


@pytest.mark.parametrize("fps", [29.97, 62.499, 65.5374, 90.127])
def test_video_of_any_rate(tmp_path: Path, fps: float) -> None:
    with VideoWriter(tmp_path / "out.mp4", CAMERA, fps) as writer:
        writer.add(0, *example(0))
    video = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert video.get(cv2.CAP_PROP_FPS) == pytest.approx(fps, rel=0.01)


def test_a_video_that_was_not_written_whole(tmp_path: Path) -> None:
    (tmp_path / "out.mp4").write_bytes(b"an older one")
    writer = VideoWriter(tmp_path / "out.mp4", CAMERA, 30.0)
    with full_disk(20_000):
        for number in range(60):
            writer.add(number, *example(number))
        with pytest.raises(RecordingError, match=r"of 60 frames could be written; make space"):
            writer.close()
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [b"an older one"]


@pytest.mark.parametrize("frames", [1, 2000])
def test_a_bag_that_was_not_written_whole(tmp_path: Path, frames: int) -> None:
    writer = BagWriter(tmp_path / "out")
    with pytest.raises(RecordingError, match="make space"), full_disk(1000), writer:
        for number in range(frames):
            writer.add(number, *example(0))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", ["bag", "video"])
def test_an_error_leaves_nothing_behind(tmp_path: Path, kind: str) -> None:
    writer: MatteWriter
    if kind == "bag":
        writer = BagWriter(tmp_path / "out")
    else:
        writer = VideoWriter(tmp_path / "out.mp4", CAMERA, 30.0)
    with pytest.raises(ZeroDivisionError), writer:
        writer.add(0, *example(0))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for make in (
        lambda path: PictureWriter(path),
        lambda path: BagWriter(path / "bag"),
        lambda path: VideoWriter(path / "a.mp4", CAMERA, 30.0),
    ):
        with pytest.raises(RecordingError, match="can't be written to"):
            make(tmp_path / "file")
    with pytest.raises(RecordingError, match="is there already"):
        BagWriter(tmp_path / "file")
    frame, matte = example(0)
    with pytest.raises(ValueError, match="without trimap"):
        PictureWriter(tmp_path / "p").add(0, frame, replace(matte, trimap=None))


def bag_of(frames: list[Frame], path: Path) -> None:
    """Frames as a camera driver publishes them: rgb8, and 16UC1 in millimetres."""
    types = STORE.types
    image, info = types["sensor_msgs/msg/Image"], types["sensor_msgs/msg/CameraInfo"]
    roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as bag:
        topics = ((COLOR_TOPIC, image), (DEPTH_TOPIC, image), (CAMERA_INFO_TOPIC, info))
        connections = [
            bag.add_connection(topic, kind.__msgtype__, typestore=STORE) for topic, kind in topics
        ]
        for frame in frames:
            camera = frame.camera
            height, width = frame.depth.shape
            stamp = types["builtin_interfaces/msg/Time"](*divmod(frame.stamp, 10**9))
            header = types["std_msgs/msg/Header"](stamp, "optical")
            matrix = np.array([camera.fx, 0, camera.cx, 0, camera.fy, camera.cy, 0, 0, 1])
            known = np.maximum(frame.depth, 0)
            stored = np.rint(known * 1000).astype("<u2").reshape(-1).view(np.uint8)
            messages = (
                image(header, height, width, "rgb8", 0, 3 * width, frame.color.reshape(-1)),
                image(header, height, width, "16UC1", 0, 2 * width, stored),
                info(
                    header, height, width, "plumb_bob", np.zeros(5), matrix,
                    np.eye(3).reshape(-1), np.zeros(12), 0, 0, roi,
                ),
            )  # fmt: skip
            for connection, message in zip(connections, messages, strict=True):
                raw = STORE.serialize_cdr(message, connection.msgtype)
                bag.write(connection, frame.stamp, bytes(raw))


@pytest.fixture(scope="module")
def office() -> Iterator[tuple[Scene, list[Frame]]]:
    """A scene of the real recording's first empty frames, and a few frames with people."""
    if not OFFICE.is_dir():
        pytest.skip("needs ../shared/real/office")
    recording = open_recording(OFFICE)
    capture = BackgroundCapture(12, 10.0)
    for position in recording.empty[:12]:
        capture.add(recording[position])
    yield capture.finish("office"), [recording[recording.occupied[k]] for k in (10, 35, 60)]
    recording.close()


def test_a_bag_of_the_office_gives_the_mattes_of_its_folder(
    office: tuple[Scene, list[Frame]], tmp_path: Path
) -> None:
    scene, frames = office
    bag_of(frames, tmp_path / "in")
    predictor = Predictor(scene, "torch", threads=1)
    recording = open_recording(tmp_path / "in", empty_seconds=0.001)
    with BagWriter(tmp_path / "out") as writer:
        for position in range(len(recording)):
            writer.add(position, recording[position], predictor.predict(recording[position]))
    recording.close()
    found = read_bag(tmp_path / "out")
    for number, frame in enumerate(frames):
        expected = predictor.predict(frame)
        assert 0.02 < (expected.alpha > 128).mean() < 0.9
        for topic, gray in ((ALPHA_TOPIC, expected.alpha), (TRIMAP_TOPIC, expected.trimap)):
            pixels = found[topic][number][1].data.reshape(frame.depth.shape)
            np.testing.assert_array_equal(pixels, gray)

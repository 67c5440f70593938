"""Recordings: folders and bags written here, read back, and broken in many ways."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from dart_ros.errors import RecordingError
from dart_ros.session.recording import (
    CAMERA_INFO_TOPIC,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    FolderRecording,
    Recording,
    first_run,
    open_recording,
)

WIDTH, HEIGHT = 32, 24
OFFICE = Path(__file__).resolve().parents[4] / "shared" / "real" / "office"


def color(number: int) -> np.ndarray:
    """RGB: red tells the frame, green the column."""
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = number
    image[..., 1] = np.arange(WIDTH)
    return image


def millimetres(number: int) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH), 1000 + number, np.uint16)
    image[0] = 0
    image[1] = 9000
    return image


def write_folder(path: Path, **changes: Any) -> Path:
    path.mkdir()
    content = {
        "width": WIDTH,
        "height": HEIGHT,
        "K": [50.0, 0, 16.5, 0, 51.0, 12.5, 0, 0, 1],
        "empty_frames": [[3, 4], [8, 8]],
        "occupied_frames": [5, 7],
        **changes,
    }
    (path / "sequence.json").write_text(json.dumps(content))
    for number in range(3, 9):
        cv2.imwrite(str(path / f"color_{number:04d}.png"), color(number)[..., ::-1])
        cv2.imwrite(str(path / f"depth_{number:04d}.png"), millimetres(number))
    cv2.imwrite(str(path / "alpha_0005.png"), np.full((HEIGHT, WIDTH), 77, np.uint8))
    return path


def test_folder(tmp_path: Path) -> None:
    recording = open_recording(write_folder(tmp_path / "lab"), max_depth=5.0)
    assert recording.name == "lab"
    assert len(recording) == 6
    assert (recording.empty, recording.occupied) == ([0, 1, 5], [2, 3, 4])
    assert recording.fps == 30.0
    camera = recording.camera
    assert (camera.width, camera.height) == (WIDTH, HEIGHT)
    assert (camera.fx, camera.fy, camera.cx, camera.cy) == (50.0, 51.0, 16.5, 12.5)
    for position in range(6):
        frame = recording[position]
        np.testing.assert_array_equal(frame.color, color(position + 3))
        assert (frame.depth[:2] == -1).all()
        np.testing.assert_allclose(frame.depth[2:], 1.003 + position / 1000, rtol=1e-6)
        assert frame.stamp == round(position / 30 * 1e9)
        assert frame.camera == camera
    truth = recording.alpha(2)
    assert truth is not None and (truth == 77).all()
    assert recording.alpha(3) is None
    for position in (-1, 6):
        with pytest.raises(IndexError):
            recording[position]
        with pytest.raises(IndexError):
            recording.alpha(position)


def test_the_first_run_ends_where_numbers_are_left_out(tmp_path: Path) -> None:
    ranges = {"empty_frames": [[3, 4], [6, 8]], "occupied_frames": []}
    recording = open_recording(write_folder(tmp_path / "lab", **ranges))
    assert [recording.number(position) for position in recording.empty] == [3, 4, 6, 7, 8]
    assert first_run(recording.empty, recording.number) == [0, 1]

    def same(position: int) -> int:
        return position

    assert first_run([11, 12, 13, 103, 104], same) == [11, 12, 13]
    assert first_run([5], same) == [5]
    assert first_run([], same) == []


def test_frames_are_the_callers_own(tmp_path: Path) -> None:
    recording = open_recording(write_folder(tmp_path / "lab"))
    recording[0].color[:] = 0
    recording[0].depth[:] = 0
    np.testing.assert_array_equal(recording[0].color, color(3))
    assert recording[0].depth.max() > 1


def test_simulated_noise(tmp_path: Path) -> None:
    noise = {"sensor": "stereo", "seed": 3}
    path = write_folder(tmp_path / "lab", noise=noise, fps=15)
    recording, other = open_recording(path), open_recording(path)
    assert recording.fps == 15.0
    other[4]
    first = recording[1]
    np.testing.assert_array_equal(first.color, other[1].color)
    np.testing.assert_array_equal(first.depth, other[1].depth)
    assert (first.color != color(4)).any()
    again = recording.frame(1, repeat=1)
    assert (again.color != first.color).any() and (again.depth != first.depth).any()
    known = again.depth[5:] > 0
    assert known.mean() > 0.9
    assert np.abs(again.depth[5:][known] - 1.004).max() < 0.05
    assert open_recording(path, max_depth=0.9)[1].depth.max() == -1.0


def test_several_occupied_ranges_and_other_picture_formats(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", occupied_frames=[[5, 5], [7, 7]])
    (path / "color_0005.png").unlink()
    cv2.imwrite(str(path / "color_0005.webp"), color(5)[..., ::-1])
    (path / "color_0007.png").unlink()
    cv2.imwrite(str(path / "color_0007.jpg"), color(7)[..., ::-1])
    recording = open_recording(path)
    assert (recording.empty, recording.occupied) == ([0, 1, 4], [2, 3])
    for position, number in ((2, 5), (3, 7)):
        assert np.abs(recording[position].color.astype(int) - color(number)).max() < 12


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"K": [1, 2, 3]}, "sequence.json"),
        ({"K": "no"}, "sequence.json"),
        ({"width": None}, "sequence.json"),
        ({"width": 0}, "no size"),
        ({"fps": 0}, "no frame rate"),
        ({"fps": "fast"}, "sequence.json"),
        ({"occupied_frames": 5}, "sequence.json"),
        ({"empty_frames": [], "occupied_frames": []}, "no frames"),
        ({"occupied_frames": [5, 9]}, r"color_0009.*missing"),
        ({"noise": {"sensor": "sonar"}}, "sonar"),
        ({"K": [0] * 9}, r"K in .*sequence\.json is no usable camera matrix .*fx=0"),
        ({"K": [50, 0, 16, 0, 0, 12, 0, 0, 1]}, "fy=0"),
        ({"K": [50, 0, float("nan"), 0, 50, 12, 0, 0, 1]}, "cx=nan"),
        ({"noise": {}}, "sensor"),
        ({"noise": "stereo"}, "sequence.json"),
    ],
)
def test_broken_descriptions(tmp_path: Path, changes: dict[str, Any], text: str) -> None:
    with pytest.raises(RecordingError, match=text):
        open_recording(write_folder(tmp_path / "lab", **changes))


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"K": {}}', "\x00"])
def test_no_description(tmp_path: Path, content: str) -> None:
    path = write_folder(tmp_path / "lab")
    (path / "sequence.json").write_text(content)
    with pytest.raises(RecordingError, match=r"sequence\.json"):
        open_recording(path)


def test_broken_pictures_are_named(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab")
    recording = open_recording(path)
    for name, position in (("color_0003.png", 0), ("depth_0004.png", 1)):
        file = path / name
        data = file.read_bytes()
        for cut in (0, 20, len(data) // 2, len(data) - 5):
            file.write_bytes(data[:cut])
            with pytest.raises(RecordingError, match=name):
                recording[position]
    cv2.imwrite(str(path / "depth_0005.png"), millimetres(5).astype(np.uint8))
    with pytest.raises(RecordingError, match=r"depth_0005.*uint8"):
        recording[2]
    cv2.imwrite(str(path / "color_0006.png"), color(6)[:-1])
    with pytest.raises(RecordingError, match=r"color_0006.*32x24"):
        recording[3]
    (path / "color_0007.png").unlink()
    with pytest.raises(RecordingError, match="color_0007"):
        recording[4]
    (path / "alpha_0005.png").write_bytes(b"no picture")
    with pytest.raises(RecordingError, match="alpha_0005"):
        recording.alpha(2)


def test_paths_that_are_no_recording(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="There is no recording"):
        open_recording(tmp_path / "nowhere")
    with pytest.raises(RecordingError, match="is no recording"):
        open_recording(tmp_path)
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(RecordingError, match="is no recording"):
        open_recording(tmp_path / "a.txt")


# --- bags


def write_bag(
    path: Path,
    storage: StoragePlugin,
    *,
    encoding: str = "rgb8",
    depth_encoding: str = "16UC1",
    depth_delay: int = 0,
    padding: int = 0,
    big_endian: bool = False,
    frames: int = 12,
    depth_width: int = WIDTH,
    topics: tuple[str, str, str] = (COLOR_TOPIC, DEPTH_TOPIC, CAMERA_INFO_TOPIC),
    focal: float = 50.0,
) -> Path:
    """A bag at 10 Hz whose record times differ from the stamps, as they do on a robot."""
    store = get_typestore(Stores.ROS2_HUMBLE)
    types = store.types
    image, info = types["sensor_msgs/msg/Image"], types["sensor_msgs/msg/CameraInfo"]
    compressed = types["sensor_msgs/msg/CompressedImage"]
    jpeg = encoding == "jpeg"

    def header(stamp: int, frame_id: str = "rgb_optical") -> Any:
        time = types["builtin_interfaces/msg/Time"](stamp // 10**9, stamp % 10**9)
        return types["std_msgs/msg/Header"](time, frame_id)

    def padded(rows: np.ndarray) -> np.ndarray:
        flat = np.ascontiguousarray(rows).view(np.uint8).reshape(HEIGHT, -1)
        return np.pad(flat, ((0, 0), (0, padding)), constant_values=0xAB)

    with Writer(path, version=9, storage_plugin=storage) as bag:
        color_type = compressed if jpeg else image
        at_color = bag.add_connection(topics[0], color_type.__msgtype__, typestore=store)
        at_depth = bag.add_connection(topics[1], image.__msgtype__, typestore=store)
        at_info = bag.add_connection(topics[2], info.__msgtype__, typestore=store)
        for i in range(frames):
            stamp = 1_700_000_000_000_000_000 + i * 100_000_000
            rgb = color(i)
            if jpeg:
                data = cv2.imencode(".jpg", np.full_like(rgb, 100))[1].ravel()
                message = compressed(header(stamp), "jpeg", data)
            else:
                pixels = rgb if encoding == "rgb8" else rgb[..., ::-1]
                rows = padded(pixels)
                step = rows.shape[1]
                message = image(header(stamp), HEIGHT, WIDTH, encoding, 0, step, rows.reshape(-1))
            depth = millimetres(i)[:, :depth_width].copy()
            order = ">" if big_endian else "<"
            stored = (
                (depth / 1000).astype(order + "f4")
                if depth_encoding == "32FC1"
                else depth.astype(order + "u2")
            )
            rows = padded(stored)
            depth_message = image(
                header(stamp + depth_delay),
                HEIGHT,
                depth_width,
                depth_encoding,
                int(big_endian),
                rows.shape[1],
                rows.reshape(-1),
            )
            roi = types["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
            k = np.array([focal, 0, 16.5, 0, 51.0, 12.5, 0, 0, 1])
            info_message = info(
                header(stamp, "info"), HEIGHT, WIDTH, "plumb_bob", np.zeros(5), k,
                np.eye(3).ravel(), np.zeros(12), 0, 0, roi,
            )  # fmt: skip
            now = stamp + 30_000_000
            for connection, content in (
                (at_info, info_message),
                (at_depth, depth_message),
                (at_color, message),
            ):
                raw = store.serialize_cdr(content, connection.msgtype)
                bag.write(connection, now, bytes(raw))
    return path


def check_bag(recording: Recording) -> None:
    assert len(recording) == 12
    assert recording.fps == pytest.approx(10.0)
    assert (recording.camera.fx, recording.camera.cy) == (50.0, 12.5)
    assert recording.empty == list(range(5))
    assert recording.occupied == list(range(5, 12))
    for position in (3, 0, 11):
        frame = recording[position]
        np.testing.assert_array_equal(frame.color, color(position))
        np.testing.assert_allclose(frame.depth[2:], 1 + position / 1000, rtol=1e-6)
        assert (frame.depth[:2] == -1).all()
        assert frame.stamp == 1_700_000_000_000_000_000 + position * 100_000_000
        assert frame.camera.frame_id == "rgb_optical"
        assert recording.alpha(position) is None
    recording.close()
    recording.close()


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_bag_folder(tmp_path: Path, storage: StoragePlugin) -> None:
    path = write_bag(tmp_path / "bag", storage, depth_delay=4_000_000)
    check_bag(open_recording(path, max_depth=5.0, empty_seconds=0.45))
    (file,) = [p for p in path.iterdir() if p.suffix in (".mcap", ".db3")]
    check_bag(open_recording(file, max_depth=5.0, empty_seconds=0.45))


@pytest.mark.parametrize(
    ("encoding", "depth_encoding", "padding", "big_endian"),
    [("bgr8", "32FC1", 4, False), ("bgr8", "mono16", 6, True), ("rgb8", "32FC1", 0, True)],
)
def test_bag_encodings(
    tmp_path: Path, encoding: str, depth_encoding: str, padding: int, big_endian: bool
) -> None:
    path = write_bag(
        tmp_path / "bag",
        StoragePlugin.MCAP,
        encoding=encoding,
        depth_encoding=depth_encoding,
        padding=padding,
        big_endian=big_endian,
    )
    check_bag(open_recording(path, max_depth=5.0, empty_seconds=0.45))


def test_bag_of_compressed_color_and_other_topics(tmp_path: Path) -> None:
    topics = ("/rgb/image_raw/compressed", "/depth", "/info")
    path = write_bag(tmp_path / "bag", StoragePlugin.MCAP, encoding="jpeg", topics=topics)
    names = dict(zip(("color_topic", "depth_topic", "camera_info_topic"), topics, strict=True))
    recording = open_recording(path, **names)  # type: ignore[arg-type]
    assert np.abs(recording[2].color.astype(int) - 100).max() < 3
    with pytest.raises(RecordingError, match=r"no topic /camera.*/depth \(sensor_msgs"):
        open_recording(path)


def test_bag_without_pairs(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.MCAP, depth_delay=40_000_000)
    with pytest.raises(RecordingError, match="12 color and 12 depth images, none within"):
        open_recording(path)


def test_bag_with_unaligned_depth(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.MCAP, depth_width=16)
    recording = open_recording(path)
    with pytest.raises(RecordingError, match=r"32x24, depth 16x24.*aligned"):
        recording[0]


def test_bag_with_unknown_encoding(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.MCAP, encoding="nv24")
    with pytest.raises(RecordingError, match=r"bag, pair 4: .*nv24"):
        open_recording(path)[4]


def test_bag_with_compressed_depth(tmp_path: Path) -> None:
    topics = ("/depth/compressed", "/raw", "/info")
    path = write_bag(tmp_path / "bag", StoragePlugin.MCAP, encoding="jpeg", topics=topics)
    with pytest.raises(RecordingError, match="depth must be raw") as caught:
        open_recording(
            path,
            color_topic=topics[0],
            depth_topic=topics[0],
            camera_info_topic=topics[2],
        )
    text = str(caught.value)
    assert "/raw (sensor_msgs/msg/Image)" in text
    assert text.count(topics[0]) == 1 and "/info" not in text


def test_bag_of_an_uncalibrated_camera(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.MCAP, focal=0.0)
    with pytest.raises(RecordingError, match=r"camera_info in the bag .*no usable.*fx=0"):
        open_recording(path)


def test_a_bag_cut_short_is_repaired_by_the_tool_of_its_storage(tmp_path: Path) -> None:
    for storage, ending in ((StoragePlugin.MCAP, ".mcap"), (StoragePlugin.SQLITE3, ".db3")):
        path = write_bag(tmp_path / ending[1:], storage)
        (file,) = path.glob(f"*{ending}")
        file.write_bytes(file.read_bytes()[:3000])
        with pytest.raises(RecordingError, match="ros2 bag reindex"):
            open_recording(path)
        new = file.with_name(f"{file.stem}_recovered.mcap")
        tool = f"`mcap recover {file} -o {new}`" if ending == ".mcap" else "`ros2 bag reindex`"
        with pytest.raises(RecordingError, match=re.escape(tool)):
            open_recording(file)


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("keep", [0, 10, 0.3, 0.9])
def test_bags_cut_short(tmp_path: Path, storage: StoragePlugin, keep: float) -> None:
    path = write_bag(tmp_path / "bag", storage)
    (file,) = [p for p in path.iterdir() if p.suffix in (".mcap", ".db3")]
    data = file.read_bytes()
    file.write_bytes(data[: int(keep if keep >= 1 else keep * len(data))])
    for place in (path, file):
        with pytest.raises(RecordingError, match="bag"):
            recording = open_recording(place)
            for position in range(12):
                recording[position]


def test_bags_need_rosbags_and_folders_do_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, bag = write_folder(tmp_path / "folder"), tmp_path / "some.mcap"
    bag.touch()
    monkeypatch.setitem(sys.modules, "rosbags.highlevel", None)
    assert len(open_recording(folder)) == 6
    with pytest.raises(RecordingError, match="pip install rosbags"):
        open_recording(bag)
    # Nor may it be needed before that, by whoever imports the module.
    code = (
        "import sys; sys.modules['rosbags'] = None; "
        "import dart_ros.session.recording, dart_ros.session.matte_files"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_bag_metadata_broken(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", StoragePlugin.SQLITE3)
    for content in ("", "a: [", "rosbag2_bagfile_information: 3"):
        (path / "metadata.yaml").write_text(content)
        with pytest.raises(RecordingError, match="reindex"):
            open_recording(path)


@pytest.mark.skipif(not OFFICE.is_dir(), reason="the office recording isn't on this machine")
def test_office() -> None:
    recording = open_recording(OFFICE)
    assert isinstance(recording, FolderRecording)
    assert recording.empty == [*range(16), *range(92, 98)]
    assert recording.occupied == list(range(16, 92))
    frame = recording[20]
    assert frame.color.shape == (480, 640, 3)
    assert 0.5 < (frame.depth > 0).mean() < 0.9
    assert frame.depth.max() <= 10.0

"""Bags as others have them: restarted, looped, merged, compressed, of ROS 1, without schemas."""

from __future__ import annotations

import shutil
import sqlite3
import struct
from pathlib import Path

import cv2
import numpy as np
import pytest
import recording_files as files
from recording_files import COLOR, DEPTH, INFO, START, STEP, write_bag
from rosbags.interfaces import (
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionMode, StoragePlugin, Writer

from dart_ros.errors import FrameError, RecordingError
from dart_ros.session.recording import Recording, open_recording
from dart_ros.session.recording import bag_file as bag_file_module


def numbers(recording: Recording) -> list[int]:
    """Number of each frame in the order of the recording, as its first pixel tells."""
    return [int(recording[position].color[0, 0, 0]) for position in range(len(recording))]


@pytest.mark.parametrize("storage", list(StoragePlugin))
def test_a_clock_that_is_set_back_changes_no_order(tmp_path: Path, storage: StoragePlugin) -> None:
    """The last frames, with people, carry the stamps of long ago."""

    def stamp(number: int) -> int:
        return START + number * STEP if number < 40 else 50 * 10**9 + number * STEP

    recording = open_recording(write_bag(tmp_path / "bag", files.frames(60, 10, stamp), storage))
    assert numbers(recording) == list(range(60))
    assert recording.empty == list(range(30)) and recording.fps == pytest.approx(10)


@pytest.mark.parametrize("length", [7, 20])
def test_a_loop_is_not_interleaved(tmp_path: Path, length: int) -> None:
    def stamp(number: int) -> int:
        return START + (number % length) * STEP

    path = write_bag(tmp_path / "bag", files.frames(3 * length, 10, stamp))
    assert numbers(open_recording(path)) == list(range(3 * length))


def test_a_clock_that_jumps_ahead_ends_the_empty_part(tmp_path: Path) -> None:
    messages = [
        (topic, time + (86_400 * 10**9 if time >= START + 15 * STEP else 0), message)
        for topic, time, message in files.frames(40)
    ]
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    assert recording.empty == list(range(15)) and numbers(recording) == list(range(40))


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("loop", [False, True])
def test_the_clock_of_camera_and_recorder_is_set_back(
    tmp_path: Path, storage: StoragePlugin, loop: bool
) -> None:
    """The last frames lie before the first by time, or at the very same times as the first."""
    messages = []
    for part, shift in ((0, 0), (1, -20 * STEP if loop else -100_000 * 10**9)):
        for topic, time, message in files.frames(40, 10)[60 * part : 60 * (part + 1)]:
            stamp = message.header.stamp
            stamp.sec, stamp.nanosec = divmod(time // 10**6 * 10**6 + shift, 10**9)
            messages.append((topic, time + shift, message))
    path = write_bag(tmp_path / "bag", messages, storage)
    for place in (path, files.storage_file(path)):
        recording = open_recording(place, empty_seconds=1.0)
        assert numbers(recording) == list(range(40))
        assert recording.empty == list(range(10))


def test_a_recorder_whose_own_clock_was_set_back_in_a_new_file(tmp_path: Path) -> None:
    """Files are in the order of recording, whatever their times are."""
    parts = []
    for name, shift in (("one", 0), ("two", -1000 * 10**9)):
        first = 0 if name == "one" else 30
        messages = [
            (topic, time + shift, message)
            for topic, time, message in files.frames(60, 10)[3 * first : 3 * (first + 30)]
        ]
        parts.append(write_bag(tmp_path / name, messages))
    merged = tmp_path / "merged"
    shutil.copytree(parts[0], merged)
    second = files.storage_file(parts[1])
    shutil.copy(second, merged / second.name)
    metadata = (merged / "metadata.yaml").read_text()
    metadata = metadata.replace("- one.mcap", f"- one.mcap\n  - {second.name}", 1)
    (merged / "metadata.yaml").write_text(metadata)
    recording = open_recording(merged)
    assert numbers(recording) == list(range(60)) and recording.empty == list(range(30))


def test_one_topic_on_two_channels(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", files.frames(40), StoragePlugin.SQLITE3)
    db3 = files.storage_file(path)
    for topic, first in ((COLOR, 21), (DEPTH, 19), (INFO, 0)):
        files.split_channel(db3, topic, first)
    for place in (path, db3):
        assert numbers(open_recording(place)) == list(range(40))


def test_one_topic_on_two_channels_of_an_mcap_file(tmp_path: Path) -> None:
    """As a publisher that came back with another quality of service leaves it."""
    path = tmp_path / "bag"
    time = QosTime(0, 0)
    qos = [
        Qos(
            QosHistory.KEEP_LAST, 5, reliability, QosDurability.VOLATILE, time, time,
            QosLiveliness.AUTOMATIC, time, False,
        )
        for reliability in (QosReliability.RELIABLE, QosReliability.BEST_EFFORT)
    ]  # fmt: skip
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        channels = {}
        for number, (topic, at, message) in enumerate(files.frames(40)):
            kind, half = message.__msgtype__, int(number >= 63)
            if (topic, half) not in channels:
                channels[topic, half] = writer.add_connection(
                    topic, kind, typestore=files.STORE, offered_qos_profiles=[qos[half]]
                )
            raw = files.STORE.serialize_cdr(message, kind)
            writer.write(channels[topic, half], at, bytes(raw))
    assert len(channels) == 6
    # The recorder lists a topic once, with the first of its publishers.
    text = (path / "metadata.yaml").read_text()
    for place in (path, files.storage_file(path)):
        assert numbers(open_recording(place)) == list(range(40))
    parts = text.split("    - message_count:")
    (path / "metadata.yaml").write_text("    - message_count:".join(parts[:4]))
    assert numbers(open_recording(path)) == list(range(40))


@pytest.mark.parametrize("storage", list(StoragePlugin))
@pytest.mark.parametrize("mode", [CompressionMode.FILE, CompressionMode.MESSAGE])
def test_bags_compressed_by_their_recorder(
    tmp_path: Path, storage: StoragePlugin, mode: CompressionMode
) -> None:
    path = write_bag(tmp_path / "bag", files.frames(15), storage, mode)
    file = files.storage_file(path)
    for place in (path, file):
        recording = open_recording(place)
        assert numbers(recording) == list(range(15))
        recording.close()


def test_decompressed_files_do_not_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "space").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "space"))
    path = write_bag(tmp_path / "bag", files.frames(12), compression=CompressionMode.FILE)
    recording = open_recording(path)
    assert list((tmp_path / "space").iterdir())
    recording.close()
    assert not list((tmp_path / "space").iterdir())
    with pytest.raises(RecordingError):
        open_recording(path, color_topic="/other")
    assert not list((tmp_path / "space").iterdir())


def test_ros_1_bags(tmp_path: Path) -> None:
    path = files.write_ros1_bag(tmp_path / "old.bag", files.frames(20))
    recording = open_recording(path, empty_seconds=1.0)
    assert numbers(recording) == list(range(20)) and recording.empty == list(range(10))
    frame = recording[15]
    assert frame.depth[30, 40] == pytest.approx(1.5) and frame.stamp == START + 15 * STEP
    assert recording.camera.fx == 80 and frame.camera.frame_id == "camera_color_optical_frame"


def test_types_without_definitions(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", files.frames(12), StoragePlugin.SQLITE3)
    with sqlite3.connect(files.storage_file(path)) as database:
        database.execute("UPDATE message_definitions SET encoded_message_definition = ''")
        database.execute("UPDATE message_definitions SET type_description_hash = ''")
    assert numbers(open_recording(path)) == list(range(12))


def test_compressed_topics_stand_for_raw_ones(tmp_path: Path) -> None:
    messages = []
    for topic, time, message in files.frames(12):
        if topic == INFO:
            messages.append((topic, time, message))
            continue
        pixels = message.data.reshape(message.height, message.step)
        if topic == COLOR:
            rgb = pixels.reshape(message.height, message.width, 3)
            data = cv2.imencode(".png", rgb[..., ::-1])[1].tobytes()
            stored = files.compressed(time, data, "rgb8; png compressed bgr8")
            messages.append((f"{COLOR}/compressed", time, stored))
        else:
            data = cv2.imencode(".png", pixels.view(np.uint16))[1].tobytes()
            stored = files.compressed(
                time, struct.pack("<iff", 0, 0, 0) + data, "16UC1; compressedDepth png"
            )
            messages.append((f"{DEPTH}/compressedDepth", time, stored))
    path = write_bag(tmp_path / "bag", messages)
    recording = open_recording(path)
    assert numbers(recording) == list(range(12)) and recording[11].depth[30, 40] == pytest.approx(
        1.5
    )
    with pytest.raises(RecordingError) as told:
        open_recording(path, depth_topic="/depth")
    text = str(told.value)
    assert "--depth-topic" in text and f"{DEPTH}/compressedDepth" in text
    assert f"{COLOR}/compressed" not in text


def test_broken_frames_leave_the_others(tmp_path: Path) -> None:
    messages = files.frames(20)
    for number, pixels in ((4, np.zeros((8, 8, 3), np.uint8)), (12, np.zeros((64, 96), np.uint8))):
        at = 3 * number + 2
        stamp = START + number * STEP
        encoding = "rgb8" if pixels.ndim == 3 else "what\n" + 1000 * "x"
        messages[at] = (COLOR, messages[at][1], files.image(stamp, pixels, encoding))
    recording = open_recording(write_bag(tmp_path / "bag", messages))
    for number in (4, 12):
        with pytest.raises(FrameError, match=f"pair {number}"):
            recording[number]
    assert [int(recording[p].color[0, 0, 0]) for p in (3, 5, 11, 13, 19)] == [3, 5, 11, 13, 19]


@pytest.mark.parametrize(
    ("unit", "stored", "metres"),
    [(0.0001, 25_000, 2.5), (0.00025, 8000, 2.0), (None, 2000, 2.0), (0.001, 2000, 2.0)],
)
def test_units_of_depth(tmp_path: Path, unit: float | None, stored: int, metres: float) -> None:
    messages = [
        (topic, time, files.image(time - 10**6, np.full((64, 96), stored, np.uint16), "16UC1"))
        if topic == DEPTH
        else (topic, time, message)
        for topic, time, message in files.frames(12)
    ]
    recording = open_recording(write_bag(tmp_path / "bag", messages), depth_unit=unit)
    np.testing.assert_allclose(recording[3].depth, metres, rtol=1e-6)
    np.testing.assert_allclose(recording.metres(3), metres, rtol=1e-6)


def test_float_depth_in_millimetres(tmp_path: Path) -> None:
    messages = [
        (topic, time, files.image(time - 10**6, np.full((64, 96), 2000, np.float32), "32FC1"))
        if topic == DEPTH
        else (topic, time, message)
        for topic, time, message in files.frames(12)
    ]
    path = write_bag(tmp_path / "bag", messages)
    np.testing.assert_allclose(open_recording(path, depth_unit=0.001)[3].depth, 2.0, rtol=1e-6)
    assert (open_recording(path)[3].depth == -1).all()


def test_progress_counts_to_the_end(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    path = write_bag(tmp_path / "bag", files.frames(12))
    open_recording(path, progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (24, 24) and [done for done, _ in told] == list(range(1, 25))


def test_versions_of_rosbags_that_lose_messages_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_bag(tmp_path / "bag", files.frames(12))
    for installed in ("0.9.23", "0.10.11", "0.11.5"):
        monkeypatch.setattr(bag_file_module, "version", lambda _, found=installed: found)
        with pytest.raises(RecordingError, match=r"rosbags>=0\.11\.6"):
            open_recording(path)
    for installed in ("0.11.6", "0.12", "1.0.0rc1"):
        monkeypatch.setattr(bag_file_module, "version", lambda _, found=installed: found)
        assert len(open_recording(path)) == 12


def test_what_helps_with_paths_that_are_no_bag(tmp_path: Path) -> None:
    path = write_bag(tmp_path / "bag", files.frames(12))
    (path / "metadata.yaml").unlink()
    file = files.storage_file(path)
    with pytest.raises(RecordingError, match=r"ros2 bag reindex") as told:
        open_recording(path)
    assert str(file) in str(told.value)
    with pytest.raises(RecordingError, match=r"no recording .*mistyped\.mcap; check the path"):
        open_recording(tmp_path / "mistyped.mcap")
    write_bag(tmp_path / "other", files.frames(12))
    with pytest.raises(RecordingError, match=r"holds recordings; name one of them, as .*other"):
        open_recording(tmp_path)
    old = tmp_path / "old"
    old.mkdir()
    files.write_ros1_bag(old / "a.bag", files.frames(12))
    with pytest.raises(RecordingError, match=r"ROS 1 bags; name the file in it, as .*a\.bag"):
        open_recording(old)
    (tmp_path / "b.bag.active").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(RecordingError, match="rosbag reindex"):
        open_recording(tmp_path / "b.bag.active")
    (tmp_path / "c.bag").write_bytes(b"#ROSBAG V2.0\n")
    with pytest.raises(RecordingError, match="rosbag reindex"):
        open_recording(tmp_path / "c.bag")

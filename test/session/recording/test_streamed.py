"""Files that a camera maker's library plays from the start: by made-up libraries, and by the real
one where it is installed."""

from __future__ import annotations

import sys
import time
from collections.abc import Generator
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from dart_ros.errors import FrameError, MessageError, RecordingError
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.streamed import Images, Shot, StreamedRecording
from dart_ros.values import Camera

WIDTH, HEIGHT, FRAMES = 320, 240, 40


def pictures(number: int) -> Images:
    """RGB of the frame's number, and 2 m and a little more with each frame."""
    color = np.full((HEIGHT, WIDTH, 3), number, np.uint8)
    return color, np.full((HEIGHT, WIDTH), 2 + number / 1000, np.float32)


class Played(StreamedRecording):
    """Plays numbers; the second play has lost one of them, and one is broken in all."""

    lost: int | None = None
    broken = 7

    def _play(self) -> Generator[Shot, None, None]:
        self.camera = Camera(WIDTH, HEIGHT, 1, 1, 0, 0)
        self.plays = getattr(self, "plays", 0) + 1
        for number in range(20):
            if number == self.lost and self.plays == 2:
                continue
            yield Shot(number * 50_000_000, lambda number=number: self._images_of(number))

    def _images_of(self, number: int) -> Images:
        if number == self.broken:
            raise MessageError("cut short")
        return pictures(number)


def played(lost: int | None = None) -> Played:
    kind = type("Lossy", (Played,), {"lost": lost})
    return kind(Path("a.mkv"), 10.0, 0.5, None)


def test_frames_in_order_and_out_of_it() -> None:
    recording = played()
    assert len(recording) == 20 and recording.fps == 20 and recording.empty == list(range(10))
    for position in (0, 1, 2, 6, 3, 19, 19, 0):
        frame = recording[position]
        assert frame.color[0, 0, 0] == position and frame.stamp == position * 50_000_000
        assert frame.depth[0, 0] == pytest.approx(2 + position / 1000)
        frame.color[:] = 99
    # One play to count, one for 0 to 6, and one each time that it went back.
    assert recording.plays == 4
    with pytest.raises(IndexError):
        recording[20]
    recording.close()


def test_broken_and_lost_frames() -> None:
    recording = played(lost=12)
    with pytest.raises(FrameError, match="frame 7: cut short"):
        recording[7]
    assert recording[8].color[0, 0, 0] == 8
    assert recording[12].color[0, 0, 0] == 12, "it is there in the next play"
    assert recording[13].color[0, 0, 0] == 13


def test_depth_beyond_the_range_is_unknown() -> None:
    recording = type("Near", (Played,), {})(Path("a.mkv"), 2.01, 0.5, None)
    assert recording[10].depth[0, 0] == pytest.approx(2.01)
    assert recording[11].depth[0, 0] == -1 and recording.metres(11)[0, 0] > 2


# --- Azure Kinect


class _Format(Enum):
    COLOR_MJPG = 0
    COLOR_BGRA32 = 3


def azure_kinect(form: _Format, color: Any) -> SimpleNamespace:
    """A stand-in for ``pyk4a`` with one file of five captures, of which one lacks color."""

    class Error(Exception):
        pass

    class Playback:
        def __init__(self, path: Path) -> None:
            self.path, self.at = path, -1
            self.configuration = {
                "color_format": form,
                "color_resolution": SimpleNamespace(name="RES_720P"),
                "depth_track_enabled": True,
            }
            matrix = np.array([[600.0, 0, 640], [0, 601, 360], [0, 0, 1]])
            self.calibration = SimpleNamespace(get_camera_matrix=lambda camera: matrix)

        def open(self) -> None:
            if self.path.read_bytes() != b"mkv":
                raise Error("Cannot open file")

        def close(self) -> None:
            pass

        def get_next_capture(self) -> Any:
            self.at += 1
            if self.at == 5:
                raise EOFError
            return SimpleNamespace(
                color=None if self.at == 2 else color,
                depth=np.zeros((576, 640), np.uint16),
                transformed_depth=np.full((720, 1280), 1500, np.uint16),
                color_timestamp_usec=1000 + 33_333 * self.at,
            )

    kinds = SimpleNamespace(COLOR=1)
    return SimpleNamespace(PyK4APlayback=Playback, K4AException=Error, CalibrationType=kinds)


@pytest.mark.parametrize("form", list(_Format))
def test_azure_kinect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: _Format) -> None:
    bgr = np.full((720, 1280, 3), (30, 60, 90), np.uint8)
    stored = (
        cv2.imencode(".jpg", bgr)[1].ravel()
        if form is _Format.COLOR_MJPG
        else cv2.cvtColor(bgr, cv2.COLOR_BGR2BGRA)
    )
    monkeypatch.setitem(sys.modules, "pyk4a", azure_kinect(form, stored))
    file = tmp_path / "room.mkv"
    file.write_bytes(b"mkv")
    recording = open_recording(file)
    assert len(recording) == 4 and recording.fps == pytest.approx(30, abs=0.1)
    assert (recording.camera.fx, recording.camera.cy) == (600, 360)
    frame = recording[2]
    assert np.abs(frame.color[5, 5].astype(int) - (90, 60, 30)).max() < 3
    assert frame.depth[9, 9] == pytest.approx(1.5) and frame.stamp == (1000 + 3 * 33_333) * 1000
    file.write_bytes(b"film")
    with pytest.raises(RecordingError, match=r"no recording by Azure Kinect"):
        open_recording(file)


def test_without_their_libraries_it_is_said_how_to_convert(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyk4a", None)
    monkeypatch.setitem(sys.modules, "pyrealsense2", None)
    (tmp_path / "a.mkv").write_bytes(b"mkv")
    with pytest.raises(RecordingError, match=r"pip install pyk4a-bundle; or .*recording_file"):
        open_recording(tmp_path / "a.mkv")
    content = b"#ROSBAG V2.0\n" + bytes(3_000_000) + b"topic=/device_0/sensor_0/Depth_0/image/data"
    (tmp_path / "b.bag").write_bytes(content)
    with pytest.raises(RecordingError, match=r"pip install pyrealsense2; or .*align_depth"):
        open_recording(tmp_path / "b.bag")


# --- RealSense


def record_realsense(rs: Any, file: Path) -> None:
    """A file as RealSense's own software writes it, of a camera made of software."""
    lens = rs.intrinsics()
    lens.width, lens.height, lens.ppx, lens.ppy = WIDTH, HEIGHT, WIDTH / 2, HEIGHT / 2
    lens.fx, lens.fy, lens.model, lens.coeffs = 300, 300, rs.distortion.none, [0] * 5
    device = rs.software_device()
    sensors, profiles = [], []
    kinds = ((rs.stream.depth, rs.format.z16, 2), (rs.stream.color, rs.format.rgb8, 3))
    for uid, (stream, form, size) in enumerate(kinds):
        video = rs.video_stream()
        video.type, video.fmt, video.bpp, video.uid, video.index = stream, form, size, uid, 0
        video.width, video.height, video.fps, video.intrinsics = WIDTH, HEIGHT, 30, lens
        sensors.append(device.add_sensor("Depth" if size == 2 else "Color"))
        profiles.append(sensors[-1].add_video_stream(video))
    sensors[0].add_read_only_option(rs.option.depth_units, 0.00025)
    pose = rs.extrinsics()
    pose.rotation, pose.translation = [1, 0, 0, 0, 1, 0, 0, 0, 1], [0, 0, 0]
    profiles[0].register_extrinsics_to(profiles[1], pose)
    recorder = rs.recorder(str(file), device)
    queue = rs.syncer(100)
    opened = recorder.query_sensors()
    for sensor, profile in zip(opened, profiles, strict=True):
        sensor.open(profile)
        sensor.start(queue)
    for number in range(FRAMES):
        images = (np.full((HEIGHT, WIDTH), 8000 + 4 * number, np.uint16), pictures(number)[0])
        for sensor, profile, image in zip(sensors, profiles, images, strict=True):
            frame = rs.software_video_frame()
            frame.bpp = image.dtype.itemsize * (3 if image.ndim == 3 else 1)
            frame.stride, frame.pixels, frame.frame_number = frame.bpp * WIDTH, image, number
            frame.timestamp, frame.domain = 1000 + 33.3 * number, rs.timestamp_domain.hardware_clock
            frame.profile = profile.as_video_stream_profile()
            if image.ndim == 2:
                frame.depth_units = 0.00025
            sensor.on_video_frame(frame)
        time.sleep(0.01)
    for sensor in opened:
        sensor.stop()
        sensor.close()


def test_realsense(tmp_path: Path) -> None:
    rs = pytest.importorskip("pyrealsense2")
    file = tmp_path / "room.db3"
    record_realsense(rs, file)
    recording = open_recording(file, empty_seconds=0.5)
    assert FRAMES - 2 <= len(recording) <= FRAMES and recording.camera.fx == 300
    assert recording.fps == pytest.approx(30, abs=0.1)
    for position in (1, 2, len(recording) - 1, 5):
        frame = recording[position]
        number = int(frame.color[0, 0, 0])
        assert frame.stamp == pytest.approx((1000 + 33.3 * number) * 1e6)
        # Quarters of a millimetre, as the file says.
        assert frame.depth[120, 160] == pytest.approx(2 + number / 1000, rel=1e-5)
    recording.close()

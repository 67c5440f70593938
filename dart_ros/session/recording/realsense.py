"""Recordings by RealSense's own software (``.bag``, newer ones ``.db3``), which needs its library:
depth in them isn't aligned to color, and has a unit of its own."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from dart_ros.errors import MessageError, RecordingError
from dart_ros.session.encodings import color_from_bytes
from dart_ros.session.recording.base import check_matrix
from dart_ros.session.recording.streamed import Images, Shot, StreamedRecording
from dart_ros.values import UNKNOWN_DEPTH, Camera

_TOPICS = b"/device_0/sensor_"
_HEAD, _TAIL = 1 << 20, 16 << 20
_WAIT = 2000  # milliseconds for a frame of a file that is played as fast as it is taken

# The library's pixel formats, and how ROS calls them.
_ENCODINGS = {
    "rgb8": "rgb8",
    "bgr8": "bgr8",
    "rgba8": "rgba8",
    "bgra8": "bgra8",
    "y8": "mono8",
    "yuyv": "yuv422_yuy2",
    "uyvy": "yuv422",
}


def is_realsense(path: Path) -> bool:
    """Whether a file is such a recording: its topics have names of their own."""
    if path.suffix not in (".bag", ".db3") or not path.is_file():
        return False
    with path.open("rb") as file:
        # SQLite lists the topics at the start, ROS 1 at the end.
        if _TOPICS in file.read(_HEAD):
            return True
        file.seek(max(0, path.stat().st_size - _TAIL))
        return _TOPICS in file.read()


class RealSenseRecording(StreamedRecording):
    """Depth is aligned to color by the library. Arguments and errors: see the base."""

    def _play(self) -> Generator[Shot, None, None]:
        try:
            import pyrealsense2 as rs
        except ImportError as error:
            raise RecordingError(
                f"{self.path} was recorded by RealSense's own software, and reading it needs its "
                f"library ({error}): pip install pyrealsense2; or play it through "
                "realsense2_camera (rosbag_filename:=…, align_depth.enable:=true) and record its "
                "topics."
            ) from error
        pipeline, config = rs.pipeline(), rs.config()
        try:
            rs.config.enable_device_from_file(config, str(self.path), False)
            profile = pipeline.start(config)
        except RuntimeError as error:
            raise RecordingError(
                f"{self.path} can't be played ({error}); check it in realsense-viewer."
            ) from error
        try:
            # Else the library drops what is taken too late.
            profile.get_device().as_playback().set_real_time(False)
            self.camera = _camera(profile, rs, self.path)
            align = rs.align(rs.stream.color)
            for frames in _best_pairs(pipeline):
                stamp = round(frames.get_color_frame().get_timestamp() * 1e6)
                yield Shot(stamp, partial(_images, align, frames))
        finally:
            pipeline.stop()


def _best_pairs(pipeline: Any) -> Iterator[Any]:
    """For each color image the pair with the depth image that is nearest in time.

    The library gives a pair whenever one of the two is new.
    """
    best: tuple[int, float, Any] | None = None
    while True:
        there, frames = pipeline.try_wait_for_frames(_WAIT)
        if not there:
            break
        color, depth = frames.get_color_frame(), frames.get_depth_frame()
        if not color or not depth:
            continue
        number, gap = color.get_frame_number(), abs(color.get_timestamp() - depth.get_timestamp())
        if best is not None and best[0] != number:
            yield best[2]
            best = None
        if best is None or gap < best[1]:
            frames.keep()
            best = (number, gap, frames)
    if best is not None:
        yield best[2]


def _camera(profile: Any, rs: Any, path: Path) -> Camera:
    try:
        video = profile.get_stream(rs.stream.color).as_video_stream_profile()
        profile.get_stream(rs.stream.depth)
    except RuntimeError as error:
        raise RecordingError(
            f"{path} lacks a color or a depth stream ({error}); record both."
        ) from error
    lens = video.get_intrinsics()
    check_matrix(lens.fx, lens.fy, lens.ppx, lens.ppy, f"The color camera's matrix in {path}")
    return Camera(lens.width, lens.height, lens.fx, lens.fy, lens.ppx, lens.ppy)


def _images(align: Any, frameset: Any) -> Images:
    frames = align.process(frameset)
    color, depth = frames.get_color_frame(), frames.get_depth_frame()
    if not color or not depth:
        raise MessageError("its depth can't be aligned to color.")
    form = str(color.profile.format()).rpartition(".")[2]
    if form not in _ENCODINGS:
        raise MessageError(f"color of the format {form} can't be read; record rgb8.")
    data = np.frombuffer(memoryview(color.get_data()).cast("B"), np.uint8)
    rgb = color_from_bytes(
        data, color.get_height(), color.get_width(), color.get_stride_in_bytes(), _ENCODINGS[form]
    )
    raw = np.asarray(depth.get_data(), np.uint16)
    metres = raw * np.float32(depth.get_units())
    metres[raw == 0] = UNKNOWN_DEPTH
    return np.array(rgb), metres.astype(np.float32)

"""Recordings by Azure Kinect's recorder (``.mkv``), which need its library: depth in them isn't
aligned to color, and the lenses are wide."""

from __future__ import annotations

from collections.abc import Generator
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import MessageError, RecordingError
from dart_ros.session.encodings import color_from_compressed
from dart_ros.session.recording.base import check_matrix
from dart_ros.session.recording.streamed import Images, Shot, StreamedRecording
from dart_ros.values import Camera, metres_from_sensor

_SIZES = {
    "RES_720P": (1280, 720),
    "RES_1080P": (1920, 1080),
    "RES_1440P": (2560, 1440),
    "RES_1536P": (2048, 1536),
    "RES_2160P": (3840, 2160),
    "RES_3072P": (4096, 3072),
}


class AzureKinectRecording(StreamedRecording):
    """Depth is aligned to color by the library. Arguments and errors: see the base."""

    def _play(self) -> Generator[Shot, None, None]:
        try:
            import pyk4a
        except ImportError as error:
            raise RecordingError(
                f"{self.path} is taken for a recording by Azure Kinect, and reading it needs its "
                f"library ({error}): pip install pyk4a-bundle; or play it through "
                "azure_kinect_ros_driver (recording_file:=…) and record /rgb and /depth_to_rgb."
            ) from error
        playback = pyk4a.PyK4APlayback(self.path)
        try:
            playback.open()
        except pyk4a.K4AException as error:
            raise RecordingError(
                f"{self.path} is no recording by Azure Kinect or is damaged ({error}); check it "
                "in k4aviewer."
            ) from error
        try:
            self.camera = _camera(playback, pyk4a, self.path)
            while True:
                try:
                    capture = playback.get_next_capture()
                except EOFError:
                    return
                if capture.color is None or capture.depth is None:
                    continue
                form = playback.configuration["color_format"].name
                stamp = capture.color_timestamp_usec * 1000
                yield Shot(stamp, partial(_images, capture, form))
        except pyk4a.K4AException as error:
            raise RecordingError(
                f"{self.path} can't be played to its end ({error}); is it cut short?"
            ) from error
        finally:
            playback.close()


def _camera(playback: Any, pyk4a: Any, path: Path) -> Camera:
    resolution = playback.configuration["color_resolution"].name
    if resolution not in _SIZES or not playback.configuration["depth_track_enabled"]:
        raise RecordingError(f"{path} lacks color or depth; record both.")
    width, height = _SIZES[resolution]
    matrix = playback.calibration.get_camera_matrix(pyk4a.CalibrationType.COLOR)
    fx, fy, cx, cy = (float(matrix[at]) for at in ((0, 0), (1, 1), (0, 2), (1, 2)))
    check_matrix(fx, fy, cx, cy, f"The color camera's matrix in {path}")
    return Camera(width, height, fx, fy, cx, cy)


def _images(capture: Any, form: str) -> Images:
    depth = capture.transformed_depth
    if depth is None:
        raise MessageError("its depth can't be aligned to color.")
    return _color(capture.color, form), metres_from_sensor(np.asarray(depth, np.uint16), np.inf)


def _color(image: NDArray[np.uint8], form: str) -> NDArray[np.uint8]:
    if form == "COLOR_MJPG":
        return color_from_compressed(np.ascontiguousarray(image).reshape(-1))
    codes = {
        "COLOR_NV12": cv2.COLOR_YUV2RGB_NV12,
        "COLOR_YUY2": cv2.COLOR_YUV2RGB_YUY2,
        "COLOR_BGRA32": cv2.COLOR_BGRA2RGB,
    }
    if form not in codes:
        raise MessageError(f"color of the format {form} can't be read; record MJPG.")
    return np.asarray(cv2.cvtColor(image, codes[form]), np.uint8)

"""Recorded RGB-D streams: folders of pictures, bags and camera makers' files, read without ROS."""

from dart_ros.session.recording.bag import (
    CAMERA_INFO_TOPIC,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    BagRecording,
)
from dart_ros.session.recording.base import MAX_DEPTH, Progress, Recording, first_run
from dart_ros.session.recording.folder import FolderRecording
from dart_ros.session.recording.opening import open_recording

__all__ = [
    "CAMERA_INFO_TOPIC",
    "COLOR_TOPIC",
    "DEPTH_TOPIC",
    "MAX_DEPTH",
    "BagRecording",
    "FolderRecording",
    "Progress",
    "Recording",
    "first_run",
    "open_recording",
]

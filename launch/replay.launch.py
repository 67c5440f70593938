"""Matting of a recording: a folder of frames, a rosbag2 folder, an .mcap or a .db3 file."""

from __future__ import annotations

from launch import LaunchDescription

from dart_ros.launching.cameras import REPLAY
from dart_ros.launching.description import matting_launch


def generate_launch_description() -> LaunchDescription:
    return matting_launch(REPLAY)

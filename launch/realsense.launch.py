"""Matting of an Intel RealSense camera (realsense2_camera)."""

from __future__ import annotations

from launch import LaunchDescription

from dart_ros.launching.cameras import REALSENSE
from dart_ros.launching.description import matting_launch


def generate_launch_description() -> LaunchDescription:
    return matting_launch(REALSENSE)

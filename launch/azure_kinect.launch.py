"""Matting of a Microsoft Azure Kinect (azure_kinect_ros_driver)."""

from __future__ import annotations

from launch import LaunchDescription

from dart_ros.launching.cameras import AZURE_KINECT
from dart_ros.launching.description import matting_launch


def generate_launch_description() -> LaunchDescription:
    return matting_launch(AZURE_KINECT)

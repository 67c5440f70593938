"""Matting of an Orbbec camera such as the Femto Bolt (orbbec_camera)."""

from __future__ import annotations

from launch import LaunchDescription

from dart_ros.launching.cameras import ORBBEC
from dart_ros.launching.description import matting_launch


def generate_launch_description() -> LaunchDescription:
    return matting_launch(ORBBEC)

"""Matting of several cameras, which a YAML file lists."""

from __future__ import annotations

from launch import LaunchDescription

from dart_ros.launching.description import fleet_launch


def generate_launch_description() -> LaunchDescription:
    return fleet_launch()

"""Matting of an Intel RealSense camera (realsense2_camera)."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument

from dart_ros.node.launching import Driver, Source, matting_launch


def generate_launch_description() -> LaunchDescription:
    camera = "{camera_namespace}/{camera_name}"
    return matting_launch(
        Source(
            topics={
                "color/image_raw": f"{camera}/color/image_raw",
                "color/camera_info": f"{camera}/color/camera_info",
                "depth/image_raw": f"{camera}/aligned_depth_to_color/image_raw",
            },
            frame="{camera_name}_color_optical_frame",
            params_file="realsense.yaml",
            arguments=[
                DeclareLaunchArgument(
                    "camera_namespace",
                    default_value="camera",
                    description="Namespace of the driver; with a leading slash outside namespace.",
                ),
                DeclareLaunchArgument(
                    "camera_name", default_value="camera", description="Name of the driver's node."
                ),
            ],
            driver=Driver(
                package="realsense2_camera",
                launch_file="rs_launch.py",
                arguments={
                    "camera_namespace": "{camera_namespace}",
                    "camera_name": "{camera_name}",
                    "align_depth.enable": "true",
                    "enable_sync": "true",
                },
                install="sudo apt install ros-$ROS_DISTRO-realsense2-camera",
            ),
        )
    )

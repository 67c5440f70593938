"""Matting of an Orbbec camera such as the Femto Bolt (orbbec_camera)."""

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
                "depth/image_raw": f"{camera}/depth/image_raw",
            },
            frame="{camera_name}_color_optical_frame",
            params_file="orbbec.yaml",
            arguments=[
                DeclareLaunchArgument(
                    "camera_namespace",
                    default_value="",
                    description="Namespace of the driver; with a leading slash outside namespace.",
                ),
                DeclareLaunchArgument(
                    "camera_name", default_value="camera", description="Name of the driver's node."
                ),
                DeclareLaunchArgument(
                    "camera_model",
                    default_value="femto_bolt",
                    description="The driver's launch file for the camera, without .launch.py.",
                ),
            ],
            driver=Driver(
                package="orbbec_camera",
                launch_file="{camera_model}.launch.py",
                arguments={
                    "camera_name": "{camera_name}",
                    "depth_registration": "true",
                    "align_target_stream": "COLOR",
                    "enable_frame_sync": "true",
                },
                install="build github.com/orbbec/OrbbecSDK_ROS2 in your workspace",
                namespace="{camera_namespace}",
            ),
        )
    )

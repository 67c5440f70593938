"""Matting of a Microsoft Azure Kinect (azure_kinect_ros_driver)."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument

from dart_ros.node.launching import Driver, Source, matting_launch


def generate_launch_description() -> LaunchDescription:
    return matting_launch(
        Source(
            # The driver publishes only while its literal names have subscribers, so the remapping
            # is on this side and never on the driver's.
            topics={
                "color/image_raw": "{camera_namespace}/rgb/image_raw",
                "color/camera_info": "{camera_namespace}/rgb/camera_info",
                "depth/image_raw": "{camera_namespace}/depth_to_rgb/image_raw",
            },
            frame="rgb_camera_link",
            params_file="azure_kinect.yaml",
            arguments=[
                DeclareLaunchArgument(
                    "camera_namespace",
                    default_value="",
                    description="Namespace of the driver; with a leading slash outside namespace.",
                ),
            ],
            driver=Driver(
                package="azure_kinect_ros_driver",
                launch_file="driver.launch.py",
                arguments={
                    "color_enabled": "true",
                    "color_format": "bgra",
                    "color_resolution": "720P",
                    "depth_enabled": "true",
                    "depth_mode": "NFOV_UNBINNED",
                    "fps": "30",
                    "point_cloud": "false",
                    "rgb_point_cloud": "false",
                },
                install="build github.com/microsoft/Azure_Kinect_ROS_Driver, branch humble, in "
                "your workspace",
                namespace="{camera_namespace}",
            ),
        )
    )

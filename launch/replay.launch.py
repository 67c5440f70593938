"""Matting of a recording: a folder of frames, a rosbag2 folder or an .mcap file."""

from __future__ import annotations

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument

from dart_ros.node.launching import Source, matting_launch


def generate_launch_description() -> LaunchDescription:
    # Parameters of replay_node: type and what it is; empty arguments keep the node's defaults.
    parameters = {
        "recording": (str, "What to play; empty: the recording that ships with the package."),
        "rate": (float, "Frames a second; empty: the recording's own rate."),
        "loop": (bool, "Play the occupied part there and back for ever, or once."),
        "empty_seconds": (
            float,
            "Show the empty scene so long; empty: until replay_node/occupied is called.",
        ),
        "color_topic": (str, "Color topic of a bag; empty: as RealSense names it."),
        "depth_topic": (str, "Topic of the aligned depth in a bag; empty: as RealSense names it."),
        "info_topic": (str, "Camera info topic of a bag; empty: as RealSense names it."),
        "bag_empty_seconds": (float, "The first seconds of a bag that show the empty scene."),
    }
    camera = "camera/camera"
    return matting_launch(
        Source(
            topics={
                "color/image_raw": f"{camera}/color/image_raw",
                "color/camera_info": f"{camera}/color/camera_info",
                "depth/image_raw": f"{camera}/aligned_depth_to_color/image_raw",
            },
            frame="camera_color_optical_frame",
            params_file="replay.yaml",
            arguments=[
                DeclareLaunchArgument(name, default_value="", description=description)
                for name, (_, description) in parameters.items()
            ],
            replayed={name: kind for name, (kind, _) in parameters.items()},
        )
    )

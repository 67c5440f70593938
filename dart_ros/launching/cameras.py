"""The sources of images that launch files exist for: topics, frames, drivers, arguments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from dart_ros.launching.values import Value

_OUTSIDE = "with a leading slash it is absolute, else below namespace"


@dataclass(frozen=True)
class Argument:
    """A launch argument.

    Attributes:
        name: its name.
        description: what ``--show-args`` says of it.
        default: the text it has where it isn't given.
    """

    name: str
    description: str
    default: str = ""


@dataclass(frozen=True)
class Driver:
    """The launch file of a camera driver. Texts may name our own launch arguments in braces.

    Attributes:
        package: the ROS package that holds it.
        launch_file: its name in the package's ``launch`` folder.
        arguments: arguments that it is given.
        adapted: arguments that change with one of ours, by its name and value.
        serial: its argument that takes a serial number.
        digits: format of a serial number that is all digits, where the driver asks for one.
        preset: its argument that takes a preset, if it has one.
        install: how to get the package, for the message when it is missing.
        namespace: pushed around a driver whose own launch file knows no namespace.
    """

    package: str
    launch_file: str
    arguments: Mapping[str, str]
    install: str
    serial: str
    adapted: Mapping[tuple[str, str], Mapping[str, str]] = field(default_factory=dict)
    digits: str = "{}"
    preset: str = ""
    namespace: str = ""


@dataclass(frozen=True)
class Source:
    """Where the images come from. Texts may name launch arguments in braces.

    Attributes:
        topics: the source's topics by the node's own name for them.
        frame: optical frame of the color image, for RViz.
        params_file: parameters of the matting node, a file in the package's ``config`` folder.
        raw_depth: topic of depth that is not aligned to color, beside whose name that of its
            camera info is found; empty where there is none.
        arguments: launch arguments that only this source has.
        driver: the camera's driver, started on ``start_camera:=true``.
        replayed: parameters of replay_node, which stands in for a camera, each with a value of
            its type; each takes the launch argument of the same name, unless that is empty.
    """

    topics: Mapping[str, str]
    frame: str
    params_file: str
    raw_depth: str = ""
    arguments: Sequence[Argument] = ()
    driver: Driver | None = None
    replayed: Mapping[str, Value] | None = None


_CAMERA = "{camera_namespace}/{camera_name}"

REALSENSE = Source(
    topics={
        "color/image_raw": f"{_CAMERA}/color/image_raw",
        "color/camera_info": f"{_CAMERA}/color/camera_info",
        "depth/image_raw": f"{_CAMERA}/aligned_depth_to_color/image_raw",
        "rgbd": f"{_CAMERA}/rgbd",
    },
    frame="{camera_name}_color_optical_frame",
    params_file="realsense.yaml",
    raw_depth=f"{_CAMERA}/depth/image_rect_raw",
    arguments=(
        Argument(
            "camera_namespace",
            "Namespace of the driver's topics, which are named camera_namespace/camera_name/...; "
            + _OUTSIDE,
            "camera",
        ),
        Argument(
            "camera_name",
            "Name of the driver's node, in its topics and frames; another one for each camera.",
            "camera",
        ),
    ),
    driver=Driver(
        package="realsense2_camera",
        launch_file="rs_launch.py",
        arguments={
            "camera_namespace": "{camera_namespace}",
            "camera_name": "{camera_name}",
            "align_depth.enable": "true",
            "enable_sync": "true",
        },
        adapted={
            ("register_depth", "true"): {"align_depth.enable": "false"},
            ("rgbd", "true"): {"enable_rgbd": "true"},
        },
        serial="serial_no",
        # Launch makes a number of what is all digits, which the driver then refuses.
        digits="_{}",
        preset="json_file_path",
        install="sudo apt install ros-$ROS_DISTRO-realsense2-camera",
    ),
)

AZURE_KINECT = Source(
    # The driver publishes only while its literal names have subscribers, so the remapping is on
    # this side and never on the driver's.
    topics={
        "color/image_raw": "{camera_namespace}/rgb/image_raw",
        "color/camera_info": "{camera_namespace}/rgb/camera_info",
        "depth/image_raw": "{camera_namespace}/depth_to_rgb/image_raw",
    },
    frame="rgb_camera_link",
    params_file="azure_kinect.yaml",
    raw_depth="{camera_namespace}/depth/image_raw",
    arguments=(
        Argument(
            "camera_namespace",
            "Namespace of the driver's topics, which are named camera_namespace/rgb/...; "
            + _OUTSIDE,
        ),
    ),
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
        # In this mode the driver publishes no raw color.
        adapted={("image_transport", "compressed"): {"color_format": "jpeg"}},
        serial="sensor_sn",
        install="build github.com/microsoft/Azure_Kinect_ROS_Driver, branch humble, in your "
        "workspace",
        namespace="{camera_namespace}",
    ),
)

ORBBEC = Source(
    topics={
        "color/image_raw": f"{_CAMERA}/color/image_raw",
        "color/camera_info": f"{_CAMERA}/color/camera_info",
        "depth/image_raw": f"{_CAMERA}/depth/image_raw",
    },
    frame="{camera_name}_color_optical_frame",
    params_file="orbbec.yaml",
    raw_depth=f"{_CAMERA}/depth/image_raw",
    arguments=(
        Argument(
            "camera_namespace",
            "Namespace of the driver's topics, which are named camera_namespace/camera_name/...; "
            + _OUTSIDE,
        ),
        Argument(
            "camera_name",
            "Name of the driver's node, in its topics and frames; another one for each camera.",
            "camera",
        ),
        Argument(
            "camera_model",
            "The driver's launch file for the camera, without .launch.py: femto_bolt, femto_mega, "
            "gemini_330_series, ...",
            "femto_bolt",
        ),
    ),
    driver=Driver(
        package="orbbec_camera",
        launch_file="{camera_model}.launch.py",
        arguments={
            "camera_name": "{camera_name}",
            "depth_registration": "true",
            "align_target_stream": "COLOR",
            "enable_frame_sync": "true",
        },
        adapted={("register_depth", "true"): {"depth_registration": "false"}},
        serial="serial_number",
        preset="device_preset",
        install="sudo apt install ros-$ROS_DISTRO-orbbec-camera (Humble, Jazzy), or build "
        "github.com/orbbec/OrbbecSDK_ROS2 in your workspace",
        namespace="{camera_namespace}",
    ),
)

REPLAY = Source(
    topics={
        "color/image_raw": "camera/camera/color/image_raw",
        "color/camera_info": "camera/camera/color/camera_info",
        "depth/image_raw": "camera/camera/aligned_depth_to_color/image_raw",
    },
    frame="camera_color_optical_frame",
    params_file="replay.yaml",
    arguments=(
        Argument(
            "recording",
            "What to play: a folder of frames, a bag or a file, see docs/recordings.md; empty: the "
            "recording that ships with the package.",
        ),
        Argument("rate", "Frames a second, such as 15; empty: the recording's own rate."),
        Argument(
            "loop",
            "true: play the occupied part there and back for ever; false: once. Empty: true.",
        ),
        Argument(
            "empty_seconds",
            "Seconds for which the empty scene is shown, such as 20; empty: until the service "
            "replay_node/occupied is called.",
        ),
        Argument("color_topic", "Color topic of a bag; empty: as RealSense names it."),
        Argument("depth_topic", "Topic of aligned depth in a bag; empty: as RealSense names it."),
        Argument("info_topic", "Camera info topic of a bag; empty: as RealSense names it."),
        Argument(
            "bag_empty_seconds",
            "The first seconds of a bag, which show the empty scene; empty: 3.",
        ),
        Argument(
            "depth_unit",
            "Metres a unit of the recording's depth images, such as 0.00025; empty: as its kind "
            "prescribes.",
        ),
    ),
    replayed={
        "recording": "",
        "rate": 0.0,
        "loop": True,
        "empty_seconds": 0.0,
        "color_topic": "",
        "depth_topic": "",
        "info_topic": "",
        "bag_empty_seconds": 3.0,
        "depth_unit": 0.0,
    },
)

FAMILIES: Mapping[str, Source] = {
    "realsense": REALSENSE,
    "azure_kinect": AZURE_KINECT,
    "orbbec": ORBBEC,
    "replay": REPLAY,
}

"""What the launch files share: arguments, the matting node, camera drivers, RViz, Fast DDS.

Needs the ROS packages ``launch`` and ``launch_ros``; only launch files import it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ament_index_python.packages import PackageNotFoundError, get_package_share_directory
from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
    SetEnvironmentVariable,
    UnsetLaunchConfiguration,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue

NODE_NAME = "matting_node"
# Topics under the node's name that config/dart.rviz shows.
RVIZ_TOPICS = ("alpha", "trimap", "foreground", "composite", "points")
# Fast DDS renamed the variable in version 3.
FASTDDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")

_TRUE_FALSE = ["true", "false"]


@dataclass(frozen=True)
class Driver:
    """The launch file of a camera driver.

    Attributes:
        package: the ROS package that holds it.
        launch_file: its name in the package's ``launch`` folder.
        arguments: arguments that it is given; texts may name our own arguments in braces.
        install: how to get the package, for the message when it is missing.
        namespace: pushed around a driver whose own launch file knows no namespace.
    """

    package: str
    launch_file: str
    arguments: Mapping[str, str]
    install: str
    namespace: str = ""


@dataclass(frozen=True)
class Source:
    """Where the images come from. Texts may name launch arguments in braces.

    Attributes:
        topics: the source's topics by the node's own name for them.
        frame: optical frame of the color image, for RViz.
        params_file: parameters of the matting node, a file in the package's ``config`` folder.
        arguments: launch arguments that only this source has.
        driver: the camera's driver, started on ``start_camera:=true``.
        replayed: parameters of replay_node, which stands in for a camera, with their types; each
            takes the launch argument of the same name, unless that is empty.
    """

    topics: Mapping[str, str]
    frame: str
    params_file: str
    arguments: Sequence[DeclareLaunchArgument] = ()
    driver: Driver | None = None
    replayed: Mapping[str, type] | None = None


def matting_launch(source: Source) -> LaunchDescription:
    """Return the launch description of the matting node on one source of images.

    Raises:
        RuntimeError: when launched, if a package or file that was asked for is missing; the text
            says which and what to do.
    """
    arguments = [*_common_arguments(source), *source.arguments]
    if source.driver is not None:
        arguments.append(
            DeclareLaunchArgument(
                "start_camera",
                default_value="false",
                choices=_TRUE_FALSE,
                description=f"Also start {source.driver.package}, set up for matting; arguments "
                "that are not listed here are passed on to its launch file.",
            )
        )
    return LaunchDescription(
        [*arguments, OpaqueFunction(function=_start, args=[source, arguments])]
    )


def _common_arguments(source: Source) -> list[DeclareLaunchArgument]:
    share = Path(get_package_share_directory("dart_ros"))
    profile = next(filter(None, map(os.environ.get, FASTDDS_VARIABLES)), None)
    return [
        DeclareLaunchArgument(
            "namespace",
            default_value="",
            description="Namespace of all nodes, for several cameras.",
        ),
        DeclareLaunchArgument(
            "params_file",
            default_value=str(share / "config" / source.params_file),
            description="Parameters of the matting node.",
        ),
        DeclareLaunchArgument(
            "scene", default_value="", description="Scene to load at start; empty: the last one."
        ),
        DeclareLaunchArgument(
            "backend",
            default_value="",
            description="Inference engine; empty: as in params_file.",
        ),
        DeclareLaunchArgument(
            "rviz", default_value="false", choices=_TRUE_FALSE, description="Show it in RViz."
        ),
        DeclareLaunchArgument(
            "log_level",
            default_value="info",
            choices=["debug", "info", "warn", "error", "fatal"],
            description="Log level of the matting node.",
        ),
        DeclareLaunchArgument(
            "fastdds_profile",
            default_value=profile or str(share / "config" / "fastdds.xml"),
            description="Fast DDS profile, with shared memory for images; the camera driver needs "
            "it too. Empty: none. A profile set in the environment is the default.",
        ),
    ]


def _start(
    context: LaunchContext, source: Source, arguments: Sequence[DeclareLaunchArgument]
) -> list[LaunchDescriptionEntity]:
    given = dict(context.launch_configurations)
    values = {argument.name: given.pop(argument.name) for argument in arguments}
    full_namespace = _joined(given.pop("ros_namespace", ""), values["namespace"])
    profile = _profile(values["fastdds_profile"])
    namespace = [PushRosNamespace(values["namespace"])] if values["namespace"] else []

    nodes = [_matting_node(source, values, full_namespace)]
    if source.replayed is not None:
        nodes.append(_replay_node(source.replayed, values))
    started = [*profile, GroupAction([*namespace, *nodes])]
    if source.driver is not None and values["start_camera"] == "true":
        # The driver must not see our arguments: one such as log_level means something else there.
        hidden = [UnsetLaunchConfiguration(name) for name in values]
        # Only texts are arguments; the lists of SetParameter and SetRemap are in scope anyway.
        others = {name: value for name, value in given.items() if isinstance(value, str)}
        driver = _driver(source.driver, values, others)
        started.append(GroupAction([*hidden, *namespace, *driver]))
    if values["rviz"] == "true":
        started.append(_rviz(source.frame.format_map(values), full_namespace))
    return started


def _joined(outer: str, inner: str) -> str:
    """Return the inner namespace seen from the outer one, with no slash at its ends."""
    parts = [inner] if inner.startswith("/") else [outer, inner]
    return "/".join(filter(None, (part.strip("/") for part in parts)))


def _matting_node(source: Source, values: Mapping[str, str], namespace: str) -> Node:
    params_file = Path(values["params_file"]).expanduser()
    if not params_file.is_file():
        raise RuntimeError(f"params_file '{params_file}' does not exist; name a YAML file.")
    overrides = {
        name: ParameterValue(values[name], value_type=str)
        for name in ("scene", "backend")
        if values[name]
    }
    logger = ".".join([*filter(None, namespace.split("/")), NODE_NAME])
    return Node(
        package="dart_ros",
        executable=NODE_NAME,
        name=NODE_NAME,
        parameters=[str(params_file), overrides],
        remappings=[(own, _topic(there, values)) for own, there in source.topics.items()],
        arguments=["--ros-args", "--log-level", f"{logger}:={values['log_level']}"],
        output="screen",
        emulate_tty=True,
    )


def _replay_node(parameters: Mapping[str, type], values: Mapping[str, str]) -> Node:
    return Node(
        package="dart_ros",
        executable="replay_node",
        name="replay_node",
        parameters=[
            {
                name: ParameterValue(values[name], value_type=kind)
                for name, kind in parameters.items()
                if values[name]
            }
        ],
        output="screen",
        emulate_tty=True,
    )


def _driver(
    driver: Driver, values: Mapping[str, str], others: Mapping[str, str]
) -> list[LaunchDescriptionEntity]:
    share = _share(driver.package, f"{driver.install}, or start the camera yourself")
    arguments = {name: text.format_map(values) for name, text in driver.arguments.items()}
    arguments.update(others)
    namespace = driver.namespace.format_map(values)
    include = IncludeLaunchDescription(
        PythonLaunchDescriptionSource(
            str(share / "launch" / driver.launch_file.format_map(values))
        ),
        launch_arguments=arguments.items(),
    )
    return [*([PushRosNamespace(namespace)] if namespace else []), include]


def _rviz(frame: str, namespace: str) -> Node:
    _share("rviz2", "sudo apt install ros-$ROS_DISTRO-rviz2, or leave rviz:=true away")
    config = Path(get_package_share_directory("dart_ros"), "config", "dart.rviz")
    return Node(
        package="rviz2",
        executable="rviz2",
        name="dart_rviz",
        arguments=["-d", str(config), "-f", frame],
        remappings=[
            (f"/{NODE_NAME}/{topic}", f"/{namespace}/{NODE_NAME}/{topic}")
            for topic in RVIZ_TOPICS
            if namespace
        ],
    )


def _profile(path: str) -> list[SetEnvironmentVariable]:
    if not path:
        return []
    if not Path(path).is_file():
        raise RuntimeError(
            f"fastdds_profile '{path}' does not exist; name an XML file or leave it."
        )
    return [SetEnvironmentVariable(name, path) for name in FASTDDS_VARIABLES]


def _share(package: str, advice: str) -> Path:
    try:
        return Path(get_package_share_directory(package))
    except PackageNotFoundError as error:
        raise RuntimeError(f"The ROS package {package} is not installed: {advice}.") from error


def _topic(template: str, values: Mapping[str, str]) -> str:
    # An empty camera_name or camera_namespace leaves no empty part behind.
    topic = "/".join(filter(None, template.format_map(values).split("/")))
    absolute = values.get("camera_namespace", "").startswith("/")
    return f"/{topic}" if absolute else topic

"""Launch descriptions: the matting node, camera drivers, depth registration, RViz, Fast DDS.

Needs the ROS packages ``launch`` and ``launch_ros``; only launch files import it.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import launch.logging
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
from launch.events.process import ProcessExited
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, PushRosNamespace
from launch_ros.parameter_descriptions import ParameterValue

from dart_ros.launching.cameras import FAMILIES, Argument, Driver, Source
from dart_ros.launching.fleet import read_fleet
from dart_ros.launching.respawn import RespawnPolicy
from dart_ros.launching.values import (
    Value,
    fastdds_variables,
    filled,
    joined,
    parsed,
    unknown_arguments,
    unknown_words,
)
from dart_ros.node.parameter_table import PARAMETERS

NODE_NAME = "matting_node"
# Topics under the node's name that config/dart.rviz shows.
RVIZ_TOPICS = ("alpha", "trimap", "foreground", "composite", "points")

_TRUE_FALSE = ("true", "false")
_REGISTERED = "depth_registered/image_rect"  # as depth_image_proc names it
_RESPAWNS = 5  # within a minute
_CHOICES = {
    "operator": _TRUE_FALSE,
    "rviz": _TRUE_FALSE,
    "start_camera": _TRUE_FALSE,
    "respawn": _TRUE_FALSE,
    "register_depth": _TRUE_FALSE,
    "log_level": ("debug", "info", "warn", "error", "fatal"),
}


def matting_launch(source: Source) -> LaunchDescription:
    """Return the launch description of the matting node on one source of images.

    Raises:
        RuntimeError: when launched, if a package or file that was asked for is missing; the text
            says which and what to do.
        ValueError: when launched, if an argument has a value that it can't have.
    """
    arguments = _arguments(source)
    return LaunchDescription(
        [
            *map(_declared, arguments),
            OpaqueFunction(function=_start_one, args=[source, [a.name for a in arguments]]),
        ]
    )


def fleet_launch() -> LaunchDescription:
    """Return the launch description of several cameras that a YAML file lists.

    Raises:
        RuntimeError: when launched, as :func:`matting_launch`.
        ValueError: when launched, if the file is missing or something in it is wrong.
    """
    arguments = [
        Argument("namespace", "Namespace of all cameras; each has its own name below it."),
        Argument(
            "start_camera",
            "Also start the cameras' drivers, set up for matting, each with its serial and driver "
            "arguments.",
            "false",
        ),
        *_shared_arguments(),
    ]
    file = DeclareLaunchArgument(
        "cameras_file",
        description="YAML file that lists the cameras: see config/cameras/ in the package's share "
        "folder for examples and docs/robot.md for its keys.",
    )
    names = [file.name, *(argument.name for argument in arguments)]
    return LaunchDescription(
        [file, *map(_declared, arguments), OpaqueFunction(function=_start_fleet, args=[names])]
    )


def _declared(argument: Argument) -> DeclareLaunchArgument:
    # Humble's launch takes no choices of None.
    choices = {"choices": list(_CHOICES[argument.name])} if argument.name in _CHOICES else {}
    return DeclareLaunchArgument(
        argument.name, default_value=argument.default, description=argument.description, **choices
    )


def _shared_arguments() -> list[Argument]:
    """The arguments that one camera and several have in common."""
    profile = next(filter(None, map(os.environ.get, fastdds_variables(None))), None)
    return [
        Argument("log_level", "Log level of the matting node.", "info"),
        Argument(
            "respawn",
            f"Start the matting node again when it dies, up to {_RESPAWNS} times a minute. A node "
            "that ends right after its start, or too often, ends the launch.",
            "true",
        ),
        Argument("respawn_delay", "Seconds before the node is started again.", "2.0"),
        Argument("operator", "Serve the operator's page, for people without a terminal.", "false"),
        Argument(
            "operator_host",
            "Address of the page; another one than this machine's own needs operator_token.",
            "127.0.0.1",
        ),
        Argument("operator_port", "Port of the page.", "8099"),
        Argument("operator_token", "Secret that the page asks for; 12 characters or more."),
        Argument(
            "use_sim_time",
            "Take the time from /clock (bags with --clock, simulators); empty: as in params_file.",
        ),
        Argument(
            "fastdds_profile",
            "Fast DDS profile, with shared memory for images; the camera driver needs it too. "
            "Empty: none. A profile set in the environment is the default.",
            profile or str(_share() / "config" / "fastdds.xml"),
        ),
    ]


def _arguments(source: Source) -> list[Argument]:
    arguments = [
        Argument("namespace", "Namespace of all nodes, for several cameras."),
        Argument(
            "params_file",
            "Parameters of the matting node; those given as arguments here go before.",
            str(_share() / "config" / source.params_file),
        ),
        Argument("rviz", "Show it in RViz.", "false"),
        Argument(
            "virtual_camera",
            "Feed the composite to call software by a v4l2 loopback device, such as /dev/video10, "
            "or to a named pipe, as pipe:PATH. Empty: don't.",
        ),
        *_shared_arguments(),
        *source.arguments,
    ]
    if source.raw_depth:
        arguments.append(
            Argument(
                "register_depth",
                "Align depth by depth_image_proc's register_node, for a driver that can't or "
                "doesn't; needs the driver's tf between the two cameras.",
                "false",
            )
        )
    if source.driver is not None:
        arguments.append(
            Argument(
                "start_camera",
                f"Also start {source.driver.package}, set up for matting; arguments that are not "
                "listed here are passed on to its launch file.",
                "false",
            )
        )
    return [*arguments, *_parameter_arguments()]


def _parameter_arguments() -> list[Argument]:
    """One argument for each parameter of the node."""
    return [
        Argument(
            name,
            f"Parameter of the matting node: {parameter.description} Empty: as in params_file, "
            f"else {parameter.default if parameter.default != '' else 'empty'}.",
        )
        for name, parameter in PARAMETERS.items()
    ]


def _start_one(
    context: LaunchContext, source: Source, names: Sequence[str]
) -> list[LaunchDescriptionEntity]:
    given = dict(context.launch_configurations)
    values = {name: given.pop(name) for name in names}
    outer = given.pop("ros_namespace", "")
    # Only texts are arguments; the lists of SetParameter and SetRemap are in scope anyway.
    others = {name: value for name, value in given.items() if isinstance(value, str)}
    started = [*_profile(values["fastdds_profile"])]
    camera, its_arguments = _camera(context, source, values, others, names, outer)
    started += camera
    if source.driver is not None and values["start_camera"] == "false":
        where = f"this launch file (start_camera:=true passes it on to {source.driver.package})"
    else:
        where = f"this launch file{f' or that of {source.driver.package}' if source.driver else ''}"
    _warn_of_unknown(context, [*names, *its_arguments], where)
    started += _operator(values)
    if values["rviz"] == "true":
        frame = source.frame.format_map(values)
        started.append(_rviz(frame, joined(outer, values["namespace"]), values))
    return started


def _start_fleet(context: LaunchContext, names: Sequence[str]) -> list[LaunchDescriptionEntity]:
    values = {name: context.launch_configurations[name] for name in names}
    outer = context.launch_configurations.get("ros_namespace", "")
    arguments = {family: _arguments(source) for family, source in FAMILIES.items()}
    # What is set for all stays out of the file.
    for_all = {"rviz", "namespace", *names}
    known = {
        family: {argument.name for argument in listed} - for_all
        for family, listed in arguments.items()
    }
    cameras = read_fleet(Path(values["cameras_file"]).expanduser(), known)
    _warn_of_unknown(context, names, "this launch file")
    started = [*_profile(values["fastdds_profile"])]
    for camera in cameras:
        family = next(name for name, source in FAMILIES.items() if source is camera.source)
        its = {argument.name: argument.default for argument in arguments[family]}
        its.update({name: value for name, value in values.items() if name in its})
        its.update(camera.arguments)
        its["namespace"] = joined(values["namespace"], camera.name)
        if values["namespace"].startswith("/"):
            its["namespace"] = "/" + its["namespace"]
        started += _camera(context, camera.source, its, camera.driver, names, outer)[0]
    return [*started, *_operator(values)]


def _camera(
    context: LaunchContext,
    source: Source,
    values: Mapping[str, str],
    others: Mapping[str, str],
    hidden: Sequence[str],
    outer: str,
) -> tuple[list[LaunchDescriptionEntity], list[str]]:
    """Return what one camera needs, and the names of the arguments of its driver's launch file.

    Args:
        values: the launch arguments of the source's launch file.
        others: further arguments, for the driver.
        hidden: launch configurations that the driver must not see.
    """
    registers = values.get("register_depth") == "true"
    serial = others.get(source.driver.serial, "").strip("'\"_") if source.driver else ""
    if serial and not values["camera_serial"]:
        values = {**values, "camera_serial": serial}
    namespace = [PushRosNamespace(values["namespace"])] if values["namespace"] else []
    nodes = [_matting_node(source, values, joined(outer, values["namespace"]), registers)]
    if registers:
        nodes.insert(0, _register_node(source, values))
    if source.replayed is not None:
        nodes.append(_replay_node(source.replayed, values))
    if values["virtual_camera"]:
        nodes.append(_virtual_camera(values))
    started: list[LaunchDescriptionEntity] = [GroupAction([*namespace, *nodes])]
    its_arguments: list[str] = []
    if source.driver is not None and values["start_camera"] == "true":
        driver, its_arguments = _driver(context, source.driver, values, others)
        # The driver must not see our arguments: one such as log_level means something else there.
        hide = [UnsetLaunchConfiguration(name) for name in hidden]
        started.append(GroupAction([*hide, *namespace, *driver]))
    return started, its_arguments


def _warn_of_unknown(context: LaunchContext, known: Collection[str], where: str) -> None:
    """Warn of arguments that nobody takes, unless a bringup's launch file was launched instead."""
    here = Path(str(context.get_locals_as_dict().get("current_launch_file_path", ""))).name
    if here not in (Path(argument).name for argument in sys.argv):
        return
    for name, alike in unknown_arguments(context.argv, known).items():
        launch.logging.get_logger("dart_ros").warning(unknown_words(name, alike, where))


def _given(name: str, values: Mapping[str, str], default: Value, **limits: Any) -> Any:
    """Return a launch argument as a value that launch takes for a parameter of its type."""
    value = parsed(name, values[name], default, **limits)
    # A plain text would be read as YAML: a scene named 5 would become a number.
    return ParameterValue(value, value_type=str) if isinstance(value, str) else value


def _matting_node(
    source: Source, values: Mapping[str, str], namespace: str, registers: bool
) -> Node:
    params_file = Path(values["params_file"]).expanduser()
    if not params_file.is_file():
        raise RuntimeError(f"params_file '{params_file}' does not exist; name a YAML file.")
    overrides = {
        name: _given(name, values, parameter.default, low=parameter.low, high=parameter.high)
        for name, parameter in PARAMETERS.items()
        if values[name]
    }
    if values["use_sim_time"]:
        overrides["use_sim_time"] = _given("use_sim_time", values, False)
    topics = {own: filled(there, values) for own, there in source.topics.items()}
    if registers:
        topics["depth/image_raw"] = _REGISTERED
    respawns = values["respawn"] == "true"
    delay = float(str(parsed("respawn_delay", values["respawn_delay"], 2.0, low=0.1, high=3600)))
    policy = RespawnPolicy(_RESPAWNS if respawns else 0, time.monotonic())

    def on_exit(event: ProcessExited, context: LaunchContext) -> None:
        if context.is_shutdown:
            return
        why = policy.died(time.monotonic(), event.returncode)
        if why:
            # What is raised here ends the launch, with exit code 1.
            raise RuntimeError(f"{NODE_NAME} {why}.")

    logger = ".".join([*filter(None, namespace.split("/")), NODE_NAME])
    return Node(
        package="dart_ros",
        executable=NODE_NAME,
        name=NODE_NAME,
        parameters=[str(params_file), overrides],
        remappings=list(topics.items()),
        arguments=["--ros-args", "--log-level", f"{logger}:={values['log_level']}"],
        output="screen",
        emulate_tty=True,
        respawn=respawns,
        respawn_delay=delay,
        # A busy machine takes longer than launch's 5 s to end the engine and save a capture.
        sigterm_timeout=LaunchConfiguration("sigterm_timeout", default="10"),
        on_exit=on_exit,
    )


def _register_node(source: Source, values: Mapping[str, str]) -> Node:
    _installed(
        "depth_image_proc",
        "sudo apt install ros-$ROS_DISTRO-depth-image-proc, or leave register_depth away",
    )
    depth = filled(source.raw_depth, values)
    return Node(
        package="depth_image_proc",
        executable="register_node",
        name="register_depth",
        parameters=[
            # The color image's stamp pairs exactly; nearer pixels of a sparser depth are filled.
            {"use_rgb_timestamp": True, "fill_upsampling_holes": True}
        ],
        remappings=[
            ("depth/image_rect", depth),
            ("depth/camera_info", f"{depth.rpartition('/')[0]}/camera_info"),
            ("rgb/camera_info", filled(source.topics["color/camera_info"], values)),
        ],
        output="screen",
        respawn=True,
        respawn_delay=2.0,
    )


def _replay_node(parameters: Mapping[str, Value], values: Mapping[str, str]) -> Node:
    recording = values.get("recording", "")
    if recording and not Path(recording).expanduser().exists():
        raise RuntimeError(
            f"recording '{recording}' does not exist; name a folder of frames, a rosbag2 folder, "
            "an .mcap or a .db3 file."
        )

    def on_exit(event: ProcessExited, context: LaunchContext) -> None:
        if event.returncode != 0 and not context.is_shutdown:
            raise RuntimeError("replay_node could not play the recording; its log above says why.")

    return Node(
        package="dart_ros",
        executable="replay_node",
        name="replay_node",
        parameters=[
            {
                name: _given(name, values, default)
                for name, default in parameters.items()
                if values[name]
            }
        ],
        output="screen",
        emulate_tty=True,
        on_exit=on_exit,
    )


def _driver(
    context: LaunchContext,
    driver: Driver,
    values: Mapping[str, str],
    others: Mapping[str, str],
) -> tuple[list[LaunchDescriptionEntity], list[str]]:
    """Return the entities that start a driver, and the names of its launch file's arguments."""
    share = _installed(driver.package, f"{driver.install}, or start the camera yourself")
    launch_file = share / "launch" / driver.launch_file.format_map(values)
    if not launch_file.is_file():
        there = sorted(path.name for path in launch_file.parent.glob("*launch.py"))
        raise RuntimeError(
            f"{driver.package} has no launch file '{launch_file.name}'; it has {', '.join(there)}."
        )
    arguments = {name: text.format_map(values) for name, text in driver.arguments.items()}
    for (name, value), changes in driver.adapted.items():
        if values.get(name, "").lower() == value:
            arguments.update(changes)
    arguments.update(others)
    namespace = driver.namespace.format_map(values)
    source = PythonLaunchDescriptionSource(str(launch_file))
    include = IncludeLaunchDescription(source, launch_arguments=arguments.items())
    declared = source.get_launch_description(context).get_launch_arguments()
    entities = [*([PushRosNamespace(namespace)] if namespace else []), include]
    return entities, [argument.name for argument in declared]


def _rviz(frame: str, namespace: str, values: Mapping[str, str]) -> Node:
    _installed("rviz2", "sudo apt install ros-$ROS_DISTRO-rviz2, or leave rviz:=true away")
    simulated = {"use_sim_time": _given("use_sim_time", values, False)}
    return Node(
        package="rviz2",
        executable="rviz2",
        name="dart_rviz",
        arguments=["-d", str(_share() / "config" / "dart.rviz"), "-f", frame],
        parameters=[simulated if values["use_sim_time"] else {}],
        remappings=[
            (f"/{NODE_NAME}/{topic}", f"/{namespace}/{NODE_NAME}/{topic}")
            for topic in RVIZ_TOPICS
            if namespace
        ],
    )


def _operator(values: Mapping[str, str]) -> list[Node]:
    """The operator's page, if it is asked for: one for all cameras."""
    if values["operator"] != "true":
        return []
    page = {
        "host": _given("operator_host", values, ""),
        "port": _given("operator_port", values, 8099),
        "token": _given("operator_token", values, ""),
    }
    return [Node(package="dart_ros", executable="operator_node", parameters=[page])]


def _virtual_camera(values: Mapping[str, str]) -> Node:
    device = _given("virtual_camera", values, "")
    return Node(package="dart_ros", executable="virtual_camera", parameters=[{"device": device}])


def _profile(path: str) -> list[LaunchDescriptionEntity]:
    if not path:
        return []
    if not Path(path).is_file():
        raise RuntimeError(
            f"fastdds_profile '{path}' does not exist; name an XML file or leave it."
        )
    variables = fastdds_variables(os.environ.get("ROS_DISTRO"))
    return [SetEnvironmentVariable(name, path) for name in variables]


def _share() -> Path:
    return Path(get_package_share_directory("dart_ros"))


def _installed(package: str, advice: str) -> Path:
    """Return the share folder of a ROS package, or say how to get the package."""
    try:
        return Path(get_package_share_directory(package))
    except PackageNotFoundError as error:
        raise RuntimeError(f"The ROS package {package} is not installed: {advice}.") from error

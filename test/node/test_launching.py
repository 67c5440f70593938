"""Launch files started for real, with shell scripts in place of the nodes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

# launch itself can't be asked for: the folder launch/ would be found under that name.
pytest.importorskip("launch_ros", reason="needs launch and launch_ros, which no wheel has")

ROOT = Path(__file__).resolve().parents[2]
EXECUTABLE = """\
#!/bin/sh
printf '%s\\n' "$@" > "$RECORDS/$(basename "$0").arguments"
env > "$RECORDS/$(basename "$0").environment"
"""
DRIVER = """\
from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

NAMES = ["serial_no", "camera_namespace", "camera_name", "align_depth.enable", "log_level"]


def generate_launch_description():
    node = Node(
        package="realsense2_camera",
        executable="camera",
        name="camera",
        namespace=LaunchConfiguration("camera_namespace"),
        arguments=[[f"{name}=", LaunchConfiguration(name)] for name in NAMES],
    )
    optional = [DeclareLaunchArgument(name, default_value="own") for name in NAMES[1:]]
    return LaunchDescription([DeclareLaunchArgument(NAMES[0]), *optional, node])
"""
BRINGUP = """\
from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription, SetEnvironmentVariable
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch_ros.actions import PushRosNamespace, SetParameter, SetParametersFromFile, SetRemap


def generate_launch_description():
    return LaunchDescription([{actions} IncludeLaunchDescription(
        PythonLaunchDescriptionSource({path!r}), launch_arguments={arguments!r}.items())])
"""
# As ros2 launch does it, which needs one package more.
LAUNCH = """\
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

service = LaunchService(noninteractive=True)
include = IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]))
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


@dataclass(frozen=True)
class Started:
    """The arguments and the environment of a process."""

    arguments: list[str]
    environment: list[str]


def launched(folder: Path, actions: str = "", **arguments: str) -> dict[str, Started]:
    """Launch realsense.launch.py with its driver after some actions; return what was started."""
    for package, executable in (("dart_ros", "matting_node"), ("realsense2_camera", "camera")):
        marker = folder / "share" / "ament_index" / "resource_index" / "packages" / package
        program = folder / "lib" / package / executable
        for path, text in ((marker, ""), (program, EXECUTABLE)):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        program.chmod(0o755)
        (folder / "share" / package).mkdir()
    (folder / "share" / "dart_ros" / "config").symlink_to(ROOT / "config")
    driver = folder / "share" / "realsense2_camera" / "launch" / "rs_launch.py"
    driver.parent.mkdir()
    driver.write_text(DRIVER, encoding="utf-8")
    bringup = folder / "bringup.launch.py"
    arguments = {"start_camera": "true", "serial_no": "'12'", **arguments}
    path = str(ROOT / "launch" / "realsense.launch.py")
    bringup.write_text(BRINGUP.format(actions=actions, path=path, arguments=arguments))
    records = folder / "records"
    records.mkdir()
    done = subprocess.run(
        [sys.executable, "-c", LAUNCH, str(bringup)],
        env={
            **os.environ,
            "AMENT_PREFIX_PATH": os.pathsep.join(
                [str(folder), *filter(None, [os.environ.get("AMENT_PREFIX_PATH")])]
            ),
            "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
            "ROS_LOG_DIR": str(folder / "log"),
            "RECORDS": str(records),
        },
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return {
        path.stem: Started(
            path.read_text(encoding="utf-8").splitlines(),
            path.with_suffix(".environment").read_text(encoding="utf-8").splitlines(),
        )
        for path in records.glob("*.arguments")
    }


def test_driver_shares_what_a_bringup_sets(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("/**: {ros__parameters: {from_file: 1}}\n")
    started = launched(
        tmp_path,
        "SetEnvironmentVariable('ROS_DOMAIN_ID', '7'), SetParameter('use_sim_time', True),"
        "SetParametersFromFile('all.yaml'), SetRemap('/tf', 'tf'), PushRosNamespace('robot'),",
        namespace="left",
    )
    assert set(started) == {"matting_node", "camera"}
    for name, namespace in (("matting_node", "/robot/left"), ("camera", "/robot/left/camera")):
        assert "ROS_DOMAIN_ID=7" in started[name].environment
        given = started[name].arguments
        assert f"__ns:={namespace}" in given
        assert {"use_sim_time:=True", "/tf:=tf", str(tmp_path / "all.yaml")} <= set(given)


def test_driver_gets_its_own_arguments_alone(tmp_path: Path) -> None:
    overridden = {"align_depth.enable": "false"}
    started = launched(tmp_path, log_level="debug", camera_name="front", **overridden)
    values = dict(text.split("=") for text in started["camera"].arguments[:5])
    assert values == {
        "camera_namespace": "camera",
        "camera_name": "front",
        "align_depth.enable": "false",
        "serial_no": "'12'",
        "log_level": "own",
    }
    assert "matting_node:=debug" in started["matting_node"].arguments

"""The launch files with the real launch: what they start, and what they say.

Where processes are started, shell scripts stand in place of the nodes and a small launch file in
place of a camera's driver.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

# launch itself can't be asked for: the folder launch/ would be found under that name.
pytest.importorskip("launch_ros", reason="needs launch and launch_ros, which no wheel has")

from launch import LaunchContext
from launch.actions import GroupAction, IncludeLaunchDescription
from launch_ros.actions import Node

from dart_ros.node.parameter_table import PARAMETERS

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
ONE_CAMERA = ("azure_kinect", "orbbec", "realsense", "replay")
RECORD = """\
#!/bin/sh
printf '%s\\n' "$@" > "$RECORDS/$(basename "$0").arguments"
env > "$RECORDS/$(basename "$0").environment"
touch "$RECORDS/$(basename "$0").recorded"
"""
# The end of a node ends the launch, and with it a driver that has yet to start.
AFTER_DRIVER = """\
timeout 60 sh -c 'until [ -e "$RECORDS/camera.recorded" ]; do sleep 0.1; done'
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

path, *given = sys.argv[1:]
service = LaunchService(argv=given, noninteractive=True)
include = IncludeLaunchDescription(
    PythonLaunchDescriptionSource(path),
    launch_arguments=[text.split(":=", 1) for text in given],
)
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


@dataclass(frozen=True)
class Started:
    """A node as it would be started."""

    parameters: Mapping[str, Any]
    remappings: Mapping[str, str]


def load(name: str) -> Any:
    path = ROOT / "launch" / f"{name}.launch.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.generate_launch_description()


def parameters_of(node: Any, context: LaunchContext) -> dict[str, Any]:
    """Return the parameters in the files that a node is given, the later ones before."""
    words = [context.perform_substitution(part[0]) for part in node.cmd[1:] if part]
    merged: dict[str, Any] = {}
    for option, path in itertools.pairwise(words):
        if option == "--params-file":
            # launch_ros writes lists as Python's tuples, which ROS reads as lists.
            for content in yaml.full_load(Path(path).read_text(encoding="utf-8")).values():
                merged.update(content["ros__parameters"])
    return merged


def started(launch_file: str, **arguments: str) -> tuple[dict[str, Started], list[dict[str, str]]]:
    """Return what a launch file would start: nodes by full name, and arguments of drivers."""
    context = LaunchContext()
    context.launch_configurations.update(arguments)
    nodes: dict[str, Started] = {}
    drivers: list[dict[str, str]] = []

    def visit(entity: Any) -> None:
        if isinstance(entity, Node):
            entity._perform_substitutions(context)
            context.extend_locals({"ros_specific_arguments": {"name": "", "ns": ""}})
            # Without a namespace, launch_ros puts a word in its place.
            name = "/" + entity.node_name.removeprefix(Node.UNSPECIFIED_NODE_NAMESPACE).lstrip("/")
            nodes[name] = Started(
                parameters_of(entity, context), dict(entity.expanded_remapping_rules or [])
            )
            return
        if isinstance(entity, IncludeLaunchDescription):
            drivers.append({str(key): str(value) for key, value in entity.launch_arguments})
            return
        grouped = isinstance(entity, GroupAction)
        for child in (entity.get_sub_entities() if grouped else entity.visit(context)) or []:
            visit(child)

    for entity in load(launch_file).entities:
        visit(entity)
    return nodes, drivers


def package(folder: Path, name: str, **files: str) -> None:
    """Make a package that the ament index finds, with executables or launch files."""
    marker = folder / "share" / "ament_index" / "resource_index" / "packages" / name
    marker.parent.mkdir(parents=True, exist_ok=True)
    marker.touch()
    (folder / "share" / name / "launch").mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        launches = "generate_launch_description" in text
        path = folder / "share" / name / "launch" if launches else folder / "lib" / name
        path = path / (f"{file}.py" if launches else file)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        path.chmod(0o755)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with depth_image_proc and the three drivers."""
    package(tmp_path, "depth_image_proc", register_node=RECORD)
    package(tmp_path, "realsense2_camera", rs_launch=DRIVER)
    package(tmp_path, "azure_kinect_ros_driver", **{"driver.launch": DRIVER})
    package(tmp_path, "orbbec_camera", **{"femto_bolt.launch": DRIVER})
    prefixes = [str(tmp_path), *filter(None, [os.environ.get("AMENT_PREFIX_PATH")])]
    monkeypatch.setenv("AMENT_PREFIX_PATH", os.pathsep.join(prefixes))
    return tmp_path


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda path: path.name.split(".")[0])
def test_every_argument_is_described(path: Path) -> None:
    description = load(path.name.split(".")[0])
    arguments = {argument.name: argument for argument in description.get_launch_arguments()}
    assert {"namespace", "log_level", "respawn", "fastdds_profile"} <= set(arguments)
    assert all(len(argument.description) > 10 for argument in arguments.values())
    if "cameras_file" not in arguments:
        assert set(PARAMETERS) <= set(arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "topics"),
    [
        (
            "realsense",
            {},
            "camera/camera/color/image_raw camera/camera/aligned_depth_to_color/image_raw",
        ),
        ("azure_kinect", {}, "rgb/image_raw depth_to_rgb/image_raw"),
        (
            "azure_kinect",
            {"camera_namespace": "/k4a"},
            "/k4a/rgb/image_raw /k4a/depth_to_rgb/image_raw",
        ),
        ("orbbec", {}, "camera/color/image_raw camera/depth/image_raw"),
        (
            "replay",
            {},
            "camera/camera/color/image_raw camera/camera/aligned_depth_to_color/image_raw",
        ),
    ],
)
def test_launch_file_connects_the_node(name: str, arguments: dict[str, str], topics: str) -> None:
    nodes, _ = started(name, namespace="left", **arguments)
    color, depth = topics.split()
    remappings = dict(nodes["/left/matting_node"].remappings)
    assert remappings.pop("rgbd", "camera/camera/rgbd") == "camera/camera/rgbd"
    assert remappings == {
        "color/image_raw": color,
        "color/camera_info": color.replace("image_raw", "camera_info"),
        "depth/image_raw": depth,
    }
    assert ("/left/replay_node" in nodes) == (name == "replay")


@pytest.mark.parametrize("name", ONE_CAMERA)
def test_every_parameter_of_the_node_comes_with_its_type(name: str) -> None:
    texts = {
        "threads": ("1", 1),
        "max_depth": ("6", 6.0),
        "sync_slop": ("1", 1.0),
        "refine_fraction": ("0.5", 0.5),
        "autostart": ("false", False),
        "scene": ("5", "5"),
        "backend": ("onnxruntime", "onnxruntime"),
        "composite_color": ("[0, 0, 255]", (0, 0, 255)),
        "use_sim_time": ("true", True),
    }
    nodes, _ = started(name, **{argument: text for argument, (text, _) in texts.items()})
    given = nodes["/matting_node"].parameters
    for argument, (_, value) in texts.items():
        assert type(given[argument]) is type(value) and given[argument] == value, argument


def test_arguments_of_a_replay_come_with_their_types() -> None:
    """`empty_seconds:=20.0` and its like ended the launch."""
    nodes, _ = started(
        "replay", empty_seconds="20.0", rate="10", loop="true", bag_empty_seconds="3.0"
    )
    given = nodes["/replay_node"].parameters
    assert given == {"empty_seconds": 20.0, "rate": 10.0, "loop": True, "bag_empty_seconds": 3.0}
    assert [type(value) for value in given.values()] == [float, float, bool, float]


def test_the_page_and_the_virtual_camera_are_started_when_asked_for() -> None:
    nodes, _ = started("realsense", namespace="left")
    assert set(nodes) == {"/left/matting_node"}
    nodes, _ = started(
        "realsense",
        namespace="left",
        operator="true",
        operator_port="8100",
        operator_token="123456789012",
        virtual_camera="/dev/video7",
    )
    (page,) = (node for name, node in nodes.items() if "matting" not in name and "left" not in name)
    expected = {"host": "127.0.0.1", "port": 8100, "token": "123456789012"}
    assert page.parameters == expected and type(page.parameters["port"]) is int
    (camera,) = (node for name, node in nodes.items() if node.parameters.get("device"))
    assert camera.parameters == {"device": "/dev/video7"}


@pytest.mark.parametrize(
    ("argument", "text", "message"),
    [
        ("recording", "/does/not/exist", "recording '/does/not/exist' does not exist"),
        ("rate", "fast", "rate:=fast is no number"),
        ("threads", "two", "threads:=two is no whole number"),
        ("max_depth", "600", "max_depth:=600 is too large"),
        ("respawn_delay", "0", "respawn_delay:=0 is too small"),
        ("params_file", "/absent.yaml", "does not exist; name a YAML file"),
        ("fastdds_profile", "/absent.xml", "does not exist; name an XML file"),
    ],
)
def test_wrong_arguments_end_the_launch_before_anything_starts(
    argument: str, text: str, message: str
) -> None:
    with pytest.raises((RuntimeError, ValueError), match=message):
        started("replay", **{argument: text})


@pytest.mark.parametrize(
    ("name", "depth", "info", "color_info", "off"),
    [
        (
            "realsense",
            "camera/camera/depth/image_rect_raw",
            "camera/camera/depth/camera_info",
            "camera/camera/color/camera_info",
            {"align_depth.enable": "false"},
        ),
        ("azure_kinect", "depth/image_raw", "depth/camera_info", "rgb/camera_info", {}),
        (
            "orbbec",
            "camera/depth/image_raw",
            "camera/depth/camera_info",
            "camera/color/camera_info",
            {"depth_registration": "false"},
        ),
    ],
)
def test_depth_is_registered_on_the_way(
    packages: Path, name: str, depth: str, info: str, color_info: str, off: dict[str, str]
) -> None:
    nodes, drivers = started(name, register_depth="true", start_camera="true", namespace="left")
    register = nodes["/left/register_depth"]
    assert register.remappings == {
        "depth/image_rect": depth,
        "depth/camera_info": info,
        "rgb/camera_info": color_info,
    }
    assert register.parameters == {"use_rgb_timestamp": True, "fill_upsampling_holes": True}
    node = nodes["/left/matting_node"]
    assert node.remappings["depth/image_raw"] == "depth_registered/image_rect"
    assert node.remappings["color/camera_info"] == color_info
    (driver,) = drivers
    assert off.items() <= driver.items()


def test_drivers_follow_the_transport_that_is_asked_for(packages: Path) -> None:
    _, (driver,) = started("azure_kinect", image_transport="compressed", start_camera="true")
    assert driver["color_format"] == "jpeg"
    nodes, (driver,) = started("realsense", rgbd="true", start_camera="true")
    assert driver["enable_rgbd"] == "true"
    assert nodes["/matting_node"].parameters["rgbd"] is True


def test_the_node_knows_the_serial_number_that_its_driver_gets(packages: Path) -> None:
    nodes, _ = started("realsense", serial_no="_831612073525", start_camera="true")
    assert nodes["/matting_node"].parameters["camera_serial"] == "831612073525"
    nodes, _ = started("orbbec", serial_number="A1", camera_serial="B2", start_camera="true")
    assert nodes["/matting_node"].parameters["camera_serial"] == "B2"


def test_missing_packages_are_told_with_their_remedy() -> None:
    with pytest.raises(RuntimeError, match=r"apt install ros-.*-depth-image-proc"):
        started("realsense", register_depth="true")
    with pytest.raises(RuntimeError, match=r"apt install ros-.*-realsense2-camera"):
        started("realsense", start_camera="true")


def test_another_camera_model_is_told_which_there_are(packages: Path) -> None:
    with pytest.raises(RuntimeError, match=r"no launch file 'femto\.launch\.py'; it has femto_b"):
        started("orbbec", start_camera="true", camera_model="femto")


def test_several_cameras_of_all_families(packages: Path, tmp_path: Path) -> None:
    file = tmp_path / "cameras.yaml"
    file.write_text(
        """
cameras:
  - {name: left, family: realsense, serial: 831612073525, max_depth: 4, register_depth: true}
  - {name: right, family: azure_kinect, serial: "000123", scene: 5}
  - {name: top, family: orbbec, driver: {color_fps: 15}, autostart: false}
  - {name: tape, family: replay, empty_seconds: 20, loop: false}
""",
        encoding="utf-8",
    )
    nodes, drivers = started(
        "several", cameras_file=str(file), start_camera="true", namespace="robot"
    )
    matting = {name: nodes[f"/robot/{name}/matting_node"] for name in ("left", "right", "top")}
    assert set(nodes) == {
        "/robot/left/matting_node",
        "/robot/left/register_depth",
        "/robot/right/matting_node",
        "/robot/top/matting_node",
        "/robot/tape/matting_node",
        "/robot/tape/replay_node",
    }
    assert matting["left"].parameters["max_depth"] == 4.0
    # A scene of another camera is refused by its serial number.
    assert matting["left"].parameters["camera_serial"] == "831612073525"
    assert matting["right"].parameters["camera_serial"] == "000123"
    assert matting["left"].remappings["color/image_raw"] == "camera/left/color/image_raw"
    assert matting["right"].parameters["scene"] == "5"
    assert matting["right"].remappings["depth/image_raw"] == "depth_to_rgb/image_raw"
    assert matting["top"].parameters["autostart"] is False
    share = max(1, len(os.sched_getaffinity(0)) // 4)
    assert all(node.parameters["threads"] == share for node in matting.values())
    assert nodes["/robot/tape/replay_node"].parameters == {"empty_seconds": 20.0, "loop": False}
    assert drivers[0]["serial_no"] == "_831612073525" and drivers[0]["camera_name"] == "left"
    assert drivers[1]["sensor_sn"] == "000123"
    assert drivers[2]["color_fps"] == "15"


def run(
    folder: Path, launch_file: str, *given: str, **nodes: str
) -> subprocess.CompletedProcess[str]:
    """Launch a file with scripts in place of the package's nodes."""
    package(folder, "dart_ros", **{"matting_node": RECORD, "replay_node": RECORD, **nodes})
    (folder / "share" / "dart_ros" / "config").symlink_to(ROOT / "config")
    records = folder / "records"
    records.mkdir()
    return subprocess.run(
        [sys.executable, "-c", LAUNCH, launch_file, *given],
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
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
    )


@dataclass(frozen=True)
class Process:
    """The arguments and the environment of a process."""

    arguments: list[str]
    environment: list[str]


def launched(folder: Path, actions: str = "", **arguments: str) -> dict[str, Process]:
    """Launch realsense.launch.py with its driver after some actions; return what was started."""
    package(folder, "realsense2_camera", rs_launch=DRIVER, camera=RECORD)
    bringup = folder / "bringup.launch.py"
    arguments = {
        "start_camera": "true",
        "serial_no": "'12'",
        "respawn": "false",
        **arguments,
    }
    path = str(ROOT / "launch" / "realsense.launch.py")
    bringup.write_text(BRINGUP.format(actions=actions, path=path, arguments=arguments))
    done = run(folder, str(bringup), matting_node=RECORD + AFTER_DRIVER + "exit 0\n")
    assert "respawn is off" in done.stdout, done.stdout
    return {
        path.stem: Process(
            path.read_text(encoding="utf-8").splitlines(),
            path.with_suffix(".environment").read_text(encoding="utf-8").splitlines(),
        )
        for path in (folder / "records").glob("*.arguments")
    }


def test_driver_shares_what_a_bringup_sets(tmp_path: Path) -> None:
    (tmp_path / "all.yaml").write_text("/**: {ros__parameters: {from_file: 1}}\n")
    processes = launched(
        tmp_path,
        "SetEnvironmentVariable('ROS_DOMAIN_ID', '7'), SetParameter('use_sim_time', True),"
        "SetParametersFromFile('all.yaml'), SetRemap('/tf', 'tf'), PushRosNamespace('robot'),",
        namespace="left",
    )
    assert set(processes) == {"matting_node", "camera"}
    for name, namespace in (("matting_node", "/robot/left"), ("camera", "/robot/left/camera")):
        assert "ROS_DOMAIN_ID=7" in processes[name].environment
        given = processes[name].arguments
        assert f"__ns:={namespace}" in given
        assert {"use_sim_time:=True", "/tf:=tf", str(tmp_path / "all.yaml")} <= set(given)


def test_driver_gets_its_own_arguments_alone(tmp_path: Path) -> None:
    overridden = {"align_depth.enable": "false"}
    processes = launched(tmp_path, log_level="debug", camera_name="front", **overridden)
    values = dict(text.split("=") for text in processes["camera"].arguments[:5])
    assert values == {
        "camera_namespace": "camera",
        "camera_name": "front",
        "align_depth.enable": "false",
        "serial_no": "'12'",
        "log_level": "own",
    }
    assert "matting_node:=debug" in processes["matting_node"].arguments


REPLAY = str(ROOT / "launch" / "replay.launch.py")
WAIT = "#!/bin/sh\nexec sleep 600\n"


def test_a_node_that_crashes_is_started_again_until_it_is_too_often(tmp_path: Path) -> None:
    always = "#!/bin/sh\necho start >> $RECORDS/starts\nkill -9 $$\n"
    done = run(tmp_path, REPLAY, "respawn_delay:=0.1", matting_node=always, replay_node=WAIT)
    assert done.returncode == 1
    assert "matting_node ended by signal 9, the 6th time within 60 s." in done.stdout
    assert (tmp_path / "records" / "starts").read_text().count("start") == 6


def test_a_node_that_is_refused_ends_the_launch(tmp_path: Path) -> None:
    done = run(tmp_path, REPLAY, matting_node="#!/bin/sh\nexit 1\n", replay_node=WAIT)
    assert done.returncode == 1
    assert "matting_node ended with exit code 1 right after its start" in done.stdout


def test_a_recording_that_cannot_be_played_ends_the_launch(tmp_path: Path) -> None:
    done = run(tmp_path, REPLAY, matting_node=WAIT, replay_node="#!/bin/sh\nexit 1\n")
    assert done.returncode == 1
    assert "replay_node could not play the recording" in done.stdout


def test_arguments_that_nobody_takes_are_told(tmp_path: Path) -> None:
    ends = "#!/bin/sh\nexit 1\n"
    done = run(tmp_path, REPLAY, "empty_second:=5", matting_node=ends, replay_node=WAIT)
    assert "'empty_second' is not known" in done.stdout
    assert "did you mean 'empty_seconds'?" in done.stdout


def test_arguments_for_the_driver_are_known_with_it(tmp_path: Path) -> None:
    package(tmp_path, "realsense2_camera", rs_launch=DRIVER, camera=RECORD)
    path = str(ROOT / "launch" / "realsense.launch.py")
    given = ("start_camera:=true", "serial_no:=_12", "align_dept.enable:=true")
    done = run(tmp_path, path, *given, matting_node="#!/bin/sh\n" + AFTER_DRIVER + "exit 1\n")
    told = done.stdout
    assert (
        "'align_dept.enable' is not known" in told and "did you mean 'align_depth.enable'" in told
    )
    assert "'serial_no'" not in told
    assert "serial_no=_12" in (tmp_path / "records" / "camera.arguments").read_text()


def test_arguments_for_a_driver_that_is_not_started_are_told(tmp_path: Path) -> None:
    path = str(ROOT / "launch" / "realsense.launch.py")
    done = run(tmp_path, path, "serial_no:=_12", matting_node="#!/bin/sh\nexit 1\n")
    assert "start_camera:=true passes it on to realsense2_camera" in done.stdout

"""The package around the code: manifest, build files, parameters, launch files, profiles."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import runpy
import signal
import subprocess
import sys
import sysconfig
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import yaml

import dart_ros

ROOT = Path(__file__).resolve().parents[1]
MANIFEST = ElementTree.parse(ROOT / "package.xml").getroot()
PARAMETER_FILES = sorted(
    ROOT / "config" / f"{source}.yaml"
    for source in ("azure_kinect", "orbbec", "realsense", "replay")
)

# rosdep keys of modules whose names differ, and pip names likewise.
ROSDEP_KEYS = {
    "aiohttp": "python3-aiohttp",
    "cv2": "python3-opencv",
    "numpy": "python3-numpy",
    "tqdm": "python3-tqdm",
    "yaml": "python3-yaml",
}
PIP_NAMES = {"cv2": "opencv-python", "PIL": "pillow", "rerun": "rerun-sdk", "yaml": "pyyaml"}
# Python modules that come with ROS and not from PyPI.
ROS_MODULES = {
    "action_msgs",
    "ament_index_python",
    "builtin_interfaces",
    "diagnostic_msgs",
    "geometry_msgs",
    "launch",
    "launch_ros",
    "lifecycle_msgs",
    "rcl_interfaces",
    "rclpy",
    "realsense2_camera_msgs",
    "sensor_msgs",
    "std_msgs",
    "std_srvs",
}
# No rosdep key exists, or a headless robot does without them: torch fits and trains, cv_bridge
# converts encodings that ours doesn't, the others serve single commands at a desk.
NOT_BY_ROSDEP = {
    "onnx",
    "torch",
    "scipy",
    "pyrealsense2",
    "pyk4a",
    "cv_bridge",
    "BackgroundMattingV2",
    "PIL",
    "kornia",
    "matplotlib",
    "meshopt",
    "moderngl",
    "openvino",
    "rerun",
    "rosbags",
    "safetensors",
    "tensorrt",
    "pymatting",
    "pyvirtualcam",
    "realsense2_camera_msgs",
    "transformers",
    "onnxruntime",
}


def imported_modules(folder: Path) -> set[str]:
    """Return the top-level names of all modules that the Python files of a folder import."""
    names: set[str] = set()
    for path in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names.update(alias.name.split(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                names.add(node.module.split(".")[0])
    return names - set(sys.stdlib_module_names) - {"dart_ros"}


def setup_arguments() -> dict[str, Any]:
    """Return what setup.py hands to setuptools."""
    with mock.patch("setuptools.setup") as setup:
        runpy.run_path(str(ROOT / "setup.py"))
    arguments: dict[str, Any] = setup.call_args.kwargs
    return arguments


def pip_names(requirements: list[str]) -> set[str]:
    return {re.split(r"[<>=!~ ]", requirement)[0] for requirement in requirements}


def dependencies(*tags: str) -> list[str]:
    return [element.text or "" for tag in tags for element in MANIFEST.findall(tag)]


def test_manifest_is_format_3_with_what_it_requires() -> None:
    assert MANIFEST.get("format") == "3"
    for tag in ("name", "version", "description", "maintainer", "license"):
        assert (MANIFEST.findtext(tag) or "").strip(), tag
    assert MANIFEST.findtext("export/build_type") == "ament_cmake"
    assert "rosidl_interface_packages" in dependencies("member_of_group")
    listed = dependencies("depend", "exec_depend")
    assert len(listed) == len(set(listed))


def test_placeholders_of_a_release_are_these() -> None:
    """Whoever releases the package fills them in (CONTRIBUTING.md) and empties this list."""
    urls = {url.get("type"): url.text or "" for url in MANIFEST.findall("url")}
    assert set(urls) == {"website", "repository", "bugtracker"}
    (maintainer,) = MANIFEST.findall("maintainer")
    values = {**urls, "maintainer": maintainer.get("email", "")}
    placeholders = {name for name, value in values.items() if ".example" in value}
    assert placeholders == {"repository", "bugtracker", "maintainer"}
    releasing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert all(values[name] in releasing for name in placeholders)


def test_version_is_one() -> None:
    version = MANIFEST.findtext("version")
    assert dart_ros.__version__ == version
    assert setup_arguments()["version"] == version
    assert f"\n{version} (" in (ROOT / "CHANGELOG.rst").read_text(encoding="utf-8")


def test_rosdep_keys_are_those_of_the_imports() -> None:
    used = imported_modules(ROOT / "dart_ros") | imported_modules(ROOT / "launch")
    needed = {ROSDEP_KEYS.get(name, name) for name in used - NOT_BY_ROSDEP}
    not_imported = {"rosidl_default_runtime", "geometry_msgs"}  # the latter by our interfaces
    assert set(dependencies("depend", "exec_depend")) - not_imported == needed


def test_every_import_is_declared_for_pip() -> None:
    arguments = setup_arguments()
    declared = pip_names(arguments["install_requires"])
    for extra in arguments["extras_require"].values():
        declared |= pip_names(extra)
    used = imported_modules(ROOT / "dart_ros") - ROS_MODULES
    assert {PIP_NAMES.get(name, name) for name in used} <= declared


def canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_lines(file: str) -> list[str]:
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8")
    return [found for line in text.splitlines() if (found := line.split("#")[0].strip())]


def pins() -> dict[str, set[str]]:
    """Return the versions that the lock allows, by name."""
    found: dict[str, set[str]] = {}
    for line in requirement_lines("lock.txt"):
        name, version = line.split(";")[0].strip().split("==")
        found.setdefault(canonical(name), set()).add(version)
    return found


def test_every_requirement_is_pinned_and_in_one_set() -> None:
    sets = [path for path in (ROOT / "requirements").glob("*.txt") if path.name != "lock.txt"]
    assert {path.stem for path in sets} == {"run", "fit", "train", "test", "ros"}
    named = [canonical(name) for path in sets for name in requirement_lines(path.name)]
    assert len(named) == len(set(named))
    assert set(named) <= set(pins())


def test_run_time_needs_no_torch() -> None:
    run = {canonical(name) for name in requirement_lines("run.txt")}
    assert not run & {"torch", "kornia", "tensorboard", "scipy"}


@pytest.mark.skipif(
    not Path(sys.prefix, "requirements.key").exists(), reason="not the environment of `make`"
)
def test_the_lock_pins_all_that_is_installed() -> None:
    allowed = pins()
    for distribution in importlib.metadata.distributions(path=[sysconfig.get_path("purelib")]):
        name = canonical(distribution.metadata["Name"])
        # The ROS wheels hold packages of their own, which pip hasn't installed.
        if name not in ("pip", "dart-ros") and distribution.read_text("INSTALLER"):
            version = distribution.version.split("+")[0]
            assert version in allowed.get(name, set()), f"{name} {version}"


def test_an_ordinary_index_adds_nothing_unpinned() -> None:
    """There torch is built for CUDA; this is what its metadata asks for, and that of those."""
    cuda = (
        "cublas cuda-cupti cuda-nvrtc cuda-runtime cudnn-cu13 cufft cufile curand cusolver cusparse"
    )
    more = "cusparselt-cu13 nccl-cu13 nvjitlink nvshmem-cu13 nvtx"
    needed = {f"nvidia-{name}" for name in f"{cuda} {more}".split()}
    assert needed | {"cuda-bindings", "cuda-pathfinder", "cuda-toolkit", "triton"} <= set(pins())


def test_every_folder_with_modules_is_a_package() -> None:
    """Otherwise setuptools would leave it out."""
    for path in (ROOT / "dart_ros").rglob("*.py"):
        assert (path.parent / "__init__.py").exists(), path.parent


def test_every_interface_is_built() -> None:
    text = (ROOT / "CMakeLists.txt").read_text()
    built = re.findall(r"^\s+((?:action|msg|srv)/\w+\.\w+)$", text, re.M)
    folders = ("action", "msg", "srv")
    there = [f"{folder}/{path.name}" for folder in folders for path in ROOT.glob(f"{folder}/*.*")]
    assert sorted(built) == sorted(there)


def test_every_installed_executable_has_its_main() -> None:
    text = (ROOT / "CMakeLists.txt").read_text(encoding="utf-8")
    modules = re.findall(r"^install_executable\(\S+ (\S+) ", text, re.M)
    assert "dart_ros.node.matting_node" in modules
    for module in modules:
        source = ROOT.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8")
        functions = [n.name for n in ast.parse(source).body if isinstance(n, ast.FunctionDef)]
        assert "main" in functions, module


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda path: path.stem)
def test_camera_parameters_are_declared_and_accepted(path: Path) -> None:
    pytest.importorskip("rclpy", reason="needs ROS")
    from dart_ros.node.parameter_table import PARAMETERS

    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert list(content) == ["/**/matting_node"]
    values = content["/**/matting_node"]["ros__parameters"]
    assert values
    for name, value in values.items():
        declared = PARAMETERS[name]
        assert type(value) is type(declared.default), name
        if declared.high is not None:
            assert (declared.low or 0) <= value <= declared.high, name


def test_rviz_shows_outputs_that_can_be_seen() -> None:
    config = yaml.safe_load((ROOT / "config" / "dart.rviz").read_text(encoding="utf-8"))
    manager = config["Visualization Manager"]
    assert manager["Global Options"]["Fixed Frame"] == "camera_color_optical_frame"
    shown = {display["Topic"]["Value"]: display for display in manager["Displays"]}
    names = ("alpha", "trimap", "foreground", "composite", "points")
    assert set(shown) == {f"/matting_node/{name}" for name in names}
    for display in shown.values():
        assert display["Enabled"]
        assert set(display["Topic"]) >= {
            "Depth",
            "Durability Policy",
            "History Policy",
            "Reliability Policy",
        }


def test_fastdds_profile_makes_a_large_shared_segment(tmp_path: Path) -> None:
    """A real participant under the profile maps a segment of the size that it names."""
    pytest.importorskip("rclpy", reason="needs ROS")
    profile = ROOT / "config" / "fastdds.xml"
    spaces = {"dds": "http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles"}
    sizes = ElementTree.parse(profile).getroot().findall(".//dds:segment_size", spaces)
    assert [int(size.text or 0) for size in sizes] == [32 << 20]

    script = (
        "import rclpy\n"
        "rclpy.init()\n"
        "node = rclpy.create_node('segment_probe')\n"
        "print(open('/proc/self/maps').read())\n"
        "rclpy.shutdown()\n"
    )
    environment = {
        **os.environ,
        "RMW_IMPLEMENTATION": "rmw_fastrtps_cpp",
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
    }
    maps = subprocess.run(
        [sys.executable, "-c", script],
        env=environment,
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    ).stdout
    mapped = re.findall(r"^([0-9a-f]+)-([0-9a-f]+) .*/dev/shm/fast\w+_[0-9a-f]+$", maps, re.M)
    assert max(int(end, 16) - int(start, 16) for start, end in mapped) >= 32 << 20


@pytest.mark.parametrize("status", [0, 130])
def test_interrupted_imports_leave_no_traceback(tmp_path: Path, status: int) -> None:
    (tmp_path / "slow.py").write_text(
        "import pathlib, time\npathlib.Path('importing').touch()\ntime.sleep(600)\n"
    )
    template = (ROOT / "scripts" / "executable.py.in").read_text(encoding="utf-8")
    script = template.replace("@MODULE@", "slow").replace("@INTERRUPTED@", str(status))
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        # A shell starts what runs in its background with SIGINT ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 60
    while not (tmp_path / "importing").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (status, b"")

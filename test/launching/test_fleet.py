"""The YAML file of several cameras: what it gives each, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from dart_ros.launching.cameras import FAMILIES, ORBBEC, REALSENSE
from dart_ros.launching.fleet import FleetCamera, read_fleet

ROOT = Path(__file__).resolve().parents[2]
KNOWN = {
    family: {"threads", "scene", "max_depth", "loop", "register_depth"}
    | {argument.name for argument in source.arguments}
    for family, source in FAMILIES.items()
}


def read(folder: Path, text: str, cores: int = 8) -> list[FleetCamera]:
    file = folder / "cameras.yaml"
    file.write_text(text, encoding="utf-8")
    return read_fleet(file, KNOWN, cores)


def test_three_families_share_the_cores(tmp_path: Path) -> None:
    cameras = read(
        tmp_path,
        """
cameras:
  - {name: left, family: realsense, serial: 831612073525, preset: /etc/high.json, max_depth: 4}
  - {name: right, family: azure_kinect, serial: "000123", driver: {fps: 15, imu: true}}
  - {name: top, family: orbbec, serial: AB12, camera_model: femto_mega, preset: Default, threads: 1}
""",
    )
    left, right, top = cameras
    assert [camera.name for camera in cameras] == ["left", "right", "top"]
    assert left.source is REALSENSE and top.source is ORBBEC
    assert left.arguments == {"camera_name": "left", "threads": "2", "max_depth": "4"}
    # All digits, launch would make a number of it.
    assert left.driver == {"serial_no": "_831612073525", "json_file_path": "/etc/high.json"}
    assert right.arguments == {"threads": "2"}
    assert right.driver == {"sensor_sn": "000123", "fps": "15", "imu": "true"}
    assert top.arguments == {"camera_name": "top", "camera_model": "femto_mega", "threads": "1"}
    assert top.driver == {"serial_number": "AB12", "device_preset": "Default"}


def test_every_camera_has_a_core_at_least(tmp_path: Path) -> None:
    listed = "".join(f"  - {{name: c{number}, family: replay}}\n" for number in range(5))
    cameras = read(tmp_path, f"cameras:\n{listed}", cores=2)
    assert {camera.arguments["threads"] for camera in cameras} == {"1"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold one list 'cameras'"),
        ("cameras: {}", "must hold one list 'cameras'"),
        ("cameras: []", "must hold one list 'cameras'"),
        ("cameras: [{name: a, family: replay}]\nextra: 1", "and nothing else"),
        ("cameras: [a]", "camera 1 of .* is no mapping"),
        ("cameras: [{family: replay}]", "name is None"),
        ("cameras: [{name: 5, family: replay}]", "name is 5"),
        ("cameras: [{name: a/b, family: replay}]", "name is 'a/b'"),
        ("cameras: [{name: a, family: kinect}]", "family is 'kinect'; give one of realsense"),
        ("cameras: [{name: a, family: [x]}]", r"family is \['x'\]"),
        (
            "cameras: [{name: a, family: replay}, {name: a, family: replay}]",
            "two cameras .* are named 'a'",
        ),
        ("cameras: [{name: a, family: replay, lop: true}]", "'lop' .*; did you mean loop?"),
        ("cameras: [{name: a, family: replay, serial: 1}]", "has no driver, serial or preset"),
        ("cameras: [{name: a, family: azure_kinect, preset: x}]", "has no presets"),
        ("cameras: [{name: a, family: realsense, driver: fast}]", "driver is no mapping"),
        ("cameras: [{name: a, family: realsense, scene: {b: 1}}]", "'scene' needs a value"),
        ("cameras: [{", "can't be read"),
    ],
)
def test_what_is_wrong_is_told_by_camera(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(tmp_path, text)


def test_a_missing_or_binary_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="can't be read"):
        read_fleet(tmp_path / "absent.yaml", KNOWN)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="can't be read"):
        read_fleet(tmp_path / "binary.yaml", KNOWN)


@pytest.mark.parametrize("path", sorted((ROOT / "config" / "cameras").glob("*.yaml")), ids=str)
def test_examples_that_ship_are_right(path: Path) -> None:
    known = {family: names | {"empty_seconds", "rate"} for family, names in KNOWN.items()}
    assert len(read_fleet(path, known)) == 2

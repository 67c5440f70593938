"""Several cameras from one YAML file."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from dart_ros.launching.cameras import FAMILIES, Source
from dart_ros.launching.values import as_text

# Keys of a camera beside the launch arguments of its family.
_OWN = ("name", "family", "serial", "preset", "driver")


@dataclass(frozen=True)
class FleetCamera:
    """One camera of several.

    Attributes:
        name: namespace of its nodes and, where the driver has such an argument, its camera_name.
        source: the family's topics and driver.
        arguments: launch arguments of the family's launch file, as texts.
        driver: further arguments of the driver's launch file, as texts.
    """

    name: str
    source: Source
    arguments: Mapping[str, str]
    driver: Mapping[str, str]


def read_fleet(
    path: Path, known: Mapping[str, Collection[str]], cores: int | None = None
) -> list[FleetCamera]:
    """Read the cameras that a YAML file lists.

    The CPU cores are shared out: a camera that names no ``threads`` gets as many as there are
    cores for each.

    Args:
        path: the file; ``docs/robot.md`` describes it.
        known: the launch arguments of each family.
        cores: CPU cores of this machine; None: asked for.

    Raises:
        ValueError: if it can't be read, or something in it is unknown; the message says what.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"cameras_file '{path}' can't be read: {error}") from error
    listed = content.get("cameras") if isinstance(content, dict) else None
    if not isinstance(listed, list) or not listed or set(content) != {"cameras"}:
        raise ValueError(f"cameras_file '{path}' must hold one list 'cameras' and nothing else.")
    if cores is None:
        cores = len(os.sched_getaffinity(0))
    share = max(1, cores // len(listed))
    cameras: list[FleetCamera] = []
    for number, entry in enumerate(listed, 1):
        camera = _camera(entry, f"camera {number} of '{path}'", known, str(share))
        if camera.name in {other.name for other in cameras}:
            raise ValueError(f"two cameras of '{path}' are named '{camera.name}'; names differ.")
        cameras.append(camera)
    return cameras


def _camera(
    entry: Any, where: str, known: Mapping[str, Collection[str]], threads: str
) -> FleetCamera:
    if not isinstance(entry, dict):
        raise ValueError(f"{where} is no mapping with name and family.")
    name, family = entry.get("name"), entry.get("family")
    if not isinstance(name, str) or not re.fullmatch(r"[a-zA-Z]\w*", name, re.ASCII):
        raise ValueError(
            f"{where}: name is {name!r}; give letters, digits and underscores, such as left."
        )
    if not isinstance(family, str) or family not in FAMILIES:
        raise ValueError(f"{where}: family is {family!r}; give one of {', '.join(FAMILIES)}.")
    source, arguments = FAMILIES[family], known[family]
    for key, value in entry.items():
        if key in _OWN:
            continue
        if key not in arguments:
            alike = difflib.get_close_matches(str(key), [*_OWN, *arguments], 1)
            advice = f"; did you mean {alike[0]}?" if alike else "."
            raise ValueError(f"{where}: '{key}' is no argument of {family}.launch.py{advice}")
        if isinstance(value, dict) or value is None:
            raise ValueError(f"{where}: '{key}' needs a value that is no mapping.")
    given = {key: as_text(value) for key, value in entry.items() if key not in _OWN}
    names = {argument.name for argument in source.arguments}
    defaults = {"camera_name": name} if "camera_name" in names else {}
    if "threads" in arguments:
        defaults["threads"] = threads
    if "serial" in entry and "camera_serial" in arguments:
        defaults["camera_serial"] = str(entry["serial"])
    return FleetCamera(name, source, {**defaults, **given}, _driver(entry, source, where))


def _driver(entry: Mapping[str, Any], source: Source, where: str) -> dict[str, str]:
    further = entry.get("driver", {})
    wanted = {key: str(entry[key]) for key in ("serial", "preset") if key in entry}
    if not isinstance(further, dict):
        raise ValueError(f"{where}: driver is no mapping of arguments of the driver's launch file.")
    driver = source.driver
    if driver is None:
        if wanted or further:
            raise ValueError(f"{where}: a recording has no driver, serial or preset.")
        return {}
    arguments = {str(key): as_text(value) for key, value in further.items()}
    if serial := wanted.get("serial"):
        arguments[driver.serial] = driver.digits.format(serial) if serial.isdigit() else serial
    if preset := wanted.get("preset"):
        if not driver.preset:
            raise ValueError(
                f"{where}: {driver.package} has no presets; set what you want by driver: {{...}}."
            )
        arguments[driver.preset] = preset
    return arguments

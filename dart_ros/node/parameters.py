"""The node's parameters: declared, described, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from dart_ros.files import read_regular
from dart_ros.node.parameter_table import PARAMETERS, ParameterSpec
from dart_ros.picture_files import picture_size
from dart_ros.postmatting import NAMES as POST_MATTINGS
from dart_ros.printable import printable
from dart_ros.runtime.engine import BACKENDS
from dart_ros.session.scene import is_plain_name

LARGEST_PICTURE = 100_000_000
"""Bytes of a file that composite_image names, at most."""

_MOST_PIXELS = 50_000_000  # of that picture
_CHOICES = {
    "backend": ("auto", *BACKENDS),
    "post_matting": POST_MATTINGS,
    "image_transport": ("raw", "compressed"),
    "depth_image_transport": ("raw", "compressedDepth", "compressed"),
}


def descriptor(name: str, spec: ParameterSpec) -> ParameterDescriptor:
    """Return what ``ros2 param describe`` shows of a parameter, with its range."""
    made = ParameterDescriptor(
        description=spec.description,
        read_only=spec.read_only,
        additional_constraints=_choice_of(name) if name in _CHOICES else spec.constraints,
        # So that 6 for 6.0 gets here; _typed() checks the types.
        dynamic_typing=True,
    )
    if isinstance(spec.default, float):
        made.floating_point_range = [
            FloatingPointRange(from_value=float(spec.low or 0), to_value=float(spec.high or 0))
        ]
    elif isinstance(spec.default, int) and spec.high is not None:
        made.integer_range = [
            IntegerRange(from_value=int(spec.low or 0), to_value=int(spec.high), step=1)
        ]
    return made


def _choice_of(name: str) -> str:
    return f"one of {', '.join(_CHOICES[name])}"


@dataclass(frozen=True, eq=False)
class Settings:
    """Values of all parameters (see :data:`PARAMETERS`), checked."""

    scenes_dir: str
    scene: str
    camera_serial: str
    autostart: bool
    backend: str
    threads: int
    refine_fraction: float
    max_depth: float
    depth_noise_absolute: float
    depth_noise_relative: float
    depth_noise_quadratic: float
    capture_scene: str
    capture_frames: int
    capture_timeout: float
    compensate_motion: float
    learn_background: bool
    learn_seconds: float
    absorb_seconds: float
    absorb_persons_size: bool
    save_learned_seconds: float
    ready_scenes: int
    fit_seconds: float
    fit_foregrounds: str
    fit_teacher: str
    sync_slop: float
    sync_wait: float
    depth_time_offset: float
    depth_is_aligned: bool
    image_transport: str
    depth_image_transport: str
    rgbd: bool
    composite_color: tuple[int, int, int]
    composite_image: str
    composite_blur: float
    composite_light_wrap: float
    composite_clean_edges: bool
    jpeg_quality: int
    stills_dir: str
    post_matting_weights: str
    post_matting: str

    @classmethod
    def defaults(cls) -> Settings:
        """Return the settings of a node that was given no parameters."""
        # Where there is no home folder, only those who don't name a scenes_dir are told.
        values = {name: parameter.default for name, parameter in PARAMETERS.items()}
        folders = ("scenes_dir", "stills_dir")
        checked = {k: _checked(k, v) for k, v in values.items() if k not in folders}
        return cls(**{**values, **checked})

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """Return these settings with some values changed; names that aren't ours are ignored.

        Raises:
            ValueError: if a value is refused; the text gives the reason.
        """
        known = {field.name for field in fields(self)} & PARAMETERS.keys()
        changes = {k: _checked(k, v) for k, v in values.items() if k in known}
        after = replace(self, **changes)
        if after.post_matting == "vitmatte" and not after.post_matting_weights:
            raise ValueError(
                "post_matting vitmatte needs weights; set post_matting_weights to their folder "
                "first, or use closed-form"
            )
        return after


_KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}


def _typed(name: str, value: Any) -> Any:
    """A value in its parameter's type and range.

    Whole numbers are taken for numbers and for texts, since YAML and ``ros2 param set`` make one of
    ``max_depth:=6`` and ``scene:=5``.

    Raises:
        ValueError: if it is of another type, or out of range.
    """
    parameter = PARAMETERS[name]
    default, shown = parameter.default, printable(str(value), 80)
    if type(value) is int and isinstance(default, (float, str)):
        value = type(default)(value)
    if isinstance(default, list):
        if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
            raise ValueError(f"{name} is a list such as {default}, not {shown}")
        return value
    if type(value) is not type(default):
        hint = f"; quote it: {name}:=\"'{shown}'\"" if isinstance(default, str) else ""
        raise ValueError(f"{name} is {_KINDS[type(default)]}, not {shown}{hint}")
    if parameter.high is not None and not parameter.low <= value <= parameter.high:
        raise ValueError(
            f"{name} {shown} is out of range; use {parameter.low:g} to {parameter.high:g}"
        )
    return value


def _checked(name: str, value: Any) -> Any:
    value = _typed(name, value)
    shown = printable(str(value), 80)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"{name} '{shown}' is unknown; use {_choice_of(name)}")
    if name == "rgbd" and value and find_spec("realsense2_camera_msgs") is None:
        raise ValueError(
            "rgbd needs the messages of RealSense's driver: install realsense2_camera_msgs (apt "
            "install ros-$ROS_DISTRO-realsense2-camera-msgs)"
        )
    if name in ("scenes_dir", "stills_dir"):
        if not value:
            raise ValueError(f"{name} is empty; name a folder")
        _expanded(name, value)
    if (name == "capture_scene" or (name == "scene" and value)) and not is_plain_name(value):
        raise ValueError(f"{name} '{shown}' is no plain name of a scene")
    if name in ("fit_foregrounds", "post_matting_weights") and value:
        return str(_expanded(name, value, "folder"))
    if name == "fit_teacher" and value:
        return str(_expanded(name, value, "file"))
    if name == "composite_image" and value:
        return str(_checked_picture(value))
    if name == "composite_color":
        parts = tuple(value)
        if len(parts) != 3 or not all(type(p) is int and 0 <= p <= 255 for p in parts):
            raise ValueError(
                f"composite_color {printable(str(list(parts)), 80)} is no color; use red, "
                "green and blue from 0 to 255, such as [0, 177, 64]"
            )
        return parts
    return value


def _expanded(name: str, value: str, kind: str = "") -> Path:
    """A path that a parameter names, which must be there if its ``kind``, file or folder, is given.

    Raises:
        ValueError: if it isn't, or can't be: of a user who doesn't exist, where nobody may look, or
            too long for a name.
    """
    shown = printable(value, 120)
    try:
        path = Path(value).expanduser()
        there = path.is_dir() if kind == "folder" else not kind or path.is_file()
    except (OSError, RuntimeError, ValueError) as error:
        raise ValueError(f"{name} '{shown}' can't be had: {printable(str(error))}") from error
    if not there:
        raise ValueError(f"{name} '{shown}' does not exist or is no {kind}")
    return path


def _checked_picture(value: str) -> Path:
    """The file of a picture whose header tells a size that can be decoded; it isn't decoded here.

    Raises:
        ValueError: if it is none, or too large.
    """
    path = _expanded("composite_image", value, "file")
    shown = printable(value, 120)
    try:
        size = picture_size(read_regular(path, LARGEST_PICTURE))
    except OSError as error:
        raise ValueError(f"composite_image '{shown}' can't be read: {error.strerror}") from error
    if size is None:
        raise ValueError(f"composite_image '{shown}' is no PNG, JPEG, WebP or BMP image")
    if size[0] * size[1] > _MOST_PIXELS:
        raise ValueError(
            f"composite_image '{shown}' has {size[0]}x{size[1]} pixels: name one of at most "
            f"{_MOST_PIXELS // 1_000_000} megapixels"
        )
    return path


class NodeParameters:
    """Declares the parameters on a node and keeps :attr:`settings` up to date.

    Args:
        node: the node.
        on_change: called with the settings before and after each accepted change, in the
            executor's thread; not called for the values at start.

    Raises:
        rclpy.exceptions.InvalidParameterValueException: if a value given at start is refused.
    """

    def __init__(self, node: Node, on_change: Callable[[Settings, Settings], None]) -> None:
        self.settings = Settings.defaults()
        self._on_change: Callable[[Settings, Settings], None] | None = None
        # Before declaring, so that values given at start are checked too.
        node.add_on_set_parameters_callback(self._set)
        for name, spec in PARAMETERS.items():
            node.declare_parameter(name, spec.default, descriptor(name, spec))
        self._on_change = on_change

    def _set(self, parameters: list[Parameter]) -> SetParametersResult:
        before = self.settings
        try:
            after = before.changed({p.name: p.value for p in parameters})
        except ValueError as error:
            return SetParametersResult(successful=False, reason=str(error))
        self.settings = after
        if self._on_change is not None:
            self._on_change(before, after)
        return SetParametersResult(successful=True)

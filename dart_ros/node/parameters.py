"""The node's parameters: declared, described, checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rcl_interfaces.msg import (
    FloatingPointRange,
    IntegerRange,
    ParameterDescriptor,
    SetParametersResult,
)
from rclpy.node import Node
from rclpy.parameter import Parameter

from dart_ros.postmatting import NAMES as POST_MATTINGS
from dart_ros.runtime.engine import BACKENDS
from dart_ros.session.scene import is_plain_name

_BACKENDS = ("auto", *BACKENDS)


@dataclass(frozen=True)
class _Parameter:
    default: Any
    description: str
    low: float | None = None
    high: float | None = None
    read_only: bool = False
    constraints: str = ""

    def descriptor(self) -> ParameterDescriptor:
        made = ParameterDescriptor(
            description=self.description,
            read_only=self.read_only,
            additional_constraints=self.constraints,
        )
        if isinstance(self.default, float):
            made.floating_point_range = [
                FloatingPointRange(from_value=float(self.low or 0), to_value=float(self.high or 0))
            ]
        elif isinstance(self.default, int) and self.high is not None:
            made.integer_range = [
                IntegerRange(from_value=int(self.low or 0), to_value=int(self.high), step=1)
            ]
        return made


PARAMETERS: dict[str, _Parameter] = {
    "scenes_dir": _Parameter(
        "~/.ros/dart_ros/scenes", "Folder in which the captured scenes are kept.", read_only=True
    ),
    "scene": _Parameter("", "Scene to load at start; empty: the one used last.", read_only=True),
    "autostart": _Parameter(
        True, "Configure and activate without a lifecycle manager.", read_only=True
    ),
    "backend": _Parameter(
        "auto",
        "Inference engine; auto takes the fastest one that works.",
        constraints=f"one of {', '.join(_BACKENDS)}",
    ),
    "threads": _Parameter(0, "CPU threads of the engine; 0: its own choice.", 0, 256),
    "refine_fraction": _Parameter(
        0.25,
        "Largest share of a 640x480 image that is refined at full resolution; of larger images it "
        "is smaller, as outlines grow with an image's side; 1 refines everything.",
        0.01,
        1.0,
    ),
    "max_depth": _Parameter(
        5.46, "Range of the depth sensor in metres; depth beyond it counts as unknown.", 0.1, 100.0
    ),
    "capture_frames": _Parameter(
        100, "Frames of the empty background that a capture takes by default.", 2, 10000
    ),
    "capture_timeout": _Parameter(
        5.0,
        "Seconds without a usable frame after which a capture or a still is given up.",
        0.5,
        600.0,
    ),
    "fit_seconds": _Parameter(
        0.0, "Seconds that a fit takes by default; 0: 120, and 30 on a GPU.", 0.0, 86400.0
    ),
    "fit_sprites": _Parameter(
        "",
        "Folder of further people or things (RGBA PNG) that a fit composes with; empty: none.",
    ),
    "fit_teacher": _Parameter(
        "", "File of the weights of a teacher from which a fit learns as well; empty: none."
    ),
    "sync_slop": _Parameter(
        0.02, "Seconds by which the stamps of color and depth may differ.", 0.0001, 1.0
    ),
    "composite_color": _Parameter(
        [0, 177, 64],
        "Background color of the composite: red, green, blue, 0 to 255 each.",
        constraints="three integers, 0 to 255",
    ),
    "composite_image": _Parameter(
        "",
        "Image file used as background of the composite instead of a color; empty: the color.",
        constraints="a file that OpenCV can read",
    ),
    "post_matting": _Parameter(
        "closed-form",
        "Method by which ~/take_still solves the outline of a still anew.",
        constraints=f"one of {', '.join(POST_MATTINGS)}",
    ),
    "post_matting_weights": _Parameter(
        "", "Folder of the weights of vitmatte; closed-form needs none."
    ),
}


@dataclass(frozen=True, eq=False)
class Settings:
    """Values of all parameters (see :data:`PARAMETERS`), checked.

    Attributes:
        composite_background: ``H×W×3`` uint8 RGB, the decoded composite_image, or None.
    """

    scenes_dir: str
    scene: str
    autostart: bool
    backend: str
    threads: int
    refine_fraction: float
    max_depth: float
    capture_frames: int
    capture_timeout: float
    fit_seconds: float
    fit_sprites: str
    fit_teacher: str
    sync_slop: float
    composite_color: tuple[int, int, int]
    composite_image: str
    post_matting: str
    post_matting_weights: str
    composite_background: NDArray[np.uint8] | None = field(default=None, repr=False)

    @classmethod
    def defaults(cls) -> Settings:
        """Return the settings of a node that was given no parameters."""
        # Where there is no home folder, only those who don't name a scenes_dir are told.
        values = {name: parameter.default for name, parameter in PARAMETERS.items()}
        checked = {k: _checked(k, v) for k, v in values.items() if k != "scenes_dir"}
        return cls(**{**values, **checked})

    def changed(self, values: Mapping[str, Any]) -> Settings:
        """Return these settings with some values changed; names that aren't ours are ignored.

        Raises:
            ValueError: if a value is refused; the text gives the reason.
        """
        known = {field.name for field in fields(self)} & PARAMETERS.keys()
        changes = {k: _checked(k, v) for k, v in values.items() if k in known}
        if "composite_image" in changes:
            changes["composite_background"] = _read_image(changes["composite_image"])
        return replace(self, **changes)


def _checked(name: str, value: Any) -> Any:
    # Ranges and types are enforced by rclpy, from the descriptor.
    if name == "backend" and value not in _BACKENDS:
        raise ValueError(f"backend '{value}' is unknown; use one of {', '.join(_BACKENDS)}")
    if name == "post_matting" and value not in POST_MATTINGS:
        raise ValueError(
            f"post_matting '{value}' is unknown; use one of {', '.join(POST_MATTINGS)}"
        )
    if name == "scenes_dir" and not value:
        raise ValueError("scenes_dir is empty; name a folder")
    if name == "scenes_dir":
        _expanded(name, value)
    if name == "scene" and value and not is_plain_name(value):
        raise ValueError(f"scene '{value}' is no plain name of a scene")
    if name in ("fit_sprites", "post_matting_weights") and value:
        return str(_expanded(name, value, "folder"))
    if name == "fit_teacher" and value:
        return str(_expanded(name, value, "file"))
    if name == "composite_color":
        parts = tuple(int(part) for part in value)
        if len(parts) != 3 or not all(0 <= part <= 255 for part in parts):
            raise ValueError(
                f"composite_color {list(value)} is no color; use red, green and blue from 0 to "
                "255, such as [0, 177, 64]"
            )
        return parts
    return value


def _expanded(name: str, value: str, kind: str = "") -> Path:
    """A path that a parameter names, which must be there if its ``kind``, file or folder, is given.

    Raises:
        ValueError: if it isn't, or can't be: of a user who doesn't exist, where nobody may look, or
            too long for a name.
    """
    try:
        path = Path(value).expanduser()
        there = path.is_dir() if kind == "folder" else not kind or path.is_file()
    except (OSError, RuntimeError) as error:
        raise ValueError(f"{name} '{value}' can't be had: {error}") from error
    if not there:
        raise ValueError(f"{name} '{value}' does not exist or is no {kind}")
    return path


def _read_image(path: str) -> NDArray[np.uint8] | None:
    if not path:
        return None
    file = _expanded("composite_image", path, "file")
    try:
        data = np.fromfile(file, np.uint8)
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
    except (OSError, cv2.error) as error:
        raise ValueError(f"composite_image '{path}' can't be read: {error}") from error
    if image is None:
        raise ValueError(f"composite_image '{path}' is no image that OpenCV can decode")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)


class NodeParameters:
    """Declares the parameters on a node and keeps :attr:`settings` up to date.

    Args:
        node: the node.
        on_change: called with the settings before and after each accepted change, in the
            executor's thread; not called for the values at start.

    Raises:
        rclpy.exceptions.InvalidParameterValueException: if a value given at start is refused.
        rclpy.exceptions.InvalidParameterTypeException: if it is of the wrong type.
    """

    def __init__(self, node: Node, on_change: Callable[[Settings, Settings], None]) -> None:
        self.settings = Settings.defaults()
        self._on_change: Callable[[Settings, Settings], None] | None = None
        # Before declaring, so that values given at start are checked too.
        node.add_on_set_parameters_callback(self._set)
        for name, parameter in PARAMETERS.items():
            node.declare_parameter(name, parameter.default, parameter.descriptor())
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

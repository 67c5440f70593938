"""A captured background with what was learnt about it: the value, checked when it is made."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import SceneError
from dart_ros.printable import printable
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.values import Camera

LARGEST_SIDE = 16384
"""Pixels of a camera's width or height, at most."""

LARGEST_AREA = 64_000_000
"""Pixels of a camera's image, at most."""

FARTHEST = 1000.0
"""Metres of a depth, a deviation or a sensor's range, at most."""

MOST_FRAMES = 1_000_000
"""Frames of a capture, at most."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_ID = re.compile(rf"({_NAME.pattern})-[0-9]{{8}}T[0-9]{{6}}Z-[0-9a-f]{{6}}")
_NODE = re.compile(r"(/[A-Za-z_][A-Za-z0-9_]*)+")
_LONGEST_TEXT = 255  # characters, as of a ROS topic or frame
_LONGEST_FIGURE = 4096  # characters of a figure of the fit that is a text
_MOST_FIGURES = 64
_LARGEST_FOCAL = 1e6  # pixels


@dataclass(frozen=True, eq=False)
class Scene:
    """A captured background.

    Attributes:
        name: plain name, see :func:`check_name`.
        id: ``<name>-<yyyymmddThhmmssZ>-<6 hex digits>``, different for each capture.
        camera: camera of the capture.
        plate: ``H×W×3`` uint8 RGB background plate.
        depth_mean: ``H×W`` float32 metres, the sensor's range where depth was never known (Eq. 4).
        depth_std: ``H×W`` float32 metres (Eq. 4).
        depth_count: ``H×W`` uint16, number of frames in which depth was known.
        frames: number of frames that the capture used.
        captured_at: ISO 8601 time with its offset from UTC.
        max_depth: range of the sensor in metres.
        weights: network weights fitted to this scene, or None for the generic ones.
        fit: figures of the fit, or None.
        captured_by: fully qualified name of the node that captured it, empty if none did.
        serial: serial number of the camera, empty if unknown.
        color_deviation: ``H×W`` float16 levels of 255, standard deviation of each pixel's color
            during the capture, of the channel that varied most; None in scenes of older versions.
        depth_noise: of the sensor, below which ``depth_std`` never is; None in those as well.
        depth_offset: pixels right and down by which the sensor's depth lies beside its color. It is
            taken out of the images here, and must be out of every frame, see
            :func:`dart_ros.session.registration.registered`.
        learned_at: ISO 8601 time with its offset from UTC at which what was learnt since the
            capture was saved; empty as it was captured.
        mask: ``H×W`` uint8, 0 where it is always background, 255 where always foreground, 128 where
            neither (:mod:`dart_ros.session.scene_mask`); None for nowhere.
        drift: scale of the sensor's depth over that of the capture, 0.5 to 2, in what was learnt.

    Raises:
        SceneError: if a value is of the wrong type, out of its range or not finite, or the arrays
            don't fit the camera; the text names the value.
    """

    name: str
    id: str
    camera: Camera
    plate: NDArray[np.uint8]
    depth_mean: NDArray[np.float32]
    depth_std: NDArray[np.float32]
    depth_count: NDArray[np.uint16]
    frames: int
    captured_at: str
    max_depth: float
    weights: Mapping[str, NDArray[np.float16]] | None = None
    fit: Mapping[str, float | str] | None = None
    captured_by: str = ""
    serial: str = ""
    color_deviation: NDArray[np.float16] | None = None
    depth_noise: DepthNoise | None = None
    depth_offset: tuple[int, int] = (0, 0)
    learned_at: str = ""
    drift: float = 1.0
    mask: NDArray[np.uint8] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise SceneError(f"A scene's name is {_shown(self.name)}, not a text.")
        check_name(self.name)
        try:
            _check_values(self)
            _check_images(self)
            _check_weights(self.weights)
        except ValueError as error:
            raise SceneError(f"Scene '{self.name}': {error}; capture the scene again.") from error

    @property
    def known_share(self) -> float:
        """Share of pixels, 0 to 1, of which depth was known in at least one frame."""
        return float(np.count_nonzero(self.depth_count)) / self.depth_count.size

    def restless(self) -> NDArray[np.bool_]:
        """Where the view didn't keep still during the capture: screens, windows, leaves, depth that
        flickers.

        Returns:
            ``H×W``; all False in scenes of older versions.
        """
        # Not before: commands that show nothing start without OpenCV.
        from dart_ros.session.restless import TIMES_NOISE, varied, without_edges

        restless = np.zeros(self.depth_mean.shape, np.bool_)
        if self.color_deviation is not None:
            restless |= varied(self.color_deviation)
        if self.depth_noise is not None:
            noise = TIMES_NOISE * self.depth_noise.at(self.depth_mean)
            restless |= (self.depth_count > 0) & (self.depth_std > noise)
        return without_edges(restless)

    def restless_color(self) -> NDArray[np.bool_]:
        """Where color alone didn't keep still: there it says nothing, and depth may.

        Returns:
            ``H×W``; all False in scenes of older versions.
        """
        from dart_ros.session.restless import varied, without_edges

        if self.color_deviation is None:
            return np.zeros(self.depth_mean.shape, np.bool_)
        return without_edges(varied(self.color_deviation))

    @property
    def captured(self) -> datetime:
        """:attr:`captured_at` as an aware time in UTC."""
        return _time(self.captured_at)


def blank_scene(camera: Camera) -> Scene:
    """A black wall at one metre, for what is made before there is a scene of the camera's size."""
    size = (camera.height, camera.width)
    wall = np.ones(size, np.float32)
    now = datetime.now(timezone.utc)
    return Scene(
        name="blank",
        id=new_scene_id("blank", now),
        camera=camera,
        plate=np.zeros((*size, 3), np.uint8),
        depth_mean=wall,
        depth_std=wall,
        depth_count=np.ones(size, np.uint16),
        frames=1,
        captured_at=now.isoformat(timespec="seconds"),
        max_depth=1.0,
    )


def is_plain_name(name: str) -> bool:
    """Whether ``name`` may name a scene: 1 to 64 of ``A-Z a-z 0-9 _ - .``, no dot in front."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise SceneError unless ``name`` may name a scene, see :func:`is_plain_name`."""
    if not is_plain_name(name):
        raise SceneError(
            f"'{printable(name, 80)}' can't name a scene; use 1 to 64 letters, digits, '_', '-' "
            "and '.', without a dot in front."
        )


def check_id(scene_id: str) -> None:
    """Raise SceneError unless ``scene_id`` is of the form that :func:`new_scene_id` makes."""
    if _ID.fullmatch(scene_id) is None:
        raise SceneError(f"'{printable(scene_id, 120)}' is no id of a scene; capture it again.")


def new_scene_id(name: str, when: datetime) -> str:
    """Make the id of a scene captured at ``when`` (an aware time): unique, readable, sortable."""
    stamp = when.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{name}-{stamp}-{secrets.token_hex(3)}"


def name_in_id(scene_id: str) -> str:
    """The name that a scene was captured under, of its id; empty if that is no id."""
    found = _ID.fullmatch(scene_id)
    return found[1] if found else ""


def _check_values(scene: Scene) -> None:
    _text("id", scene.id)
    if _ID.fullmatch(scene.id) is None:
        raise ValueError(f"id is '{printable(scene.id, 120)}', not a name, a time and six digits")
    _check_camera(scene.camera)
    _whole("frames", scene.frames, 1, MOST_FRAMES)
    _text("captured_at", scene.captured_at)
    _time(scene.captured_at)
    _number("max_depth", scene.max_depth, 0.0, FARTHEST)
    if scene.max_depth <= 0:
        raise ValueError("max_depth is 0, not a distance")
    _text("captured_by", scene.captured_by)
    if scene.captured_by and _NODE.fullmatch(scene.captured_by) is None:
        raise ValueError(f"captured_by is '{printable(scene.captured_by)}', not a node's full name")
    _text("serial", scene.serial)
    _check_offset(scene)
    _text("learned_at", scene.learned_at)
    if scene.learned_at:
        _time(scene.learned_at)
    _number("drift", scene.drift, 0.5, 2.0)
    if scene.fit is not None:
        _check_fit(scene.fit)


def _check_camera(camera: Camera) -> None:
    if not isinstance(camera, Camera):
        raise ValueError(f"camera is {_shown(camera)}")
    for key in ("width", "height"):
        _whole(f"the camera's {key}", getattr(camera, key), 1, LARGEST_SIDE)
    if camera.width * camera.height > LARGEST_AREA:
        raise ValueError(f"the camera's {camera.width}x{camera.height} pixels are too many")
    for key in ("fx", "fy", "cx", "cy"):
        _number(f"the camera's {key}", getattr(camera, key), -_LARGEST_FOCAL, _LARGEST_FOCAL)
    _text("the camera's frame_id", camera.frame_id)


def _check_offset(scene: Scene) -> None:
    offset = scene.depth_offset
    if not isinstance(offset, tuple) or len(offset) != 2:
        raise ValueError(f"depth_offset is {_shown(offset)}, not two numbers")
    for value in offset:
        _whole("depth_offset", value, -LARGEST_SIDE, LARGEST_SIDE)


def _check_fit(fit: object) -> None:
    if not isinstance(fit, Mapping) or len(fit) > _MOST_FIGURES:
        raise ValueError(f"fit is {_shown(fit)}, not a table of figures")
    for key, value in fit.items():
        _text("a figure's name", key)
        if isinstance(value, str):
            _text(f"fit's {key}", value, _LONGEST_FIGURE)
        else:
            _number(f"fit's {key}", value, -1e12, 1e12)


def _check_images(scene: Scene) -> None:
    size = (scene.camera.height, scene.camera.width)
    wanted: dict[str, tuple[tuple[int, ...], Any]] = {
        "plate": ((*size, 3), np.uint8),
        "depth_mean": (size, np.float32),
        "depth_std": (size, np.float32),
        "depth_count": (size, np.uint16),
    }
    for key, (shape, dtype) in wanted.items():
        array = getattr(scene, key)
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            raise ValueError(
                f"{key} is {_shown(array)}, but the camera needs {np.dtype(dtype)} {shape}"
            )
    varied = scene.color_deviation
    if varied is not None and not (
        isinstance(varied, np.ndarray)
        and varied.shape == size
        and varied.dtype == np.float16
        # NaN fails the comparison.
        and 0 <= varied.min() <= varied.max() <= 255
    ):
        raise ValueError(f"color_deviation is {_shown(varied)}, not float16 {size} from 0 to 255")
    mask = scene.mask
    if mask is not None and not (
        isinstance(mask, np.ndarray)
        and mask.shape == size
        and mask.dtype == np.uint8
        and np.isin(mask, (0, 128, 255)).all()
    ):
        raise ValueError(f"mask is {_shown(mask)}, not uint8 {size} of 0, 128 and 255")
    if scene.depth_noise is not None and not isinstance(scene.depth_noise, DepthNoise):
        raise ValueError(f"depth_noise is {_shown(scene.depth_noise)}")
    for key in ("depth_mean", "depth_std"):
        array = getattr(scene, key)
        # NaN fails the comparison.
        if not (array.min() > 0.0 and array.max() <= FARTHEST):
            raise ValueError(f"{key} isn't above 0 and up to {FARTHEST:g} metres everywhere")


def _check_weights(weights: object) -> None:
    if weights is None:
        return
    if not isinstance(weights, Mapping):
        raise ValueError(f"weights are {_shown(weights)}, not a table of arrays")
    for key, value in weights.items():
        _text("a weight's name", key)
        if not isinstance(value, np.ndarray) or value.dtype != np.float16:
            raise ValueError(f"weight '{key}' is {_shown(value)}, not float16")
        if not np.isfinite(value).all():
            raise ValueError(f"weight '{key}' isn't finite everywhere")


def _text(what: str, value: object, most: int = _LONGEST_TEXT) -> None:
    if not isinstance(value, str):
        raise ValueError(f"{what} is {_shown(value)}, not a text")
    if len(value) > most or not value.isprintable():
        raise ValueError(
            f"{what} is '{printable(value, 80)}', not a printable text of up to {most} characters"
        )


def _whole(what: str, value: object, least: int, most: int) -> None:
    # bool is an int to Python.
    if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
        raise ValueError(f"{what} is {_shown(value)}, not a whole number from {least} to {most}")


def _number(what: str, value: object, least: float, most: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # NaN fails the comparison.
    if not (number and least <= value <= most):  # type: ignore[operator]
        raise ValueError(f"{what} is {_shown(value)}, not a number from {least:g} to {most:g}")


def _time(text: str) -> datetime:
    """The aware time that a text of ISO 8601 names; ValueError if it names none."""
    try:
        # Python 3.10 doesn't read Z.
        when = datetime.fromisoformat(text[:-1] + "+00:00" if text.endswith("Z") else text)
        if when.tzinfo is None:
            raise ValueError("no offset")
        return when.astimezone(timezone.utc)
    except (ValueError, OverflowError) as error:
        raise ValueError(
            f"captured_at is '{printable(text, 60)}', not a time of ISO 8601 with its offset"
        ) from error


def _shown(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {value.shape}"
    return printable(repr(value) if isinstance(value, (int, float, bool)) else type(value).__name__)

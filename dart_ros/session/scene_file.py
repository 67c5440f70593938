"""The file of a scene: safetensors with a schema, read without trusting a byte of it.

Its metadata holds the format version, the description of the scene as JSON and a SHA-256 of
everything else, so a file that was cut short or altered is recognised. Lengths, types and shapes
are checked before memory is taken for them, values when the :class:`Scene` is made. Nothing in it
is ever executed.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from dart_ros.errors import SceneError
from dart_ros.files import open_regular
from dart_ros.printable import printable
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.scene import LARGEST_AREA, Scene, check_name
from dart_ros.values import Camera

FORMAT_VERSION = 1
_FORMAT = "dart_ros scene"
_WEIGHTS = "weights."
_LONGEST_HEADER = 4_000_000  # bytes; a large network's has a tenth of that
_MOST_WEIGHTS = 1_000_000_000  # bytes
_MOST_AXES = 8
_ITEM_SIZES = {"U8": 1, "U16": 2, "F16": 2, "F32": 4}
# By name: type, and channels, 0 for an image that has no axis for them.
_IMAGES = {
    "plate": ("U8", 3),
    "depth_mean": ("F32", 0),
    "depth_std": ("F32", 0),
    "depth_count": ("U16", 0),
}
_OPTIONAL = {"color_deviation": ("F16", 0), "mask": ("U8", 0)}  # not in files of older versions
_ADVICE = "delete it and capture the scene again"


@dataclass(frozen=True)
class _Header:
    """What comes before the arrays: its bytes, the description as text and read, the checksum, and
    the bytes of arrays that must follow."""

    raw: bytes
    text: str
    description: dict[str, Any]
    checksum: str
    size: int


class _DamagedError(ValueError):
    """The content breaks the schema; the text says how."""


def scene_bytes(scene: Scene) -> bytes:
    """The content of a scene's file."""
    tensors: dict[str, NDArray[Any]] = {key: getattr(scene, key) for key in _IMAGES}
    for key in _OPTIONAL:
        if (image := getattr(scene, key)) is not None:
            tensors[key] = image
    for key, value in (scene.weights or {}).items():
        tensors[_WEIGHTS + key] = value
    tensors = {key: np.ascontiguousarray(value) for key, value in tensors.items()}
    description = json.dumps(
        {
            "name": scene.name,
            "id": scene.id,
            "camera": asdict(scene.camera),
            "frames": scene.frames,
            "captured_at": scene.captured_at,
            "max_depth": scene.max_depth,
            "fitted": scene.weights is not None,
            "fit": None if scene.fit is None else dict(scene.fit),
            "captured_by": scene.captured_by,
            "serial": scene.serial,
            "depth_noise": None if scene.depth_noise is None else asdict(scene.depth_noise),
            "depth_offset": list(scene.depth_offset),
            "learned_at": scene.learned_at,
            "drift": scene.drift,
        },
        sort_keys=True,
        allow_nan=False,
    )
    metadata = {
        "format": _FORMAT,
        "version": str(FORMAT_VERSION),
        "scene": description,
        "sha256": _digest(description, tensors),
    }
    return safetensors_numpy.save(tensors, metadata=metadata)


def read_scene(path: Path) -> Scene:
    """Read a scene's file and check it entirely.

    The scene's name is that of the file: one that was copied is a scene of its own.

    Raises:
        OSError: if the file can't be opened or read, or is no regular file.
        SceneError: if it is cut short, altered, of another version or no scene; the text names the
            file and says what is wrong.
    """
    shown = printable(str(path), 300)
    with open_regular(path) as file:
        try:
            header = _read_header(file)
            data = header.raw + file.read(header.size)
        except _DamagedError as error:
            raise SceneError(f"The scene file {shown} {error}; {_ADVICE}.") from error
        except _OtherVersionError as error:
            raise SceneError(f"The scene file {shown} {error}") from error
    try:
        tensors = safetensors_numpy.load(data)
        if _digest(header.text, tensors) != header.checksum:
            raise _DamagedError("its checksum is wrong")
        return _scene(header.description, tensors, path.stem)
    except (SafetensorError, SceneError, _DamagedError) as error:
        why = str(error).removesuffix("; capture the scene again.")
        raise SceneError(f"The scene file {shown} is damaged ({why}); {_ADVICE}.") from error


class _OtherVersionError(Exception):
    """The file is of another version; the text says of which."""


def _read_header(file: BinaryIO) -> _Header:
    there = os.fstat(file.fileno()).st_size
    length = file.read(8)
    size = int.from_bytes(length, "little")
    if len(length) < 8 or there < 8 + size:
        raise _DamagedError("is cut short")
    if size > _LONGEST_HEADER:
        raise _DamagedError("is not a dart_ros scene (its header is too long)")
    raw = file.read(size)
    entries = _table(_parsed(raw, "is not a dart_ros scene"))
    metadata = _table(entries.pop("__metadata__", None))
    if metadata.get("format") != _FORMAT:
        raise _DamagedError("is not a dart_ros scene")
    version, text, checksum = (metadata.get(key) for key in ("version", "scene", "sha256"))
    if version != str(FORMAT_VERSION):
        raise _OtherVersionError(
            f"has format version {printable(str(version), 20)}, this program reads version "
            f"{FORMAT_VERSION}; capture the scene again, or update dart_ros."
        )
    if not isinstance(text, str) or not isinstance(checksum, str):
        raise _DamagedError("is damaged (it has no description or no checksum)")
    description = _table(_parsed(text, "is damaged (its description is no JSON)"))
    expected = _checked_size(entries, description)
    here = there - 8 - size
    if here < expected:
        raise _DamagedError(f"is cut short ({here} of {expected} bytes)")
    if here > expected:
        raise _DamagedError(f"is damaged ({here - expected} bytes follow its end)")
    return _Header(length + raw, text, description, checksum, expected)


def _parsed(text: bytes | str, otherwise: str) -> object:
    """JSON without NaN and infinity; _DamagedError with ``otherwise`` if it is none."""

    def refuse(constant: str) -> float:
        raise ValueError(constant)

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise _DamagedError(otherwise) from error


def _table(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _DamagedError("is not a dart_ros scene")
    return value


def _checked_size(entries: dict[str, Any], description: dict[str, Any]) -> int:
    """Bytes of all arrays, whose types and shapes are those that the description asks for."""
    camera = description.get("camera")
    if not isinstance(camera, dict):
        raise _DamagedError("is damaged (it names no camera)")
    size = _integers("its camera's height and width", [camera.get("height"), camera.get("width")])
    if not 0 < math.prod(size) <= LARGEST_AREA:
        raise _DamagedError(f"is damaged (its camera has {size[1]}x{size[0]} pixels)")
    total = 0
    for key, (dtype, channels) in {**_IMAGES, **_OPTIONAL}.items():
        if key not in entries and key in _OPTIONAL:
            continue
        if key not in entries:
            raise _DamagedError(f"is damaged (it holds no {key})")
        total += _tensor_size(key, entries[key], dtype, [*size, channels] if channels else size)
    others = [key for key in entries if key not in _IMAGES and key not in _OPTIONAL]
    weights = 0
    for key in others:
        if not key.startswith(_WEIGHTS):
            raise _DamagedError(f"is damaged (it holds '{printable(key, 60)}')")
        weights += _tensor_size(key, entries[key], "F16")
    if weights > _MOST_WEIGHTS:
        raise _DamagedError("is damaged (its weights are too many)")
    if description.get("fitted") is not bool(others):
        raise _DamagedError("is damaged (it doesn't hold the weights that it tells of)")
    return total + weights


def _integers(what: str, numbers: object) -> list[int]:
    # bool is an int to Python, but its type is another.
    if (
        not isinstance(numbers, list)
        or len(numbers) > _MOST_AXES
        or not all(type(number) is int and 0 <= number < 2**40 for number in numbers)
    ):
        raise _DamagedError(f"is damaged ({what}: {printable(str(numbers), 60)})")
    return numbers


def _tensor_size(key: str, entry: object, dtype: str, wanted: list[int] | None = None) -> int:
    """Bytes of an array of the header, whose type, shape and place must be right."""
    shown = printable(key, 60)
    entry = _table(entry)
    shape = _integers(f"the shape of {shown}", entry.get("shape"))
    offsets = _integers(f"the place of {shown}", entry.get("data_offsets"))
    if entry.get("dtype") != dtype:
        raise _DamagedError(
            f"is damaged ({shown} is {printable(str(entry.get('dtype')), 20)}, not {dtype})"
        )
    if wanted is not None and shape != wanted:
        raise _DamagedError(f"is damaged ({shown} is {shape}, but its camera needs {wanted})")
    size = math.prod(shape) * _ITEM_SIZES[dtype]
    if len(offsets) != 2 or offsets[1] - offsets[0] != size:
        raise _DamagedError(f"is damaged ({shown} has another length than its shape)")
    return size


def _digest(description: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(description.encode(errors="surrogatepass"))
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"\n{key} {value.dtype} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()


def _scene(description: dict[str, Any], tensors: dict[str, NDArray[Any]], name: str) -> Scene:
    # What is missing is None, which the scene refuses by name; what came later has a default.
    weights = {k[len(_WEIGHTS) :]: v for k, v in tensors.items() if k.startswith(_WEIGHTS)}
    named = description.get("name")
    if not isinstance(named, str):
        raise _DamagedError("its name is no text")
    check_name(named)
    camera = {key: description["camera"].get(key) for key in Camera.__dataclass_fields__}
    return Scene(
        name=name,
        id=description.get("id"),  # type: ignore[arg-type]  # checked by Scene, as all below
        camera=Camera(**camera),
        plate=tensors["plate"],
        depth_mean=tensors["depth_mean"],
        depth_std=tensors["depth_std"],
        depth_count=tensors["depth_count"],
        frames=description.get("frames"),  # type: ignore[arg-type]
        captured_at=description.get("captured_at"),  # type: ignore[arg-type]
        max_depth=description.get("max_depth"),  # type: ignore[arg-type]
        weights=weights if description["fitted"] else None,
        fit=description.get("fit"),
        captured_by=description.get("captured_by", ""),
        serial=description.get("serial", ""),
        color_deviation=tensors.get("color_deviation"),
        mask=tensors.get("mask"),
        depth_noise=_noise(description.get("depth_noise")),
        depth_offset=_pair(description.get("depth_offset", [0, 0])),
        learned_at=description.get("learned_at", ""),
        drift=description.get("drift", 1.0),
    )


def _pair(numbers: object) -> tuple[int, int]:
    if not isinstance(numbers, list) or len(numbers) != 2:
        raise _DamagedError(f"depth_offset is {printable(str(numbers), 60)}")
    return numbers[0], numbers[1]


def _noise(parts: object) -> DepthNoise | None:
    if parts is None:
        return None
    names = DepthNoise.__dataclass_fields__.keys()
    if (
        not isinstance(parts, dict)
        or parts.keys() != names
        or not all(type(part) in (int, float) for part in parts.values())
    ):
        raise _DamagedError(f"depth_noise is {printable(str(parts), 60)}")
    try:
        return DepthNoise(**parts)
    except ValueError as error:
        raise _DamagedError(str(error)) from error

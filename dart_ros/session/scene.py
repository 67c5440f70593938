"""A captured background with what was learnt about it, and the folder in which such scenes live.

A scene is one safetensors file, ``<folder>/<name>.safetensors``. Its metadata holds the format
version, the description of the scene as JSON and a SHA-256 of everything else in the file, so a
file that was cut short or altered is recognised. Nothing in it is ever executed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import secrets
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors import numpy as safetensors_numpy

from dart_ros.errors import SceneError
from dart_ros.files import replacing
from dart_ros.values import Camera

FORMAT_VERSION = 1
SUFFIX = ".safetensors"
_UNFINISHED_FIT = ".fit.pt"
_ID_TAIL = r"-\d{8}T\d{6}Z-[0-9a-f]{6}"
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}")
_WEIGHTS = "weights."
_LAST = "last"


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
        captured_at: ISO 8601 time in UTC.
        max_depth: range of the sensor in metres.
        weights: network weights fitted to this scene, or None for the generic ones.
        fit: figures of the fit, or None.

    Raises:
        SceneError: if the name isn't plain or the arrays don't fit the camera.
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

    def __post_init__(self) -> None:
        check_name(self.name)
        size = (self.camera.height, self.camera.width)
        wanted = {
            "plate": ((*size, 3), np.uint8),
            "depth_mean": (size, np.float32),
            "depth_std": (size, np.float32),
            "depth_count": (size, np.uint16),
        }
        for key, (shape, dtype) in wanted.items():
            array = getattr(self, key)
            if array.shape != shape or array.dtype != dtype:
                raise SceneError(
                    f"Scene '{self.name}': {key} is {array.dtype} {array.shape}, but its camera "
                    f"needs {np.dtype(dtype)} {shape}; capture the scene again."
                )

    @property
    def known_share(self) -> float:
        """Share of pixels, 0 to 1, of which depth was known in at least one frame."""
        return float(np.count_nonzero(self.depth_count)) / self.depth_count.size


@dataclass(frozen=True)
class SceneSummary:
    """One line of a list of scenes.

    Attributes:
        name: file name without its ending.
        id: id of the scene, empty if the file can't be read.
        captured_at: ISO 8601 time in UTC, empty if the file can't be read.
        size: (width, height) in pixels, (0, 0) if the file can't be read.
        fitted: whether the scene holds fitted weights.
        problem: what is wrong with the file, None if nothing is.
    """

    name: str
    id: str
    captured_at: str
    size: tuple[int, int]
    fitted: bool
    problem: str | None = None


def is_plain_name(name: str) -> bool:
    """Whether ``name`` may name a scene: 1 to 64 of ``A-Z a-z 0-9 _ - .``, no dot in front."""
    return _NAME.fullmatch(name) is not None


def check_name(name: str) -> None:
    """Raise SceneError unless ``name`` may name a scene, see :func:`is_plain_name`."""
    if not is_plain_name(name):
        shown = name if len(name) <= 80 else name[:77] + "..."
        raise SceneError(
            f"{shown!r} can't name a scene; use 1 to 64 letters, digits, '_', '-' and '.', "
            "without a dot in front."
        )


def new_scene_id(name: str, when: datetime) -> str:
    """Make the id of a scene captured at ``when`` (an aware time): unique, readable, sortable."""
    stamp = when.astimezone(timezone.utc).strftime("%Y%m%dT%H%M%SZ")
    return f"{name}-{stamp}-{secrets.token_hex(3)}"


class SceneStore:
    """The folder in which scenes are kept, one file each.

    Args:
        directory: the folder; ``~`` is expanded; it is made at the first save.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory).expanduser()

    def path(self, name: str) -> Path:
        """File of the scene ``name``, whether it exists or not; SceneError if not a plain name."""
        check_name(name)
        return self.directory / (name + SUFFIX)

    def unfinished_fit(self, scene_id: str) -> Path:
        """File from which an interrupted fit of a scene goes on, whether it exists or not."""
        return self.directory / (scene_id + _UNFINISHED_FIT)

    def save(self, scene: Scene) -> None:
        """Write a scene; one of the same name is replaced, entirely or not at all.

        Unfinished fits go: the scene is a new one, or its fit is done.

        Raises:
            SceneError: if it can't be written (full disk, no permission). The old file is then
                still in place and nothing else is left behind.
        """
        path = self.path(scene.name)
        _write_atomically(path, _to_bytes(scene), f"scene '{scene.name}'")
        self._forget_fits(scene.name)

    def forget_fit(self, scene_id: str) -> None:
        """Delete what is left of an unfinished fit of a scene, if there is any."""
        path = self.unfinished_fit(scene_id)
        for left in (path, *self.directory.glob(f".{path.name}.*.tmp")):
            with contextlib.suppress(OSError):
                left.unlink()

    def _forget_fits(self, name: str) -> None:
        """The same for all captures of a name."""
        mine = re.compile(rf"\.?({re.escape(name)}{_ID_TAIL}){re.escape(_UNFINISHED_FIT)}.*")
        for path in self.directory.glob(f"*{_UNFINISHED_FIT}*"):
            if found := mine.fullmatch(path.name):
                self.forget_fit(found[1])

    def load(self, name: str) -> Scene:
        """Read a scene and check it entirely.

        Raises:
            SceneError: if there is no such scene, or its file is cut short, altered, of another
                version or unreadable; the text names the file.
        """
        path = self.path(name)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            known = ", ".join(p.stem for p in self._files()) or "none"
            raise SceneError(
                f"There is no scene '{name}' in {self.directory} (there: {known}); capture it "
                "first."
            ) from None
        except OSError as error:
            raise SceneError(
                f"The scene file {path} can't be read ({error.strerror}); check its permissions."
            ) from error
        return _from_bytes(data, path)

    def last(self, node: str) -> str | None:
        """Name of the scene that a node used last, None if there is none or it is gone.

        Args:
            node: fully qualified name of the node, such as ``/left/matting_node``.
        """
        return self._remembered(self._last_path(node))

    def last_used(self) -> dict[str, str]:
        """Names of the scenes last used, by the fully qualified names of the nodes that did."""
        found = {
            path.stem[len(_LAST) :].replace(".", "/"): self._remembered(path)
            for path in sorted(self.directory.glob(f"{_LAST}.*.json"))
        }
        return {node: name for node, name in found.items() if name is not None}

    def set_last(self, node: str, name: str) -> None:
        """Remember ``name`` as the scene that a node used last.

        Args:
            node: fully qualified name of the node.
            name: name of the scene.

        Raises:
            SceneError: if ``name`` isn't plain or can't be written.
        """
        check_name(name)
        data = json.dumps({"scene": name}).encode()
        _write_atomically(self._last_path(node), data, "name of the last scene")

    def delete(self, name: str) -> None:
        """Delete a scene and what is left of its unfinished fits; SceneError if there is none of
        that name or it can't be deleted."""
        path = self.path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            raise SceneError(
                f"There is no scene '{name}' in {self.directory}; nothing was deleted."
            ) from None
        except OSError as error:
            raise SceneError(
                f"The scene file {path} can't be deleted ({error.strerror}); check the folder's "
                "permissions."
            ) from error
        self._forget_fits(name)

    def _last_path(self, node: str) -> Path:
        # A file for each node, so that none writes over another's; ROS names hold no dots.
        return self.directory / f"{_LAST}{node.replace('/', '.')}.json"

    def _remembered(self, path: Path) -> str | None:
        try:
            name = json.loads(path.read_text(encoding="utf-8"))["scene"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        if not isinstance(name, str) or not is_plain_name(name) or not self.path(name).is_file():
            return None
        return name

    def _files(self) -> list[Path]:
        try:
            paths = sorted(self.directory.glob("*" + SUFFIX))
        except OSError as error:
            raise SceneError(
                f"The scene folder {self.directory} can't be listed ({error.strerror}); check its "
                "permissions."
            ) from error
        return [path for path in paths if not path.name.startswith(".")]

    def _summary(self, path: Path) -> SceneSummary:
        try:
            scene = self.load(path.stem)
        except SceneError as error:
            return SceneSummary(path.stem, "", "", (0, 0), False, str(error))
        size = (scene.camera.width, scene.camera.height)
        return SceneSummary(path.stem, scene.id, scene.captured_at, size, scene.weights is not None)

    # Last in the class: its name hides the built-in one in the annotations below it.
    def list(self) -> list[SceneSummary]:
        """All scenes of the folder by name, each one read and checked; a broken one says so."""
        return [self._summary(path) for path in self._files()]


def _write_atomically(path: Path, data: bytes, what: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        raise SceneError(
            f"The {what} can't be written to {path} ({error.strerror}); free some space or choose "
            "another folder; what was stored before is unchanged."
        ) from error


def _sync_directory(directory: Path) -> None:
    # Some file systems refuse to sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _to_bytes(scene: Scene) -> bytes:
    tensors: dict[str, NDArray[Any]] = {
        "plate": scene.plate,
        "depth_mean": scene.depth_mean,
        "depth_std": scene.depth_std,
        "depth_count": scene.depth_count,
    }
    if scene.weights is not None:
        for key, value in scene.weights.items():
            tensors[_WEIGHTS + key] = np.asarray(value, np.float16)
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
        },
        sort_keys=True,
    )
    metadata = {
        "format": "dart_ros scene",
        "version": str(FORMAT_VERSION),
        "scene": description,
        "sha256": _digest(description, tensors),
    }
    return safetensors_numpy.save(tensors, metadata=metadata)


def _digest(description: str, tensors: Mapping[str, NDArray[Any]]) -> str:
    digest = hashlib.sha256(description.encode())
    for key in sorted(tensors):
        value = tensors[key]
        digest.update(f"\n{key} {value.dtype} {value.shape}\n".encode())
        digest.update(value.data)
    return digest.hexdigest()


def _from_bytes(data: bytes, path: Path) -> Scene:
    advice = "delete it and capture the scene again"
    if len(data) < 8 or len(data) < 8 + struct.unpack("<Q", data[:8])[0]:
        raise SceneError(f"The scene file {path} is cut short; {advice}.")
    try:
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        metadata = header.pop("__metadata__")
        size = max(value["data_offsets"][1] for value in header.values())
        version, text, wanted = metadata["version"], metadata["scene"], metadata["sha256"]
        if metadata["format"] != "dart_ros scene":
            raise ValueError("no scene")
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise SceneError(f"The file {path} is not a dart_ros scene; {advice}.") from error
    if version != str(FORMAT_VERSION):
        raise SceneError(
            f"The scene file {path} has format version {version}, this program reads version "
            f"{FORMAT_VERSION}; capture the scene again, or update dart_ros."
        )
    here = len(data) - 8 - struct.unpack("<Q", data[:8])[0]
    if here < size:
        raise SceneError(f"The scene file {path} is cut short ({here} of {size} bytes); {advice}.")
    try:
        tensors = safetensors_numpy.load(data)
        if _digest(text, tensors) != wanted:
            raise ValueError("checksum")
        return _scene(json.loads(text), tensors, path.stem)
    except SceneError as error:
        raise SceneError(f"The scene file {path} is damaged; {advice}.") from error
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise SceneError(
            f"The scene file {path} is damaged (its checksum or content is wrong); {advice}."
        ) from error


def _scene(description: dict[str, Any], tensors: dict[str, NDArray[Any]], stem: str) -> Scene:
    weights = None
    if description["fitted"]:
        weights = {
            key[len(_WEIGHTS) :]: value
            for key, value in tensors.items()
            if key.startswith(_WEIGHTS)
        }
    scene = Scene(
        name=description["name"],
        id=description["id"],
        camera=Camera(**description["camera"]),
        plate=tensors["plate"],
        depth_mean=tensors["depth_mean"],
        depth_std=tensors["depth_std"],
        depth_count=tensors["depth_count"],
        frames=description["frames"],
        captured_at=description["captured_at"],
        max_depth=description["max_depth"],
        weights=weights,
        fit=description["fit"],
    )
    # A file that was copied under another name is a scene of that name.
    return replace(scene, name=stem)

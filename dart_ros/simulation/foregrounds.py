"""Foregrounds: people and objects with alpha and depth, to be put before a background.

A library is a folder with ``foregrounds.json`` (``sprites.json`` in those of older versions) and,
for each foreground, ``NAME.webp`` (RGBA, straight alpha) and ``NAME.depth.png`` (8 bit, half size:
``(value - 128) * 8 mm`` behind the reference distance). A folder without an index holds the user's
own pictures: ``NAME.png`` (8 bit, RGBA, straight alpha) and, where it is known, ``NAME.depth.png``
(16 bit, millimetres from the camera, the picture's size, 0 where unknown).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dart_ros.errors import FitError

INDEX = "foregrounds.json"
"""Name of a library's index."""

_OLD_INDEX = "sprites.json"

DEPTH_STEP = 0.008
"""Metres per grey level of a foreground's depth image."""

OWN_HEIGHT = 1.7
"""Metres that the user's own pictures are taken to show from top to bottom of what is visible."""

OWN_FOCAL = 600.0
"""Focal length in pixels that pictures without depth are taken to have."""

OWN_LARGEST = 720
"""Longer side in pixels to which the user's own pictures are reduced."""

LEVELS = 4
"""Levels of the pyramid from which foregrounds are sampled without aliasing."""


@dataclass(frozen=True)
class Foreground:
    """One foreground object, rendered at ``distance`` with ``focal`` pixels of focal length.

    ``levels`` holds the foreground at 1, 1/2, 1/4 … of its size, each 5×h×w uint8: RGB multiplied
    by alpha, alpha, and depth (grey levels as on disk). ``soft``: its outlines are as soft as they
    are meant to be, as of hair that was rendered at its full size.
    """

    name: str
    kind: str
    identity: str
    focal: float
    distance: float
    cut: tuple[str, ...]
    levels: tuple[Tensor, ...]
    soft: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.levels[0].shape[-2:]
        return int(height), int(width)

    def to(self, device: torch.device) -> Foreground:
        """The same on a device."""
        return replace(self, levels=tuple(level.to(device) for level in self.levels))


def load_foregrounds(folder: Path, identities: Sequence[str] | None = None) -> list[Foreground]:
    """Reads a library, or a folder of the user's own pictures.

    A picture of one's own shows a person; pictures of the same one share their name up to the
    first underscore (``anna_1.png``, ``anna_2.png``).

    Args:
        folder: where ``foregrounds.json`` or the pictures lie.
        identities: keep only these people and objects; None keeps all.

    Raises:
        FitError: if the index or a foreground is missing or broken; the message names the file.
    """
    index, key = folder / INDEX, "foregrounds"
    if not index.exists() and (folder / _OLD_INDEX).exists():
        index, key = folder / _OLD_INDEX, "sprites"
    if not index.exists():
        own = [_load_own(path) for path in _own_pictures(folder)]
        foregrounds = [s for s in own if identities is None or s.identity in identities]
        if not foregrounds:
            raise FitError(f"{folder} shows none of {', '.join(identities or ())}: give others")
        return foregrounds
    try:
        entries = json.loads(index.read_text())[key]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FitError(
            f"{index} is no foreground index ({error}): reinstall or rebuild it"
        ) from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FitError(
            f"{index} is no foreground index (no list of foregrounds): reinstall or rebuild it"
        )
    foregrounds = [
        _load_foreground(folder, entry)
        for entry in entries
        if identities is None or entry.get("identity") in identities
    ]
    if not foregrounds:
        raise FitError(f"{index} lists no usable foreground: give a folder that has some")
    return foregrounds


def _load_foreground(folder: Path, entry: dict[str, object]) -> Foreground:
    try:
        name = str(entry["name"])
        focal = float(str(entry["focal_px"]))
        distance = float(str(entry["distance_m"]))
        kind, identity = str(entry["kind"]), str(entry["identity"])
        cut = entry.get("cut", [])
        sides = tuple(str(side) for side in cut) if isinstance(cut, list) else ()
    except (KeyError, ValueError) as error:
        raise FitError(
            f"{folder / 'foregrounds.json'} has a bad entry ({error}): {entry}"
        ) from error
    if not (0 < focal < math.inf and 0 < distance < math.inf):
        raise FitError(
            f"{folder / 'foregrounds.json'} has a bad entry (focal length and distance must be "
            f"positive): {entry}"
        )
    remedy = "reinstall or render the foregrounds again"
    color = _read(folder / f"{name}.webp", 4, remedy)
    half_depth = _read(folder / f"{name}.depth.png", 1, remedy)
    height, width = color.shape[:2]
    depth = np.asarray(
        cv2.resize(half_depth, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8
    )
    soft = entry.get("soft") is True
    return Foreground(name, kind, identity, focal, distance, sides, _pyramid(color, depth), soft)


def _pyramid(color: NDArray[np.uint8], depth: NDArray[np.uint8]) -> tuple[Tensor, ...]:
    """BGRA with straight alpha and depth levels to :attr:`Foreground.levels`."""
    alpha = color[..., 3:].astype(np.float32) / 255
    rgb = color[..., 2::-1].astype(np.float32) * alpha
    stack = np.concatenate([rgb, color[..., 3:], depth[..., None]], axis=-1)
    level = torch.from_numpy(stack.astype(np.float32)).permute(2, 0, 1)[None]
    levels = []
    for _ in range(LEVELS):
        levels.append((level[0] + 0.5).to(torch.uint8))
        if min(level.shape[-2:]) < 4:
            break
        level = F.avg_pool2d(level, 2, ceil_mode=True)
    return tuple(levels)


def _own_pictures(folder: Path) -> list[Path]:
    pictures = [p for p in sorted(folder.glob("*.png")) if not p.name.endswith(".depth.png")]
    if not pictures:
        raise FitError(
            f"{folder / INDEX}: No such file, and {folder} holds no pictures (*.png with alpha) "
            "either: give a folder that has some"
        )
    return pictures


def _load_own(path: Path) -> Foreground:
    color = _read(path, 4, "save it as PNG with alpha, 8 bits a channel, or remove it")
    seen = color[..., 3] > 127
    if not seen.any():
        raise FitError(f"{path} is transparent all over: remove it")
    rows = np.flatnonzero(seen.any(axis=1))
    pixels = int(rows[-1] - rows[0] + 1)
    offset = np.zeros(seen.shape, np.float32)
    depth_path = path.with_suffix(".depth.png")
    if depth_path.exists():
        depth = cv2.imread(str(depth_path), cv2.IMREAD_UNCHANGED)
        if depth is None or depth.dtype != np.uint16 or depth.shape != seen.shape:
            raise FitError(
                f"{depth_path} must be a 16-bit grey picture in millimetres of the size of "
                f"{path.name}: mend or remove it"
            )
        metres = depth.astype(np.float32) / 1000
        known = seen & (depth > 0)
        if not known.any():
            raise FitError(f"{depth_path} has no depth where {path.name} is visible: remove it")
        distance = float(np.median(metres[known]))
        offset = np.where(known, metres - distance, 0).astype(np.float32)
        focal = distance * pixels / OWN_HEIGHT
    else:
        focal, distance = OWN_FOCAL, OWN_FOCAL * OWN_HEIGHT / pixels
    shrink = min(1.0, OWN_LARGEST / max(seen.shape))
    if shrink < 1:
        size = (max(1, round(seen.shape[1] * shrink)), max(1, round(seen.shape[0] * shrink)))
        color = cv2.resize(color, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)
        offset = np.asarray(cv2.resize(offset, size, interpolation=cv2.INTER_NEAREST), np.float32)
        focal *= shrink
    cut = ("bottom",) if bool(seen[-1].any()) else ()
    levels = _pyramid(color, np.clip(np.rint(128 + offset / DEPTH_STEP), 0, 255).astype(np.uint8))
    identity = path.stem.split("_")[0]
    return Foreground(path.stem, "person", identity, focal, distance, cut, levels)


def _read(path: Path, channels: int, remedy: str) -> NDArray[np.uint8]:
    """An 8-bit image, H×W or H×W×channels."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FitError(f"{path} is missing or not an image: {remedy}")
    found = 1 if image.ndim == 2 else image.shape[2]
    if found != channels:
        what = "alpha" if channels == 4 else "one grey channel"
        raise FitError(f"{path} has {found} channels and a foreground needs {what}: {remedy}")
    if image.dtype != np.uint8:
        raise FitError(f"{path} is {image.dtype} and a foreground needs 8 bits a channel: {remedy}")
    return image.astype(np.uint8, copy=False)

"""Foreground sprites: people and objects with alpha and depth, to be put before a background.

A library is a folder with ``sprites.json`` and, for each sprite, ``NAME.webp`` (RGBA, straight
alpha) and ``NAME.depth.png`` (8 bit, half size: ``(value - 128) * 8 mm`` behind the reference
distance).
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from dart_ros.errors import FitError

DEPTH_STEP = 0.008
"""Metres per grey level of a sprite's depth image."""

LEVELS = 4
"""Levels of the pyramid from which sprites are sampled without aliasing."""


@dataclass(frozen=True)
class Sprite:
    """One foreground object, rendered at ``distance`` with ``focal`` pixels of focal length.

    ``levels`` holds the sprite at 1, 1/2, 1/4 … of its size, each 5×h×w uint8: RGB multiplied
    by alpha, alpha, and depth (grey levels as on disk).
    """

    name: str
    kind: str
    identity: str
    focal: float
    distance: float
    cut: tuple[str, ...]
    levels: tuple[Tensor, ...]

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        height, width = self.levels[0].shape[-2:]
        return int(height), int(width)


def load_sprites(folder: Path, identities: Sequence[str] | None = None) -> list[Sprite]:
    """Reads a library.

    Args:
        folder: where ``sprites.json`` lies.
        identities: keep only these people and objects; None keeps all.

    Raises:
        FitError: if the index or a sprite is missing or broken; the message names the file.
    """
    index = folder / "sprites.json"
    try:
        entries = json.loads(index.read_text())["sprites"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FitError(f"{index} is no sprite index ({error}): reinstall or rebuild it") from error
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise FitError(f"{index} is no sprite index (no list of sprites): reinstall or rebuild it")
    sprites = [
        _load_sprite(folder, entry)
        for entry in entries
        if identities is None or entry.get("identity") in identities
    ]
    if not sprites:
        raise FitError(f"{index} lists no usable sprite: give a folder that has some")
    return sprites


def _load_sprite(folder: Path, entry: dict[str, object]) -> Sprite:
    try:
        name = str(entry["name"])
        focal = float(str(entry["focal_px"]))
        distance = float(str(entry["distance_m"]))
        kind, identity = str(entry["kind"]), str(entry["identity"])
        cut = entry.get("cut", [])
        sides = tuple(str(side) for side in cut) if isinstance(cut, list) else ()
    except (KeyError, ValueError) as error:
        raise FitError(f"{folder / 'sprites.json'} has a bad entry ({error}): {entry}") from error
    if not (0 < focal < math.inf and 0 < distance < math.inf):
        raise FitError(
            f"{folder / 'sprites.json'} has a bad entry (focal length and distance must be "
            f"positive): {entry}"
        )
    color = _read(folder / f"{name}.webp", channels=4)
    half_depth = _read(folder / f"{name}.depth.png", channels=1)
    height, width = color.shape[:2]
    depth = cv2.resize(half_depth, (width, height), interpolation=cv2.INTER_LINEAR)
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
    return Sprite(name, kind, identity, focal, distance, sides, tuple(levels))


def _read(path: Path, channels: int) -> NDArray[np.uint8]:
    """An 8-bit image, H×W or H×W×channels."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise FitError(f"{path} is missing or not an image: reinstall or rebuild the sprites")
    found = 1 if image.ndim == 2 else image.shape[2]
    if found != channels:
        what = "alpha" if channels == 4 else "one grey channel"
        raise FitError(f"{path} has {found} channels: a sprite needs {what}")
    if image.dtype != np.uint8:
        raise FitError(f"{path} is {image.dtype}: a sprite needs 8 bits a channel")
    return image.astype(np.uint8, copy=False)

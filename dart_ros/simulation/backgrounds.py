"""RGB-D backgrounds to train on: rendered rooms, the user's own pictures, and invented rooms."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import FitError
from dart_ros.picture_files import decode_file
from dart_ros.simulation.frames import RgbdBackground

CAMERA_HEIGHT = (0.8, 1.9)

PICTURES = (".jpg", ".jpeg", ".png", ".webp", ".bmp")
"""Endings of the user's own pictures."""

LARGEST = 800
"""Longer side in pixels to which the user's own pictures are reduced."""


def load_rooms(folder: Path) -> list[RgbdBackground]:
    """Reads rendered rooms: ``rooms.json`` and for each view ``NAME.jpg`` and ``NAME.png`` (mm).

    Raises:
        FitError: if a file is missing or broken; the message names it.
    """
    index = folder / "rooms.json"
    try:
        views = [(str(v["name"]), float(v["K"][0])) for v in json.loads(index.read_text())["views"]]
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        raise FitError(f"{index} is no index of rooms ({error}): render them again") from error
    if not views:
        raise FitError(f"{index} lists no room: render some first")
    return [_load_room(folder / name, focal) for name, focal in views]


def _load_room(stem: Path, focal: float) -> RgbdBackground:
    color_path, depth_path = stem.with_suffix(".jpg"), stem.with_suffix(".png")
    color = _picture(color_path, cv2.IMREAD_COLOR)
    depth = _picture(depth_path, cv2.IMREAD_UNCHANGED)
    if color is None or depth is None or depth.dtype != np.uint16:
        raise FitError(
            f"{color_path} or {depth_path} is missing, broken or cut short: render it again"
        )
    if depth.shape != color.shape[:2]:
        raise FitError(f"{color_path} and {depth_path} differ in size: render the room again")
    metres = np.where(depth > 0, depth.astype(np.float32) / 1000, -1).astype(np.float32)
    rgb: NDArray[np.uint8] = color[..., ::-1].astype(np.uint8)
    return _background(rgb, metres, focal)


def load_pictures(folder: Path) -> list[RgbdBackground]:
    """Reads plain pictures of empty places and invents a depth for each.

    The depth is that of an invented room, the same whenever the same file name is read.

    Raises:
        FitError: if the folder is missing, holds no picture or a broken one; the message names it.
    """
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in PICTURES)
    except OSError as error:
        raise FitError(f"{folder} can't be read as a folder of pictures: {error}") from error
    if not paths:
        raise FitError(f"{folder} holds no picture ({', '.join(PICTURES)}): put some in")
    return [_load_picture(path) for path in paths]


def _load_picture(path: Path) -> RgbdBackground:
    color = _picture(path, cv2.IMREAD_COLOR)
    if color is None:
        raise FitError(f"{path} is broken, cut short or no picture: replace or remove it")
    shrink = min(1.0, LARGEST / max(color.shape[:2]))
    if shrink < 1:
        color = cv2.resize(color, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    height, width = color.shape[:2]
    room = invent_room(zlib.crc32(path.name.encode()), height, width)
    rgb: NDArray[np.uint8] = color[..., ::-1].astype(np.uint8)
    return _background(rgb, room.depth.numpy(), room.focal)


def _picture(path: Path, flags: int) -> NDArray[Any] | None:
    """None if it is missing, broken or cut short."""
    try:
        return decode_file(path.read_bytes(), flags)
    except OSError:
        return None


def invent_room(seed: int, height: int = 480, width: int = 640) -> RgbdBackground:
    """A wall, a floor and boxes before them, all in random patterns; no likeness, much variety.

    Args:
        seed: the same seed gives the same room.
        height: rows of the picture.
        width: columns of the picture.
    """
    random = np.random.default_rng(seed)
    focal = float(random.uniform(0.75, 1.1) * width)
    wall, eye = float(random.uniform(1.6, 6.0)), float(random.uniform(*CAMERA_HEIGHT))
    horizon = float(random.uniform(0.2, 0.6)) * height
    rows = np.arange(height, dtype=np.float32)[:, None]
    floor = eye * focal / np.maximum(rows - horizon, 1e-3)
    tilt = 1 + random.uniform(-0.3, 0.3) * (np.arange(width, dtype=np.float32) / width - 0.5)
    upright = wall * tilt[None, :].repeat(height, 0)
    depth = np.minimum(upright, floor)
    carpet, paint = (_pattern(random, height, width) for _ in range(2))
    color = np.where((floor < upright)[..., None], carpet, paint)
    boxes = sorted(random.uniform(0.5, 1.0, int(random.integers(0, 14))), reverse=True)
    for nearness in boxes:
        distance = float(nearness) * wall
        box_width, box_height = (int(v * focal / distance) for v in random.uniform(0.15, 1.3, 2))
        left = int(random.integers(-box_width // 2, width))
        foot = horizon + eye * focal / distance
        if random.random() < 0.4:  # hung up rather than standing
            foot = random.uniform(0.2, 0.8) * height
        area = (
            slice(max(0, int(foot) - box_height), max(0, int(foot))),
            slice(max(0, left), max(0, left + box_width)),
        )
        size = color[area].shape[:2]
        if min(size) < 2:
            continue
        mask = np.ones(size, bool)
        if random.random() < 0.3:
            ellipse = np.zeros(size, np.uint8)
            middle, axes = (size[1] // 2, size[0] // 2), (size[1] // 2, size[0] // 2)
            cv2.ellipse(ellipse, middle, axes, 0, 0, 360, 1, -1)
            mask = ellipse > 0
        color[area] = np.where(mask[..., None], _pattern(random, *size), color[area])
        depth[area] = np.where(mask, distance, depth[area])
    soft = cv2.GaussianBlur(color.astype(np.float32), (3, 3), 0)
    return _background(np.clip(soft, 0, 255).astype(np.uint8), depth.astype(np.float32), focal)


def _pattern(random: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """height×width×3 picture in 0..255: a color with light falling on it, blots or stripes."""
    base = random.uniform(10, 245, 3)
    if random.random() < 0.6:  # most things indoors are nearly grey
        base = base.mean() + 0.25 * (base - base.mean())
    picture = np.broadcast_to(base, (height, width, 3)).astype(np.float32)
    for cells in (2, int(random.integers(3, 12)), int(random.integers(12, 80))):
        grid = random.normal(0, random.uniform(0, 22), (cells + 1, cells + 1, 1))
        if random.random() < 0.3:
            grid = grid * random.normal(1, 0.5, 3)
        blots = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
        picture = picture + blots.reshape(height, width, -1)
    if random.random() < 0.35:
        x, y = np.meshgrid(np.arange(width), np.arange(height))
        angle, period = random.uniform(0, np.pi), random.uniform(4, 60)
        wave = np.sin((x * np.cos(angle) + y * np.sin(angle)) * 2 * np.pi / period)
        edge = wave if random.random() < 0.5 else np.sign(wave)
        picture = picture + edge[..., None] * random.uniform(-40, 40, 3)
    return np.clip(picture, 0, 255).astype(np.float32)


def _background(
    color: NDArray[np.uint8], depth: NDArray[np.float32], focal: float
) -> RgbdBackground:
    tensor = torch.from_numpy(np.ascontiguousarray(color)).permute(2, 0, 1).contiguous()
    return RgbdBackground(tensor, torch.from_numpy(depth), focal)

"""Recorded scenes made up for tests, in memory and as folders."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from dart_ros.simulation.depth_labels import BACKGROUND, FOREGROUND, UNLABELLED
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.recorded import RecordedScene

SIZE = (48, 64)
WALL = 3.0
STANDING = (slice(10, 48), slice(20, 50))
PERSON = (slice(10, 48), slice(20, 40))


def scene(frames: int = 3, samples: bool = True, blind: int = 0) -> RecordedScene:
    """A grey wall at 3 m with somebody red at 1 m, whose brightness tells the frame's number."""
    plate = torch.full((3, *SIZE), 100, dtype=torch.uint8)
    depth = torch.full(SIZE, WALL)
    depth[:4] = -1
    depth[:, :blind] = -1
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(-3, 4, (5, 3, *SIZE), generator=generator)
    wobble = torch.where(depth > 0, depth * (1 + 0.002 * noise[:, 0]), -1.0)
    background = RgbdBackground(
        plate,
        depth,
        60.0,
        torch.full(SIZE, 0.05),
        ((plate + noise).to(torch.uint8), wobble) if samples else None,
        max_depth=8.0,
    )
    color = plate.repeat(frames, 1, 1, 1)
    millimetres = (depth.clamp(min=0) * 1000).to(torch.int16).repeat(frames, 1, 1)
    labels = torch.full((frames, *SIZE), UNLABELLED, dtype=torch.uint8)
    labels[:, :, 48:] = BACKGROUND
    for number in range(frames):
        color[number, 0, PERSON[0], PERSON[1]] = 150 + (20 if frames < 6 else 10) * number
        millimetres[number, PERSON[0], PERSON[1]] = 1000
        labels[number, 14:, 24:36] = FOREGROUND
    follows = torch.arange(frames) > 0
    return RecordedScene(background, color, millimetres, labels, follows)


def write_recording(
    path: Path, empty: int = 6, occupied: int = 4, gap: int = 0, left: int = 0
) -> Path:
    """A wall at 3 m. Somebody stands before it at 1 m in occupied frames, ``gap`` numbers after
    each other, and in the first ``left`` empty ones."""
    path.mkdir()
    random = np.random.default_rng(0)
    wall = random.integers(60, 180, (*SIZE, 3))
    numbers = [*range(empty), *(empty + i * (1 + gap) for i in range(occupied))]
    for place, number in enumerate(numbers):
        color = np.clip(wall + random.integers(-2, 3, wall.shape), 0, 255).astype(np.uint8)
        depth = np.full(SIZE, 3000, np.uint16)
        depth += random.integers(0, 5, depth.shape).astype(np.uint16)
        if place >= empty or place < left:
            color[STANDING], depth[STANDING] = (30, 30, 200), 1000
        cv2.imwrite(str(path / f"color_{number:04d}.png"), color)
        cv2.imwrite(str(path / f"depth_{number:04d}.png"), depth)
    content = {
        "width": SIZE[1],
        "height": SIZE[0],
        "K": [60.0, 0, 32, 0, 60.0, 24, 0, 0, 1],
        "fps": 5.0,
        "empty_frames": [[0, empty - 1]] if empty else [],
        "occupied_frames": [[n, n] for n in numbers[empty:]],
    }
    (path / "sequence.json").write_text(json.dumps(content))
    return path

"""A small room in which a box with known outline appears."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from dart_ros.evaluation.scenes import LabelledScene
from dart_ros.values import Camera, Frame

HEIGHT, WIDTH = 60, 80
CAMERA = Camera(WIDTH, HEIGHT, 70.0, 70.0, 40.0, 30.0)
BOX = (slice(20, 50), slice(30, 55))


class Room(LabelledScene):
    """A wall 3 m away; in the test frames there is a box at 2 m, whose truth frame 0 lacks.

    Args:
        test_frames: number of test frames.
        empty_frames: number of empty frames.
    """

    def __init__(self, test_frames: int = 3, empty_frames: int = 60) -> None:
        self.name = "room"
        self.tags: tuple[str, ...] = ("box", "plain <wall>")
        self.max_depth = 8.0
        self.consecutive = True
        self.stamp = "unchanged"
        self._frames = test_frames
        self._empty = empty_frames

    def picture(self, seed: int, box: bool = False, shadow: bool = False) -> Frame:
        """A noisy frame; its upper rows have no depth."""
        rng = np.random.default_rng(seed)
        color = np.full((HEIGHT, WIDTH, 3), (120, 130, 110), float)
        depth = np.full((HEIGHT, WIDTH), 3.0)
        if box:
            color[BOX] = (200, 40, 30)
            depth[BOX] = 2.0
        if shadow:
            color[20:50, 60:75] *= 0.7
        color += rng.normal(0, 2, color.shape)
        depth += rng.normal(0, 0.02, depth.shape)
        depth[:5] = -1.0
        pixels = np.clip(color, 0, 255).astype(np.uint8)
        return Frame(pixels, depth.astype(np.float32), seed, CAMERA)

    def truth(self) -> np.ndarray:
        """Alpha of the box."""
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        alpha[BOX] = 255
        return alpha

    def empty(self) -> Iterator[Frame]:
        """See LabelledScene."""
        return (self.picture(seed) for seed in range(self._empty))

    def __len__(self) -> int:
        """See LabelledScene."""
        return self._frames

    def frame(self, number: int) -> Frame:
        """See LabelledScene."""
        return self.picture(1000 + number, box=True)

    def alpha(self, number: int) -> np.ndarray | None:
        """See LabelledScene."""
        return self.truth() if number else None

    def fingerprint(self) -> str:
        """See LabelledScene."""
        return self.stamp


@pytest.fixture
def room() -> Room:
    """A room with three test frames."""
    return Room()

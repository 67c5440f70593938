"""A room in numbers: a wall with a window, boxes for people and furniture, a sensor's noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.living_background import LearningSettings, LivingBackground
from dart_ros.session.view_changes import Thing
from dart_ros.values import Camera, Frame

HEIGHT, WIDTH = 240, 320
MAX_DEPTH = 5.46
CAMERA = Camera(WIDTH, HEIGHT, 262.5, 262.5, 160.0, 120.0)
WINDOW = slice(0, 50), slice(250, WIDTH)
NOISE = DepthNoise()


class Box(NamedTuple):
    """Something before the wall: its place in pixels, distance in metres, color."""

    left: int
    top: int
    width: int
    height: int
    depth: float
    color: tuple[int, int, int]

    @property
    def place(self) -> tuple[slice, slice]:
        return (
            slice(self.top, self.top + self.height),
            slice(max(0, self.left), max(0, self.left + self.width)),
        )


def person(left: int, depth: float = 2.0) -> Box:
    """Somebody who stands, 1.4 m of whom are seen."""
    return Box(left, 55, 60, 185, depth, (200, 40, 40))


class LivingRoom:
    """The room, seen by a :class:`LivingBackground`.

    Attributes:
        wall: ``H×W×3`` float32, its colors in the light of now.
        distance: ``H×W`` float32 metres, -1 where unknown.
        scale: of the sensor's depth.
        gain: of its exposure.
    """

    def __init__(self, **settings: float | bool) -> None:
        self._random = np.random.default_rng(0)
        texture = self._random.uniform(60, 200, (12, 16, 3)).astype(np.float32)
        self.wall = cv2.resize(texture, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
        self.wall = np.clip(self.wall, 20, 220)
        across = np.linspace(3.0, 3.4, WIDTH, dtype=np.float32)
        self.distance = np.repeat(across[None], HEIGHT, axis=0)
        self.distance[WINDOW] = -1
        # Some, of which frames take one after another: making it takes longer than the rest.
        self._noise = self._random.normal(0, 1, (5, HEIGHT, WIDTH, 3)).astype(np.float32)
        self.scale = self.gain = 1.0
        self.seconds = 0.0
        self.settings = LearningSettings(**settings)  # type: ignore[arg-type]
        self.living = LivingBackground(self.captured(), None, NOISE, MAX_DEPTH, CAMERA)
        self._empty = self.distance.copy(), self.wall.copy()

    def furnish(self, thing: Box) -> None:
        """Something is there from the start: the background is captured with it."""
        frame, _ = self.frame([thing])
        self.wall[thing.place] = frame.color[thing.place]
        self.distance[thing.place] = thing.depth
        self.living = LivingBackground(self.captured(), None, NOISE, MAX_DEPTH, CAMERA)

    def clear(self) -> None:
        """What was there from the start is gone."""
        self.distance, self.wall = self._empty

    def captured(self) -> CapturedBackground:
        known = self.distance > 0
        mean = np.where(known, self.distance * np.float32(self.scale), np.float32(MAX_DEPTH))
        plate = np.rint(self.wall).astype(np.uint8)
        return CapturedBackground(plate, mean, NOISE.at(mean), known)

    def frame(self, boxes: Sequence[Box] = ()) -> tuple[Frame, NDArray[np.uint8]]:
        """A frame and its true alpha."""
        color, depth = self.wall.copy(), self.distance.copy()
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        for box in sorted(boxes, key=lambda box: -box.depth):
            rows, columns = np.mgrid[box.place]
            folds = 12 * np.sin(rows / 3 + (columns - box.left) / 5)
            color[box.place] = np.asarray(box.color, np.float32) + folds[..., None]
            depth[box.place], alpha[box.place] = box.depth, 255
        noise = self._noise[int(self._random.integers(len(self._noise)))]
        color = np.float32(self.gain) * color + noise
        noisy = np.float32(self.scale) * depth * (1 + np.float32(0.004) * noise[..., 0])
        noisy[(depth < 0) | (noise[..., 1] > 1.65)] = -1  # a twentieth
        return (
            Frame(
                np.clip(color, 0, 255).astype(np.uint8),
                noisy.astype(np.float32),
                int(self.seconds * 1e9),
                CAMERA,
            ),
            alpha,
        )

    def watch(
        self,
        seconds: int,
        boxes: Sequence[Box] = (),
        alpha: NDArray[np.uint8] | None = None,
        step: int = 1,
    ) -> list[Thing]:
        """Lets time pass; what was absorbed by itself.

        Args:
            seconds: for how long.
            boxes: what is seen.
            alpha: another matte than the true one.
            step: seconds between two frames.
        """
        absorbed = []
        for _ in range(0, seconds, step):
            frame, true = self.frame(boxes)
            matte = true if alpha is None else alpha
            absorbed += self.living.add(frame, matte, self.settings, self.seconds)
            self.seconds += step
        return absorbed

    def bring(self, thing: Box) -> None:
        """Somebody comes from the left, puts a thing down and leaves."""
        for left in range(-60, thing.left - 20, 30):
            carried = thing._replace(left=left + 20)
            self.watch(1, [person(left), carried])
        beside = thing.left - 50
        self.watch(2, [person(beside), thing])
        for left in range(beside, -80, -30):
            self.watch(1, [person(left), thing])

    def take(self, thing: Box) -> None:
        """Somebody comes from the left and takes a thing away, which isn't drawn."""
        for left in range(-60, thing.left - 20, 30):
            self.watch(1, [person(left), thing])
        for left in range(thing.left - 50, -80, -30):
            self.watch(1, [person(left), thing._replace(left=left + 30)])

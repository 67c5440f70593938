"""Random numbers of a frame: the same for all of a scene, or afresh in each of its frames."""

from __future__ import annotations

import math
import zlib

import torch
from torch import Tensor

from dart_ros.simulation.images import bicubic


class Dice:
    """Random numbers of the parts of a frame.

    A part's numbers are decided by the scene's seed and the part's name alone, whatever was drawn
    before, so frames of a pair differ only by what is drawn afresh in each.

    Args:
        device: where noise is drawn.

    Attributes:
        time: number of the frame in its scene, 0 or before.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.time = 0
        # What decides the course of a frame is drawn on the CPU, or each draw would wait for the
        # device; noise is drawn where it is used.
        self._generator = torch.Generator()
        on_cpu = device.type == "cpu"
        self._noise = self._generator if on_cpu else torch.Generator(device)
        self._fresh = torch.Generator(device)
        self._scene_seed = self._people_seed = 0

    def start(self, scene: int, time: int, people: int) -> None:
        """Begins a frame.

        Args:
            scene: the scene's seed.
            time: number of the frame in its scene.
            people: the seed of who is there.
        """
        self._scene_seed, self._people_seed, self.time = scene, people, time
        self._fresh.manual_seed(mixed_seed(scene, "fresh", time))

    def begin(self, stage: str, number: int = 0, of_people: bool = False) -> None:
        """Random numbers for a part of the frame, whatever was drawn for the parts before it."""
        seed = mixed_seed(self._people_seed if of_people else self._scene_seed, stage, number)
        self._generator.manual_seed(seed)
        if self._noise is not self._generator:
            self._noise.manual_seed(seed)

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=self._generator))

    def chance(self, probability: float) -> bool:
        return float(torch.rand((), generator=self._generator)) < probability

    def integer(self, below: int) -> int:
        return int(torch.randint(below, (), generator=self._generator))

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._noise, device=self.device)

    def fresh_normal(self, *shape: int) -> Tensor:
        return torch.randn(shape, generator=self._fresh, device=self.device)

    def fresh_uniform(self, shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=self._fresh, device=self.device)

    def smooth_noise(self, height: int, width: int, cells: int, fresh: float = 0.0) -> Tensor:
        """1×H×W smooth noise of about unit variance, ``cells`` blobs across the longer side.

        ``fresh``, 0 to 1: how much of it is another in each frame of a pair.
        """
        unit = max(height, width) / cells
        shape = 1, math.ceil(height / unit) + 3, math.ceil(width / unit) + 3
        grid = self.normal(*shape)
        if fresh:
            grid = math.sqrt(1 - fresh**2) * grid + fresh * self.fresh_normal(*shape)
        down = bicubic(grid.shape[-2], height, self.device)
        across = bicubic(grid.shape[-1], width, self.device)
        return down @ grid @ across.T * 1.4


def mixed_seed(seed: int, part: str, number: int) -> int:
    """A seed of 32 bits for a part of what a seed decides."""
    return zlib.crc32(f"{seed} {part} {number}".encode())

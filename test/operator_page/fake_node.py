"""A matting node without ROS, for tests of the page's server."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from dart_ros.operator_page.node import Answer, Picture


@dataclass
class FakeNode:
    """Answers at once, and remembers what it was asked."""

    name: str = "/matting_node"
    state: dict[str, Any] = field(
        default_factory=lambda: {
            **{"state": 2, "scene": "", "scene_id": "", "reason": "no background yet"},
            **{"activity": "", "progress": 0.0, "fitting": False, "frame_rate": 29.6},
            **{"latency": 0.021, "frames_dropped": 0, "age_ms": 0},
        }
    )
    asked: list[tuple[Any, ...]] = field(default_factory=list)
    answer: Answer = field(default_factory=lambda: Answer(True, "done"))
    stored: list[dict[str, Any]] = field(default_factory=list)
    watching: int = 0
    silent: bool = False  # sends no pictures

    def status(self) -> dict[str, Any]:
        return self.state

    async def watch(self, view: str) -> AsyncIterator[Picture | None]:
        self.watching += 1
        try:
            while self.silent:
                yield None
                await asyncio.sleep(0.01)
            for number in itertools.count():
                image = np.full((48, 64, 3), number % 256, np.uint8)
                data = cv2.imencode(".jpg", image)[1].tobytes()
                yield Picture("image/jpeg", data)
                await asyncio.sleep(0.01)
        finally:
            self.watching -= 1

    async def _asked(self, *what: Any) -> Answer:
        self.asked.append(what)
        return self.answer

    async def capture(self, scene: str, fit: bool) -> Answer:
        return await self._asked("capture", scene, fit)

    async def cancel_capture(self) -> Answer:
        return await self._asked("cancel_capture")

    async def fit(self, scene: str) -> Answer:
        return await self._asked("fit", scene)

    async def cancel_fit(self) -> Answer:
        return await self._asked("cancel_fit")

    async def scenes(self) -> list[dict[str, Any]]:
        return self.stored

    async def load(self, scene: str) -> Answer:
        return await self._asked("load", scene)

    async def rename(self, scene: str, name: str) -> Answer:
        return await self._asked("rename", scene, name)

    async def delete(self, scene: str) -> Answer:
        return await self._asked("delete", scene)

    async def absorb(self, region: tuple[int, int, int, int]) -> Answer:
        return await self._asked("absorb", region)

    async def undo_absorb(self) -> Answer:
        return await self._asked("undo_absorb")

    async def set_backdrop(self, backdrop: dict[str, Any]) -> Answer:
        return await self._asked("backdrop", backdrop)

    async def still(self) -> Answer:
        return await self._asked("still")

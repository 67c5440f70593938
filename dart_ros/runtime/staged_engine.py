"""A frame's way through the stages, for engines whose results the CPU can read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime.graphs import COARSE, FOREGROUND, REFINING
from dart_ros.runtime.layout import FrameBuffer
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.tile_choice import tile_counts, uncertain_tiles
from dart_ros.runtime.weights import NetworkWeights
from dart_ros.values import Matte


class StagedEngine(ABC):
    """See :class:`dart_ros.runtime.engine.Engine`.

    Tiles of which the network is sure are left out, so that a frame costs what is in it.

    Args:
        weights: of the network.
        background: the captured scene.
        tiles: largest number of refined tiles, None to refine all, sure or not.
    """

    title: str
    """The engine's name in messages."""

    name: str

    def __init__(
        self, weights: NetworkWeights, background: CapturedBackground, tiles: int | None
    ) -> None:
        self.notes: tuple[str, ...] = ()
        self._weights = weights
        self._layout = background.layout
        self._counts = tile_counts(self._layout.tiles, tiles)
        self._frame = FrameBuffer(self._layout)

    @abstractmethod
    def _infer(self, stage: str, count: int) -> None:
        """Runs a stage on what lies in its inputs."""

    @abstractmethod
    def _output(self, name: str) -> NDArray[Any]:
        """What a stage has made; valid until it runs again."""

    @abstractmethod
    def _set_tiles(self, tiles: NDArray[np.int32]) -> None:
        """Sets the tiles that the refining stage and the foreground's read."""

    @abstractmethod
    def _placed(self, buffers: dict[str, NDArray[Any]]) -> Callable[[], None]:
        """What lets the stages read other scene buffers from the next frame on."""

    def prepare(self, background: CapturedBackground) -> Callable[[], None]:
        """See :meth:`dart_ros.runtime.engine.Engine.prepare`."""
        background.check_layout(self._layout)
        return self._placed(scene_buffers(self._weights, background))

    def run(
        self,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32],
        foreground: bool = True,
    ) -> Matte:
        """See :meth:`dart_ros.runtime.engine.Engine.run`."""
        try:
            self._frame.fill(color, depth)
            self._infer(COARSE, 0)
            tiles = uncertain_tiles(self._output("worst"), self._counts)
            self._set_tiles(tiles)
            self._infer(REFINING, len(tiles))
            alpha = self._cropped("alpha")
            picture = None
            if foreground:
                self._infer(FOREGROUND, len(tiles))
                picture = self._cropped("foreground")
        except EngineError:
            raise
        except Exception as error:  # ONNX Runtime's errors have no common base
            raise EngineError(f"{self.title} failed on a frame: {error}") from error
        return Matte(alpha, picture, None)

    def _cropped(self, name: str) -> NDArray[np.uint8]:
        """An image of the frame's size, as memory of its own."""
        image: NDArray[np.uint8] = self._output(name)
        return image[: self._layout.height, : self._layout.width].copy()

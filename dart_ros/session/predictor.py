"""The predictor: a scene and an engine, from a frame to its matte."""

from __future__ import annotations

from collections.abc import Callable

import torch

from dart_ros.errors import EngineError, SceneError
from dart_ros.fitting.weights import network_with
from dart_ros.method.blind_sides import blind_sides, continued
from dart_ros.method.geometry import REFINED_SHARE, tile_count
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.engine import create_engine, must_build, must_compile
from dart_ros.session.foreground import without_room
from dart_ros.session.scene import Scene
from dart_ros.values import Frame, Matte


class Predictor:
    """Mattes the frames of one scene. Building one takes seconds; use one thread at a time.

    Args:
        scene: the captured background, with fitted weights or without.
        backend: an engine's name (:data:`dart_ros.runtime.engine.BACKENDS`) or ``auto``.
        refine_fraction: share of a 640×480 image that is refined at full size, above 0 and up to
            1, see :func:`dart_ros.method.geometry.tile_count`.
        threads: CPU threads, 0 for as many as there are cores.
        network: a network other than the generic one or the one that was fitted to the scene.
        ready_only: pass TensorRT by where its engine must be built first, which can take minutes.
        compile_apart: called where the engine must be compiled first, to do that in a process of
            its own; what it leaves in the cache is used.

    Attributes:
        scene: the scene.
        backend: the engine that really runs.
        notes: why engines that would have been preferred do not run.
        improvable: whether a predictor that waits for TensorRT's build would be faster.

    Raises:
        EngineError: if no engine can be built, or by ``compile_apart``.
        FitError: if the scene's weights are not this network's.
    """

    def __init__(
        self,
        scene: Scene,
        backend: str = "auto",
        refine_fraction: float = REFINED_SHARE,
        threads: int = 0,
        network: MattingNetwork | None = None,
        ready_only: bool = False,
        compile_apart: Callable[[], None] | None = None,
    ) -> None:
        self.scene = scene
        camera = scene.camera
        try:
            tiles = tile_count(camera.height, camera.width, refine_fraction)
        except ValueError as error:
            raise EngineError(str(error)) from error
        network, background = network or network_with(scene.weights), background_of(scene)
        self.improvable = ready_only and must_build(network, background, tiles, backend)
        if compile_apart is not None and must_compile(network, background, tiles, backend):
            compile_apart()
        self._engine, self.notes = create_engine(
            network, background, tiles, backend, threads, ready_only
        )
        self.backend = self._engine.name
        self._sides = blind_sides(torch.from_numpy(scene.depth_count > 0))

    def predict(self, frame: Frame, trimap: bool = True, foreground: bool = True) -> Matte:
        """Mattes one frame.

        Args:
            frame: a frame of the scene's camera.
            trimap: whether the trimap is wanted too.
            foreground: whether the foreground's color is wanted too.

        Raises:
            SceneError: if the frame's size is not the scene's.
            EngineError: if the engine fails.
        """
        camera = self.scene.camera
        for image, shape in (("color", frame.color.shape[:2]), ("depth", frame.depth.shape)):
            if shape != (camera.height, camera.width):
                raise SceneError(
                    f"the frame's {image} is {'x'.join(map(str, shape[::-1]))}, the scene "
                    f"{self.scene.name!r} was captured at {camera.width}x{camera.height}: capture "
                    "the background again at this size"
                )
        depth = frame.depth
        if any(self._sides):
            # A copy, because the frame's may not be written to, which torch warns of.
            depth = continued(torch.from_numpy(depth.copy()), self._sides).numpy()
        alpha, color = self._engine.matte(frame.color, depth, foreground)
        if color is not None:
            color = without_room(color, alpha)
        wanted = self._engine.trimap(alpha, frame.depth) if trimap else None
        return Matte(alpha=alpha, foreground=color, trimap=wanted)


def background_of(scene: Scene) -> Background:
    """The scene as tensors, 1×C×H×W."""
    plate = torch.from_numpy(scene.plate.copy()).permute(2, 0, 1)[None].float() / 255
    return Background(
        plate=plate.contiguous(),
        mean=torch.from_numpy(scene.depth_mean.copy())[None, None],
        std=torch.from_numpy(scene.depth_std.copy())[None, None],
        known=torch.from_numpy(scene.depth_count > 0)[None, None].float(),
    )

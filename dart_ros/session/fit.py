"""Fits the network to a stored scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dart_ros.fitting.composition import RgbdBackground
from dart_ros.fitting.scene_fit import FitResult, fit_scene
from dart_ros.session.scene import Scene
from dart_ros.values import UNKNOWN_DEPTH


def background_of(scene: Scene) -> RgbdBackground:
    """A captured scene as what people are composed before."""
    known = scene.depth_count > 0
    depth = np.where(known, scene.depth_mean, np.float32(UNKNOWN_DEPTH))
    return RgbdBackground(
        color=torch.from_numpy(scene.plate.copy()).permute(2, 0, 1).contiguous(),
        depth=torch.from_numpy(depth),
        focal=scene.camera.fx,
        std=torch.from_numpy(scene.depth_std.copy()),
    )


def fit(
    scene: Scene,
    seconds: float | None,
    on_progress: Callable[[float, str], None],
    stop: Callable[[], bool],
    own_sprites: Path | None = None,
    teacher: Path | None = None,
    checkpoint: Path | None = None,
    logs: Path | None = None,
) -> tuple[Scene, FitResult]:
    """Fine-tunes the generic weights on a scene.

    Args:
        scene: a captured scene; it is not changed.
        seconds: how long to train; None for the fit's own choice.
        on_progress: called with the share done in [0, 1] and what goes on in words.
        stop: asked between steps; True ends the fit early with what is best so far.
        own_sprites: a folder of sprites to add to the library that ships.
        teacher: weights of a network to learn from besides the truth.
        checkpoint: file of what an interrupted fit goes on from, see
            :meth:`dart_ros.session.scene.SceneStore.unfinished_fit`.
        logs: folder of TensorBoard's logs.

    Returns:
        The scene with fitted weights and the figures of the fit (unchanged if the fit could not
        improve on the generic weights), and the figures.

    Raises:
        FitError: if weights or sprites can't be read, logs can't be written, or the time is not
            positive.
    """
    result = fit_scene(
        background_of(scene),
        scene.max_depth,
        seconds,
        on_progress,
        stop,
        own_sprites=own_sprites,
        teacher=teacher,
        checkpoint=checkpoint,
        logs=logs,
    )
    if not result.improved:
        return scene, result
    figures: dict[str, float | str] = {
        "before": result.before,
        "after": result.after,
        "steps": float(result.steps),
        "seconds": result.seconds,
        **result.made_of,
    }
    return replace(scene, weights=result.weights, fit=figures), result

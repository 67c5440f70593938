"""Fits the network to a stored scene."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from dart_ros.fitting.run import FitRun
from dart_ros.fitting.scene_fit import FitResult, fit_scene
from dart_ros.session.scene import Scene
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.recorded import RecordedScene
from dart_ros.values import UNKNOWN_DEPTH

# Of an image's width: a view of 71 degrees. People are scaled by it, which needs no precision.
_TYPICAL_FOCAL = 0.7


def background_of(scene: Scene) -> RgbdBackground:
    """A captured scene as what people are composed before."""
    known = scene.depth_count > 0
    depth = np.where(known, scene.depth_mean, np.float32(UNKNOWN_DEPTH))
    return RgbdBackground(
        color=torch.from_numpy(scene.plate.copy()).permute(2, 0, 1).contiguous(),
        depth=torch.from_numpy(depth),
        focal=scene.camera.fx if scene.camera.calibrated else _TYPICAL_FOCAL * scene.camera.width,
        std=torch.from_numpy(scene.depth_std.copy()),
        restless=torch.from_numpy(scene.restless_color()),
    )


def fit(
    scene: Scene,
    run: FitRun,
    on_progress: Callable[[float, str], None],
    stop: Callable[[], bool],
    checkpoint: Path | None = None,
    logs: Path | None = None,
    recorded: RecordedScene | None = None,
) -> tuple[Scene, FitResult]:
    """Fine-tunes the generic weights on a scene.

    Args:
        scene: a captured scene; it is not changed.
        run: what to fit with, and for how long.
        on_progress: called with the share done in [0, 1] and what goes on in words.
        stop: asked between steps; True ends the fit early with what is best so far.
        checkpoint: file of what an interrupted fit goes on from, see
            :meth:`dart_ros.session.scene_store.SceneStore.unfinished_fit`.
        logs: folder of TensorBoard's logs.
        recorded: frames of the scene to learn from, those of ``run.recording``; see
            :func:`dart_ros.session.recorded_scene.load_frames_of_scene`.

    Returns:
        The scene with fitted weights and the figures of the fit (unchanged if the fit could not
        improve on the generic weights), and the figures.

    Raises:
        FitError: as :func:`dart_ros.fitting.scene_fit.fit_scene`.
    """
    result = fit_scene(
        background_of(scene), scene.max_depth, run, on_progress, stop, checkpoint, logs, recorded
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

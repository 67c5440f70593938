"""Compares a built engine with another kind of engine on a frame, before it serves.

Engines that TensorRT builds so that weights can be replaced can compute something else without any
error (a known issue of TensorRT's).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.weights import NetworkWeights

if TYPE_CHECKING:
    from dart_ros.runtime.engine import Engine

_MOST_DIFFERENCE = 1.0
"""Mean difference of alpha, of 255; half precision makes less than 0.1."""

_MOST_WRONG = 0.01
"""Share of pixels whose alpha differs by more than an eighth."""


def check_engine(
    engine: Engine,
    weights: NetworkWeights,
    background: CapturedBackground,
    tiles: int | None,
    notes: list[str],
) -> str | None:
    """What is wrong with an engine, None if nothing is.

    Args:
        engine: the engine.
        weights: that are in it.
        background: the scene that it was made for.
        tiles: number of refined tiles, None for all.
        notes: is told if there is no other engine to compare with.
    """
    from dart_ros.runtime.engine import create_engine

    reference = None
    for backend in ("openvino", "onnxruntime", "torch"):
        try:
            reference, _ = create_engine(weights, background, tiles, backend)
            break
        except EngineError:
            continue
    if reference is None:
        notes.append(
            f"{engine.name} was not compared with another engine, since there is none here: pip "
            "install onnxruntime"
        )
        return None
    color, depth = example_frame(background)
    found = engine.run(color, depth, foreground=False).alpha.astype(np.int16)
    expected = reference.run(color, depth, foreground=False).alpha
    difference = np.abs(found - expected)
    if difference.mean() < _MOST_DIFFERENCE and (difference > 32).mean() < _MOST_WRONG:
        return None
    return (
        f"{engine.name} mattes otherwise than {reference.name} (alpha differs by "
        f"{difference.mean():.1f} of 255)"
    )


def example_frame(
    background: CapturedBackground,
) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The scene with something before it: an ellipse at half the distance, in other colors."""
    height, width = background.mean.shape
    rows, columns = np.mgrid[:height, :width]
    inside = ((rows - 0.6 * height) / (0.35 * height)) ** 2 + (
        (columns - 0.5 * width) / (0.15 * width)
    ) ** 2 < 1
    color = background.plate.copy()
    color[inside] = 255 - color[inside] // 2
    known = np.where(background.known, background.mean, np.float32(-1))
    depth = np.where(inside, 0.5 * background.mean, known).astype(np.float32)
    return color, depth

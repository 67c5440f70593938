"""What a recording gives to train on: its captured background, and its frames with their labels."""

from __future__ import annotations

import itertools
import os
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from dart_ros.errors import CaptureError, FitError
from dart_ros.session.capture import capture_scene
from dart_ros.session.fit import background_of
from dart_ros.session.recording import MAX_DEPTH, Recording, open_recording
from dart_ros.session.registration import registered
from dart_ros.session.scene import Scene
from dart_ros.simulation.depth_labels import depth_labels
from dart_ros.simulation.frames import RgbdBackground
from dart_ros.simulation.recorded import RecordedScene
from dart_ros.values import Frame

MOST_EMPTY = 40
"""Empty frames of a recording that are kept as samples of the sensor's noise."""

MOST_OCCUPIED = 400
"""Frames of a recording that are labelled, evenly spread: 2 MB each at 640×480."""

A_MOMENT = 0.34
"""Seconds within which a frame follows another: people move by less than their width."""


def load_recorded_scene(
    path: str | os.PathLike[str], max_depth: float = MAX_DEPTH
) -> RecordedScene:
    """Reads a recording as a scene to train on.

    Args:
        path: a folder or a bag, see :func:`dart_ros.session.recording.open_recording`.
        max_depth: range of the sensor in metres.

    Raises:
        RecordingError: if it can't be read.
        FitError: if it has no occupied frames, or its empty ones make no background.
    """
    recording = open_recording(path, max_depth=max_depth)
    try:
        empty = _evenly(recording.empty, MOST_EMPTY)
        return recorded_scene(
            recording, _captured(recording, max_depth), [recording.frame(p) for p in empty]
        )
    finally:
        recording.close()


def load_frames_of_scene(path: str | os.PathLike[str], scene: Scene) -> RecordedScene:
    """Reads a recording that was taken in a captured scene, by the same camera.

    Raises:
        RecordingError: if it can't be read.
        FitError: if it has no occupied frames, or frames of another size.
    """
    recording = open_recording(path, max_depth=scene.max_depth)
    try:
        empty = _evenly(recording.empty, MOST_EMPTY)
        frames = [recording.frame(position) for position in empty]
        return recorded_scene(recording, scene, frames)
    finally:
        recording.close()


def recorded_scene(
    recording: Recording, scene: Scene, empty: list[Frame] | None = None
) -> RecordedScene:
    """A recording's occupied frames with labels from depth alone.

    Args:
        recording: taken after the scene was captured, by the same camera in the same place.
        scene: the captured scene.
        empty: frames of the empty scene, whose noise is the sensor's own.

    Raises:
        FitError: if the recording has no occupied frames, or frames of another size.
        RecordingError: if a frame can't be read.
    """
    positions = _evenly(recording.occupied, MOST_OCCUPIED)
    if not positions:
        raise FitError(
            f"The recording '{recording.name}' has no occupied frames to learn from; name some as "
            "occupied_frames in its sequence.json."
        )
    size = scene.depth_mean.shape
    known = scene.depth_count > 0
    colors, depths, labels = [], [], []
    for position in positions:
        frame = registered(recording.frame(position), scene.depth_offset)
        if frame.depth.shape != size:
            raise FitError(
                f"The recording '{recording.name}' has frames of {frame.depth.shape[1]}x"
                f"{frame.depth.shape[0]} and the scene is of {size[1]}x{size[0]}; give a recording "
                "of the camera that the scene was captured with."
            )
        colors.append(_planes(frame.color))
        depths.append(_millimetres(frame.depth))
        found = depth_labels(
            frame.color, frame.depth, scene.plate, scene.depth_mean, scene.depth_std, known
        )
        labels.append(torch.from_numpy(found))
    numbers = [recording.number(position) for position in positions]
    follows = [False] + [
        0 < number - before <= A_MOMENT * recording.fps
        for before, number in itertools.pairwise(numbers)
    ]
    return RecordedScene(
        _background(scene, empty or []),
        torch.stack(colors),
        torch.stack(depths),
        torch.stack(labels),
        torch.tensor(follows),
    )


def _background(scene: Scene, empty: list[Frame]) -> RgbdBackground:
    samples = None
    if empty:
        empty = [registered(frame, scene.depth_offset) for frame in empty]
        samples = (
            torch.stack([_planes(frame.color) for frame in empty]),
            torch.stack([torch.from_numpy(frame.depth) for frame in empty]),
        )
    return replace(background_of(scene), samples=samples, max_depth=scene.max_depth, varied=True)


def _captured(recording: Recording, max_depth: float) -> Scene:
    """The background from as many of the empty frames as one is captured from.

    Somebody who still leaves the view in the first of them doesn't spoil the rest.
    """
    frames = [recording.frame(position) for position in recording.empty]
    problem = "it has no empty frames"
    for first in range(len(frames)):
        rest = frames[first:]
        try:
            return capture_scene(rest, len(rest), "recorded", max_depth)
        except CaptureError as error:
            problem = str(error) if first == 0 else problem
    raise FitError(f"The recording '{recording.name}' gives no background to train on: {problem}")


def _evenly(positions: list[int], most: int) -> list[int]:
    if len(positions) <= most:
        return positions
    return [positions[round(i * (len(positions) - 1) / (most - 1))] for i in range(most)]


def _planes(color: NDArray[np.uint8]) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(color.transpose(2, 0, 1)))


def _millimetres(depth: NDArray[np.float32]) -> torch.Tensor:
    millimetres = np.rint(np.clip(depth, 0, 32.767) * 1000)
    return torch.from_numpy(millimetres.astype(np.int16))

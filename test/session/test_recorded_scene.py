"""Recordings as scenes to train on: folders written here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from recorded_example import SIZE, write_recording

from dart_ros.errors import FitError, RecordingError
from dart_ros.session import recorded_scene as module
from dart_ros.session.capture import capture_scene
from dart_ros.session.recorded_scene import (
    load_frames_of_scene,
    load_recorded_scene,
    recorded_scene,
)
from dart_ros.session.recording import open_recording
from dart_ros.simulation.depth_labels import BACKGROUND, FOREGROUND
from dart_ros.values import Frame


def test_a_recording_gives_background_noise_and_labels(tmp_path: Path) -> None:
    scene = load_recorded_scene(write_recording(tmp_path / "room"), 6.0)
    background = scene.background
    assert background.captured and background.varied and background.max_depth == 6.0
    assert background.focal == 60.0
    assert float((background.depth - 3).abs().max()) < 0.01
    assert background.samples is not None
    colors, depths = background.samples
    assert colors.shape == (6, 3, *SIZE) and depths.shape == (6, *SIZE)
    assert 0.5 < float((colors.float() - background.color).abs().mean()) < 3
    assert scene.color.shape == (4, 3, *SIZE) and scene.depth.dtype == torch.int16
    assert (scene.depth[:, 30, 35] == 1000).all()
    # Red, though pictures are stored the other way round.
    assert (scene.color[:, 0, 30, 35] == 200).all() and (scene.color[:, 2, 30, 35] == 30).all()
    assert (scene.labels[:, 30, 35] == FOREGROUND).all()
    assert (scene.labels[:, 5, 3] == BACKGROUND).all()


@pytest.mark.parametrize(("gap", "follow"), [(0, True), (3, False)])
def test_frames_follow_each_other_within_a_moment(tmp_path: Path, gap: int, follow: bool) -> None:
    scene = load_recorded_scene(write_recording(tmp_path / "room", gap=gap))
    assert scene.follows.tolist() == [False, follow, follow, follow]


def test_somebody_who_leaves_at_first_does_not_spoil_it(tmp_path: Path) -> None:
    scene = load_recorded_scene(write_recording(tmp_path / "room", empty=8, left=2))
    assert float((scene.background.depth - 3).abs().max()) < 0.01


def test_long_recordings_are_thinned_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_EMPTY", 3)
    monkeypatch.setattr(module, "MOST_OCCUPIED", 2)
    scene = load_recorded_scene(write_recording(tmp_path / "room"))
    assert len(scene.color) == 2 and scene.background.samples is not None
    assert len(scene.background.samples[0]) == 3


def test_what_cannot_be_used_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="no recording"):
        load_recorded_scene(tmp_path / "nowhere")
    with pytest.raises(FitError, match="'a' gives no background to train on: it has no empty"):
        load_recorded_scene(write_recording(tmp_path / "a", empty=0))
    with pytest.raises(FitError, match="'b' has no occupied frames"):
        load_recorded_scene(write_recording(tmp_path / "b", occupied=0))


def test_frames_of_another_size_than_the_scene_are_refused(tmp_path: Path) -> None:
    recording = open_recording(write_recording(tmp_path / "room"))
    frame = recording.frame(0)
    camera = replace(frame.camera, width=SIZE[1] // 2, height=SIZE[0] // 2)
    half = Frame(frame.color[::2, ::2].copy(), frame.depth[::2, ::2].copy(), 0, camera)
    scene = capture_scene([half] * 5, 5, "half", 10.0)
    with pytest.raises(FitError, match="64x48 and the scene is of 32x24"):
        recorded_scene(recording, scene)


def test_frames_of_a_captured_scene_keep_its_background(tmp_path: Path) -> None:
    recording = open_recording(write_recording(tmp_path / "room"))
    captured = capture_scene([recording.frame(p) for p in recording.empty], 6, "room", 10.0)
    scene = load_frames_of_scene(tmp_path / "room", captured)
    assert torch.equal(scene.background.color, torch.from_numpy(captured.plate).permute(2, 0, 1))
    assert len(scene.color) == 4 and scene.background.samples is not None

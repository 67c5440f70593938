"""What the benchmark of the fit composes, and what it says of scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from benchmark import scene_fit
from benchmark.scene_fit import captured, composed, halves, interval, measure
from dart_ros.evaluation.metrics import Scores
from dart_ros.files import DEMO_RECORDING
from dart_ros.fitting.scene_fit import FitResult
from dart_ros.session.recording import open_recording
from dart_ros.session.scene import Scene


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow beside another process of the tests."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def sad(value: float) -> Scores:
    return Scores(value, 0.0, 0.0, 0.0, 0.0)


def test_the_interval_holds_the_change_and_narrows_with_its_spread() -> None:
    before = [sad(value) for value in np.linspace(1, 3, 50)]
    low, high = interval(before, [sad(0.8 * scores.sad) for scores in before])
    assert low == pytest.approx(-0.2) and high == pytest.approx(-0.2)
    random = np.random.default_rng(0)
    after = [sad(0.8 * scores.sad + random.normal(0, 0.3)) for scores in before]
    low, high = interval(before, after)
    # By hand: 0.3 / sqrt(50) / 2 is 2 %, and 95 % lie within 1.96 times that on either side.
    assert low < -0.2 < high and high - low == pytest.approx(0.083, rel=0.35)


def test_what_is_tested_with_was_not_captured() -> None:
    empty = SimpleNamespace(name="room", empty=[3, 4, 5, 6, 7, 20, 21], number=lambda p: p)
    assert halves(empty) == ([3, 4], [5, 6, 7])  # type: ignore[arg-type]


def test_people_who_were_held_out_before_a_sensors_frames(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_fit, "EMPTY_FRAMES", 10)
    recording = open_recording(DEMO_RECORDING, max_depth=10.0)
    scene = captured(recording, 10.0)
    frames = composed(recording, scene, 4)
    assert len(frames) == 4 and any(alpha.max() == 255 for _, alpha in frames)
    for frame, alpha in frames:
        assert frame.color.dtype == alpha.dtype == np.uint8
        assert alpha.shape == frame.depth.shape == scene.depth_mean.shape
        unknown = frame.depth < 0
        assert (frame.depth[unknown] == -1).all() and 0 < unknown.mean() <= 1

    def none_better(scene: Scene, seconds: float) -> tuple[Scene, FitResult]:
        return scene, FitResult({}, False, 1.0, 1.0, 7, seconds, {})

    monkeypatch.setattr(scene_fit, "fitted", none_better)
    measure(DEMO_RECORDING, 10.0, 3, 5.0, "torch", tmp_path)
    said = capsys.readouterr().out
    assert "demo: 3 frames, a fit of 5 s, 7 steps" in said and "SAD +0.0 %" in said
    picture = cv2.imread(str(tmp_path / "demo.png"))
    assert picture is not None and picture.shape == (10 * 240, 5 * 320, 3)
    before, after = picture[:, 320:640].astype(int), picture[:, 640:960].astype(int)
    assert before.max() == 255 and (before == after).all()

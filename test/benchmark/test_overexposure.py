"""What the benchmark of overexposure makes of scenes, and that it shows what it is for."""

from __future__ import annotations

import numpy as np
import pytest

from benchmark import overexposure
from benchmark.overexposure import OverexposedScene, measure
from dart_ros.evaluation.scenes import LabelledScene, RecordingScene
from dart_ros.files import DEMO_RECORDING
from dart_ros.session.recording import open_recording

MAX_DEPTH = 10.0


@pytest.fixture(scope="module")
def scene() -> LabelledScene:
    recording = open_recording(DEMO_RECORDING, max_depth=MAX_DEPTH)
    return RecordingScene(recording, DEMO_RECORDING, MAX_DEPTH, stride=90)


def test_background_and_frames_are_brighter_and_cut_off(scene: LabelledScene) -> None:
    exposed = OverexposedScene(scene, 2.5)
    assert len(exposed) == len(scene)
    pairs = [(next(scene.empty()), next(exposed.empty())), (scene.frame(0), exposed.frame(0))]
    for before, after in pairs:
        wanted = np.minimum(255, np.round(before.color.astype(float) * 2.5))
        assert (after.color == wanted).all()
        assert (after.color == 255).mean() > (before.color == 255).mean()
        assert (after.depth == before.depth).all() and after.stamp == before.stamp
    assert exposed.fingerprint() != scene.fingerprint()


def test_color_suffers_and_depth_does_not(scene: LabelledScene) -> None:
    results = measure([scene], (1.0, 2.5), ("depth", "color"), "torch")
    as_is, brighter = (results.rows(tag) for tag in results.tags())
    assert results.tags() == ["as it is", "2.5 times as bright"]
    (depth, color), (depth_brighter, color_brighter) = as_is, brighter
    assert depth.scores == depth_brighter.scores
    assert color.scores != color_brighter.scores


def test_a_folder_that_is_no_data_set_is_told(
    tmp_path: object, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["overexposure", str(tmp_path)])
    assert overexposure.main() == 1
    assert str(tmp_path) in capsys.readouterr().err

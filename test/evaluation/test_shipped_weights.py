"""Gates: the weights that ship, in the precision that runs, on scenes that nothing was trained on.

Bounds are what the weights reached when they were set, and a tenth more.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.sim_rgbd.expand import expand
from dart_ros.evaluation.dataset import open_dataset
from dart_ros.evaluation.metrics import flicker, score
from dart_ros.evaluation.scenes import LabelledScene, RecordingScene
from dart_ros.files import DEMO_RECORDING
from dart_ros.session.capture import capture_scene
from dart_ros.session.predictor import Predictor
from dart_ros.session.recording import open_recording

RENDERS = Path(__file__).parents[2] / "benchmark" / "sim_rgbd"
ROOMS = ("clean/scene_00", "clean/scene_05", "closeups/scene_01")
VIDEOS = ("clips/scene_00", "clips/scene_01")
EMPTY_FRAMES = 20
SHOWN = 24


@dataclass(frozen=True)
class Measured:
    """Means: SAD in thousands of pixels, false foreground in per cent, dtSSD x 100."""

    sad: float
    false_foreground: float
    dtssd: float | None


def demo() -> LabelledScene:
    recording = open_recording(DEMO_RECORDING)
    return RecordingScene(recording, DEMO_RECORDING, 10.0, 1)


def rooms(folder: Path, names: Sequence[str]) -> list[LabelledScene]:
    for number, name in enumerate(names):
        shutil.copytree(RENDERS / name, folder / "clean" / f"scene_{number:02d}")
    expand(folder / "clean", folder / "noisy", seed=0, frames=EMPTY_FRAMES)
    return open_dataset(folder / "noisy")


def measured(scene: LabelledScene) -> Measured:
    empty = [frame for _, frame in zip(range(EMPTY_FRAMES), scene.empty(), strict=False)]
    captured = capture_scene(empty, len(empty), "gate", scene.max_depth)
    predictor = Predictor(captured, video=scene.consecutive)
    sads, false, changes = [], [], []
    before: tuple[np.ndarray, np.ndarray] | None = None
    for number in range(min(len(scene), SHOWN)):
        alpha = predictor.predict(scene.frame(number), trimap=False, foreground=False).alpha
        truth = scene.alpha(number)
        assert truth is not None
        scores = score(alpha, truth)
        sads.append(scores.sad)
        false.append(100 * scores.false_foreground)
        if before is not None and scene.consecutive:
            changes.append(flicker(alpha, before[0], truth, before[1]))
        before = alpha, truth
    dtssd = float(np.mean(changes)) if changes else None
    return Measured(float(np.mean(sads)), float(np.mean(false)), dtssd)


def test_the_demo_recording() -> None:
    found = measured(demo())
    assert found.sad < 0.55 and found.false_foreground < 0.02
    # Flicker: how far alpha changes otherwise than the truth does.
    assert found.dtssd is not None and found.dtssd < 3.72


def test_rooms_of_sim_rgbd(tmp_path: Path) -> None:
    # The last one is a close-up with loose hair, at 1280x720.
    for scene, most in zip(rooms(tmp_path, ROOMS), (0.79, 0.78, 11.3), strict=True):
        found = measured(scene)
        assert found.sad < most and found.false_foreground < 0.06, scene.name


def test_videos_of_sim_rgbd(tmp_path: Path) -> None:
    bounds = ((1.01, 5.2), (1.71, 6.45))
    for scene, (most, unsteady) in zip(rooms(tmp_path, VIDEOS), bounds, strict=True):
        found = measured(scene)
        assert found.sad < most and found.false_foreground < 0.07, scene.name
        assert found.dtssd is not None and found.dtssd < unsteady, scene.name

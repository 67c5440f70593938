"""Tables: equal frames for all methods, right means, and what can't be evaluated."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.metrics import mean_scores, score
from dart_ros.evaluation.table import compare, empty_frames, markdown
from dart_ros.values import Camera, Frame

CAMERA = Camera(16, 12, 10.0, 10.0, 8.0, 6.0)


class Frames:
    """Ten frames whose color tells position and repeat."""

    name = "made up"

    def __init__(self, empty: Iterable[int] = (0, 1, 2)) -> None:
        self.empty = list(empty)
        self.occupied = list(range(3, 10))
        self.asked: list[tuple[int, int]] = []

    def frame(self, position: int, repeat: int = 0) -> Frame:
        self.asked.append((position, repeat))
        color = np.full((12, 16, 3), 10 * position + repeat, np.uint8)
        return Frame(color, np.ones((12, 16), np.float32), position, CAMERA)

    def alpha(self, position: int) -> np.ndarray | None:
        # Position 3 has no truth.
        return None if position == 3 else np.full((12, 16), 20 * position, np.uint8)


class Constant:
    """Answers with the same alpha and remembers what it got."""

    def __init__(self, name: str, value: int) -> None:
        self.name, self.value = name, value
        self.learnt: list[int] = []
        self.seen: list[int] = []

    def fit(self, frames: Iterable[Frame]) -> None:
        self.learnt = [int(frame.color[0, 0, 0]) for frame in frames]

    def alpha(self, frame: Frame) -> np.ndarray:
        self.seen.append(int(frame.color[0, 0, 0]))
        return np.full(frame.depth.shape, self.value, np.uint8)


def test_empty_frames_go_round_with_new_noise() -> None:
    frames = Frames()
    assert len(list(empty_frames(frames, 7))) == 7
    assert frames.asked == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]
    assert list(empty_frames(Frames(()))) == []


def test_all_methods_get_the_same_frames(tmp_path: Path) -> None:
    methods = [Constant("none", 0), Constant("all of it", 255)]
    rows = compare(Frames(), methods, stride=2, output=tmp_path / "out", progress=False)
    assert methods[0].seen == methods[1].seen == [40, 60, 80]
    assert methods[0].learnt == methods[1].learnt
    assert len(methods[0].learnt) == 100
    for row, value in zip(rows, (0, 255), strict=True):
        alpha = np.full((12, 16), value, np.uint8)
        truths = [np.full((12, 16), 20 * p, np.uint8) for p in (4, 6, 8)]
        assert row.scores == mean_scores([score(alpha, truth) for truth in truths])
        assert row.frames == 3
        assert row.milliseconds > 0
    sheet = cv2.imread(str(tmp_path / "out" / "all_of_it.png"))
    assert sheet is not None and sheet.shape == (3 * 240, 4 * 320, 3)
    # Second row: input 60, truth 120, alpha 255, difference 135.
    assert [int(sheet[360, 160 + 320 * k, 0]) for k in range(4)] == [60, 120, 255, 135]
    assert (tmp_path / "out" / "none.png").is_file()


def test_markdown() -> None:
    rows = compare(Frames(), [Constant("none", 0)], progress=False)
    lines = markdown(rows, "Title").splitlines()
    assert lines[0].startswith("Title, 6 frames")
    cells = [cell.strip() for cell in lines[4].strip("|").split("|")]
    # Mean of 80..180 by 20 is 130; 12 x 16 pixels.
    assert cells[:2] == ["none", f"{130 / 255 * 192 / 1000:.2f}"]
    assert lines[2].count("|") == lines[3].count("|") == lines[4].count("|")


def test_what_cannot_be_evaluated(tmp_path: Path) -> None:
    method = Constant("none", 0)
    frames = Frames()
    frames.occupied = [3]
    with pytest.raises(EvaluationError, match="no true alpha"):
        compare(frames, [method], progress=False)
    with pytest.raises(EvaluationError, match="stride of 0"):
        compare(Frames(), [method], stride=0, progress=False)
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvaluationError, match="can't be written"):
        compare(Frames(), [method], output=tmp_path / "file", progress=False)

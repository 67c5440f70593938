"""Tables: right means, and which frames a recording gives."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.metrics import Scores
from dart_ros.evaluation.results import Results, SceneResult
from dart_ros.evaluation.scenes import RecordingScene, empty_frames
from dart_ros.evaluation.table import markdown
from dart_ros.values import Camera, Frame

CAMERA = Camera(16, 12, 10.0, 10.0, 8.0, 6.0)


class Frames:
    """Ten frames whose color tells position and repeat."""

    name = "made up"

    def __init__(self, empty: Iterable[int] = (0, 1, 2)) -> None:
        self.empty = list(empty)
        self.occupied = list(range(3, 10))
        self.asked: list[tuple[int, int]] = []
        self.numbers = list(range(10))

    def frame(self, position: int, repeat: int = 0) -> Frame:
        self.asked.append((position, repeat))
        color = np.full((12, 16, 3), 10 * position + repeat, np.uint8)
        return Frame(color, np.ones((12, 16), np.float32), position, CAMERA)

    def number(self, position: int) -> int:
        return self.numbers[position]

    def alpha(self, position: int) -> np.ndarray | None:
        return np.full((12, 16), 20 * position, np.uint8)


def test_empty_frames_go_round_with_new_noise() -> None:
    frames = Frames()
    assert len(list(empty_frames(frames, 7))) == 7
    assert frames.asked == [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (0, 2)]
    assert list(empty_frames(Frames(()))) == []


def test_empty_frames_are_of_the_first_run() -> None:
    for frames in (Frames((0, 1, 8, 9)), Frames((0, 1, 2))):
        frames.numbers[2:] = range(50, 58)
        assert len(list(empty_frames(frames, 3))) == 3
        assert frames.asked == [(0, 0), (1, 0), (0, 1)]


def test_frames_on_either_side_of_a_cut_are_not_consecutive(tmp_path: Path) -> None:
    cut = Frames()
    cut.numbers[6:] = range(50, 54)
    assert not RecordingScene(cut, tmp_path, 8.0).consecutive


def test_a_recording_as_a_scene(tmp_path: Path) -> None:
    every, second = (RecordingScene(Frames(), tmp_path, 8.0, stride) for stride in (1, 2))
    assert (len(every), every.consecutive) == (7, True)
    assert (len(second), second.consecutive) == (4, False)
    assert [int(second.frame(n).color[0, 0, 0]) for n in range(4)] == [30, 50, 70, 90]
    truth = second.alpha(1)
    assert truth is not None and (truth == 100).all()
    assert every.fingerprint() != second.fingerprint()
    with pytest.raises(EvaluationError, match="stride of 0"):
        RecordingScene(Frames(), tmp_path, 8.0, 0)
    nobody = Frames()
    nobody.occupied = []
    with pytest.raises(EvaluationError, match=r"no occupied frames.*--empty-seconds"):
        RecordingScene(nobody, tmp_path / "some.mcap", 8.0)
    (tmp_path / "sequence.json").touch()
    with pytest.raises(EvaluationError, match=r"no occupied frames.*sequence\.json"):
        RecordingScene(nobody, tmp_path, 8.0)


@pytest.mark.parametrize("which", ["color", "depth", "camera", "stamp"])
def test_what_is_taken_of_a_bag_is_in_the_fingerprint(tmp_path: Path, which: str) -> None:
    class OtherTopics(Frames):
        def frame(self, position: int, repeat: int = 0) -> Frame:
            frame = super().frame(position, repeat)
            other = {
                "color": frame.color + 1,
                "depth": frame.depth + 1,
                "camera": replace(CAMERA, fx=11.0),
                "stamp": 7,
            }
            return replace(frame, **{which: other[which]})

    before, again, other = (
        RecordingScene(frames, tmp_path, 8.0).fingerprint()
        for frames in (Frames(), Frames(), OtherTopics())
    )
    assert before == again != other
    assert RecordingScene(Frames((0, 1)), tmp_path, 8.0).fingerprint() != before


def result(sads: Iterable[float | None], milliseconds: float, engine: str = "") -> SceneResult:
    """Frames whose scores follow from their SAD."""
    frames = [None if s is None else Scores(s, 2 * s, 3 * s, 4 * s, s / 100) for s in sads]
    return SceneResult(engine, (milliseconds,) * len(frames), tuple(frames), ())


def results() -> Results:
    pairs = {
        ("a", "one"): result([1.0, 2.0], 10.0, "torch"),
        ("a", "two"): result([6.0], 20.0, "torch"),
        ("b", "one"): result([4.0, None], 1.0),
        ("b", "two"): result([None], 1.0),
    }
    scenes = {"one": ("hair", "dim"), "two": ("dim",)}
    return Results("data", scenes, {"a": "A", "b": "B"}, pairs, 0.0)


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]


def test_markdown() -> None:
    lines = markdown(results(), "Title").splitlines()
    assert lines[0] == "Title, 3 frames; less is better"
    assert cells(lines[2]) == [
        "method", "SAD", "MSE", "Grad", "Conn", "false foreground", "ms a frame",
    ]  # fmt: skip
    # The mean of three frames, not of two scenes; the median of the times.
    assert cells(lines[4]) == ["A (torch)", "3.00", "6.00", "9.00", "12.00", "3.00%", "10.0"]
    assert cells(lines[5]) == ["B", "4.00", "8.00", "12.00", "16.00", "4.00%", "1.0"]
    assert lines[7] == "SAD by tag"
    assert [cells(line) for line in lines[9:]] == [
        ["method", "hair", "dim"],
        ["---", "---", "---"],
        ["A (torch)", "1.50", "3.00"],
        ["B", "4.00", "4.00"],
    ]


def test_markdown_of_a_video_without_truth() -> None:
    pairs = {("a", "one"): SceneResult("", (5.0,), (None,), (1.0, 2.0))}
    lines = markdown(Results("d", {"one": ()}, {"a": "A"}, pairs, 60.0), "T").splitlines()
    assert lines[0] == "T, 1 frames, fitted for 60 s; less is better"
    assert cells(lines[4]) == ["A", *["–"] * 5, "1.50", "5.0"]

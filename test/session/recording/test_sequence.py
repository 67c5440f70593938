"""Descriptions that say what can't be."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from recording_files import write_folder

from dart_ros.errors import FrameError, RecordingError
from dart_ros.session.recording import open_recording


@pytest.mark.parametrize(
    "changes",
    [
        {"fps": float("nan")},
        {"fps": float("inf")},
        {"fps": -1},
        {"fps": 1e300},
        {"width": float("inf")},
        {"width": float("nan")},
        {"width": 10**9},
        {"width": 96.5},
        {"width": -96},
        {"width": "96"},
        {"height": []},
        {"K": [1e400] * 9},
        {"empty_frames": [[0, 10**12]]},
        {"empty_frames": [[0, float("inf")]]},
        {"empty_frames": [[5, 1]]},
        {"empty_frames": [[-3, 1]]},
        {"empty_frames": {"a": 1}},
        {"depth_unit": 0},
        {"depth_unit": float("nan")},
        {"depth_unit": "feet"},
        {"noise": {"sensor": "stereo", "seed": -1}},
        {"noise": {"sensor": "stereo", "seed": 10**30}},
        {"noise": 3},
    ],
)
def test_values_that_can_not_be(tmp_path: Path, changes: dict[str, Any]) -> None:
    with pytest.raises(RecordingError, match=r"sequence\.json") as told:
        open_recording(write_folder(tmp_path / "lab", 6, 3, **changes))
    assert len(str(told.value)) < 1000 + len(str(tmp_path))


def test_deep_json(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", 6, 3)
    text = (path / "sequence.json").read_text()
    for deep in ("[" * 100_000 + "]" * 100_000, '{"a":' * 100_000 + "1" + "}" * 100_000):
        (path / "sequence.json").write_text(text[:-1] + f', "note": {deep}}}')
        with pytest.raises(RecordingError, match=r"sequence\.json .*nested"):
            open_recording(path)


def test_other_bytes_than_text(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", 6, 3)
    (path / "sequence.json").write_bytes(b"\xff\xfe{}")
    with pytest.raises(RecordingError, match=r"sequence\.json"):
        open_recording(path)


def test_the_unit_in_words(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", 6, 3, depth_unit="millimetre, 0 = unknown")
    assert open_recording(path)[0].depth[0, 0] == pytest.approx(3.0)


def test_a_pipe_instead_of_a_picture_is_not_waited_for(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", 6, 3)
    (path / "color_0001.png").unlink()
    os.mkfifo(path / "color_0001.png")
    recording = open_recording(path)
    with pytest.raises(FrameError, match=r"color_0001.*pipe"):
        recording[1]
    (path / "sequence.json").unlink()
    os.mkfifo(path / "sequence.json")
    with pytest.raises(RecordingError, match="no recording"):
        open_recording(path)


def test_numbers_as_json_writes_them(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", 6, 3, width=96.0)
    content = json.loads((path / "sequence.json").read_text())
    content["empty_frames"] = [[0.0, 2.0]]
    (path / "sequence.json").write_text(json.dumps(content))
    recording = open_recording(path)
    assert recording.empty == [0, 1, 2] and recording[0].color.shape == (64, 96, 3)

"""Folders of TUM's RGB-D benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from recording_files import write_tum

from dart_ros.errors import FrameError, RecordingError
from dart_ros.session.recording import open_recording


def numbers(path: Path) -> list[int]:
    recording = open_recording(path)
    return [int(recording[position].color[0, 0, 0]) for position in range(len(recording))]


def test_lists_are_paired_by_their_stamps(tmp_path: Path) -> None:
    path = write_tum(tmp_path / "rgbd_dataset", 20)
    recording = open_recording(path, empty_seconds=1.0)
    assert recording.name == "rgbd_dataset" and recording.fps == pytest.approx(10, rel=1e-3)
    assert recording.empty == list(range(10)) and recording.occupied == list(range(10, 20))
    assert numbers(path) == list(range(20))
    depth = recording[15].depth
    assert depth[0, 0] == pytest.approx(3.0) and depth[30, 40] == pytest.approx(1.5)
    # The benchmark's focal length is of 640 columns.
    assert recording.camera.fx == pytest.approx(525 * 96 / 640)
    assert "focal length" in recording.notes[0]
    assert open_recording(path, depth_unit=0.001)[0].depth[0, 0] == -1


def test_lost_pictures(tmp_path: Path) -> None:
    path = write_tum(tmp_path / "a", 12)
    lines = (path / "depth.txt").read_text().splitlines()
    (path / "depth.txt").write_text("\n".join(lines[:4] + lines[5:]))
    assert numbers(path) == [0, 1, 2, *range(4, 12)]


@pytest.mark.parametrize("depth_first", [False, True])
def test_associations_decide(tmp_path: Path, depth_first: bool) -> None:
    path = write_tum(tmp_path / "a", 12, delay=0.04)
    with pytest.raises(RecordingError, match="associate"):
        open_recording(path)
    color, depth = (
        (path / f"{kind}.txt").read_text().splitlines()[1:] for kind in ("rgb", "depth")
    )
    pairs = zip(depth, color, strict=True) if depth_first else zip(color, depth, strict=True)
    (path / "associations.txt").write_text("\n".join(" ".join(pair) for pair in pairs))
    assert numbers(path) == list(range(12))
    np.testing.assert_allclose(open_recording(path)[0].depth, 3.0, rtol=1e-6)


def test_broken_pictures_are_single_frames(tmp_path: Path) -> None:
    path = write_tum(tmp_path / "a", 12)
    files = sorted((path / "rgb").iterdir())
    files[0].unlink()
    files[3].write_bytes(files[3].read_bytes()[:200])
    recording = open_recording(path)
    for position in (0, 3):
        with pytest.raises(FrameError, match=files[position].name):
            recording[position]
    assert int(recording[4].color[0, 0, 0]) == 4
    for file in files[1:]:
        file.unlink()
    with pytest.raises(RecordingError, match="None of the color pictures"):
        open_recording(path)


@pytest.mark.parametrize(
    ("line", "said"),
    [("soon rgb/a.png", "stamp"), ("nan rgb/a.png", "stamp"), ("1.0 ../../x.png", "outside")],
)
def test_broken_lists(tmp_path: Path, line: str, said: str) -> None:
    path = write_tum(tmp_path / "a", 12)
    with (path / "rgb.txt").open("a") as file:
        file.write(line + "\n")
    if said == "outside":
        with (path / "depth.txt").open("a") as file:
            file.write("1.001 depth/x.png\n")
    with pytest.raises(RecordingError, match=said):
        open_recording(path)
    (path / "rgb.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(RecordingError, match=r"rgb\.txt"):
        open_recording(path)
    (path / "rgb.txt").write_text("")
    with pytest.raises(RecordingError, match="name no color and depth"):
        open_recording(path)

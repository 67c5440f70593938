"""Broken frames are skipped and counted; odd units of depth are told."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from recording_files import write_folder

from dart_ros.errors import FrameError, RecordingError
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.depth_units import implausible_depth
from dart_ros.session.recording.frames import ReadableFrames, empty_frames


class Source:
    """Frames that are their own position; some are broken."""

    def __init__(self, broken: set[int], empty: list[int] | None = None) -> None:
        self.broken, self.empty = broken, empty or []

    def frame(self, position: int, repeat: int = 0) -> Any:
        if position in self.broken:
            raise FrameError(f"frame {position} is cut short")
        return (position, repeat)

    def number(self, position: int) -> int:
        return position


@given(st.sets(st.integers(0, 39)), st.integers(1, 40))
def test_the_others_come_in_order(broken: set[int], count: int) -> None:
    frames = ReadableFrames(Source(broken), [(position, 0) for position in range(count)])
    good = [position for position in range(count) if position not in broken]
    if not good:
        with pytest.raises(RecordingError, match=r"None of .*frame 0 is cut short"):
            list(frames)
        return
    assert [position for position, _ in frames] == good
    assert frames.read == len(good)
    assert set(frames.skipped) == broken & set(range(count))
    lost = count - len(good)
    assert frames.report().startswith(f"Skipped {lost} of {count} frames" if lost else "")


def test_it_gives_up_where_nothing_can_be_read() -> None:
    frames = ReadableFrames(Source(set(range(100_000))), [(p, 0) for p in range(100_000)])
    with pytest.raises(RecordingError, match="None of the first 100 frames"):
        list(frames)


def test_broken_empty_frames_are_left_out() -> None:
    source = Source({1}, [0, 1, 2])
    assert list(empty_frames(source, 7)) == [(0, 0), (2, 0), (0, 1), (2, 1), (0, 2)]


def depths(value: float, spread: float = 0.5, **more: Any) -> Any:
    random = np.random.default_rng(1)
    image = (value * (1 + spread * random.random((48, 64)))).astype(np.float32)
    known = {
        "max_depth": 10.0,
        "metres": lambda position: image,
        "__len__": lambda self: 20,
        **more,
    }
    return type("Depths", (SimpleNamespace,), {"__len__": lambda self: 20})(**known)


@pytest.mark.parametrize("metres", [0.3, 1.0, 2.5, 3.9])
def test_distances_of_rooms_are_plausible(metres: float) -> None:
    assert implausible_depth(depths(metres)) is None


def test_a_hall_with_a_floor_is_plausible() -> None:
    floor = np.linspace(1.0, 9.0, 48 * 64, dtype=np.float32).reshape(48, 64) ** 0.9
    assert implausible_depth(depths(1, metres=lambda position: floor)) is None


@pytest.mark.parametrize(
    ("metres", "said"),
    [
        (20.0, "beyond the sensor's range of 10 m"),  # 2 m in tenths of a millimetre
        (2500.0, "beyond the sensor's range of 10 m"),  # millimetres as float
        (7.0, "unusual for a room"),  # 1.75 m in quarters of a millimetre
        (0.002, "which no sensor measures"),  # metres as whole numbers
    ],
)
def test_other_units_are_told(metres: float, said: str) -> None:
    told = implausible_depth(depths(metres, 0.3))
    assert told is not None and said in told and "--depth-unit" in told and "0.00025" in told


def test_no_depth_at_all_is_told() -> None:
    none = np.full((8, 8), -1, np.float32)
    told = implausible_depth(depths(1, metres=lambda position: none))
    assert told is not None and "unknown" in told


def test_a_folder_says_its_unit(tmp_path: Path) -> None:
    path = write_folder(tmp_path / "lab", 6, 3, depth_unit=0.0005)
    np.testing.assert_allclose(open_recording(path)[0].depth, 1.5, rtol=1e-6)
    np.testing.assert_allclose(open_recording(path, depth_unit=0.001)[0].depth, 3.0, rtol=1e-6)

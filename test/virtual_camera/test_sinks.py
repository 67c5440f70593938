"""Sinks: whole frames for whoever reads, and clear words where none can be delivered."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import pytest

from dart_ros.errors import SinkError
from dart_ros.virtual_camera import sinks
from dart_ros.virtual_camera.notice import notice
from dart_ros.virtual_camera.sinks import PipeSink, open_sink


def test_a_device_that_is_not_there_names_the_module() -> None:
    with pytest.raises(SinkError, match=r"modprobe v4l2loopback video_nr=77"):
        open_sink("/dev/video77", 640, 480, 30)


def test_what_is_no_camera_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pyvirtualcam")
    with pytest.raises(SinkError, match="v4l2 loopback device"):
        open_sink("/dev/null", 640, 480, 30)


def test_a_pipe_brings_the_very_frames(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    sink = open_sink(f"pipe:{path}", 64, 48, 30)
    frames = np.random.default_rng(3).integers(0, 256, (5, 48, 64, 3), np.uint8)
    sink.send(frames[0])  # nobody reads yet: dropped
    received = bytearray()

    def read(most: int) -> None:
        with path.open("rb") as pipe:
            while len(received) < most and (data := pipe.read(most - len(received))):
                received.extend(data)

    for wanted in (frames[1:3], frames[3:5]):  # two readers, one after the other
        received.clear()
        reader = threading.Thread(target=read, args=(wanted.nbytes,))
        reader.start()
        while reader.is_alive():
            before = len(received)
            sink.send(wanted[0])
            if sink._pipe >= 0:  # type: ignore[attr-defined]
                sink.send(wanted[1])
                break
            assert before == 0
        reader.join(60)
        assert bytes(received) == wanted.tobytes()
        sink.send(frames[0])  # told by a broken pipe at the latest
        sink.send(frames[0])
    sink.close()


def test_a_reader_that_sleeps_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_PATIENCE", 0.1)
    path = tmp_path / "frames"
    sink = PipeSink(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        large = np.zeros((720, 1280, 3), np.uint8)  # more than a pipe holds
        sink.send(large)
        assert sink._pipe < 0
    finally:
        os.close(reader)


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "frames"
    path.write_text("mine")
    with pytest.raises(SinkError, match="is no pipe"):
        PipeSink(path)
    assert path.read_text() == "mine"
    with pytest.raises(SinkError, match="can't be made"):
        PipeSink(tmp_path / "nowhere" / "frames")


@pytest.mark.parametrize("size", [(640, 480), (16, 16), (1280, 720), (90, 400)])
def test_a_notice_is_readable_and_fits(size: tuple[int, int]) -> None:
    picture = notice(*size, "No background yet", "capture it: ünïcode " * 20)
    assert picture.shape == (size[1], size[0], 3) and picture.max() > 60
    assert (picture < 30).all(axis=2).mean() > 0.5
    if size[0] > 100:
        # Nothing of the title touches the sides.
        middle = picture[size[1] // 4 : -size[1] // 4]
        assert not middle[:, :2].any() and not middle[:, -2:].any()

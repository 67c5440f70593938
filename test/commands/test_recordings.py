"""Commands on recordings as others have them: what is skipped, counted and told."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import recording_files as files
from recording_files import COLOR, DEPTH, START, STEP, write_bag
from rosbags.highlevel import AnyReader

from dart_ros import cli
from dart_ros.session.scene_store import SceneStore

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command; returns its exit code and what it says on stdout and stderr."""

    def command(*arguments: object) -> tuple[int, str, str]:
        code = cli.main([*map(str, arguments), "--scenes-dir", str(tmp_path / "scenes")])
        told = capsys.readouterr()
        return code, told.out, told.err

    return command


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    """14 empty and 10 occupied frames; an empty and two occupied ones are broken."""
    messages = files.frames(24, 14)
    for number in (3, 17, 20):
        at = 3 * number + 2
        _, time, _ = messages[at]
        stamp = START + number * STEP
        jpeg = cv2.imencode(".jpg", files.picture(number, number >= 14)[0])[1].tobytes()
        small = np.zeros((8, 8, 3), np.uint8)
        broken = {
            3: files.image(stamp, small, "rgb8"),
            17: files.image(stamp, small, "unheard"),
            20: files.image(stamp, np.frombuffer(jpeg[:30], np.uint8)[None], "mono8"),
        }
        messages[at] = (COLOR, time, broken[number])
    return write_bag(tmp_path / "bag", messages)


def test_broken_frames_are_skipped_and_counted(bag: Path, run: Run, tmp_path: Path) -> None:
    code, out, err = run("capture", bag, "--scene", "a", "--empty-seconds", 1.35)
    assert code == 0 and "from 13 frames" in out
    assert "Skipped 1 of 14 frames" in err and "position 3" in err
    assert SceneStore(tmp_path / "scenes").load("a").frames == 13
    output, video = tmp_path / "mattes", tmp_path / "a.mp4"
    places = ("--output", output, "--bag", tmp_path / "out", "--video", video)
    code, out, err = run("matte", bag, "--scene", "a", *places, "--backend", "torch")
    assert code == 0 and "Matted 21 frames" in out and "Skipped 3 of 24 frames" in out
    written = {int(file.stem[-4:]) for file in output.glob("alpha_*.png")}
    assert written == set(range(24)) - {3, 17, 20}
    with AnyReader([tmp_path / "out"]) as reader:
        assert reader.message_count == 42


def test_a_recording_of_one_frame_is_no_background(tmp_path: Path, run: Run) -> None:
    path = write_bag(tmp_path / "one", files.frames(1))
    code, _, err = run("capture", path, "--scene", "a")
    assert code == 1 and "1 empty frame, and a background needs 5" in err and "--frames 1" in err
    code, out, _ = run("capture", path, "--scene", "a", "--frames", 1)
    assert code == 0 and "from 1 frames" in out
    path = write_bag(tmp_path / "seven", files.frames(7))
    code, out, _ = run("capture", path, "--scene", "b")
    assert code == 0 and "from 7 frames" in out


def test_depth_of_another_unit_is_told(tmp_path: Path, run: Run) -> None:
    messages = []
    for topic, time, message in files.frames(8):
        if topic == DEPTH:
            tenths = np.full((files.HEIGHT, files.WIDTH), 30_000, np.uint16)
            messages.append((topic, time, files.image(time - 10**6, tenths, "16UC1")))
        else:
            messages.append((topic, time, message))
    path = write_bag(tmp_path / "bag", messages)
    code, out, err = run("capture", path, "--scene", "a")
    assert code == 0 and "known for 0%" in out
    assert "warning: 100% of the depth lies beyond" in err and "--depth-unit" in err
    code, out, err = run("capture", path, "--scene", "a", "--depth-unit", "0.0001")
    assert code == 0 and "known for 100%" in out and err == ""
    assert SceneStore(tmp_path / "scenes").load("a").depth_mean[0, 0] == pytest.approx(3.0)


def test_a_camera_that_moved_is_told(tmp_path: Path, run: Run) -> None:
    path, folder = tmp_path / "still", tmp_path / "moved"
    random = np.random.default_rng(3)
    coarse = random.integers(30, 220, (30, 40, 3), np.uint8)
    wall = cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC)
    for place, shift in ((path, 0), (folder, 9)):
        files.write_folder(place, 12, 6, width=320, height=240)
        for number in range(12):
            color = np.roll(wall, shift, axis=1)
            cv2.imwrite(str(place / f"color_{number:04d}.png"), color)
            depth = np.full((240, 320), 3000, np.uint16)
            cv2.imwrite(str(place / f"depth_{number:04d}.png"), depth)
    assert run("capture", path, "--scene", "a")[0] == 0
    matte = ("--scene", "a", "--output", tmp_path / "mattes", "--backend", "torch")
    code, out, err = run("matte", path, *matte)
    assert code == 0 and "The camera" not in out + err
    code, out, err = run("matte", folder, *matte)
    assert code == 0 and "off by up to 9 pixels" in out and "off by up to 9 pixels" in err


@pytest.mark.parametrize("option", ["--video", "--output", "--bag"])
def test_what_is_no_regular_file_stays_as_it_is(
    option: str, bag: Path, run: Run, tmp_path: Path
) -> None:
    run("capture", bag, "--scene", "a", "--empty-seconds", 1.35)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    code, _, err = run("matte", bag, "--scene", "a", option, pipe, "--backend", "torch")
    assert code == 1 and str(pipe) in err
    assert pipe.is_fifo() and not list(tmp_path.glob(".pipe*"))
    if option == "--output":
        mattes = tmp_path / "mattes"
        mattes.mkdir()
        os.mkfifo(mattes / "alpha_0000.png")
        code, _, err = run("matte", bag, "--scene", "a", option, mattes, "--backend", "torch")
        assert code == 1 and "can't be written" in err and (mattes / "alpha_0000.png").is_fifo()


def test_scores_without_truth(bag: Path, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", str(bag), "--methods", "depth", "--empty-seconds", "1.35"]
    assert cli.main(command) == 0
    told = capsys.readouterr()
    assert "Skipped 2 of 10 frames" in told.err
    head, _, columns, _, row = told.out.strip().splitlines()
    assert "8 frames" in head and "no truth" in head
    names = [cell.strip() for cell in columns.split("|")[2:8]]
    assert names == ["holes %", "leaks %", "flicker", "flips", "specks", "ragged"]
    holes, leaks, _, _, specks, _ = (float(cell) for cell in row.split("|")[2:8])
    assert (holes, leaks, specks) == (0, 0, 0)

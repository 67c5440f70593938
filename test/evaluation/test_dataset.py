"""Data sets in folders: what is read, and what is refused with the file and the mend."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.dataset import open_dataset
from dart_ros.evaluation.methods.depth_threshold import DepthThreshold
from dart_ros.evaluation.run import evaluate

WIDTH, HEIGHT = 24, 16


def write(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def describe(scene: Path, **changes: object) -> None:
    content = {"K": [20, 0, 12, 0, 20, 8, 0, 0, 1], "width": WIDTH, "height": HEIGHT}
    content = {**content, "tags": ["plain", "shadow"], **changes}
    (scene / "scene.json").write_text(json.dumps(content))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """One scene of six empty frames and two test frames, the second without a truth."""
    scene = tmp_path / "rooms" / "scene_00"
    for folder, digits, count in (("background", 3, 6), ("test", 2, 2)):
        for n in range(count):
            color = np.full((HEIGHT, WIDTH, 3), (10 + n, 20, 30), np.uint8)
            write(scene / folder / f"color_{n:0{digits}d}.png", color)
            depth = np.full((HEIGHT, WIDTH), 2000 + n, np.uint16)
            depth[0] = 0
            write(scene / folder / f"depth_{n:0{digits}d}.png", depth)
    write(scene / "test" / "alpha_00.png", np.full((HEIGHT, WIDTH), 77, np.uint8))
    describe(scene)
    return scene.parent


def test_what_is_read(data: Path) -> None:
    (scene,) = open_dataset(data)
    assert (scene.name, scene.tags, len(scene)) == ("scene_00", ("plain", "shadow"), 2)
    assert (scene.max_depth, scene.consecutive) == (10.0, False)
    frame = list(scene.empty())[5]
    assert frame.color[3, 4].tolist() == [30, 20, 15]
    assert frame.depth[0, 0] == -1.0
    assert frame.depth[3, 4] == pytest.approx(2.005)
    assert (frame.camera.fx, frame.camera.cx, frame.camera.cy) == (20.0, 12.0, 8.0)
    alpha = scene.alpha(0)
    assert alpha is not None and (alpha == 77).all()
    assert scene.alpha(1) is None


def test_frames_beyond_a_hundred_and_a_thousand(data: Path) -> None:
    scene = data / "scene_00"
    for folder, digits, first, count in (("background", 3, 6, 1002), ("test", 2, 2, 102)):
        for kind in ("color", "depth"):
            source = scene / folder / f"{kind}_{0:0{digits}d}.png"
            for n in range(first, count):
                os.link(source, source.with_name(f"{kind}_{n:0{digits}d}.png"))
    write(scene / "background" / "depth_1001.png", np.full((HEIGHT, WIDTH), 3000, np.uint16))
    write(scene / "test" / "color_101.png", np.full((HEIGHT, WIDTH, 3), 9, np.uint8))
    write(scene / "test" / "alpha_101.png", np.full((HEIGHT, WIDTH), 55, np.uint8))
    (found,) = open_dataset(data)
    assert len(found) == 102
    assert found.frame(101).color[3, 4].tolist() == [9, 9, 9]
    alpha = found.alpha(101)
    assert alpha is not None and (alpha == 55).all()
    empty = list(found.empty())
    assert len(empty) == 1002 and empty[1001].depth[3, 4] == pytest.approx(3.0)


def test_optional_facts(data: Path) -> None:
    before = open_dataset(data)[0].fingerprint()
    describe(data / "scene_00", max_depth=1.5, fps=30)
    (scene,) = open_dataset(data)
    assert scene.consecutive
    assert (scene.frame(1).depth == -1.0).all()
    assert scene.frame(1).stamp == 33333333
    assert scene.fingerprint() != before


@pytest.mark.parametrize("file", ["test/color_01.png", "test/depth_01.png"])
def test_a_frame_that_vanished_is_told(data: Path, tmp_path: Path, file: str) -> None:
    scenes = open_dataset(data)
    (data / "scene_00" / file).unlink()
    with pytest.raises(EvaluationError, match=rf"{Path(file).name} can't be read \(No such file"):
        evaluate("rooms", scenes, [DepthThreshold()], tmp_path / "out")


def test_a_file_that_cannot_be_read_is_told(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(file: Path) -> bytes:
        raise OSError(errno.EIO, "Input/output error", str(file))

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(EvaluationError, match=r"color_000.png can't be read \(Input/output error"):
        open_dataset(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-20])


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)


def small(file: Path) -> None:
    write(file, np.zeros((HEIGHT, WIDTH - 1, 3), np.uint8))


def eight_bits(file: Path) -> None:
    write(file, np.zeros((HEIGHT, WIDTH), np.uint8))


@pytest.mark.parametrize(
    ("file", "harm", "mend"),
    [
        ("background/depth_003.png", Path.unlink, "is missing; add it"),
        ("background/color_000.png", Path.unlink, "is missing; add it"),
        ("test/color_01.png", Path.unlink, "is missing; add it"),
        ("test/color_01.png", small, "23x16, but scene.json says 24x16; bring them to one size"),
        ("test/depth_00.png", eight_bits, "save it as a 16-bit gray PNG of millimetres"),
        ("background/color_002.png", eight_bits, "save it as an 8-bit RGB PNG"),
        ("background/depth_001.png", cut, "cut short or is damaged; write it again"),
        ("background/depth_001.png", flip, "damaged; write it again"),
        ("test/alpha_00.png", lambda file: file.write_bytes(b"hello"), "is no PNG"),
        (
            "test/alpha_00.png",
            lambda file: file.rename(file.with_name("alpha_000.png")),
            "alpha_000.png has too many zeros; call it alpha_00.png",
        ),
        ("test/alpha_00.png", lambda file: file.rename(file.with_name("alpha_07.png")), "no frame"),
        ("scene.json", Path.unlink, "write K"),
        ("scene.json", lambda file: file.write_text("{"), "write K"),
        ("scene.json", lambda file: describe(file.parent, K=[1, 2]), "write K"),
        ("scene.json", lambda file: describe(file.parent, tags="plain"), "list of words"),
        ("scene.json", lambda file: describe(file.parent, width=0), "isn't positive"),
    ],
)
def test_broken_folders_are_refused(
    data: Path, file: str, harm: Callable[[Path], object], mend: str
) -> None:
    harm(data / "scene_00" / file)
    with pytest.raises(EvaluationError) as caught:
        open_dataset(data)
    text = str(caught.value)
    name = "alpha_07.png" if "no frame" in mend else Path(file).name
    assert name in text and mend in text and "\n" not in text


def test_no_scenes(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no folders"):
        open_dataset(tmp_path)

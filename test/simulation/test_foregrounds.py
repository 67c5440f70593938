from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dart_ros.errors import FitError
from dart_ros.simulation.foregrounds import load_foregrounds


@pytest.fixture
def folder(library: Path, tmp_path: Path) -> Path:
    """A library that may be broken."""
    return Path(shutil.copytree(library, tmp_path / "library"))


def edit_entry(folder: Path, **changes: Any) -> None:
    index = folder / "foregrounds.json"
    content = json.loads(index.read_text())
    for key, value in changes.items():
        if value is None:
            del content["foregrounds"][0][key]
        else:
            content["foregrounds"][0][key] = value
    index.write_text(json.dumps(content))


def test_what_the_index_says(library: Path) -> None:
    anna, bert, box = load_foregrounds(library)
    assert (anna.name, anna.kind, anna.identity, anna.cut) == ("anna", "person", "anna", ())
    assert (anna.focal, anna.distance, anna.size) == (110.0, 2.0, (64, 33))
    assert bert.cut == ("bottom",)
    assert box.kind == "object"


def test_pixels_are_premultiplied_rgb_alpha_and_depth(library: Path) -> None:
    anna = load_foregrounds(library)[0]
    stored = cv2.imread(str(library / "anna.webp"), cv2.IMREAD_UNCHANGED)
    alpha = stored[..., 3].astype(np.float64)
    assert {0, 255} < set(alpha.ravel())
    level = anna.levels[0].numpy()
    assert level.dtype == np.uint8
    assert np.array_equal(level[3], stored[..., 3])
    for channel, value in enumerate((20, 230, 30)):
        # What is fully transparent may have any color in the file.
        expected = np.floor(value * alpha / 255 + 0.5)
        assert np.abs(level[channel] - expected).max() <= 1
        assert level[channel, 32, 16] == value
    assert (level[4] == 128).all()


def test_depth_is_doubled_to_the_size_of_the_color(folder: Path) -> None:
    half = np.repeat(np.array([100, 140], np.uint8), 16)[:, None].repeat(17, 1)
    cv2.imwrite(str(folder / "anna.depth.png"), half)
    depth = load_foregrounds(folder)[0].levels[0][4].numpy()
    assert depth.shape == (64, 33)
    assert (depth[:31] == 100).all() and (depth[33:] == 140).all()
    assert ((depth[31:33] > 100) & (depth[31:33] < 140)).all()


def test_levels_halve_by_averaging(library: Path) -> None:
    levels = [level.numpy().astype(np.float64) for level in load_foregrounds(library)[0].levels]
    assert [level.shape for level in levels] == [(5, 64, 33), (5, 32, 17), (5, 16, 9), (5, 8, 5)]
    for larger, smaller in pairwise(levels):
        even = larger[:, :, : larger.shape[2] // 2 * 2]
        blocks = even.reshape(5, even.shape[1] // 2, 2, even.shape[2] // 2, 2)
        difference = smaller[:, :, : blocks.shape[3]] - blocks.mean(axis=(2, 4))
        assert np.abs(difference).max() <= 1


def test_only_some_identities(library: Path) -> None:
    assert [s.name for s in load_foregrounds(library, ["bert", "box"])] == ["bert", "box"]
    with pytest.raises(FitError, match=r"foregrounds\.json lists no usable foreground"):
        load_foregrounds(library, ["nobody"])


def index_text(text: str) -> Callable[[Path], object]:
    return lambda folder: (folder / "foregrounds.json").write_text(text)


def entry(**changes: Any) -> Callable[[Path], object]:
    return lambda folder: edit_entry(folder, **changes)


def image(name: str, pixels: np.ndarray) -> Callable[[Path], object]:
    return lambda folder: cv2.imwrite(str(folder / name), pixels)


def cut_short(name: str) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:40])


@pytest.mark.parametrize(
    ("break_it", "file", "reason"),
    [
        (lambda folder: (folder / "foregrounds.json").unlink(), "foregrounds.json", "No such file"),
        (index_text("{"), "foregrounds.json", "no foreground index"),
        (index_text("[]"), "foregrounds.json", "no foreground index"),
        (index_text("{}"), "foregrounds.json", "no foreground index"),
        (index_text('{"foregrounds": 5}'), "foregrounds.json", "no list of foregrounds"),
        (index_text('{"foregrounds": ["anna"]}'), "foregrounds.json", "no list of foregrounds"),
        (index_text('{"foregrounds": []}'), "foregrounds.json", "no usable foreground"),
        (entry(name=None), "foregrounds.json", "bad entry"),
        (entry(kind=None), "foregrounds.json", "bad entry"),
        (entry(focal_px=None), "foregrounds.json", "bad entry"),
        (entry(focal_px="wide"), "foregrounds.json", "bad entry"),
        (entry(focal_px=0), "foregrounds.json", "must be positive"),
        (entry(distance_m=-2), "foregrounds.json", "must be positive"),
        (entry(distance_m="nan"), "foregrounds.json", "must be positive"),
        (lambda folder: (folder / "anna.webp").unlink(), "anna.webp", "missing or not an image"),
        (cut_short("anna.webp"), "anna.webp", "missing or not an image"),
        (image("anna.webp", np.zeros((8, 8, 3), np.uint8)), "anna.webp", "3 channels.*alpha"),
        (cut_short("anna.depth.png"), "anna.depth.png", "missing or not an image"),
        (
            image("anna.depth.png", np.zeros((32, 17, 3), np.uint8)),
            "anna.depth.png",
            "3 channels.*one grey",
        ),
        (image("anna.depth.png", np.zeros((32, 17), np.uint16)), "anna.depth.png", "uint16"),
    ],
)
def test_what_is_broken_is_named(
    folder: Path, break_it: Callable[[Path], object], file: str, reason: str
) -> None:
    break_it(folder)
    with pytest.raises(FitError, match=f"{re.escape(str(folder / file))}.*{reason}"):
        load_foregrounds(folder)


def test_an_entry_without_identity_is_not_asked_for(folder: Path) -> None:
    edit_entry(folder, identity=None)
    assert [s.name for s in load_foregrounds(folder, ["bert"])] == ["bert"]
    with pytest.raises(FitError, match="bad entry"):
        load_foregrounds(folder)


def test_ones_own_pictures_with_and_without_depth(tmp_path: Path) -> None:
    color = np.zeros((60, 40, 4), np.uint8)
    color[10:44, 5:30] = 10, 20, 200, 255
    assert cv2.imwrite(str(tmp_path / "eva_1.png"), color)
    assert cv2.imwrite(str(tmp_path / "eva_2.png"), color)
    depth = np.full((60, 40), 2000, np.uint16)
    depth[10:20] = 2080  # ten rows of 34 lie 8 cm behind the median
    assert cv2.imwrite(str(tmp_path / "eva_2.depth.png"), depth)
    flat, deep = load_foregrounds(tmp_path)
    assert (flat.identity, deep.identity, flat.kind, flat.cut) == ("eva", "eva", "person", ())
    # 34 visible rows are 1.7 m.
    for foreground in (flat, deep):
        assert foreground.focal / foreground.distance == pytest.approx(34 / 1.7)
    assert deep.distance == pytest.approx(2.0)
    assert (flat.levels[0][4] == 128).all()
    assert (deep.levels[0][4, 12, 10], deep.levels[0][4, 40, 10]) == (138, 128)


@pytest.mark.parametrize(
    ("pixels", "reason"),
    [
        (np.zeros((8, 8, 3), np.uint8), r"eva\.png has 3 channels.*alpha: save it as PNG"),
        (np.zeros((8, 8, 4), np.uint16), r"eva\.png is uint16.*: save it as PNG"),
        (np.zeros((8, 8, 4), np.uint8), r"eva\.png is transparent"),
    ],
)
def test_ones_own_broken_pictures_are_named(
    tmp_path: Path, pixels: np.ndarray, reason: str
) -> None:
    cv2.imwrite(str(tmp_path / "eva.png"), pixels)
    with pytest.raises(FitError, match=reason):
        load_foregrounds(tmp_path)


def test_ones_own_picture_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "eva.png").write_bytes(b"no picture")
    with pytest.raises(FitError, match=r"eva\.png is missing or not an image: save it as PNG"):
        load_foregrounds(tmp_path)


def test_libraries_of_older_versions_are_read(library: Path, tmp_path: Path) -> None:
    shutil.copytree(library, tmp_path / "old")
    index = tmp_path / "old" / "foregrounds.json"
    text = index.read_text().replace('"foregrounds"', '"sprites"')
    (tmp_path / "old" / "sprites.json").write_text(text)
    index.unlink()
    names = [foreground.name for foreground in load_foregrounds(tmp_path / "old")]
    assert names == [foreground.name for foreground in load_foregrounds(library)]

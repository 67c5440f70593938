from __future__ import annotations

import json
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.errors import FitError
from tools.datagen.foregrounds import (
    DEPTH_STEP,
    HELD_OUT,
    Foreground,
    bleed,
    encode_depth,
    save_foreground,
)
from tools.datagen.rasterizer import Picture

DATA = Path(__file__).parents[3] / "dart_ros" / "data" / "foregrounds"


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 1000), height=st.integers(1, 40), width=st.integers(1, 40))
def test_bleed_keeps_what_is_known_and_stays_in_its_range(
    seed: int, height: int, width: int
) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(50, 200, (height, width, 3), dtype=np.uint8)
    known = rng.random((height, width)) < 0.3
    filled = bleed(values, known)
    assert np.array_equal(filled[known], values[known])
    if known.any():
        assert filled.min() >= values[known].min() - 1
        assert filled.max() <= values[known].max() + 1


def test_bleed_spreads_the_nearest_color() -> None:
    values = np.zeros((40, 80, 3), np.uint8)
    known = np.zeros((40, 80), bool)
    values[:, :10], known[:, :10] = (200, 0, 0), True
    values[:, 70:], known[:, 70:] = (0, 0, 200), True
    filled = bleed(values, known)
    assert filled[20, 12, 0] > 150 > filled[20, 12, 2]
    assert filled[20, 67, 2] > 150 > filled[20, 67, 0]


def test_depth_offsets_are_metric() -> None:
    depth = np.zeros((8, 8), np.float32)
    depth[2:6, 2:6] = 2.08
    relief = encode_depth(depth, 2.0, (4, 4))
    assert relief.shape == (4, 4)
    assert np.allclose((relief.astype(float) - 128) * DEPTH_STEP, 0.08, atol=DEPTH_STEP / 2)


def test_files_read_back_with_color_under_the_transparent_part(tmp_path: Path) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    coverage = np.zeros((64, 48), np.float32)
    coverage[16:48, 12:36] = 1.0
    color = np.zeros((64, 48, 3), np.uint8)
    color[16:48, 12:36] = (180, 90, 30)
    depth = np.where(coverage > 0, 1.5, 0).astype(np.float32)
    entry = Foreground("square", "object", "square", 48, 64, 500.0, 1.5, 0.2, ())
    save_foreground(tmp_path, entry, Picture(color, coverage, coverage, depth), 90)
    pixels = cv2.imread(str(tmp_path / "square.webp"), cv2.IMREAD_UNCHANGED)
    assert pixels is not None and pixels.shape == (64, 48, 4)
    assert np.abs(pixels[..., 3] - coverage * 255).max() <= 3
    # B, G, R: also far outside the square.
    assert np.abs(pixels[2, 2, :3].astype(int) - [30, 90, 180]).max() < 12
    relief = cv2.imread(str(tmp_path / "square.depth.png"), cv2.IMREAD_UNCHANGED)
    assert relief is not None and relief.shape == (32, 24)
    assert (relief == 128).all()


@pytest.mark.parametrize("large", ["color", "depth"])
def test_a_full_disk_is_told(tmp_path: Path, large: str) -> None:
    pytest.importorskip("PIL", reason="Pillow is not installed")
    size = (400, 400)
    random = np.random.default_rng(0)
    color, depth = np.full((*size, 3), 90, np.uint8), np.full(size, 1.5, np.float32)
    if large == "color":
        color = random.integers(0, 255, color.shape, np.uint8)
    else:
        depth += random.uniform(-0.1, 0.1, size).astype(np.float32)
    whole = np.ones(size, np.float32)
    entry = Foreground("square", "object", "square", *size, 500.0, 1.5, 0.2, ())
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    # The kernel refuses to write past the limit, as a full disk does.
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises((FitError, OSError)):
            save_foreground(tmp_path, entry, Picture(color, whole, whole, depth), 90)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_shipped_foregrounds_are_whole_and_hold_no_evaluation_identity() -> None:
    document = json.loads((DATA / "foregrounds.json").read_text())
    entries = document["foregrounds"]
    assert len(entries) >= 400
    assert len({e["identity"] for e in entries if e["kind"] == "person"}) >= 40
    assert sum(e["kind"] == "object" for e in entries) >= 40
    assert document["credits"]
    assert not {e["identity"] for e in entries} & set(HELD_OUT)
    total = 0
    for entry in entries:
        path = DATA / f"{entry['name']}.webp"
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        relief = cv2.imread(str(DATA / f"{entry['name']}.depth.png"), cv2.IMREAD_UNCHANGED)
        assert pixels is not None and relief is not None, path.name
        assert pixels.shape == (entry["height"], entry["width"], 4), path.name
        assert entry["height"] <= 640
        assert relief.shape == ((entry["height"] + 1) // 2, (entry["width"] + 1) // 2)
        assert 0.02 < (pixels[..., 3] > 127).mean() <= 1
        expected = entry["height"] * entry["distance_m"] / entry["focal_px"]
        assert entry["height_m"] == pytest.approx(expected, abs=2e-3)
        total += path.stat().st_size + path.with_suffix(".depth.png").stat().st_size
    assert total < 15e6

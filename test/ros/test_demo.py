"""The whole demo on a tiny recording: three processes, real DDS, pictures that are looked at."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from dart_ros.demo.pictures import COLUMNS, count_frames, sheet_size

WIDTH, HEIGHT = 160, 120
BLOCK = (40, 60, 200)

pytestmark = pytest.mark.ros


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A wall 3 m away, and a block 1.2 m away that crosses the picture in 45 frames."""
    folder = tmp_path_factory.mktemp("wall")
    rng = np.random.default_rng(0)
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    texture = 130 + 40 * np.sin(x / 9.0) * np.cos(y / 7.0)
    wall = np.stack([texture, texture * 0.8, texture * 0.6], axis=-1)
    for number in range(55):
        color = wall + rng.normal(0, 2, wall.shape)
        depth = rng.normal(3000, 8, (HEIGHT, WIDTH))
        if number >= 10:
            left = 2 * (number - 10) + 10
            color[30:110, left : left + 40] = BLOCK
            depth[30:110, left : left + 40] = 1200
        save(folder / f"color_{number:04d}.png", color.clip(0, 255).astype(np.uint8)[..., ::-1])
        save(folder / f"depth_{number:04d}.png", depth.astype(np.uint16))
    description = {
        **{"width": WIDTH, "height": HEIGHT, "fps": 30},
        "K": [120.0, 0.0, 79.5, 0.0, 120.0, 59.5, 0.0, 0.0, 1.0],
        **{"empty_frames": [[0, 9]], "occupied_frames": [10, 54]},
    }
    (folder / "sequence.json").write_text(json.dumps(description), encoding="utf-8")
    return folder


def save(path: Path, image: NDArray[np.generic]) -> None:
    assert cv2.imwrite(str(path), image)


def demo(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dart_ros.demo", *arguments],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def cells(sheet: NDArray[np.uint8], name: str, rows: int) -> list[NDArray[np.uint8]]:
    """The cells of one column, 240 rows by 320 columns each."""
    left = sheet.shape[1] - (len(COLUMNS) - COLUMNS.index(name)) * 324
    tops = [sheet.shape[0] - (rows - row) * 244 for row in range(rows)]
    return [sheet[top : top + 240, left : left + 320] for top in tops]


def test_the_demo_mattes_the_block_and_tells_the_figures(recording: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    done = demo("--source", str(recording), "--output", str(output), "--no-fit", "--seconds", "2")
    assert done.returncode == 0, done.stderr
    summary = json.loads((output / "summary.json").read_text(encoding="utf-8"))

    assert (summary["width"], summary["height"], summary["camera_rate"]) == (WIDTH, HEIGHT, 30.0)
    assert summary["capture"]["frames"] == 100
    assert summary["capture"]["known_depth_share"] == 1.0
    assert summary["fit"] is None
    assert summary["backend"]
    for name in ("speed", "pictures"):
        phase = summary[name]
        # How much slower than the recording is up to the machine's other work.
        assert 0.2 * 30 * 2 <= phase["published"] <= 1.2 * 30 * phase["seconds"]
        assert phase["lost"] == phase["published"] - phase["received"]
        # Nothing is lost on the way but what a loaded machine takes too long for.
        assert 0 <= phase["lost"] <= phase["published"] // 4
        assert phase["matted"] + phase["dropped"] == pytest.approx(phase["received"], abs=3)
        assert phase["mattes_per_second"] > 1.0
        assert 0.0 < phase["latency_ms"]["p50"] <= phase["latency_ms"]["p99"]
        assert phase["cpu_percent"]["matting_node"] > 0.0
    assert summary["speed"]["topics"] == ["alpha", "trimap"]
    for shown in ("mattes a second", "contact_sheet.png", "summary.json"):
        assert shown in done.stdout

    sheet = cv2.imread(str(output / "contact_sheet.png"))[..., ::-1]
    rows = (sheet.shape[0] - 30) // 244
    assert 3 <= rows <= 8
    assert sheet.shape[1::-1] == sheet_size(rows, WIDTH, HEIGHT)
    places = []
    for color, alpha, composite in zip(
        *(cells(sheet, name, rows) for name in ("input", "alpha", "composite")), strict=True
    ):
        # The block in the input tells what alpha must be under the same stamp.
        truth = np.abs(color.astype(int) - BLOCK).max(axis=2) < 40
        matte = alpha[..., 0] >= 128
        assert (truth & matte).sum() / (truth | matte).sum() > 0.8
        assert np.abs(composite[truth & matte].astype(int) - BLOCK).mean() < 40
        places.append(np.nonzero(truth)[1].mean())
    assert max(places) - min(places) > 40

    video = Path(summary["files"]["video"])
    assert count_frames(video) >= rows
    assert not list(output.glob("**/*.safetensors")), "the demo left its scene behind"


def test_a_node_that_dies_ends_the_demo_with_its_last_words(
    recording: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "summary.json").write_text("{}", encoding="utf-8")
    done = demo("--source", str(recording), "--output", str(output), "--backend", "abacus")
    assert done.returncode == 1
    assert "matting node ended with status 1" in done.stderr
    assert "abacus" in done.stderr
    assert not (output / "summary.json").exists(), "old figures pass for new ones"


def test_a_source_that_is_no_recording_ends_the_demo(tmp_path: Path) -> None:
    done = demo("--source", str(tmp_path), "--output", str(tmp_path / "out"))
    assert done.returncode == 1
    assert "camera ended with status 1" in done.stderr
    assert "is no recording" in done.stderr

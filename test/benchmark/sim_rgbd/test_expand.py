"""Clean renders into the data set: layout, noise that a seed decides, and broken renders."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark.sim_rgbd import expand as expanding
from benchmark.sim_rgbd.expand import expand
from dart_ros.errors import EvaluationError
from dart_ros.evaluation.dataset import open_dataset

WIDTH, HEIGHT = 48, 36


@pytest.fixture
def clean(tmp_path: Path) -> Path:
    """Two scenes: a wall 2 m away with a window of unknown depth, and a box in two frames."""
    rng = np.random.default_rng(0)
    for number, sensor in enumerate(("structured_light", "time_of_flight")):
        folder = tmp_path / "clean" / f"scene_{number:02d}"
        folder.mkdir(parents=True)
        wall = cv2.resize(rng.integers(90, 200, (6, 8, 3), np.uint8), (WIDTH, HEIGHT))
        depth = np.full((HEIGHT, WIDTH), 2000, np.uint16)
        depth[4:12, 2:10] = 0
        for name in ("background", "00", "01"):
            color, here, alpha = wall.copy(), depth.copy(), np.zeros((HEIGHT, WIDTH), np.uint8)
            if name != "background":
                color[10:30, 20:32], here[10:30, 20:32], alpha[10:30, 20:32] = 60, 1200, 255
                cv2.imwrite(str(folder / f"alpha_{name}.png"), alpha)
            stem = "{}_" + name if name != "background" else name + "_{}"
            lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
            cv2.imwrite(str(folder / (stem.format("color") + ".webp")), color, lossless)
            cv2.imwrite(str(folder / (stem.format("depth") + ".png")), here)
        document = {
            "K": [50, 0, 23.5, 0, 50, 17.5, 0, 0, 1],
            "width": WIDTH,
            "height": HEIGHT,
            "tags": ["plain"],
            "sensor": sensor,
            "seed": 3,
            "people": [],
            "credits": [],
        }
        (folder / "scene.json").write_text(json.dumps(document))
    return tmp_path / "clean"


def contents(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_layout_and_noise(clean: Path, tmp_path: Path) -> None:
    expand(clean, tmp_path / "out", seed=1, frames=4)
    names = {"scene.json"}
    names |= {f"background/{kind}_{k:03d}.png" for kind in ("color", "depth") for k in range(4)}
    names |= {f"test/{kind}_{k:02d}.png" for kind in ("color", "depth", "alpha") for k in range(2)}
    for scene in ("scene_00", "scene_01"):
        folder = tmp_path / "out" / scene
        assert set(contents(folder)) == names
        stack = [
            cv2.imread(str(folder / f"background/depth_{k:03d}.png"), cv2.IMREAD_UNCHANGED)
            for k in range(4)
        ]
        assert stack[0].dtype == np.uint16 and (stack[0] != stack[1]).any()
        wall = np.stack(stack)[:, 20:, 34:]
        assert abs(np.median(wall[wall > 0]) - 2000) < 15
        assert (np.stack(stack)[:, 6:10, 4:8] == 0).all()
        color = cv2.imread(str(folder / "test/color_01.png")).astype(float)
        assert 0.5 < color[12:28, 22:30].std() < 6
        assert abs(color[12:28, 22:30].mean() - 60) < 4
        alpha = cv2.imread(str(folder / "test/alpha_01.png"), cv2.IMREAD_UNCHANGED)
        assert alpha.sum() == 20 * 12 * 255


def test_a_seed_gives_the_same_bytes(clean: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        expand(clean, tmp_path / name, seed=seed, frames=2)
    first, again, other = (contents(tmp_path / name) for name in "abc")
    assert first == again and set(other) == set(first)
    changed = {name for name in first if first[name] != other[name]}
    assert not any("alpha" in name for name in changed)
    assert {name for name in first if "alpha" not in name} == changed


def test_goes_on_where_it_stopped(clean: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    expand(clean, out, seed=1, frames=2)
    expected = contents(out)
    for file in (out / "scene_01").rglob("*.*"):
        file.unlink()
    (out / "scene_01" / "test").rmdir()
    (out / "scene_01" / "background").rmdir()
    before = (out / "scene_00" / "scene.json").stat().st_mtime_ns
    expand(clean, out, seed=1, frames=2)
    assert contents(out) == expected
    assert (out / "scene_00" / "scene.json").stat().st_mtime_ns == before
    with pytest.raises(EvaluationError, match="of another seed"):
        expand(clean, out, seed=2, frames=2)


def lift(scene: Path) -> None:
    depth = cv2.imread(str(scene / "background_depth.png"), cv2.IMREAD_UNCHANGED)
    cv2.imwrite(str(scene / "background_depth.png"), depth // 2)


def reseed(scene: Path) -> None:
    document = json.loads((scene / "scene.json").read_text())
    (scene / "scene.json").write_text(json.dumps({**document, "seed": 4}))


def renoise(scene: Path) -> None:
    (scene.parent.parent / "noise.py").write_text("other = True\n")


@pytest.mark.parametrize("change", [lift, reseed, renoise])
def test_what_changed_is_made_again(
    clean: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], None]
) -> None:
    (tmp_path / "noise.py").touch()
    monkeypatch.setattr(expanding, "_SOURCES", (tmp_path / "noise.py",))
    out = tmp_path / "out"
    expand(clean, out, seed=1, frames=2)
    (out / "scene_00" / "test" / "left_over.png").touch()
    change(clean / "scene_00")
    expand(clean, out, seed=1, frames=2)
    expand(clean, tmp_path / "fresh", seed=1, frames=2)
    assert contents(out) == contents(tmp_path / "fresh")
    assert sorted(folder.name for folder in out.iterdir()) == ["scene_00", "scene_01"]


def test_the_sources_of_the_noise_are_there() -> None:
    names = [source.name for source in expanding._SOURCES]
    assert names == ["expand.py", "sensor_noise.py", "sensors.py"]
    assert all(source.is_file() for source in expanding._SOURCES)


@pytest.mark.parametrize("name", ["background_color.webp", "depth_01.png", "alpha_00.png"])
def test_broken_renders_are_named(clean: Path, tmp_path: Path, name: str) -> None:
    file = clean / "scene_01" / name
    file.write_bytes(file.read_bytes()[:40])
    with pytest.raises(EvaluationError, match=f"scene_01/{name} is missing, broken or not 48x36"):
        expand(clean, tmp_path / "out", seed=0, frames=1)
    assert not (tmp_path / "out" / "scene_01").exists()


def test_nothing_to_expand(tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="holds no scene_XX"):
        expand(tmp_path, tmp_path / "out", seed=0)


def test_a_video_stays_one(clean: Path, tmp_path: Path) -> None:
    file = clean / "scene_01" / "scene.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "fps": 10.0}))
    expand(clean, tmp_path / "out", seed=0, frames=5)
    assert [scene.consecutive for scene in open_dataset(tmp_path / "out")] == [False, True]

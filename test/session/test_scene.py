"""Scenes on disk: what goes in comes out, and nothing broken is ever taken for a scene."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import textwrap
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dart_ros.errors import SceneError
from dart_ros.session import scene_file as scene_module
from dart_ros.session.scene import Scene, check_name, is_plain_name, new_scene_id
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Camera


def make(
    name: str = "lab", width: int = 7, height: int = 5, seed: int = 0, fitted: bool = False
) -> Scene:
    rng = np.random.default_rng(seed)
    weights = {
        "encoder.0.weight": rng.standard_normal((2, 3, 1, 1)).astype(np.float16),
        "scale": np.array(0.5, np.float16),
    }
    return Scene(
        name=name,
        id=new_scene_id(name, datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)),
        camera=Camera(width, height, 500.5, 501.25, 3.5, 2.5, "camera_color_optical_frame"),
        plate=rng.integers(0, 256, (height, width, 3), np.uint8),
        depth_mean=rng.random((height, width), np.float32),
        depth_std=rng.random((height, width), np.float32),
        depth_count=rng.integers(0, 3, (height, width)).astype(np.uint16),
        frames=100,
        captured_at="2024-05-06T07:08:09+00:00",
        max_depth=5.46,
        weights=weights if fitted else None,
        fit={"before": 4.5, "after": 3.25, "when": "today"} if fitted else None,
    )


def assert_same(one: Scene, other: Scene) -> None:
    for field in dataclasses.fields(Scene):
        here, there = getattr(one, field.name), getattr(other, field.name)
        if field.name == "weights" and here is not None:
            assert here.keys() == there.keys()
            for key in here:
                assert here[key].dtype == there[key].dtype
                np.testing.assert_array_equal(here[key], there[key])
        elif isinstance(here, np.ndarray):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there)
        else:
            assert here == there


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", fullmatch=True),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 99),
    st.booleans(),
)
def test_saved_scenes_come_back(
    tmp_path: Path, name: str, width: int, height: int, seed: int, fitted: bool
) -> None:
    store = SceneStore(tmp_path)
    scene = make(name, width, height, seed, fitted)
    store.save(scene)
    assert_same(store.load(name), scene)
    summary = next(s for s in store.list() if s.name == name)
    assert summary.problem is None
    assert (summary.id, summary.size, summary.fitted) == (scene.id, (width, height), fitted)


def test_an_unfinished_fit_lasts_until_the_scene_is_another_or_gone(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    scene, longer = make(), make("lab-2")
    store.forget_fit(scene.id)  # there is none, nothing happens
    store.save(scene)
    kept, other = store.unfinished_fit(scene.id), store.unfinished_fit(longer.id)
    half_written = tmp_path / f".{kept.name}.0123abcd.tmp"
    other.write_bytes(b"of another scene")
    for end in (lambda: store.save(make()), lambda: store.delete("lab")):
        kept.write_bytes(b"half done")
        half_written.write_bytes(b"half written")
        store.save(make("other"))
        assert kept.exists() and [summary.name for summary in store.list()] == ["lab", "other"]
        end()
        assert not kept.exists() and not half_written.exists() and other.exists()


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "x" * 64, "_", "-", "a..b"])
def test_plain_names(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", "a b", "x" * 65, "ä", "a\n", "a\0", "\\"],
)
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    store = SceneStore(tmp_path / "scenes")
    assert not is_plain_name(name)
    remember = partial(store.set_last, "/matting_node")
    for act in (*(store.load, store.delete, remember, store.path, check_name, make),):
        with pytest.raises(SceneError, match="can't name a scene"):
            act(name)
    assert not list(tmp_path.rglob("*.json"))


def test_ids_tell_captures_apart() -> None:
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
    assert new_scene_id("lab", when).startswith("lab-20240506T070809Z-")
    assert len({new_scene_id("lab", when) for _ in range(50)}) == 50


def test_known_share() -> None:
    scene = make(width=4, height=2)
    count = np.array([[0, 1, 2, 0], [0, 0, 9, 0]], np.uint16)
    assert dataclasses.replace(scene, depth_count=count).known_share == 3 / 8


def test_arrays_must_fit_the_camera() -> None:
    scene = make()
    with pytest.raises(SceneError, match="depth_mean"):
        dataclasses.replace(scene, depth_mean=scene.depth_mean[:-1])
    with pytest.raises(SceneError, match="plate"):
        dataclasses.replace(scene, plate=scene.plate.astype(np.float32))


def test_cuts_and_flipped_bytes_are_noticed(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make(fitted=True))
    path = store.path("lab")
    good = path.read_bytes()
    for length in range(0, len(good), 13):
        path.write_bytes(good[:length])
        with pytest.raises(SceneError, match=str(path)):
            store.load("lab")
    for at in range(0, len(good), 3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :])
        try:
            loaded = store.load("lab")
        except SceneError as error:
            assert str(path) in str(error)
        else:
            # JSON leaves freedom in blanks around values, which mean nothing.
            assert_same(loaded, make_same_id(loaded, make(fitted=True)))


def make_same_id(of: Scene, scene: Scene) -> Scene:
    return dataclasses.replace(scene, id=of.id)


def test_appended_bytes_are_noticed(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make())
    path = store.path("lab")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(SceneError, match="damaged"):
        store.load("lab")


def test_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SceneStore(tmp_path)
    monkeypatch.setattr(scene_module, "FORMAT_VERSION", 99)
    store.save(make())
    monkeypatch.undo()
    with pytest.raises(SceneError, match="version 99") as caught:
        store.load("lab")
    assert "update dart_ros" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 200, bytes(200)])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    store = SceneStore(tmp_path)
    store.save(make("good"))
    store.path("bad").write_bytes(content)
    (tmp_path / "no plain name.safetensors").write_bytes(b"")
    with pytest.raises(SceneError, match=r"bad\.safetensors"):
        store.load("bad")
    problems = {summary.name: summary.problem for summary in store.list()}
    assert problems["good"] is None
    assert "bad.safetensors" in str(problems["bad"])
    assert "can't name" in str(problems["no plain name"])


def test_weights_of_another_program_are_no_scene(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    store = SceneStore(tmp_path)
    save_file({"w": np.zeros(3)}, store.path("w"), metadata={"format": "pt"})
    with pytest.raises(SceneError, match="not a dart_ros scene"):
        store.load("w")


def test_a_copied_file_is_a_scene_of_its_own(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make())
    store.path("copy").write_bytes(store.path("lab").read_bytes())
    assert store.load("copy").name == "copy"
    assert store.load("copy").id == store.load("lab").id


def test_missing_scenes_and_folders(tmp_path: Path) -> None:
    store = SceneStore(tmp_path / "not" / "yet")
    assert store.list() == []
    assert store.last("/matting_node") is None
    assert store.last_used() == {}
    with pytest.raises(SceneError, match=r"no scene 'lab'.*there: none"):
        store.load("lab")
    with pytest.raises(SceneError, match="no scene 'lab'"):
        store.delete("lab")
    store.save(make())
    with pytest.raises(SceneError, match="there: lab"):
        store.load("other")


def test_last_scene(tmp_path: Path) -> None:
    node, store = "/matting_node", SceneStore(tmp_path)
    store.save(make())
    store.set_last(node, "lab")
    assert SceneStore(tmp_path).last(node) == "lab"
    for content in ("", "[]", '{"scene": 3}', '{"scene": "../lab"}', "\udcff"):
        (file,) = tmp_path.glob("*.json")
        file.write_bytes(content.encode(errors="surrogateescape"))
        assert store.last(node) is None and store.last_used() == {}
    store.set_last(node, "lab")
    store.delete("lab")
    assert store.last(node) is None and store.last_used() == {}
    assert store.list() == []


def test_each_node_has_a_last_scene_of_its_own(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make("hall"))
    store.save(make("yard"))
    store.set_last("/left/matting_node", "hall")
    store.set_last("/right/matting_node", "yard")
    assert store.last("/left/matting_node") == "hall"
    assert store.last("/right/matting_node") == "yard"
    assert store.last("/matting_node") is None
    assert store.last_used() == {"/left/matting_node": "hall", "/right/matting_node": "yard"}


FULL_DISK = """
    import resource, sys
    from dart_ros.errors import SceneError
    from dart_ros.session.scene_store import SceneStore
    import dataclasses
    store = SceneStore(sys.argv[1])
    scene = dataclasses.replace(store.load("lab"), frames=7)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    try:
        store.save(scene)
    except SceneError as error:
        print(error)
        sys.exit(42)
"""


def test_full_disk_keeps_the_old_scene(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make())
    before = store.path("lab").read_bytes()
    # The kernel refuses to write past the limit, in the middle of the file, as a full disk does.
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FULL_DISK), str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 42, result.stderr
    assert "free some space" in result.stdout
    assert store.path("lab").read_bytes() == before
    assert os.listdir(tmp_path) == ["lab.safetensors"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SceneError, match="can't be written"):
        SceneStore(tmp_path / "file").save(make())
    with pytest.raises(SceneError, match="can't be written"):
        SceneStore(tmp_path / "file").set_last("/matting_node", "lab")


def test_saving_replaces_whole(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make(fitted=True))
    store.save(make(seed=3))
    assert store.load("lab").weights is None
    assert os.listdir(tmp_path) == ["lab.safetensors"]
    header = store.path("lab").read_bytes()[8:]
    description = json.JSONDecoder().raw_decode(header.decode("latin-1"))[0]["__metadata__"]
    assert description["version"] == "1"

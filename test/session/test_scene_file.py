"""The file of a scene: what is cut, altered or foreign is told, older ones are read.

Files that were made to do harm are in test/benchmark/test_fuzz_scene_files.py.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from benchmark.fuzz_scene_files import SceneFile, good_scene
from dart_ros.errors import SceneError
from dart_ros.session import scene_file
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore


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


def test_cuts_and_flipped_bytes_are_noticed(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(good_scene())
    path = store.path("good")
    good = path.read_bytes()
    for length in range(0, len(good), 13):
        path.write_bytes(good[:length])
        with pytest.raises(SceneError, match=str(path)):
            store.load("good")
    for at in range(0, len(good), 3):
        path.write_bytes(good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :])
        try:
            loaded = store.load("good")
        except SceneError as error:
            assert str(path) in str(error)
        else:
            # JSON leaves freedom in blanks around values, which mean nothing.
            assert_same(loaded, dataclasses.replace(good_scene(), id=loaded.id))


def test_appended_bytes_are_noticed(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(good_scene())
    path = store.path("good")
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(SceneError, match="damaged"):
        store.load("good")


def test_another_version_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SceneStore(tmp_path)
    monkeypatch.setattr(scene_file, "FORMAT_VERSION", 99)
    store.save(good_scene())
    monkeypatch.undo()
    with pytest.raises(SceneError, match="version 99") as caught:
        store.load("good")
    assert "update dart_ros" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\xff" * 200, bytes(200)])
def test_foreign_files(tmp_path: Path, content: bytes) -> None:
    store = SceneStore(tmp_path)
    store.save(good_scene())
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


def test_scenes_of_before_there_were_cameras_in_them(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(good_scene())
    file = SceneFile(store.path("good").read_bytes())
    for key in ("captured_by", "serial"):
        del file.description[key]
    store.path("good").write_bytes(file.content())
    assert_same(store.load("good"), dataclasses.replace(good_scene(), captured_by="", serial=""))

"""A short run of the fuzzer of scene files: none is read that breaks the rules, none does harm."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmark.fuzz_scene_files import SceneFile, crafted, fuzz, good_scene, try_file
from dart_ros.session.scene_store import SceneStore


@pytest.fixture
def store(tmp_path: Path) -> SceneStore:
    made = SceneStore(tmp_path)
    made.save(good_scene())
    return made


def test_the_checksum_is_right_where_nothing_is_changed(store: SceneStore) -> None:
    content = store.path("good").read_bytes()
    assert try_file(store, SceneFile(content).content()) == "loaded"


def test_crafted_files_are_refused(store: SceneStore) -> None:
    cases = list(crafted(store.path("good").read_bytes()))
    assert len(cases) >= 60
    loaded = [what for what, content in cases if try_file(store, content) != "refused"]
    assert not loaded
    assert [(s.name, s.problem is None) for s in store.list()] == [("bad", False), ("good", True)]


def test_random_damage_is_refused_or_harmless(store: SceneStore) -> None:
    found = fuzz(store.directory, 1200, seed=2026)
    # What was changed is allowed now and then: pixels of the plate, another name, a longer focus.
    assert found["refused"] > 600 and found["loaded"] > 20

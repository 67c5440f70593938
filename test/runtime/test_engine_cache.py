from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from dart_ros.runtime import engine_cache
from dart_ros.runtime.engine_cache import EngineCache


def fail() -> bytes:
    raise AssertionError("it was to be read from the cache")


def test_what_was_built_is_read_again(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path / "cache")
    assert cache.get("a.engine", lambda: b"plan") == b"plan"
    assert EngineCache(tmp_path / "cache").get("a.engine", fail) == b"plan"
    assert cache.get("b.engine", lambda: b"other") == b"other"
    assert not cache.notes
    told = json.loads((tmp_path / "cache" / "a.engine.json").read_text())
    assert told["bytes"] == 4


@pytest.mark.parametrize("damage", [b"", b"pla", b"plan+", b"PLAN"])
def test_a_damaged_engine_is_built_again(tmp_path: Path, damage: bytes) -> None:
    EngineCache(tmp_path).get("a.engine", lambda: b"plan")
    (tmp_path / "a.engine").write_bytes(damage)
    cache = EngineCache(tmp_path)
    assert cache.get("a.engine", lambda: b"new") == b"new"
    assert "is damaged and is made again" in cache.notes[0]
    assert EngineCache(tmp_path).get("a.engine", fail) == b"new"


@pytest.mark.parametrize("name", ["a.engine", "a.engine.json"])
def test_a_pipe_in_the_cache_holds_nothing_up(tmp_path: Path, name: str) -> None:
    EngineCache(tmp_path).get("a.engine", lambda: b"plan")
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    cache = EngineCache(tmp_path)
    assert cache.get("a.engine", lambda: b"new") == b"new"
    assert "named pipe" in cache.notes[0]
    assert EngineCache(tmp_path).get("a.engine", fail) == b"new"


def test_contents_that_differ_in_the_last_part_alone_are_alike(tmp_path: Path) -> None:
    cache = EngineCache(tmp_path)
    assert cache.alike("a_1.engine") == []
    for age, name in enumerate(("a_1.engine", "a_2.engine", "a_b_3.engine", "c_1.engine", "a_4.x")):
        cache.write(name, b"plan")
        os.utime(tmp_path / name, (1e9 - age, 1e9 - age))
    cache.write("a_5.engine", b"newer")
    assert cache.alike("a_1.engine") == ["a_5.engine", "a_2.engine"]
    assert cache.alike("b_1.engine") == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "{", '{"sha256": 5}', "[" * 5000, "x" * 20_000])
def test_a_damaged_checksum_is_no_checksum(tmp_path: Path, text: str) -> None:
    EngineCache(tmp_path).get("a.engine", lambda: b"plan")
    (tmp_path / "a.engine.json").write_text(text)
    assert EngineCache(tmp_path).get("a.engine", lambda: b"new") == b"new"


def test_a_folder_that_cant_be_written_serves_nevertheless(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")  # root may write everywhere else
    cache = EngineCache(tmp_path / "file" / "cache")
    assert cache.get("a.engine", lambda: b"plan") == b"plan"
    assert any("can't be written" in note and "XDG_CACHE_HOME" in note for note in cache.notes)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write in read-only folders")
def test_a_read_only_folder_serves_nevertheless(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    cache = EngineCache(tmp_path)
    assert cache.get("a.engine", lambda: b"plan") == b"plan"
    assert "can't be written" in cache.notes[0]


def test_nothing_is_left_of_a_build_that_fails(tmp_path: Path) -> None:
    def broken() -> bytes:
        raise RuntimeError("out of memory")

    cache = EngineCache(tmp_path)
    with pytest.raises(RuntimeError, match="out of memory"):
        cache.get("a.engine", broken)
    assert cache.read("a.engine") is None
    assert cache.get("a.engine", lambda: b"plan") == b"plan"


def test_two_processes_build_once(tmp_path: Path) -> None:
    script = textwrap.dedent("""
        import sys, time
        from pathlib import Path
        from dart_ros.runtime.engine_cache import EngineCache

        folder = Path(sys.argv[1])

        def build():
            with (folder / "builds").open("a") as file:
                file.write("built\\n")
            time.sleep(0.5)
            return b"plan"

        assert EngineCache(folder).get("a.engine", build) == b"plan"
    """)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    runs = [
        subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], env=environment)
        for _ in range(2)
    ]
    assert [run.wait(180) for run in runs] == [0, 0]
    assert (tmp_path / "builds").read_text() == "built\n"


def test_what_was_not_used_for_longest_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_cache, "MOST_FILES", 3)
    cache = EngineCache(tmp_path)
    for number, name in enumerate("abc"):
        cache.get(name, name.encode)
        os.utime(tmp_path / name, (number, number))
    assert cache.read("a") == b"a"  # used again
    cache.get("d", lambda: b"d")
    assert [cache.read(name) for name in "abcd"] == [b"a", None, b"c", b"d"]
    assert not (tmp_path / "b.json").exists()
    assert cache.notes == []

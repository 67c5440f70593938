"""Fits and builds wait for each other on small machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dart_ros.runtime import heavy_work

HOLD = """
import sys
from dart_ros.runtime import heavy_work
heavy_work.is_small = lambda: True
with heavy_work.one_at_a_time(lambda: print("waits", flush=True)):
    print("works", flush=True)
    sys.stdin.readline()
"""


def worker() -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLD]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.mark.parametrize("how", ["it ends", "it is killed"])
def test_the_second_waits_for_the_first(how: str) -> None:
    with worker() as first, worker() as second:
        begun = {process: process.stdout.readline() for process in (first, second)}
        (works,) = (process for process, said in begun.items() if said == "works\n")
        (waits,) = (process for process, said in begun.items() if said == "waits\n")
        if how == "it is killed":
            works.kill()
        else:
            works.stdin.write("\n")
            works.stdin.flush()
        assert waits.stdout.readline() == "works\n"
        waits.stdin.write("\n")


def test_a_large_machine_does_both(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heavy_work, "is_small", lambda: False)
    waits: list[int] = []
    first, second = (heavy_work.one_at_a_time(lambda: waits.append(1)) for _ in range(2))
    with first, second:
        assert not waits


@pytest.mark.parametrize(
    ("cores", "gigabytes", "small"), [(6, 8, True), (6, 64, True), (12, 8, True), (12, 64, False)]
)
def test_what_is_small(
    monkeypatch: pytest.MonkeyPatch, cores: int, gigabytes: int, small: bool
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: cores)
    sizes = {"SC_PHYS_PAGES": gigabytes * 10**9 // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)
    assert heavy_work.is_small() == small


def test_a_folder_that_cannot_be_made_is_no_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(heavy_work, "is_small", lambda: True)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with heavy_work.one_at_a_time(lambda: pytest.fail("nobody is at work")):
        pass

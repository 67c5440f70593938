from __future__ import annotations

import fcntl
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from dart_ros.node import shared_memory
from dart_ros.node.shared_memory import SEGMENT_BYTES, Cleaned, clean, own_segment, problem

ROOT = Path(__file__).resolve().parents[2]
OLD = time.time() - 3600


def segment(folder: Path, name: str, size: int = 1000, when: float = OLD) -> list[Path]:
    paths = [folder / name, folder / f"{name}_el"]
    paths[0].write_bytes(bytes(size))
    paths[1].touch()
    for path in paths:
        os.utime(path, (when, when))
    return paths


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that holds the lock of a segment as Fast DDS does, until it is killed."""
    segment(tmp_path, "fastrtps_00000000000000aa")
    code = (
        "import fcntl, sys, time\n"
        "file = open(sys.argv[1], 'r+b')\n"
        "fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "print('locked', flush=True)\n"
        "time.sleep(1000)\n"
    )
    lock = tmp_path / "fastrtps_00000000000000aa_el"
    process = subprocess.Popen([sys.executable, "-c", code, str(lock)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"locked\n"
    yield process
    process.kill()
    process.wait()


def test_segments_of_the_dead_go_and_those_of_the_living_stay(
    tmp_path: Path, holder: subprocess.Popen[bytes]
) -> None:
    segment(tmp_path, "fastrtps_0123456789abcdef", 1000)
    segment(tmp_path, "fastdds_fedcba9876543210", 234)
    living = {"fastrtps_00000000000000aa", "fastrtps_00000000000000aa_el"}
    assert clean(tmp_path) == Cleaned(2, 1234)
    assert {path.name for path in tmp_path.iterdir()} == living
    assert clean(tmp_path) == Cleaned()
    holder.kill()
    holder.wait()
    assert clean(tmp_path) == Cleaned(1, 1000)
    assert not list(tmp_path.iterdir())


def test_what_is_not_a_dead_segment_of_fast_dds_stays(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    precious = elsewhere / "precious"
    precious.write_text("mine")
    os.utime(precious, (OLD, OLD))
    shared = tmp_path / "shm"
    shared.mkdir()
    # Its owner may be starting; it stays young however long the test takes.
    segment(shared, "fastrtps_1111111111111111", when=time.time() + 60)
    segment(shared, "fastrtps_xyz")
    segment(shared, "fastrtps_port7413")
    segment(shared, "other_0123456789abcdef")
    (shared / "fastrtps_2222222222222222_el").symlink_to(precious)
    os.mkfifo(shared / "fastrtps_3333333333333333_el")
    (shared / "fastrtps_4444444444444444_el").mkdir()
    before = sorted(path.name for path in shared.iterdir())
    assert clean(shared) == Cleaned()
    assert sorted(path.name for path in shared.iterdir()) == before
    assert precious.read_text() == "mine"


def test_a_segment_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    segment(tmp_path, "fastrtps_5555555555555555")
    (tmp_path / "fastrtps_5555555555555555").unlink()
    (tmp_path / "fastrtps_5555555555555555").symlink_to(precious)
    assert clean(tmp_path).segments == 1
    assert [path.name for path in tmp_path.iterdir()] == ["precious"]


def test_a_lock_without_its_segment_goes_and_a_missing_folder_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "fastrtps_6666666666666666_el").touch()
    os.utime(tmp_path / "fastrtps_6666666666666666_el", (OLD, OLD))
    assert clean(tmp_path) == Cleaned(1, 0)
    assert clean(tmp_path / "missing") == Cleaned()


def test_the_own_segment_is_told_by_the_lock_that_is_held(tmp_path: Path) -> None:
    assert not own_segment(tmp_path, 1000)
    _, lock = segment(tmp_path, "fastrtps_7777777777777777", 1000)
    with open(lock, "r+b") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert own_segment(tmp_path, 1000)
        assert not own_segment(tmp_path, 3000)  # the small one that there always is
    assert not own_segment(tmp_path, 1000)


def test_space_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert problem(tmp_path, 1) == ""
    assert "there is no shared memory" in problem(tmp_path / "missing")

    def free(mega: int, total: int) -> None:
        made = os.statvfs_result((1024, 1024, total << 10, mega << 10, mega << 10, 1, 1, 1, 0, 255))
        monkeypatch.setattr(shared_memory.os, "statvfs", lambda _: made)

    free(29, 64)
    text = problem()
    assert "29 MB of 64 MB left" in text and "takes 36 MB" in text and "--shm-size=1g" in text
    free(3, 8000)
    assert "3 MB of 8000 MB left" in problem() and "remove what fills it" in problem()
    free(36, 64)
    assert problem() == ""


def test_the_size_is_that_of_the_profile() -> None:
    profile = (ROOT / "config" / "fastdds.xml").read_text()
    found = re.search(r"<segment_size>(\d+)</segment_size>", profile)
    assert found is not None
    assert int(found[1]) < SEGMENT_BYTES < 1.2 * int(found[1])


def use(middleware: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        shared_memory.rclpy, "get_rmw_implementation_identifier", lambda: middleware
    )


def test_a_process_without_a_segment_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use("rmw_fastrtps_cpp", monkeypatch)
    assert shared_memory.transport_problem(tmp_path, 1) == ""
    much = 1 << 43
    assert shared_memory.transport_problem(tmp_path, much).startswith("this node sends its images")
    large, lock = segment(tmp_path, "fastrtps_8888888888888888")
    with open(lock, "r+b"):
        os.truncate(large, much // 2)  # sparse
        assert shared_memory.transport_problem(tmp_path, much) == problem(tmp_path, much) != ""
    use("rmw_cyclonedds_cpp", monkeypatch)
    assert shared_memory.transport_problem(tmp_path, much) == ""


@pytest.mark.parametrize("middleware", ["rmw_fastrtps_cpp", "rmw_zenoh_cpp"])
def test_cleaning_at_the_start_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, middleware: str
) -> None:
    use(middleware, monkeypatch)
    found = Cleaned(2, 70_000_000)
    monkeypatch.setattr(shared_memory, "clean", lambda: found)
    told: list[str] = []
    shared_memory.clean_at_start(SimpleNamespace(info=told.append))
    assert bool(told) == (middleware == "rmw_fastrtps_cpp")
    assert all("2 segments, 70 MB" in text for text in told)

"""What a child process is given, what it says, and how it ends."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import pytest
from waiting import PATIENCE, alive, wait_for

from dart_ros.child_process import ChildError, ChildProcess

SAY = "from dart_ros.child_process import say\n"


def child(program: str, given: bytes = b"") -> ChildProcess:
    with tempfile.TemporaryFile() as file:
        file.write(given)
        file.seek(0)
        return ChildProcess([sys.executable, "-u", "-c", SAY + program], file)


def test_it_reads_what_it_is_given_and_tells_what_came_of_it() -> None:
    program = "import sys; say(done=True, size=len(sys.stdin.buffer.read()))"
    assert child(program, bytes(1 << 20)).follow() == {"done": True, "size": 1 << 20}


def test_what_libraries_print_is_no_message() -> None:
    told: list[tuple[float, str]] = []
    program = """
import os
print("[" * 100_000)
print('["done"]')
os.write(1, b"\\xff\\n")
say(progress=0.5, message="half")
say(done=True)
"""
    assert child(program).follow(lambda *entry: told.append(entry)) == {"done": True}
    assert told == [(0.5, "half")]


@pytest.mark.parametrize(
    ("program", "why", "own"),
    [
        ("say(error='no weights')", "no weights", True),
        ("say(done=True); raise SystemExit(3)", "its process ended with status 3: it said", False),
        ("raise KeyError('x')", "its process ended with status 1: KeyError: 'x'", False),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL (out of memory?)", False),
        ("import os; os.kill(os.getpid(), 15)", "killed by SIGTERM", False),
    ],
)
def test_what_failed_is_told(program: str, why: str, own: bool) -> None:
    with pytest.raises(ChildError) as caught:
        child(program).follow()
    assert why in str(caught.value) and caught.value.own is own


def test_one_that_takes_too_long_is_ended_with_what_it_started(tmp_path: Path) -> None:
    file = tmp_path / "grandchild"
    program = f"""
import pathlib, subprocess, time
started = subprocess.Popen(["sleep", "600"])
pathlib.Path({str(file)!r}).write_text(str(started.pid))
time.sleep(600)
"""
    process = child(program)
    wait_for(lambda: file.exists() and file.read_text())
    begun = time.monotonic()
    with pytest.raises(ChildError, match=r"took more than 0\.5 s"):
        process.follow(patience=0.5)
    assert time.monotonic() - begun < PATIENCE
    wait_for(lambda: not alive(int(file.read_text())))


def test_one_that_took_too_long_is_told_as_such_although_it_is_gone_at_once() -> None:
    class Slow(ChildProcess):
        def kill(self) -> None:
            super().kill()
            time.sleep(1.0)

    with pytest.raises(ChildError, match=r"took more than 0\.5 s"):
        Slow(["sleep", "600"]).follow(patience=0.5)


def test_a_program_that_is_missing_raises() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="nonexistent"):
        ChildProcess(["/nonexistent/python"])
    assert len(os.listdir("/proc/self/fd")) == before

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest
from waiting import PATIENCE

from dart_ros.node.fit_process import FitEnd, FitProcess, fit_command, resumption


class Run:
    """A fit process that runs a small program, and what it reported."""

    def __init__(self, program: str) -> None:
        self.progress: list[tuple[float, str]] = []
        self.ends: list[FitEnd] = []
        self.over = threading.Event()
        self.first = threading.Event()
        command = [sys.executable, "-u", "-c", textwrap.dedent(program)]
        self.process = FitProcess(command, self._progressed, self._ended)

    def end(self) -> FitEnd:
        assert self.over.wait(PATIENCE)
        time.sleep(0.05)  # a second report would come by now
        assert len(self.ends) == 1
        return self.ends[0]

    def _progressed(self, progress: float, message: str) -> None:
        self.progress.append((progress, message))
        self.first.set()

    def _ended(self, end: FitEnd) -> None:
        self.ends.append(end)
        self.over.set()


def test_a_fit_that_improves() -> None:
    run = Run("""
        print("a library says hello")
        print('{"progress": 0.5, "message": "step 1 of 2"}')
        print("[1, 2]")
        print('{"done": true, "improved": true, "before": 4.1, "after": 3.2, "message": "better"}')
    """)
    assert run.end() == FitEnd(improved=True, failed=False, message="better")
    assert run.progress == [(0.5, "step 1 of 2")]


def test_a_fit_that_does_not_improve_is_no_failure() -> None:
    run = Run("""print('{"done": true, "improved": false, "message": "no better"}')""")
    assert run.end() == FitEnd(improved=False, failed=False, message="no better")


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("""print('{"error": "the disk is full"}'); raise SystemExit(1)""", "the disk is full"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL (out of memory?)"),
        ("raise RuntimeError('no such luck')", "status 1: RuntimeError: no such luck"),
        ("raise SystemExit(3)", "status 3: it said nothing"),
        ("pass", "status 0: it said nothing"),
    ],
)
def test_a_fit_that_fails_says_why(program: str, words: str) -> None:
    end = Run(program).end()
    assert end.failed and not end.improved
    assert words in end.message and "the scene is as it was before" in end.message


def test_cancelling_ends_the_process() -> None:
    run = Run("""
        import time
        print('{"progress": 0.0, "message": "long"}')
        time.sleep(600)
    """)
    assert run.first.wait(PATIENCE)
    run.process.cancel()
    end = run.end()
    assert not end.failed and not end.improved and "cancelled" in end.message


def test_a_fit_that_ignores_the_request_is_killed() -> None:
    run = Run("""
        import signal, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"progress": 0.0, "message": "stubborn"}')
        time.sleep(600)
    """)
    assert run.first.wait(PATIENCE)
    run.process.stop(0.3)
    assert not run.end().failed
    with pytest.raises(ProcessLookupError):
        os.kill(run.process.pid, 0)


def test_the_fit_is_nice_to_the_node() -> None:
    run = Run("""
        import os, time
        end = time.monotonic() + 30
        while (niceness := os.getpriority(os.PRIO_PROCESS, 0)) < 10 and time.monotonic() < end:
            time.sleep(0.01)
        print('{"progress": %d, "message": "niceness"}' % niceness)
    """)
    run.end()
    assert run.progress[0][0] >= 10


def test_a_command_that_cannot_be_started_raises() -> None:
    with pytest.raises(OSError):
        FitProcess(["/nonexistent/python"], lambda *_: None, lambda _: None)


def test_the_real_command_names_the_scene_and_its_folder() -> None:
    command = fit_command("room", "/scenes", 20.0, ("openvino", 0.25, 2), {"--foregrounds": ""})
    assert command[1:] == [
        *("-m", "dart_ros.cli", "fit", "--json-progress", "--scenes-dir", "/scenes"),
        *("--seconds", "20", "--backend", "openvino"),
        *("--refine-fraction", "0.25", "--threads", "2", "--", "room"),
    ]
    assert "--seconds" not in fit_command("room", "/scenes", 0.0, ("openvino", 0.25, 2), {})


def test_what_to_type_to_go_on_with_a_fit() -> None:
    extras = {"--foregrounds": "/my people", "--teacher": ""}
    command = fit_command("room", "/scenes", 0.0, ("openvino", 0.25, 2), extras)
    assert resumption(command) == (
        "dart-ros fit --scenes-dir /scenes --backend openvino --refine-fraction 0.25 --threads 2 "
        "--foregrounds '/my people' -- room"
    )


def test_the_real_command_takes_any_plain_name(tmp_path: Path) -> None:
    command = fit_command("-x", str(tmp_path), 1.0, ("auto", 0.25, 0), {})
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert "There is no scene '-x'" in done.stdout + done.stderr

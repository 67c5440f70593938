"""The end of a process that hangs."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

BEGIN = """
import ctypes, signal, subprocess, time
from dart_ros.node.ending import Ending
ending = Ending(1)
signal.signal(signal.SIGTERM, ending.begin)
child = subprocess.Popen(["sleep", "100"], start_new_session=True)
print(child.pid, flush=True)
while not ending.begun:
    time.sleep(0.01)
ending.begin()
"""


def ended(after: str) -> tuple[int, str, int]:
    """Status and errors of a process that does ``after`` once it is asked to end, and a child."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + after],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    begun = time.monotonic()
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=30)
    assert time.monotonic() - begun < 20
    return process.returncode, errors, child


def alive(process: int) -> bool:
    """Whether a process still runs; nobody may be there to wait for one that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_process_that_hangs_is_ended_with_its_children() -> None:
    status, errors, child = ended("time.sleep(100)")
    assert status == 0
    assert errors == "matting_node is ended after 1 s; still at work: MainThread\n"
    until = time.monotonic() + 10  # a signal that was sent has yet to be served
    while alive(child) and time.monotonic() < until:
        time.sleep(0.01)
    assert not alive(child)


def test_the_kernel_ends_an_interpreter_that_answers_no_more() -> None:
    # Sleeps with the interpreter's lock held.
    status, _, _ = ended("child.kill(); ctypes.PyDLL(None).sleep(100)")
    assert status == -signal.SIGALRM


def test_a_process_that_ends_by_itself_isnt_told() -> None:
    status, errors, _ = ended("child.kill()")
    assert (status, errors) == (0, "")

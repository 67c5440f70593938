"""The end of a process that hangs."""

from __future__ import annotations

import signal
import subprocess
import sys

from waiting import alive, wait_for

BEGIN = """
import ctypes, signal, subprocess, sys, time
from dart_ros.node import ending as module
seconds, module._LAST_RESORT = map(int, sys.argv[1:])
ending = module.Ending(seconds)
signal.signal(signal.SIGTERM, ending.begin)
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
print(child.pid, flush=True)
while not ending.begun:
    time.sleep(0.01)
ending.begin()
"""


def ended(after: str, seconds: int, last_resort: int) -> tuple[int, str, int]:
    """Status and errors of a process that does ``after`` once it is asked to end, and a child.

    It is given ``seconds`` to end, and the interpreter ``last_resort`` more.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN + after, str(seconds), str(last_resort)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    child = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=100)
    return process.returncode, errors, child


def test_a_process_that_hangs_is_ended_with_its_children() -> None:
    status, errors, child = ended("time.sleep(600)", 1, 60)
    assert status == 0
    assert errors == "matting_node is ended after 1 s; still at work: MainThread\n"
    wait_for(lambda: not alive(child))  # a signal that was sent has yet to be served


def test_the_kernel_ends_an_interpreter_that_answers_no_more() -> None:
    # Sleeps with the interpreter's lock held, and has some seconds to get there.
    status, _, _ = ended("child.kill(); ctypes.PyDLL(None).sleep(600)", 5, 1)
    assert status == -signal.SIGALRM


def test_a_process_that_ends_by_itself_isnt_told() -> None:
    status, errors, _ = ended("child.kill()", 60, 3)
    assert (status, errors) == (0, "")

"""How the soak test looks at a process and what it calls growth."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytest.importorskip("rclpy")

from benchmark.soak import GROWTH, Sample, grown, line, look


def samples(memory: float = 0.0, descriptors: float = 0.0, threads: float = 0.0) -> list[Sample]:
    """An hour of samples that grow by so much a minute."""
    return [
        Sample(
            60.0 * minute,
            600.0 + memory * minute,
            int(50 + descriptors * minute),
            int(20 + threads * minute),
            70.0,
            1800,
        )
        for minute in range(60)
    ]


def test_what_stays_is_flat() -> None:
    assert grown(samples()) == []


def test_allocators_may_settle() -> None:
    start = [Sample(float(second), 300.0 + 40 * second, 10, 5, 0.0, 0) for second in range(8)]
    assert grown([*start, *samples()]) == []


@pytest.mark.parametrize("name", ["memory", "descriptors", "threads"])
def test_what_grows_is_named(name: str) -> None:
    slope = 600.0 * GROWTH / 30 if name == "memory" else 0.1
    (words,) = grown(samples(**{name: slope}))
    assert words.startswith(f"{name} grew from ")


def test_too_short_a_run_tells_nothing() -> None:
    with pytest.raises(ValueError, match="too few"):
        grown(samples()[:8])


# Another process, since what else runs in this one gives memory back at any time.
HOLDS = """
import sys, threading
print("ready", flush=True)
sys.stdin.readline()
held = bytearray(b"x") * (64 << 20)
files = [open("/dev/null") for _ in range(4)]
threads = [threading.Thread(target=threading.Event().wait, daemon=True) for _ in range(3)]
for thread in threads:
    thread.start()
print("holds", flush=True)
sys.stdin.readline()
"""


def test_a_process_is_seen_as_it_is() -> None:
    command = [sys.executable, "-c", HOLDS]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdin is not None and child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        before = look(child.pid, 1.0, 3)
        print(file=child.stdin, flush=True)
        assert child.stdout.readline() == "holds\n"
        after = look(child.pid, 2.0, 0)
        print(file=child.stdin, flush=True)
    assert before.memory > 5 and before.mattes == 3
    assert after.threads == before.threads + 3
    assert after.descriptors == before.descriptors + 4
    assert after.memory - before.memory == pytest.approx(64, abs=8)


def test_a_line_tells_the_rate_of_the_last_minute() -> None:
    seen = [Sample(5.0 * number, 600.0, 50, 20, 70.0, 150) for number in range(30)]
    assert "600 MB, 50 descriptors, 20 threads" in line(seen) and "30.0 mattes/s" in line(seen)

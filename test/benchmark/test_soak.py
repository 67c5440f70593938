"""How the soak test looks at a process and what it calls growth."""

from __future__ import annotations

import contextlib
import os
import threading

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


def test_a_process_is_seen_as_it_is() -> None:
    before = look(os.getpid(), 1.0, 3)
    assert before.memory > 5 and before.mattes == 3
    stop = threading.Event()
    threads = [threading.Thread(target=stop.wait) for _ in range(3)]
    held = bytearray(os.urandom(1 << 20)) * 64
    for thread in threads:
        thread.start()
    with contextlib.ExitStack() as files:
        for _ in range(4):
            files.enter_context(open("/dev/null"))
        after = look(os.getpid(), 2.0, 0)
    stop.set()
    assert after.threads == before.threads + 3
    assert after.descriptors == before.descriptors + 4
    assert after.memory - before.memory == pytest.approx(len(held) / 2**20, abs=8)


def test_a_line_tells_the_rate_of_the_last_minute() -> None:
    seen = [Sample(5.0 * number, 600.0, 50, 20, 70.0, 150) for number in range(30)]
    assert "600 MB, 50 descriptors, 20 threads" in line(seen) and "30.0 mattes/s" in line(seen)

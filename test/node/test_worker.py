from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import PATIENCE, wait_for

from dart_ros.node.worker import JobThread, LatestWorker, OrderedWorker


def test_a_newer_item_replaces_the_one_that_waits() -> None:
    done: list[int] = []
    started, go_on = threading.Event(), threading.Event()

    def work(item: int) -> None:
        started.set()
        assert go_on.wait(PATIENCE)
        done.append(item)

    worker = LatestWorker(work, pytest.fail)
    worker.put(0)
    assert started.wait(PATIENCE)  # 0 is being worked on, the slot is empty
    for item in (1, 2, 3):
        worker.put(item)
    assert worker.replaced == 2
    go_on.set()
    wait_for(lambda: len(done) == 2)
    assert worker.stop(PATIENCE)
    assert done == [0, 3]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 0.002), min_size=1, max_size=30))
def test_each_item_is_worked_on_once_or_counted_and_the_last_always(pauses: list[float]) -> None:
    done: list[int] = []
    worker = LatestWorker(done.append, pytest.fail)
    for item, pause in enumerate(pauses):
        worker.put(item)
        time.sleep(pause)
    wait_for(lambda: bool(done) and done[-1] == len(pauses) - 1)
    assert worker.stop(PATIENCE)
    assert done == sorted(set(done))
    assert len(done) + worker.replaced == len(pauses)


def test_work_that_raises_is_reported_and_the_thread_goes_on() -> None:
    done: list[int] = []
    errors: list[Exception] = []

    def work(item: int) -> None:
        if item < 0:
            raise ValueError(item)
        done.append(item)

    worker = LatestWorker(work, errors.append)
    worker.put(-1)
    wait_for(lambda: len(errors) == 1)
    worker.put(7)
    wait_for(lambda: done == [7])
    assert worker.stop(PATIENCE)
    assert isinstance(errors[0], ValueError)


def test_stop_says_when_work_does_not_end() -> None:
    started, go_on = threading.Event(), threading.Event()

    def work(_: int) -> None:
        started.set()
        go_on.wait(PATIENCE)

    worker = LatestWorker(work, pytest.fail)
    worker.put(1)
    assert started.wait(PATIENCE)
    assert not worker.stop(0.05)
    go_on.set()
    assert worker.stop(PATIENCE)


def test_jobs_run_in_order_and_their_results_are_posted() -> None:
    callbacks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
    seen: list[object] = []
    jobs = JobThread(callbacks.put, "jobs")
    jobs.submit(lambda: 1, seen.append, seen.append)
    jobs.submit(lambda: 1 // 0, seen.append, seen.append)
    jobs.submit(lambda: 3, seen.append, seen.append)
    taken = [callbacks.get(timeout=PATIENCE) for _ in range(3)]
    assert seen == []  # nothing is called in the job's thread
    for callback in taken:
        callback()
    assert seen[0] == 1 and isinstance(seen[1], ZeroDivisionError) and seen[2] == 3
    assert jobs.stop(PATIENCE)


def test_stop_skips_the_jobs_that_wait() -> None:
    started, go_on = threading.Event(), threading.Event()
    ran: list[str] = []
    jobs = JobThread(lambda callback: callback(), "jobs")

    def first() -> None:
        started.set()
        assert go_on.wait(PATIENCE)
        ran.append("first")

    jobs.submit(first, lambda _: None, pytest.fail)
    jobs.submit(lambda: ran.append("second"), lambda _: None, pytest.fail)
    assert started.wait(PATIENCE)
    assert not jobs.stop(0.05)
    go_on.set()
    assert jobs.stop(PATIENCE)
    assert ran == ["first"]


def test_an_ordered_worker_loses_nothing_and_holds_up_who_is_faster() -> None:
    done: list[int] = []
    go_on = threading.Event()

    def work(item: int) -> None:
        assert go_on.wait(PATIENCE)
        done.append(item)

    worker = OrderedWorker(work, pytest.fail, "ordered")
    given: list[int] = []

    def give() -> None:
        for item in range(5):
            worker.put(item)
            given.append(item)

    giver = threading.Thread(target=give)
    giver.start()
    wait_for(lambda: len(given) == 2)  # one at work, one waiting
    time.sleep(0.05)
    assert given == [0, 1]
    go_on.set()
    giver.join(PATIENCE)
    assert worker.stop(PATIENCE)
    assert done == [0, 1, 2, 3, 4]


def test_an_ordered_worker_goes_on_after_an_error() -> None:
    done: list[int] = []
    errors: list[Exception] = []

    def work(item: int) -> None:
        done.append(10 // item)

    worker = OrderedWorker(work, errors.append, "ordered")
    for item in (5, 0, 2):
        worker.put(item)
    assert worker.stop(PATIENCE)
    assert done == [2, 5]
    assert isinstance(errors[0], ZeroDivisionError) and len(errors) == 1


def test_an_ordered_worker_that_hangs_is_left_behind() -> None:
    go_on = threading.Event()

    def work(_: int) -> None:
        go_on.wait(PATIENCE)

    worker = OrderedWorker(work, pytest.fail, "ordered")
    worker.put(1)
    worker.put(2)
    assert not worker.stop(0.05)
    go_on.set()

from __future__ import annotations

import pytest

from dart_ros.node.frame_log import FrameLog


def test_rate_and_latency_are_those_of_the_last_second() -> None:
    log = FrameLog()
    for i in range(40):
        log.matted(i * 0.1, 0.5 if i < 30 else 0.01)
    summary = log.summary(3.99)
    assert summary.matted == 40
    assert summary.rate == 10
    assert summary.latency == 0.01
    idle = log.summary(60.0)
    assert (idle.matted, idle.rate, idle.latency) == (40, 0.0, 0.0)


def test_a_failure_ends_with_a_usable_frame_but_is_told_for_a_while() -> None:
    log = FrameLog()
    log.failed(10.0, "broken")
    assert (log.summary(10.1).failing, log.summary(10.1).complaint) == ("broken", "broken")
    log.usable()
    assert (log.summary(11.0).failing, log.summary(11.0).complaint) == ("", "broken")
    assert log.summary(14.0).complaint == ""


def test_a_doubt_is_no_failure() -> None:
    log = FrameLog()
    log.doubtful(10.0, "no depth")
    assert (log.summary(10.1).failing, log.summary(10.1).complaint) == ("", "no depth")


@pytest.mark.parametrize("off", [-3600.0, -1.0, 120.0, 1.7e9, -1e13])
def test_latencies_of_another_time_are_unknown(off: float) -> None:
    log = FrameLog()
    log.matted(9.5, off)
    assert log.summary(10.0).latency == 0.0
    log.matted(9.6, 0.03)
    assert log.summary(10.0).latency == 0.03
    log.matted(9.7, -0.01)
    log.matted(9.8, -0.02)
    assert log.summary(10.0).latency == 0.0  # clocks that differ a little: as good as at once


@pytest.mark.parametrize(
    ("latency", "words"),
    [
        (-3600.0, "60 minutes ahead of the node's clock"),
        (1e10, "115741 days behind the node's clock"),
        (-90.0, "90 s ahead"),
        (61.0, "61 s behind"),
    ],
)
def test_stamps_of_another_clock_are_told_and_give_no_latency(latency: float, words: str) -> None:
    log = FrameLog()
    log.matted(10.0, latency)
    summary = log.summary(10.1)
    assert summary.latency == 0.0 and words in summary.complaint and summary.rate == 1
    log.doubtful(10.2, "something worse")
    assert log.summary(10.3).complaint == "something worse"
    log.matted(13.5, 0.02)
    assert log.summary(13.6).complaint == "" and log.summary(13.6).latency == 0.02


def test_clocks_that_differ_by_a_little_are_no_complaint() -> None:
    log = FrameLog()
    log.matted(10.0, -0.004)
    assert (log.summary(10.1).latency, log.summary(10.1).complaint) == (0.0, "")

from __future__ import annotations

import pytest

from dart_ros.node.stream_health import COLOR, DEPTH, INFO, EventRate, StreamHealth
from dart_ros.node.synchronizer import Gap

TOPICS = {COLOR: "/c", DEPTH: "/d", INFO: "/i"}


def streams(**rates: int) -> StreamHealth:
    health = StreamHealth()
    for name, rate in rates.items():
        for i in range(rate):
            health.topics[name].count(9.0 + (i + 1) / rate)
    return health


def why(health: StreamHealth, gap: Gap | None = None, **publishers: int) -> str:
    counts = {COLOR: 0, DEPTH: 0, INFO: 0, **publishers}
    return health.why_no_pairs(10.0, TOPICS, counts, gap, 0.02)


def test_rate_counts_the_last_second_alone() -> None:
    rate = EventRate()
    for i in range(60):
        rate.count(i / 30)
    assert rate.rate(59 / 30 + 0.01) == 30
    assert rate.rate(10.0) == 0


@pytest.mark.parametrize(
    ("rates", "publishers", "words"),
    [
        ({}, {}, ["color 0 Hz, depth 0 Hz", "nobody publishes /c, /d, /i", "driver running"]),
        (
            {"color": 30, "camera_info": 30},
            {COLOR: 1, INFO: 1},
            ["color 30 Hz, depth 0 Hz", "nobody publishes /d", "is align_depth on"],
        ),
        (
            {"color": 30, "camera_info": 30},
            {COLOR: 1, DEPTH: 1, INFO: 1},
            ["depth 0 Hz", "/d has a publisher but nothing arrives", "QoS"],
        ),
        ({"color": 30, "depth": 30}, {COLOR: 1, DEPTH: 1}, ["camera_info 0 Hz", "/i", "remapped"]),
    ],
)
def test_silence_is_explained(
    rates: dict[str, int], publishers: dict[str, int], words: list[str]
) -> None:
    text = why(streams(**rates), **publishers)
    for word in words:
        assert word in text


def test_stamps_too_far_apart_are_told_with_both_figures() -> None:
    text = why(streams(color=30, depth=30, camera_info=30), gap=Gap(0.25))
    assert "250 ms apart" in text and "within 20 ms" in text and "raise sync_slop" in text


@pytest.mark.parametrize(
    ("stuck", "publishers", "words"),
    [
        (
            (True, True),
            {COLOR: 1, DEPTH: 1},
            "the stamps of /c, /d do not advance: does the driver set header.stamp, is /clock pub",
        ),
        # The two on /d are not what holds /c.
        ((True, False), {COLOR: 1, DEPTH: 2}, "of /c do not advance: does the driver"),
        ((False, True), {COLOR: 1, DEPTH: 3}, "with 3 publishers on /d: stop all but one"),
        (
            (True, True),
            {COLOR: 2, DEPTH: 2},
            "of /c, /d do not advance, with 2 publishers on /c, 2 publishers on /d: stop all but",
        ),
    ],
)
def test_stamps_that_do_not_advance_are_told(
    stuck: tuple[bool, bool], publishers: dict[str, int], words: str
) -> None:
    text = why(streams(color=30, depth=30, camera_info=30), Gap(0.0, stuck), **publishers)
    assert words in text
    assert "sync_slop" not in text


def test_silence_counts_from_the_start_or_the_last_pair() -> None:
    health = StreamHealth()
    assert health.silent_for(7.0, since=5.0) == 2.0
    health.pairs.count(6.5)
    assert health.silent_for(7.0, since=5.0) == 0.5
    assert health.silent_for(9.0, since=8.0) == 1.0

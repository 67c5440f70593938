from __future__ import annotations

import pytest

from dart_ros.node.stream_health import (
    COLOR,
    DEPTH,
    INFO,
    RGBD,
    EventRate,
    InputTopic,
    PairingLimits,
    Publisher,
    StreamHealth,
)
from dart_ros.session.pairing import Gap

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TOPICS = {COLOR: "/c", DEPTH: "/d", INFO: "/i", RGBD: "/r"}
LIMITS = PairingLimits(0.02, 1.0)


def streams(**rates: int) -> StreamHealth:
    health = StreamHealth()
    for name, rate in rates.items():
        for i in range(rate):
            health.topics[name].count(9.0 + (i + 1) / rate)
    return health


def why(health: StreamHealth, gap: Gap | None = None, **publishers: int) -> str:
    inputs = {
        name: InputTopic(topic, IMAGE, [Publisher(IMAGE)] * publishers.get(name, 0))
        for name, topic in TOPICS.items()
    }
    return health.why_no_pairs(10.0, inputs, gap, LIMITS)


def test_rate_counts_the_last_second_alone() -> None:
    rate = EventRate()
    for i in range(60):
        rate.count(i / 30)
    assert rate.rate(59 / 30 + 0.01) == 30
    assert rate.rate(10.0) == 0


@pytest.mark.parametrize(
    ("rates", "publishers", "words"),
    [
        ({}, {}, ["color 0 Hz, depth 0 Hz", "nobody publishes /c, /d", "driver running"]),
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
        (
            {"depth": 30},
            {DEPTH: 1},
            ["color 0 Hz, depth 30 Hz, camera_info 0 Hz", "nobody publishes /c", "remapped"],
        ),
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
    assert "depth_time_offset (about 0.25)" in text


def mute(name: str, wanted: str, *publishers: Publisher) -> str:
    inputs = {one: InputTopic(topic, IMAGE, [Publisher(IMAGE)]) for one, topic in TOPICS.items()}
    inputs[name] = InputTopic(TOPICS[name], wanted, publishers)
    health = streams(**{one: 30 for one in (COLOR, DEPTH, INFO) if one != name})
    return health.why_no_pairs(10.0, inputs, None, LIMITS, "shared memory is full")


@pytest.mark.parametrize(
    ("name", "wanted", "carried", "remedy"),
    [
        (COLOR, IMAGE, COMPRESSED, "set image_transport to compressed, or remap"),
        (COLOR, COMPRESSED, IMAGE, "set image_transport to raw"),
        (DEPTH, IMAGE, COMPRESSED, "set depth_image_transport to compressedDepth"),
        (DEPTH, COMPRESSED, IMAGE, "set depth_image_transport to raw"),
        (DEPTH, IMAGE, "stereo_msgs/msg/DisparityImage", "remap the topic"),
        (COLOR, IMAGE, "\n" * 10**6, "remap the topic"),
    ],
)
def test_a_topic_of_another_type_is_told(name: str, wanted: str, carried: str, remedy: str) -> None:
    text = mute(name, wanted, Publisher(carried))
    assert f"{TOPICS[name]} carries {carried[:80]!r}, not {wanted}: " in text and remedy in text
    assert "QoS" not in text and len(text) < 600


def test_qos_that_does_not_match_is_told_only_then() -> None:
    bad, good = Publisher(IMAGE, "durability"), Publisher(IMAGE)
    assert "the QoS of the publisher of /d doesn't match (durability)" in mute(DEPTH, IMAGE, bad)
    for publishers in ([good], [bad, good]):
        text = mute(DEPTH, IMAGE, *publishers)
        assert "type and QoS match: shared memory is full" in text


def test_a_driver_without_rgbd_is_told() -> None:
    health = StreamHealth((RGBD,))
    text = why(health)
    assert "rgbd 0 Hz: nobody publishes /r; is enable_rgbd on" in text
    health.topics[RGBD].count(9.5)
    assert "only begun" in why(health)


def test_late_images_are_told_with_both_remedies() -> None:
    health = streams(color=30, depth=30)
    late = Gap(2.5, late=(False, True))
    text = why(health, late)
    assert "the stamps of depth are 2.5 s behind those of color, and images wait 1 s" in text
    assert "raise sync_wait" in text and "depth_time_offset to 2.5 " in text
    full = why(health, Gap(-2.5, late=(True, False), full=True))
    assert "color comes 2.5 s after its depth, and more than 256 MB" in full
    inputs = {name: InputTopic(topic, IMAGE) for name, topic in TOPICS.items()}
    text = health.why_no_pairs(10.0, inputs, late, PairingLimits(0.02, 1.0, 3.0))
    assert "depth_time_offset to 5.5 " in text


def test_two_publishers_are_a_crowd_if_their_type_is_that_of_the_topic() -> None:
    assert InputTopic("/c", IMAGE, [Publisher(IMAGE)] * 2).crowded == "2 publishers on /c"
    assert not InputTopic("/c", IMAGE, [Publisher(IMAGE), Publisher(COMPRESSED)]).crowded


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

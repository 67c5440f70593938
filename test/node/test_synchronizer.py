from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dart_ros.node import synchronizer
from dart_ros.node.synchronizer import COLOR, DEPTH, ApproximatePairs, PairSynchronizer, stamp_of

MS = 1_000_000


@dataclass(eq=False)
class Message:
    header: Any
    side: int


def message(side: int, stamp: int) -> Message:
    seconds, nanoseconds = divmod(stamp, 1000 * MS)
    return Message(SimpleNamespace(stamp=_Stamp(seconds, nanoseconds)), side)


@dataclass
class _Stamp:
    sec: int
    nanosec: int


# Arrivals of both sides in any order: (side, stamp in ms)
arrivals = st.lists(
    st.tuples(st.sampled_from([COLOR, DEPTH]), st.integers(0, 400)), min_size=1, max_size=60
)


@given(arrivals, st.integers(1, 50), st.integers(1, 8))
@example([(COLOR, 0), (DEPTH, 13)], 13, 1)  # 0.013 * 1e9 is more than 13,000,000
def test_stand_in_pairs_within_the_slop_and_uses_each_message_once(
    events: list[tuple[int, int]], slop: int, size: int
) -> None:
    pairs: list[tuple[Message, Message]] = []
    stand_in = ApproximatePairs(slop * 1e-3, size, lambda c, d: pairs.append((c, d)))
    for side, stamp in events:
        stand_in.add(side, message(side, stamp * MS))
        assert max(stand_in.waiting(COLOR), stand_in.waiting(DEPTH)) <= size
    used = [id(one) for pair in pairs for one in pair]
    assert len(used) == len(set(used))
    for color, depth in pairs:
        assert (color.side, depth.side) == (COLOR, DEPTH)
        assert abs(stamp_of(color) - stamp_of(depth)) < slop * MS


@given(st.lists(st.integers(0, 10_000), unique=True, min_size=1, max_size=30).map(sorted))
def test_equal_stamps_always_pair(stamps: list[int]) -> None:
    pairs: list[int] = []
    stand_in = ApproximatePairs(0.001, 10, lambda c, d: pairs.append(stamp_of(c)))
    for stamp in stamps:
        stand_in.add(COLOR, message(COLOR, stamp * MS))
        stand_in.add(DEPTH, message(DEPTH, stamp * MS))
    assert pairs == [stamp * MS for stamp in stamps]


def test_nearest_partner_wins_and_the_slop_is_strict() -> None:
    pairs: list[tuple[int, int]] = []
    stand_in = ApproximatePairs(
        0.02, 10, lambda c, d: pairs.append((stamp_of(c) // MS, stamp_of(d) // MS))
    )
    for stamp in (0, 15, 33):
        stand_in.add(DEPTH, message(DEPTH, stamp * MS))
    stand_in.add(COLOR, message(COLOR, 10 * MS))
    assert pairs == [(10, 15)]
    stand_in.add(COLOR, message(COLOR, 53 * MS))
    assert pairs == [(10, 15)]  # 33 is exactly the slop away


@pytest.mark.parametrize("real", [False, True])
@pytest.mark.parametrize("rate", [60, 90, 120])
@pytest.mark.parametrize("order", [(DEPTH, COLOR), (COLOR, DEPTH)])
def test_a_lost_image_shifts_no_later_pair(real: bool, rate: int, order: tuple[int, int]) -> None:
    if real:
        pytest.importorskip("message_filters")
    kind = synchronizer._MessageFiltersPairs if real else ApproximatePairs
    pairs: list[tuple[int, int]] = []
    under_test = kind(0.02, 10, lambda c, d: pairs.append((stamp_of(c), stamp_of(d))))
    lost = {(DEPTH, 10), (DEPTH, 20), (COLOR, 30)}
    for i in range(40):
        stamp = 5_000 * MS + i * 1000 * MS // rate
        for side in order:
            if (side, i) not in lost:
                under_test.add(side, _ros_message(stamp) if real else message(side, stamp))
        # Nothing waits for a later image where stamps agree.
        if i not in (10, 20, 30):
            assert pairs[-1] == (stamp, stamp)
    assert len(pairs) == 37


@pytest.mark.parametrize("fast", [COLOR, DEPTH])
def test_stand_in_pairs_streams_of_two_rates_exactly(fast: int) -> None:
    pairs: list[tuple[int, int]] = []
    stand_in = ApproximatePairs(0.02, 10, lambda c, d: pairs.append((stamp_of(c), stamp_of(d))))
    for i in range(60):
        stamp = i * 1000 * MS // 60
        for side in (DEPTH, COLOR):
            if side == fast or i % 2 == 0:
                stand_in.add(side, message(side, stamp))
    # The first images may go astray: the period isn't known yet.
    assert len(pairs) >= 28
    assert all(color == depth for color, depth in pairs[4:])


@given(st.integers(0, 33), st.lists(st.integers(-1, 1), min_size=60, max_size=60))
def test_stand_in_pairs_streams_that_run_free(offset: int, jitter: list[int]) -> None:
    pairs: list[int] = []
    stand_in = ApproximatePairs(0.02, 10, lambda c, d: pairs.append(stamp_of(c)))
    events = [(33 * i, COLOR) for i in range(60)]
    events += [(33 * i + offset + shift, DEPTH) for i, shift in enumerate(jitter)]
    for stamp, side in sorted(events):
        stand_in.add(side, message(side, 1000 * MS + stamp * MS))
    assert len(pairs) >= 55


@pytest.mark.parametrize("real", [False, True])
def test_stand_in_and_message_filters_agree(real: bool) -> None:
    """The same arrivals through either; the expectation is worked out by hand."""
    if real:
        pytest.importorskip("message_filters")
    kind = synchronizer._MessageFiltersPairs if real else ApproximatePairs
    pairs: list[tuple[int, int]] = []
    under_test = kind(0.02, 3, lambda c, d: pairs.append((stamp_of(c) // MS, stamp_of(d) // MS)))
    for side, stamp in [
        (COLOR, 0), (DEPTH, 5),  # pair at once
        (COLOR, 33), (COLOR, 66), (COLOR, 100), (COLOR, 133),  # 33 is pushed out
        (DEPTH, 34), (DEPTH, 70), (DEPTH, 130),  # 34 is alone, 70 takes 66, 130 takes 133
        (DEPTH, 20),
    ]:  # fmt: skip
        stamped = _ros_message(stamp * MS) if real else message(side, stamp * MS)
        under_test.add(side, stamped)
    assert pairs == [(0, 5), (66, 70), (133, 130)]


def _ros_message(stamp: int) -> Any:
    from sensor_msgs.msg import Image

    made = Image()
    made.header.stamp.sec, made.header.stamp.nanosec = divmod(stamp, 1000 * MS)
    return made


@given(arrivals)
def test_pairs_come_in_the_order_of_time(events: list[tuple[int, int]]) -> None:
    stamps: list[int] = []
    pairs = PairSynchronizer(0.04, lambda c, d: stamps.append(stamp_of(c)))
    for side, stamp in events:
        pairs.add(side, _message(side, stamp))
    assert stamps == sorted(set(stamps))


def test_a_bag_that_starts_over_is_followed_at_once() -> None:
    stamps: list[int] = []
    pairs = PairSynchronizer(0.02, lambda c, d: stamps.append(stamp_of(c) // MS))
    for start in (100_000, 0):
        for i in range(12):  # color alone, as many as fill the queue
            pairs.add(COLOR, _message(COLOR, start + 33 * i))
        for i in range(12, 15):
            pairs.add(COLOR, _message(COLOR, start + 33 * i))
            pairs.add(DEPTH, _message(DEPTH, start + 33 * i))
    first = [100_000 + 33 * i for i in (12, 13, 14)]
    # The first depth of the second round throws the waiting color away: one pair is the price.
    assert stamps == [*first, 33 * 13, 33 * 14]


def test_gap_tells_how_far_the_stamps_are_apart() -> None:
    pairs = PairSynchronizer(0.02, lambda c, d: None)
    assert pairs.gap is None
    pairs.add(COLOR, _message(COLOR, 1000))
    assert pairs.gap is None
    pairs.add(DEPTH, _message(DEPTH, 750))
    assert pairs.gap is not None
    assert pairs.gap.seconds == pytest.approx(0.25)


def stuck_after(events: list[tuple[int, int]]) -> tuple[bool, bool]:
    pairs = PairSynchronizer(0.02, lambda c, d: None)
    for side, stamp in events:
        pairs.add(side, _message(side, stamp))
    assert pairs.gap is not None
    return pairs.gap.stuck


def test_stamps_that_stand_still_are_noted_by_side() -> None:
    zero = [(side, 0) for _ in range(6) for side in (COLOR, DEPTH)]
    assert stuck_after(zero) == (True, True)
    assert stuck_after(zero[:4]) == (True, True)
    assert stuck_after(zero[:2]) == (False, False)
    depth_alone = [event for i in range(6) for event in ((COLOR, 33 * i), (DEPTH, 500))]
    assert stuck_after(depth_alone) == (False, True)
    well_again = [(side, 33 * i) for i in range(30) for side in (COLOR, DEPTH)]
    assert stuck_after(zero + well_again) == (False, False)


@pytest.mark.parametrize("bag_every", [1, 2, 3])
def test_two_sources_on_one_topic_are_noted(bag_every: int) -> None:
    events: list[tuple[int, int]] = []
    for i in range(30):
        events.append((COLOR, 100_000 + 33 * i))
        if i % bag_every == 0:
            events.append((COLOR, 33 * i))
        events.append((DEPTH, 100_000 + 33 * i))
    assert stuck_after(events) == (True, False)


def test_a_bag_that_starts_over_is_no_stuck_clock() -> None:
    events = [(side, 33 * (i % 40)) for i in range(100) for side in (COLOR, DEPTH)]
    for end in range(2, len(events), 7):
        assert stuck_after(events[:end]) == (False, False)


def _message(side: int, stamp: int) -> Any:
    # message_filters, where it is installed, takes real messages only.
    return (
        message(side, stamp * MS)
        if synchronizer.message_filters is None
        else _ros_message(stamp * MS)
    )

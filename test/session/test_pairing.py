from __future__ import annotations

import itertools
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dart_ros.session import pairing
from dart_ros.session.pairing import COLOR, DEPTH, Pairing, pair_recorded

MS = 1_000_000
Event = tuple[int, int]
"""Side, and stamp in milliseconds."""


def run(under_test: Pairing[int], events: Iterable[Event]) -> list[tuple[int, int]]:
    """Stamps in milliseconds of the pairs that come of images that arrive in this order."""
    return [
        pair
        for side, stamp in events
        for pair in under_test.add(side, round(stamp * MS), stamp, size=1)
    ]


def both(stamps: Iterable[int]) -> list[Event]:
    return [(side, stamp) for stamp in stamps for side in (COLOR, DEPTH)]


def delayed(count: int, period: int, frames: int, start: int = 5000) -> list[Event]:
    """Color, and its depth so many frames later."""
    events: list[Event] = []
    for i in range(count + frames):
        if i < count:
            events.append((COLOR, start + period * i))
        if i >= frames:
            events.append((DEPTH, start + period * (i - frames)))
    return events


arrivals = st.lists(
    st.tuples(st.sampled_from([COLOR, DEPTH]), st.integers(0, 400)), min_size=1, max_size=60
)


@given(arrivals, st.integers(1, 50), st.integers(-60, 60), st.integers(1, 400))
@example([(COLOR, 0), (DEPTH, 13)], 13, 0, 100)  # 0.013 * 1e9 is more than 13,000,000
def test_pairs_are_within_the_slop_and_use_each_image_once(
    events: list[Event], slop: int, offset: int, wait: int
) -> None:
    live: Pairing[int] = Pairing(slop * 1e-3, offset * 1e-3, wait * 1e-3)
    numbered = itertools.count()
    sides: dict[int, Event] = {}
    pairs = []
    for side, stamp in events:
        number = next(numbered)
        sides[number] = side, stamp
        pairs += live.add(side, stamp * MS, number)
    used = [one for pair in pairs for one in pair]
    assert len(used) == len(set(used))
    for color, depth in pairs:
        assert (sides[color][0], sides[depth][0]) == (COLOR, DEPTH)
        assert abs(sides[color][1] - sides[depth][1] - offset) < slop


@given(st.lists(st.integers(0, 10_000), unique=True, min_size=1, max_size=30).map(sorted))
def test_equal_stamps_pair_at_once(stamps: list[int]) -> None:
    live: Pairing[int] = Pairing(0.001)
    for stamp in stamps:
        assert live.add(COLOR, stamp * MS, stamp) == []
        assert live.add(DEPTH, stamp * MS, stamp) == [(stamp, stamp)]
        assert live.waiting(COLOR) == live.waiting(DEPTH) == 0


@given(st.lists(st.tuples(st.sampled_from([COLOR, DEPTH]), st.integers(1, 80)), max_size=60))
def test_where_time_goes_forward_pairs_come_in_its_order(steps: list[Event]) -> None:
    now, events = 0, []
    for side, step in steps:
        now += step
        events.append((side, now))
    pairs = run(Pairing(0.04), events)
    for one in (COLOR, DEPTH):
        stamps = [pair[one] for pair in pairs]
        assert stamps == sorted(set(stamps))


def test_nearest_partner_wins_and_the_slop_is_strict() -> None:
    live: Pairing[int] = Pairing(0.02)
    depths = [(DEPTH, stamp) for stamp in (0, 15, 33)]
    assert run(live, [*depths, (COLOR, 10)]) == [(10, 15)]
    assert run(live, [(COLOR, 53)]) == []  # 33 is exactly the slop away


@pytest.mark.parametrize("rate", [60, 90, 120])
@pytest.mark.parametrize("order", [(DEPTH, COLOR), (COLOR, DEPTH)])
def test_a_lost_image_shifts_no_later_pair_of_a_live_stream(
    rate: int, order: tuple[int, int]
) -> None:
    live: Pairing[int] = Pairing(0.02)
    lost = {(DEPTH, 10), (DEPTH, 20), (COLOR, 30)}
    for i in range(40):
        stamp = 5_000 * MS + i * 1000 * MS // rate
        pairs = []
        for side in order:
            if (side, i) not in lost:
                pairs += live.add(side, stamp, i)
        assert pairs == ([] if i in (10, 20, 30) else [(i, i)])


@pytest.mark.parametrize(
    ("fast", "rates"), [(COLOR, (30, 15)), (DEPTH, (30, 15)), (COLOR, (90, 30))]
)
def test_streams_of_two_rates_pair_exactly_as_they_come(fast: int, rates: Event) -> None:
    high, low = rates
    every = high // low
    stamps = [round(i * 1e6 / high) / 1000 for i in range(30 * every)]
    events = [
        (side, stamp)
        for i, stamp in enumerate(stamps)
        for side in (DEPTH, COLOR)
        if side == fast or i % every == 0
    ]
    assert run(Pairing(0.02), events) == [(stamp, stamp) for stamp in stamps[::every]]  # type: ignore[arg-type]


@given(st.integers(0, 33), st.lists(st.integers(-1, 1), min_size=60, max_size=60))
def test_streams_that_run_free(offset: int, jitter: list[int]) -> None:
    events = [(33 * i, COLOR) for i in range(60)]
    events += [(33 * i + offset + shift, DEPTH) for i, shift in enumerate(jitter)]
    pairs = run(Pairing(0.03), [(side, stamp) for stamp, side in sorted(events)])
    assert len(pairs) >= 55
    # A depth image that is clearly nearer counts, once the period is known.
    assert max(abs(color - depth) for color, depth in pairs[5:]) <= 0.65 * 33 + 2


@pytest.mark.parametrize(("period", "frames"), [(33, 10), (33, 12), (33, 29), (11, 11), (11, 80)])
def test_depth_may_come_many_frames_after_its_color(period: int, frames: int) -> None:
    events = delayed(200, period, frames)
    stamps = range(5000, 5000 + 200 * period, period)
    live: Pairing[int] = Pairing()
    assert live.waited == (0.0, 0.0)
    assert run(live, events[:-frames]) == [(stamp, stamp) for stamp in stamps][:-frames]
    assert live.waited == pytest.approx((frames * period / 1000, 0.0))
    assert run(live, events[-frames:]) == [(stamp, stamp) for stamp in stamps][-frames:]
    swapped = [(1 - side, stamp) for side, stamp in events]
    assert run(Pairing(), swapped) == [(stamp, stamp) for stamp in stamps]


def test_depth_that_comes_later_than_images_wait_is_told() -> None:
    live: Pairing[int] = Pairing(wait=0.5)
    assert run(live, delayed(100, 33, 40)[:139]) == []  # as long as color comes
    assert live.gap is not None
    assert live.gap.late == (False, True) and not live.gap.full
    patient: Pairing[int] = Pairing(wait=2.0)
    assert len(run(patient, delayed(100, 33, 40))) == 100
    assert patient.gap is not None and patient.gap.late == (False, False)


@pytest.mark.parametrize("offset", [-7.25, -0.21, 0.21, 3600.0])
def test_clocks_that_differ_by_a_constant(offset: float) -> None:
    """The clock of color is ahead of that of depth by this much."""
    live: Pairing[int] = Pairing(offset=offset)
    pairs = []
    for i in range(60):
        stamp = 10**15 + i * 33 * MS
        pairs += live.add(COLOR, stamp, i)
        pairs += live.add(DEPTH, stamp - round(offset * 1e9), i)
    assert pairs == [(i, i) for i in range(60)]
    if abs(offset) < 1:
        return  # depth so late could be that of any image
    without: Pairing[int] = Pairing()
    for i in range(60):
        stamp = 10**15 + i * 33 * MS
        assert without.add(COLOR, stamp, i) == []
        assert without.add(DEPTH, stamp - round(offset * 1e9), i) == []
    assert without.gap is not None and without.gap.seconds == pytest.approx(offset)


@pytest.mark.parametrize("back", [40, 100, 200, 700, 999, 1001, 100_000])
@pytest.mark.parametrize("lag", [0, 1, 5])
def test_time_that_steps_back_costs_a_few_pairs(back: int, lag: int) -> None:
    first = list(range(200_000, 203_000, 33))
    second = list(range(first[-1] + 33 - back, first[-1] + 33 - back + 3000, 33))
    stamps = first + second
    events: list[Event] = []
    for i in range(len(stamps) + lag):
        events += [(COLOR, stamps[i])] if i < len(stamps) else []
        events += [(DEPTH, stamps[i - lag])] if i >= lag else []
    pairs = run(Pairing(), events)
    assert all(color == depth for color, depth in pairs)
    assert len(pairs) >= len(stamps) - 2 * lag - 4
    assert pairs[-1] == (stamps[-1], stamps[-1])


@pytest.mark.parametrize("length", [3, 5, 10, 29])
def test_a_short_bag_that_loops_gives_pairs_for_ever(length: int) -> None:
    live: Pairing[int] = Pairing()
    for lap in range(40):
        pairs = run(live, both(range(1000, 1000 + 33 * length, 33)))
        assert len(pairs) >= length - 1 - (lap == 0), lap


def test_a_bag_that_starts_over_is_followed_at_once() -> None:
    events: list[Event] = []
    for start in (100_000, 0):
        events += [(COLOR, start + 33 * i) for i in range(12)]
        events += both(start + 33 * i for i in range(12, 30))
    pairs = run(Pairing(), events)
    wanted = [start + 33 * i for start in (100_000, 0) for i in range(12, 30)]
    assert pairs == [(stamp, stamp) for stamp in wanted]


def test_a_late_image_is_no_new_time() -> None:
    """Two images that overtake each other, and one with a stamp far in the future."""
    order = [0, 33, 99, 66, 132, 165, 231, 198, 264]
    pairs = run(Pairing(), [event for stamp in order for event in both([stamp])])
    assert [color for color, _ in pairs] == [0, 33, 99, 132, 165, 231, 264]
    events = [*both([0, 33, 66]), (COLOR, 10**9), *both(range(99, 3000, 33))]
    pairs = run(Pairing(), events)
    wanted = [(stamp, stamp) for stamp in range(0, 3000, 33)]
    # Time seems to have gone back, so depth of before it did might still come: for a second.
    assert set(pairs) <= set(wanted) and pairs[-50:] == wanted[-50:]


@given(arrivals, st.integers(1, 300))
def test_memory_is_bounded(events: list[Event], most: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pairing, "MOST_BYTES", most)
        live: Pairing[None] = Pairing()
        for side, stamp in events:
            live.add(side, stamp * MS, None, size=7)
            one_each = live.waiting(COLOR) <= 1 and live.waiting(DEPTH) <= 1
            assert live.waiting_bytes <= most or one_each
            held = 7 * (live.waiting(COLOR) + live.waiting(DEPTH))
            assert live.waiting_bytes == held


def test_a_side_that_is_alone_waits_no_longer_than_told() -> None:
    live: Pairing[int] = Pairing(wait=0.5)
    run(live, [(COLOR, 11 * i) for i in range(1000)])
    assert live.waiting(COLOR) == 500 // 11 + 1
    run(live, [(COLOR, 11_000 + 2000 * i) for i in range(30)])
    assert live.waiting(COLOR) == 10  # slow cameras come late as well


def test_memory_that_is_full_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pairing, "MOST_BYTES", 5)
    live: Pairing[int] = Pairing()
    assert run(live, delayed(60, 33, 8)[:100]) == []  # as long as color comes
    assert live.gap is not None and live.gap.full and live.gap.late == (False, True)


def test_gap_needs_both_sides() -> None:
    live: Pairing[int] = Pairing()
    assert live.gap is None
    run(live, [(COLOR, 1000)])
    assert live.gap is None
    run(live, [(DEPTH, 750)])
    assert live.gap is not None and live.gap.seconds == pytest.approx(0.25)


def stuck_after(events: list[Event]) -> tuple[bool, bool]:
    live: Pairing[int] = Pairing()
    run(live, events)
    assert live.gap is not None
    return live.gap.stuck


def test_stamps_that_stand_still_are_noted_by_side() -> None:
    zero = both([0] * 6)
    assert stuck_after(zero) == (True, True)
    assert stuck_after(zero[:4]) == (True, True)
    assert stuck_after(zero[:2]) == (False, False)
    depth_alone = [event for i in range(6) for event in ((COLOR, 33 * i), (DEPTH, 500))]
    assert stuck_after(depth_alone) == (False, True)
    assert stuck_after(zero + both(33 * i for i in range(30))) == (False, False)


@pytest.mark.parametrize("bag_every", [1, 2, 3])
def test_two_sources_on_one_topic_are_noted(bag_every: int) -> None:
    events: list[Event] = []
    for i in range(30):
        events.append((COLOR, 100_000 + 33 * i))
        if i % bag_every == 0:
            events.append((COLOR, 33 * i))
        events.append((DEPTH, 100_000 + 33 * i))
    assert stuck_after(events) == (True, False)
    pairs = run(Pairing(), events)  # the one that is in step with depth is paired whole
    assert pairs == [(100_000 + 33 * i, 100_000 + 33 * i) for i in range(30)]


def test_a_bag_that_starts_over_is_no_stuck_clock() -> None:
    events = both(33 * (i % 40) for i in range(100))
    for end in range(2, len(events), 7):
        assert stuck_after(events[:end]) == (False, False)


def paired(colors: list[float], depths: list[float]) -> list[tuple[float, float]]:
    """Stamps in milliseconds of the pairs made of stamps in milliseconds."""
    sides = [[(round(stamp * 1e6), i) for i, stamp in enumerate(one)] for one in (colors, depths)]
    return [(color[0] / 1e6, depth[0] / 1e6) for color, depth in pair_recorded(*sides)]


@pytest.mark.parametrize("rate", [60, 90, 120])
@pytest.mark.parametrize("offset", [0.0, 2.0, -2.0])
def test_lost_images_shift_no_other_pair(rate: int, offset: float) -> None:
    stamps = [round(i * 1000 / rate, 3) for i in range(60)]
    colors = [stamp for i, stamp in enumerate(stamps) if i not in (12, 40)]
    depths = [stamp + offset for i, stamp in enumerate(stamps) if i not in (10, 14, 30, 39)]
    lost = (10, 12, 14, 30, 39, 40)
    expected = [(s, s + offset) for i, s in enumerate(stamps) if i not in lost]
    assert paired(colors, depths) == pytest.approx(np.array(expected))


@pytest.mark.parametrize("first", [0, 1])
def test_streams_of_two_rates_pair_exact_partners(first: int) -> None:
    stamps = [round(i * 1000 / 60, 3) for i in range(60)]
    every_second = stamps[first::2]
    exact = [(stamp, stamp) for stamp in every_second]
    assert paired(stamps, every_second) == exact
    assert paired(every_second, stamps) == exact


def test_depth_goes_to_the_nearest_color() -> None:
    colors = [i * 16.5 for i in range(40)]
    depths = [stamp + 10 for stamp in colors]
    assert paired(colors, depths) == [(d + 6.5, d) for d in depths[:-1]]
    assert paired([0, 10], [8]) == [(10, 8)]
    assert paired([0, 10], [2]) == [(0, 2)]


def test_free_running_streams_lose_few_images() -> None:
    random = np.random.default_rng(3)
    colors = [33.3 * i for i in range(300)]
    depths = sorted(stamp + 16.65 + random.uniform(-1, 1) for stamp in colors)
    assert len(paired(colors, depths)) > 290


def test_images_that_are_alone_have_no_partner() -> None:
    assert paired([], [1.0]) == paired([1.0], []) == paired([], []) == []
    assert paired([0.0], [20.0]) == [(0.0, 20.0)]
    assert paired([0.0], [20.1]) == []
    assert paired([5.0, 5.0], [5.0, 5.0]) == [(5.0, 5.0), (5.0, 5.0)]


@given(st.lists(st.integers(-4, 4), min_size=40, max_size=40), st.booleans(), st.integers(0, 5))
def test_message_filters_finds_the_same_pairs(
    jitter: list[int], depth_first: bool, lag: int
) -> None:
    """The synchronizer of ROS on streams that it can pair as well."""
    message_filters = pytest.importorskip("message_filters")
    from sensor_msgs.msg import Image

    events = []
    for i, shift in enumerate(jitter):
        events += [(33 * (i + lag), DEPTH, 33 * i + shift), (33 * i, COLOR, 33 * i)]
    order = DEPTH if depth_first else COLOR
    events.sort(key=lambda event: (event[0], event[1] != order))
    inputs = [message_filters.SimpleFilter() for _ in range(2)]
    theirs = message_filters.ApproximateTimeSynchronizer(inputs, 10, 0.02)
    expected: list[tuple[int, int]] = []

    def stamp_of(message: Image) -> int:
        stamp = message.header.stamp
        return (int(stamp.sec) - 100) * 1000 + int(stamp.nanosec) // MS

    theirs.registerCallback(lambda c, d: expected.append((stamp_of(c), stamp_of(d))))
    for _, side, stamp in events:
        message = Image()
        message.header.stamp.sec = 100 + stamp // 1000
        message.header.stamp.nanosec = stamp % 1000 * MS
        inputs[side].signalMessage(message)
    assert run(Pairing(), [(side, stamp) for _, side, stamp in events]) == expected

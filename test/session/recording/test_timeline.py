"""Order of arrival: clocks that are set back, loops, streams that start over."""

from __future__ import annotations

import pytest

from dart_ros.session.recording.timeline import Arrival, by_arrival, pair_images


def arrivals(stamps: list[int], times: list[int] | None = None, source: int = 0) -> list[Arrival]:
    """Images in the order of arrival, of stamps and times in milliseconds."""
    times = times or list(range(0, 33 * len(stamps), 33))
    return [
        Arrival(stamp * 10**6, time * 10**6, order, source)
        for order, (stamp, time) in enumerate(zip(stamps, times, strict=True))
    ]


def stamps_of(pairs: list[tuple[Arrival, Arrival]]) -> list[int]:
    assert all(abs(color.stamp - depth.stamp) <= 20 * 10**6 for color, depth in pairs)
    return [color.stamp // 10**6 for color, _ in pairs]


def test_a_clock_that_is_set_back_keeps_the_order_of_arrival() -> None:
    stamps = [*range(100_000, 103_200, 33), *range(5_000, 6_320, 33)]
    assert stamps_of(pair_images(arrivals(stamps), arrivals([s + 4 for s in stamps]))) == stamps


@pytest.mark.parametrize("length", [8, 20, 45])
def test_a_loop_is_not_interleaved(length: int) -> None:
    stamps = 3 * list(range(1000, 1000 + 33 * length, 33))
    assert stamps_of(pair_images(arrivals(stamps), arrivals(stamps))) == stamps


def test_images_that_are_late_are_no_reset() -> None:
    stamps = list(range(0, 3300, 33))
    late = list(stamps)
    late[10], late[11] = late[11], late[10]
    late[50:53] = [late[52], late[50], late[51]]
    assert stamps_of(pair_images(arrivals(late), arrivals(stamps))) == stamps


def test_streams_that_start_over_at_different_moments() -> None:
    first, second = list(range(9000, 10_320, 33)), list(range(0, 1320, 33))
    colors = arrivals([*first, *second])
    # Depth lost its last three images before the reset, and its first two after it.
    times = [*range(0, 33 * 37, 33), *range(33 * 42, 33 * 80, 33)]
    depths = arrivals([*first[:-3], *second[2:]], times)
    assert stamps_of(pair_images(colors, depths)) == [*first[:-3], *second[2:]]


def test_one_stream_alone_starts_over() -> None:
    stamps = list(range(0, 2640, 33))
    # A second publisher takes over with a clock of its own: no partner for what it sends.
    other = [*stamps[:40], *[s - 1000 for s in stamps[40:]]]
    pairs = stamps_of(pair_images(arrivals(stamps), arrivals(other)))
    assert pairs == sorted(set(pairs)) and set(pairs) >= set(stamps[:9])


def test_one_image_on_two_connections_is_one_image() -> None:
    stamps = list(range(0, 660, 33))
    twice = sorted(
        [*arrivals(stamps), *arrivals(stamps, [33 * i + 1 for i in range(20)], source=1)],
        key=lambda image: image.time,
    )
    assert stamps_of(pair_images(twice, arrivals(stamps))) == stamps


def test_stamps_that_are_all_zero_give_way_to_arrival() -> None:
    times = list(range(0, 660, 33))
    zeros = arrivals([0] * 20, times)
    pairs = pair_images(zeros, arrivals([0] * 20, [t + 5 for t in times]))
    assert [(c.order, d.order) for c, d in pairs] == [(i, i) for i in range(20)]


def test_files_sorted_otherwise_come_by_time() -> None:
    images = arrivals(list(range(20)), [33 * ((7 * i) % 20) for i in range(20)])
    assert [image.time for image in by_arrival(images)] == sorted(i.time for i in images)
    assert by_arrival([]) == []


def test_times_that_are_set_back_keep_the_order_of_writing() -> None:
    times = [*range(100_000, 101_000, 33), *range(0, 1000, 33)]
    images = arrivals(times, times)
    assert by_arrival(images) == images

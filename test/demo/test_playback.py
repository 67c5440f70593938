from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dart_ros.demo.playback import (
    PictureQueue,
    Playlist,
    millimetres,
    noisy_keys,
    there_and_back,
    to_picture,
)
from dart_ros.errors import FrameError, RecordingError
from dart_ros.values import Camera, Frame

CAMERA = Camera(4, 2, 5.0, 5.0, 2.0, 1.0)


@pytest.fixture
def reader() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(max_workers=1) as executor:
        yield executor


class Source:
    """Frames whose color tells their key; can be held up."""

    def __init__(self) -> None:
        self.made: list[tuple[int, int]] = []
        self.go = threading.Event()
        self.go.set()

    def frame(self, index: int, repeat: int = 0) -> Frame:
        assert self.go.wait(60)
        self.made.append((index, repeat))
        color = np.full((2, 4, 3), 10 * index + repeat, np.uint8)
        return Frame(color, np.full((2, 4), index / 10, np.float32), 0, CAMERA)


def played(playlist: Playlist, count: int) -> list[tuple[int, bool]]:
    return [(key[0], occupied) for key, occupied in (next(playlist) for _ in range(count))]


def shown(queue: PictureQueue, count: int) -> list[int]:
    values = []
    while len(values) < count:
        following = queue.next()
        if following is not None:
            values.append(following[0].color[0])
    return values


def test_the_empty_scene_loops_until_the_foreground_enters_from_the_start() -> None:
    playlist = Playlist([(0, 0), (1, 0), (2, 0)], [(7, 0), (8, 0), (9, 0)], loop=True)
    assert [key for key, _ in played(playlist, 6)] == [0, 1, 2, 1, 0, 1]
    playlist.show(True)
    assert played(playlist, 6) == [(7, True), (8, True), (9, True), (8, True), (7, True), (8, True)]
    playlist.show(True)
    assert played(playlist, 1) == [(7, True)]
    playlist.show(False)
    assert played(playlist, 2) == [(0, False), (1, False)]


def test_without_loop_the_scene_is_empty_again_afterwards() -> None:
    playlist = Playlist([(0, 0)], [(7, 0), (8, 0)], loop=False)
    playlist.show(True)
    assert played(playlist, 4) == [(7, True), (8, True), (0, False), (0, False)]


def test_a_part_that_is_missing_cannot_be_shown() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Playlist([], [], loop=True)
    only_occupied = Playlist([], [(7, 0)], loop=False)
    assert played(only_occupied, 2) == [(7, True), (7, True)]
    with pytest.raises(ValueError, match="no empty frames"):
        only_occupied.show(False)
    with pytest.raises(ValueError, match="no occupied frames"):
        Playlist([(0, 0)], [], loop=True).show(True)


@given(st.integers(1, 9))
def test_there_and_back_never_shows_a_frame_twice_in_a_row(length: int) -> None:
    loop = there_and_back([(index, 0) for index in range(length)])
    assert {index for index, _ in loop} == set(range(length))
    if length > 1:
        assert all(abs(a[0] - b[0]) == 1 for a, b in zip(loop, [*loop[1:], loop[0]], strict=True))


def test_noise_is_drawn_anew_for_each_repeat() -> None:
    assert noisy_keys([3], 3) == [(3, 0), (3, 1), (3, 2)]
    assert noisy_keys([3, 4], 3) == [(3, 0), (4, 0), (3, 1), (4, 1)]
    assert noisy_keys([3, 4], 2) == [(3, 0), (4, 0)]
    assert noisy_keys([], 60) == []


def test_depth_becomes_millimetres_with_zero_for_unknown() -> None:
    depth = np.array([[-1.0, 0.0, 1.2346, 70.0]], np.float32)
    assert millimetres(depth).tolist() == [[0, 0, 1235, 65535]]


def test_a_picture_holds_the_bytes_of_both_images() -> None:
    color = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)[:, ::-1]  # not contiguous
    depth = np.linspace(-1, 2, 8, dtype=np.float32).reshape(2, 4)
    picture = to_picture(Frame(color, depth, 0, CAMERA))
    assert picture.color.typecode == picture.depth.typecode == "B"
    assert np.array_equal(np.frombuffer(picture.color, np.uint8).reshape(2, 4, 3), color)
    back = np.frombuffer(picture.depth, np.uint16).reshape(2, 4)
    assert np.array_equal(back, millimetres(depth))
    assert picture.size == 24 + 16


@pytest.mark.parametrize("limit", [1 << 20, 100, 0])
def test_the_queue_plays_the_playlist_whatever_it_may_keep(
    limit: int, reader: ThreadPoolExecutor
) -> None:
    source = Source()
    playlist = Playlist([(0, 0), (1, 0), (2, 0)], [(7, 0), (8, 0)], loop=True)
    queue = PictureQueue(source, playlist, limit, reader)
    assert shown(queue, 6) == [0, 10, 20, 10, 0, 10]
    queue.show(True)
    assert shown(queue, 4) == [70, 80, 70, 80]
    made_once = len(source.made) == len(set(source.made))
    assert made_once == (limit == 1 << 20)


def test_preparing_stops_when_memory_is_full(reader: ThreadPoolExecutor) -> None:
    keys = [(index, 0) for index in range(4)]
    queue = PictureQueue(Source(), Playlist(keys, [], True), 2 * 40, reader)
    reports: list[tuple[int, int]] = []
    assert queue.prepare(keys, lambda done, total: reports.append((done, total))) == 2
    assert reports == [(1, 4), (2, 4)]


def test_a_picture_that_is_not_ready_is_waited_for_and_never_skipped(
    reader: ThreadPoolExecutor,
) -> None:
    source = Source()
    source.go.clear()
    queue = PictureQueue(source, Playlist([(0, 0), (1, 0)], [], True), 0, reader)
    try:
        assert queue.next() is None
        assert queue.next() is None
    finally:
        source.go.set()
    assert shown(queue, 3) == [0, 10, 0]


def test_broken_frames_are_left_out(reader: ThreadPoolExecutor) -> None:
    class Broken(Source):
        def frame(self, index: int, repeat: int = 0) -> Frame:
            if index in (1, 8):
                raise FrameError(f"frame {index} is cut short")
            return super().frame(index, repeat)

    keys = [(0, 0), (1, 0), (2, 0)]
    for limit in (1 << 20, 0):
        queue = PictureQueue(
            Broken(), Playlist(keys, [(7, 0), (8, 0), (9, 0)], True), limit, reader
        )
        if limit:
            assert queue.prepare(keys, lambda done, total: None) == 2
        assert shown(queue, 5) == [0, 20, 0, 20, 0]
        queue.show(True)
        assert shown(queue, 4) == [70, 90, 70, 90]
        assert set(queue.broken) == {(1, 0), (8, 0)}


def test_a_recording_without_a_good_frame_ends(reader: ThreadPoolExecutor) -> None:
    class Broken(Source):
        def frame(self, index: int, repeat: int = 0) -> Frame:
            raise FrameError("all is lost")

    queue = PictureQueue(Broken(), Playlist([(0, 0), (1, 0)], [], True), 0, reader)
    with pytest.raises(RecordingError, match="all is lost"):
        for _ in range(60_000):
            queue.next()
            time.sleep(0.001)

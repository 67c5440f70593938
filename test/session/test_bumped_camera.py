from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dart_ros.files import DEMO_RECORDING
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.bumped_camera import BumpedCamera, warped_background
from dart_ros.session.camera_motion import farthest
from dart_ros.session.capture import capture_scene
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.frames import empty_frames

Picture = NDArray[np.uint8]
Warp = NDArray[np.float64]
SIZE = (480, 640)
FOCAL = 525.0


@dataclass(frozen=True)
class Room:
    plate: Picture
    frames: list[Picture]


@pytest.fixture(scope="module")
def room() -> Room:
    """The demo's plate, and frames with one or two people in them."""
    recorded = open_recording(DEMO_RECORDING, max_depth=10.0)
    plate = capture_scene(empty_frames(recorded, 20), 20, "demo", 10.0).plate
    return Room(plate, [recorded.frame(position).color for position in recorded.occupied[::12]])


def shifted(right: float, down: float) -> Warp:
    return np.array([[1.0, 0, right], [0, 1, down], [0, 0, 1]])


def turned(pan: float, tilt: float, roll: float) -> Warp:
    """What a camera that turns by so many degrees does to its picture."""
    matrix = np.array([[FOCAL, 0, 319.5], [0, FOCAL, 239.5], [0, 0, 1.0]])
    turn, _ = cv2.Rodrigues(np.deg2rad([tilt, pan, roll]))
    return np.asarray(matrix @ turn @ np.linalg.inv(matrix))


def seen(color: Picture, warp: Warp, gain: float = 1.0, seed: int = 0) -> Picture:
    """A frame of the camera after a push, in another light and with noise."""
    moved = cv2.warpPerspective(
        color, warp, SIZE[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    noise = np.random.default_rng(seed).normal(0, 2.5, moved.shape)
    return np.asarray((moved * gain + noise).clip(0, 255), np.uint8)


def apart(first: Warp, second: Warp) -> float:
    return farthest(second @ np.linalg.inv(first), SIZE)


@settings(max_examples=15, deadline=None)
@given(
    pan=st.floats(-0.5, 0.5),
    tilt=st.floats(-0.4, 0.4),
    roll=st.floats(-0.5, 0.5),
    right=st.floats(-2, 2),
    down=st.floats(-2, 2),
    gain=st.floats(0.6, 1.2),
    number=st.integers(0, 7),
)
def test_shifts_and_turns_are_found_past_people(
    room: Room,
    pan: float,
    tilt: float,
    roll: float,
    right: float,
    down: float,
    gain: float,
    number: int,
) -> None:
    push = shifted(right, down) @ turned(pan, tilt, roll)
    camera = BumpedCamera(room.plate)
    frames = [seen(room.frames[number], push, gain, seed) for seed in range(2)]
    first = camera.look(frames[0])
    if farthest(push, SIZE) < 0.25:
        assert not first.again
    if farthest(push, SIZE) < 0.7:
        return  # may be found or not
    assert first.again and first.warp is None and not first.pixels
    second = camera.look(frames[1])
    assert second.warp is not None and not second.lost
    assert apart(second.warp, push) < 0.6
    assert abs(camera.moved - farthest(push, SIZE)) < 0.6


@pytest.mark.parametrize(
    "push",
    [shifted(0.6, 0), shifted(0, -0.7), turned(0.25, 0, 0), turned(0, 0.25, 0), turned(0, 0, 0.25)],
    ids=["right", "up", "pan", "tilt", "roll"],
)
def test_small_ones_are_found(room: Room, push: Warp) -> None:
    for number in range(0, len(room.frames), 3):
        camera = BumpedCamera(room.plate)
        looks = [camera.look(seen(room.frames[number], push, 1.0, seed)) for seed in range(2)]
        assert looks[1].warp is not None and apart(looks[1].warp, push) < 0.4, number


def test_people_who_move_and_light_move_no_background(room: Room) -> None:
    camera = BumpedCamera(room.plate)
    for seed, color in enumerate(room.frames):
        for gain in (0.5, 1.0, 1.4):
            found = camera.look(seen(color, np.eye(3), gain, seed))
            assert found.warp is None and not found.pixels and not found.lost


def test_after_the_background_is_warped_nothing_is_found(room: Room) -> None:
    camera = BumpedCamera(room.plate)
    push, more = turned(0.4, 0.1, 0.3), shifted(-3.0, 2.0)
    for seed in range(2):
        found = camera.look(seen(room.frames[1], push, 1.0, seed))
    assert found.warp is not None
    plate = warped_background(background_of(room.plate), found.warp, 8.0).plate
    camera.use(plate)
    for seed in range(2, 4):
        still = camera.look(seen(room.frames[2], push, 1.0, seed))
        assert still.warp is None and still.pixels == camera.moved > 3
    # The next push counts from where the camera looks now, the sum from the capture.
    for seed in range(4, 6):
        found = camera.look(seen(room.frames[3], more @ push, 1.0, seed))
    assert found.warp is not None and apart(found.warp, more) < 0.6
    assert abs(found.pixels - farthest(more @ push, SIZE)) < 0.9
    camera.use(warped_background(background_of(plate), found.warp, 8.0).plate)
    for seed in range(6, 8):
        found = camera.look(seen(room.frames[4], np.eye(3), 1.0, seed))
    assert found.warp is not None and camera.moved == 0.0  # pushed back


def test_from_a_restored_background_a_push_counts_once(room: Room) -> None:
    camera = BumpedCamera(room.plate)
    push = shifted(8.0, 0.0)
    for plate in (room.plate, room.plate):
        camera.use(plate)
        looks = [camera.look(seen(room.frames[1], push, 1.0, seed)) for seed in range(2)]
        warp = looks[1].warp
        assert warp is not None and not looks[1].lost and abs(camera.moved - 8) < 0.6
        camera.use(warped_background(background_of(plate), warp, 8.0).plate)


@pytest.mark.parametrize(("most", "lost"), [(12.0, False), (5.0, True), (0.0, True)])
def test_only_as_far_as_wanted(room: Room, most: float, lost: bool) -> None:
    camera = BumpedCamera(room.plate)
    push = shifted(6.0, 0.0)
    looks = [camera.look(seen(room.frames[0], push, 1.0, seed), most) for seed in range(3)]
    assert not looks[0].lost and looks[1].lost is lost and (looks[1].warp is None) is lost
    if lost:
        assert looks[2].lost and abs(looks[2].pixels - 6) < 0.6 and camera.moved == 0.0


def test_a_large_motion_is_told(room: Room) -> None:
    camera = BumpedCamera(room.plate)
    looks = [camera.look(seen(room.frames[0], shifted(60, 10), 1.0, seed)) for seed in range(2)]
    assert looks[1].lost and looks[1].warp is None and abs(looks[1].pixels - 60.8) < 3


def test_a_shake_moves_nothing(room: Room) -> None:
    camera = BumpedCamera(room.plate)
    pushes = [shifted(4, 0), np.eye(3), shifted(0, 4), shifted(-4, 0), np.eye(3)]
    for seed, push in enumerate(pushes):
        found = camera.look(seen(room.frames[0], push, 1.0, seed))
        assert found.warp is None and not found.lost and not found.pixels


def test_a_larger_picture_is_measured_in_its_own_pixels(room: Room) -> None:
    plate, color = (
        cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        for image in (room.plate, room.frames[0])
    )
    camera = BumpedCamera(np.asarray(plate, np.uint8))
    moved = cv2.warpAffine(
        np.asarray(color), shifted(9.0, -5.0)[:2], (1280, 960), borderMode=cv2.BORDER_REPLICATE
    )
    for _ in range(2):
        found = camera.look(np.asarray(moved, np.uint8))
    assert found.warp is not None and farthest(found.warp @ shifted(-9, 5), (960, 1280)) < 0.8


def background_of(plate: Picture) -> CapturedBackground:
    height, width = plate.shape[:2]
    mean = np.tile(np.linspace(1, 3, width, dtype=np.float32), (height, 1))
    known, restless = np.ones((height, width), np.bool_), plate[..., 0] > 128
    return CapturedBackground(plate, mean, 0.01 * mean, known, restless)


@pytest.mark.parametrize(("right", "down"), [(3, 0), (0, 5), (-4, -2), (0, 0)])
def test_a_background_is_warped_by_hand(room: Room, right: int, down: int) -> None:
    before = background_of(room.plate)
    after = warped_background(before, shifted(right, down), 8.0)
    height, width = SIZE
    inside = np.s_[max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
    source = np.s_[max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)]
    for key in ("plate", "mean", "std", "known", "restless"):
        np.testing.assert_array_equal(getattr(after, key)[inside], getattr(before, key)[source])
    comes = np.ones(SIZE, np.bool_)
    comes[inside] = False
    # What comes into view goes on as the border did, and nobody is sure of its depth.
    border = tuple(
        np.clip(np.arange(size) - by, 0, size - 1) for size, by in ((height, down), (width, right))
    )
    np.testing.assert_array_equal(after.mean, before.mean[np.ix_(*border)])
    assert after.known.all() and (after.std[comes] > 1.5 * before.std.min()).all()
    assert (after.std[comes] >= 0.015 * after.mean[comes]).all()
    assert after.mean.dtype == after.std.dtype == np.float32


def test_depth_stays_unknown_and_no_depth_is_made_up(room: Room) -> None:
    before = background_of(room.plate)
    before.mean[:, :320], before.mean[:, 320:] = 1.0, 4.0
    before.known[100:200, 100:200] = False
    after = warped_background(before, turned(0.3, 0.2, 0.4), 8.0)
    assert set(np.unique(after.mean)) == {1.0, 4.0, 8.0}
    assert 9_000 < np.count_nonzero(~after.known[80:220, 80:220]) < 11_000

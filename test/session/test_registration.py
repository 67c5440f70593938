"""Whether depth lies where color does."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dart_ros.session.capture import capture_scene
from dart_ros.session.predictor import Predictor
from dart_ros.session.registration import (
    ALIGNED,
    depth_offset,
    moved,
    registered,
    significant,
    told,
)
from dart_ros.values import UNKNOWN_DEPTH, Camera, Frame

HEIGHT, WIDTH = 240, 320
SCALE = WIDTH / 640
FARTHEST = int(12 * SCALE)


def room(seed: int, boxes: int = 14) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Boxes before a wall, each of another color and distance."""
    rng = np.random.default_rng(seed)
    plate = np.full((HEIGHT, WIDTH, 3), rng.integers(60, 200, 3), np.uint8)
    depth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    for _ in range(boxes):
        top, left = rng.integers(0, HEIGHT - 20), rng.integers(0, WIDTH - 20)
        rows, columns = (
            slice(top, top + rng.integers(20, 80)),
            slice(left, left + rng.integers(20, 80)),
        )
        plate[rows, columns] = rng.integers(0, 255, 3)
        depth[rows, columns] = rng.uniform(0.8, 3.0)
    noise = rng.normal(0, 3, plate.shape)
    return np.clip(plate + noise, 0, 255).astype(np.uint8), depth


def misaligned(depth: NDArray[np.float32], right: int, down: int) -> NDArray[np.float32]:
    """Depth as a camera gives it whose depth lies beside its color."""
    return np.roll(depth, (down, right), (0, 1))


@given(
    seed=st.integers(0, 1000),
    right=st.integers(-FARTHEST, FARTHEST),
    down=st.integers(-FARTHEST, FARTHEST),
)
@settings(max_examples=30, deadline=None)
def test_an_offset_is_found(seed: int, right: int, down: int) -> None:
    plate, depth = room(seed)
    known = np.ones(depth.shape, bool)
    found = depth_offset(plate, misaligned(depth, right, down), known)
    # A room may show too little to be sure, but never another offset.
    assert found is None or np.hypot(found[0] - right, found[1] - down) <= 1.5


def test_half_of_the_rooms_tell_their_offset() -> None:
    known = np.ones((HEIGHT, WIDTH), bool)
    rooms = [room(seed) for seed in range(20)]
    found = [depth_offset(plate, misaligned(depth, 5, -3), known) for plate, depth in rooms]
    assert sum(offset is not None for offset in found) >= 10


def test_where_nothing_agrees_nothing_is_said() -> None:
    known = np.ones((HEIGHT, WIDTH), bool)
    assert depth_offset(room(0)[0], np.full((HEIGHT, WIDTH), 3, np.float32), known) is None
    assert depth_offset(np.zeros((HEIGHT, WIDTH, 3), np.uint8), room(0)[1], known) is None
    others = [depth_offset(room(seed)[0], room(seed + 100)[1], known) for seed in range(20)]
    assert sum(offset is not None for offset in others) <= 2
    tiny = np.ones((8, 8), bool)
    assert depth_offset(np.zeros((8, 8, 3), np.uint8), tiny.astype(np.float32), tiny) is None


@given(right=st.integers(-60, 60), down=st.integers(-60, 60))
def test_moving_takes_an_offset_out(right: int, down: int) -> None:
    image = np.arange(40.0 * 50).reshape(40, 50).astype(np.float32)
    seen = moved(image, (right, down), -1)
    for row, column in np.ndindex(40, 50):
        source = row + down, column + right
        inside = 0 <= source[0] < 40 and 0 <= source[1] < 50
        assert seen[row, column] == (image[source] if inside else -1)


def test_small_offsets_are_left() -> None:
    assert not significant((3, 2), 640) and significant((5, 0), 640)
    assert not significant((5, 0), 1280)
    assert told(ALIGNED) == ""
    assert "+7 pixels right and -2 down" in told((7, -2))


def frames(plate: NDArray[np.uint8], depth: NDArray[np.float32]) -> list[Frame]:
    camera = Camera(WIDTH, HEIGHT, 300, 300, WIDTH / 2, HEIGHT / 2)
    return [Frame(plate, depth, number * 33_000_000, camera) for number in range(6)]


def test_a_scene_is_captured_and_matted_as_if_it_were_aligned() -> None:
    offset = (4, -3)
    plate, depth = room(3)
    aligned = capture_scene(frames(plate, depth), 6, "aligned", 8.0)
    beside = capture_scene(frames(plate, misaligned(depth, *offset)), 6, "beside", 8.0)
    assert aligned.depth_offset == ALIGNED
    assert np.hypot(*np.subtract(beside.depth_offset, offset)) <= 1.5
    inside = slice(8, -8), slice(8, -8)
    assert (beside.depth_mean != aligned.depth_mean)[inside].mean() < 0.05
    color, near = plate.copy(), depth.copy()
    color[60:200, 100:200], near[60:200, 100:200] = (200, 40, 40), 0.7
    frame = frames(color, misaligned(near, *offset))[0]
    back = registered(frame, beside.depth_offset)
    assert (back.depth != near)[inside].mean() < 0.05
    assert back.depth[-1, 0] > 0 and back.depth[0, -1] == UNKNOWN_DEPTH
    alphas = [
        Predictor(scene, video=False).predict(seen, trimap=False, foreground=False).alpha
        for scene, seen in ((beside, frame), (aligned, frames(color, near)[0]))
    ]
    assert (np.abs(alphas[0].astype(int) - alphas[1]) > 64)[inside].mean() < 0.01


def test_a_small_offset_of_a_scene_is_left_to_the_network() -> None:
    plate, depth = room(3)
    scene = capture_scene(frames(plate, misaligned(depth, 1, 0)), 6, "beside", 8.0)
    assert scene.depth_offset == ALIGNED

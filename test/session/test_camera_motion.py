from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from dart_ros.files import DEMO_RECORDING
from dart_ros.session.camera_motion import CameraMotion
from dart_ros.session.capture import capture_scene
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.frames import empty_frames

Picture = NDArray[np.uint8]


@pytest.fixture(scope="module")
def recording() -> tuple[Picture, list[Picture]]:
    """The demo's plate, and frames with people in them."""
    recorded = open_recording(DEMO_RECORDING, max_depth=10.0)
    plate = capture_scene(empty_frames(recorded, 20), 20, "demo", 10.0).plate
    return plate, [recorded.frame(position).color for position in recorded.occupied[::6]]


@pytest.fixture(scope="module")
def motion(recording: tuple[Picture, list[Picture]]) -> CameraMotion:
    return CameraMotion(recording[0])


def moved(color: Picture, right: float, down: float, degrees: float, zoom: float) -> Picture:
    """What a camera sees that has moved, about the picture's middle."""
    height, width = color.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), degrees, zoom)
    matrix[:, 2] += right, down
    return cv2.warpAffine(color, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)


def test_people_and_light_move_no_camera(
    recording: tuple[Picture, list[Picture]], motion: CameraMotion
) -> None:
    for gain in (1.0, 0.5, 1.5):
        lit = [(color * gain).clip(0, 255).astype(np.uint8) for color in recording[1]]
        found = [motion.pixels(color) for color in lit]
        assert all(pixels in (0.0, None) for pixels in found), (gain, found)
        assert sum(pixels is None for pixels in found) <= 1


@settings(max_examples=30, deadline=None)
@given(
    right=st.floats(-100, 100),
    down=st.floats(-60, 60),
    degrees=st.floats(-4, 4),
    zoom=st.floats(0.97, 1.03),
)
def test_how_far_it_has_moved(
    recording: tuple[Picture, list[Picture]],
    motion: CameraMotion,
    right: float,
    down: float,
    degrees: float,
    zoom: float,
) -> None:
    plate = recording[0]
    # By hand: where the corners go.
    angle = np.deg2rad(degrees)
    turn = zoom * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    middle = np.array([plate.shape[1], plate.shape[0]]) / 2
    ends = np.array([[-1, -1], [1, -1], [-1, 1], [1, 1]]) * middle
    far = np.linalg.norm(ends @ turn.T + (right, down) - ends, axis=1).max()
    pixels = motion.pixels(moved(plate, right, down, degrees, zoom))
    assert pixels is not None
    if far > 6:
        assert abs(pixels - far) < 2 + 0.02 * far
    else:
        assert pixels < 8


@pytest.mark.parametrize("number", range(5))
def test_it_is_found_past_people(
    recording: tuple[Picture, list[Picture]], motion: CameraMotion, number: int
) -> None:
    pixels = motion.pixels(moved(recording[1][number], 4, 0, 0, 1))
    assert pixels is not None and motion.tolerance < 3 < pixels < 5.5


def test_larger_pictures_are_measured_in_their_own_pixels(
    recording: tuple[Picture, list[Picture]],
) -> None:
    large = cv2.resize(recording[0], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    motion = CameraMotion(large)
    assert motion.tolerance == 3.0
    pixels = motion.pixels(moved(large, 10, 0, 0, 1))
    assert pixels is not None and abs(pixels - 10) < 2


def test_what_repeats_is_no_motion() -> None:
    random = np.random.default_rng(0)
    tile = random.integers(0, 255, (40, 40, 3))
    tiles = np.tile(tile, (12, 16, 1))

    def seen(covered: int) -> Picture:
        picture = (tiles + random.normal(0, 4, tiles.shape)).clip(0, 255).astype(np.uint8)
        picture[:, :covered] = 90
        return picture

    motion = CameraMotion(seen(0))
    for covered in (0, 160, 320):
        assert motion.pixels(seen(covered)) in (0.0, None)


@pytest.mark.parametrize("other", ["nothing", "another room", "somebody right before it"])
def test_where_the_plate_is_not_seen_nothing_is_said(
    recording: tuple[Picture, list[Picture]], motion: CameraMotion, other: str
) -> None:
    plate = recording[0]
    random = np.random.default_rng(1)
    noise = cv2.GaussianBlur(random.integers(0, 255, plate.shape).astype(np.uint8), (0, 0), 3)
    pictures = {"nothing": np.full_like(plate, 120), "another room": noise}
    if other == "somebody right before it":
        picture = noise.copy()
        picture[:40, :60] = plate[:40, :60]
    else:
        picture = pictures[other]
    assert motion.pixels(picture) is None
    assert CameraMotion(np.full_like(plate, 120)).pixels(plate) is None


@pytest.mark.parametrize("shape", [(480, 1), (1, 640), (1, 1), (1, 5000), (40, 2000), (31, 31)])
def test_pictures_too_narrow_for_details_tell_nothing(shape: tuple[int, int]) -> None:
    plate = np.random.default_rng(0).integers(0, 255, (*shape, 3), np.uint8)
    assert CameraMotion(plate).pixels(plate) is None

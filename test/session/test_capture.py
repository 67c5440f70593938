"""Capture of the empty scene: what it makes of noisy but empty frames, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dart_ros.errors import CaptureError, SceneError
from dart_ros.files import DEMO_RECORDING
from dart_ros.session.capture import BackgroundCapture, capture_scene
from dart_ros.session.recording import open_recording
from dart_ros.simulation.sensor_noise import SensorNoise
from dart_ros.simulation.sensors import PROFILES
from dart_ros.values import Camera, Frame

WIDTH, HEIGHT = 320, 240
CAMERA = Camera(WIDTH, HEIGHT, 270.0, 270.0, 160.0, 120.0, "optical")
OFFICE = Path(__file__).resolve().parents[3] / "shared" / "real" / "office"


class Room:
    """A textured room with a floor, a table and a window without depth, seen by a noisy sensor."""

    def __init__(self, sensor: str = "structured_light", seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        coarse = rng.integers(60, 220, (30, 40, 3), np.uint8)
        self.color = np.asarray(cv2.resize(coarse, (WIDTH, HEIGHT)), np.uint8)
        self.depth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
        self.depth[160:] = np.linspace(4.0, 1.6, 80, dtype=np.float32)[:, None]
        self.depth[120:180, 200:300] = 2.5
        self.color[120:180, 200:300] //= 2
        self.depth[20:80, 20:100] = -1.0
        self.color[20:80, 20:100] = 250
        self.noise = SensorNoise(sensor, seed)
        self.rng = rng

    def frame(self, index: int, person: int | None = None, gain: float = 1.0) -> Frame:
        """Frame ``index``; ``person`` is the left edge of someone 40 pixels wide."""
        color, depth = self.color.copy(), self.depth.copy()
        if person is not None:
            color[60:220, person : person + 40] = (30, 60, 110)
            depth[60:220, person : person + 40] = 2.0
        noisy = self.noise.depth(depth, color, (index,))
        # Depth flickers: whole clumps come and go.
        flicker = cv2.resize(self.rng.random((60, 80)), (WIDTH, HEIGHT)) < 0.12
        noisy[flicker] = -1.0
        seen = cv2.convertScaleAbs(self.noise.color(color, (index,)), alpha=gain)
        jpeg = cv2.imencode(".jpg", seen, [cv2.IMWRITE_JPEG_QUALITY, 70])[1]
        decoded = np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), np.uint8)
        return Frame(decoded, noisy, index * 33_000_000, CAMERA)


@pytest.mark.filterwarnings("ignore:All-NaN")
@pytest.mark.parametrize("sensor", sorted(PROFILES))
def test_noisy_empty_frames_make_a_scene(sensor: str) -> None:
    room = Room(sensor)
    capture = BackgroundCapture(30, 8.0)
    colors, depths = [], []
    for index in range(30):
        assert capture.progress == pytest.approx(index / 30)
        assert not capture.done
        # The wobble of automatic exposure, 3 % up and down.
        frame = room.frame(index, gain=1.0 + 0.03 * np.sin(index / 3))
        colors.append(frame.color)
        depths.append(frame.depth)
        capture.add(frame)
    assert capture.done and capture.progress == 1.0
    scene = capture.finish("room")
    assert scene.camera == CAMERA
    assert scene.frames == 30
    assert scene.max_depth == 8.0
    assert 0.85 < scene.known_share < 0.97  # all but the window
    np.testing.assert_allclose(scene.plate, np.mean(colors, axis=0), atol=0.51)
    stack = np.array(depths)
    known = (stack > 0).sum(axis=0)
    np.testing.assert_array_equal(scene.depth_count, np.where(known >= 4, known, 0))
    seen = np.where(stack > 0, stack, np.nan)
    steady = (scene.depth_count > 0) & (np.nanmax(seen, axis=0) - np.nanmin(seen, axis=0) < 0.05)
    away = np.abs(scene.depth_mean - np.nanmedian(seen, axis=0))[steady]
    assert steady.any() and away.max() < 0.03
    assert (scene.depth_std > 0).all()
    assert (scene.depth_mean[scene.depth_count == 0] == 8.0).all()
    assert scene.color_deviation is not None and 0.3 < np.median(scene.color_deviation) < 4
    assert scene.restless().mean() < 0.02


@pytest.mark.parametrize(("person", "where"), [(10, "left"), (140, "centre"), (270, "right")])
def test_someone_entering_is_refused(person: int, where: str) -> None:
    room = Room()
    capture = BackgroundCapture(30, 8.0)
    for index in range(10):
        capture.add(room.frame(index))
    capture.add(room.frame(10, person))  # one frame might be a glitch
    with pytest.raises(CaptureError, match=f"moves.*{where}.*color and depth"):
        capture.add(room.frame(11, person + 2))


def test_someone_leaving_is_refused() -> None:
    room = Room()
    capture = BackgroundCapture(40, 8.0)
    with pytest.raises(CaptureError, match="moves"):
        for index in range(40):
            capture.add(room.frame(index, 140 if index < 10 else 140 + 8 * (index - 10)))


def test_someone_swaying_slowly_is_refused() -> None:
    room = Room()
    capture = BackgroundCapture(100, 8.0)
    with pytest.raises(CaptureError, match="moves"):
        for index in range(100):
            capture.add(room.frame(index, 140 + round(12 * np.sin(index / 15))))


def test_somebody_of_the_walls_color_is_seen_in_depth_alone() -> None:
    room = Room()
    capture = BackgroundCapture(30, 8.0)
    with pytest.raises(CaptureError, match=r"seen in depth\)"):
        for index in range(30):
            frame = room.frame(index)
            if index > 10:
                depth = room.frame(index, 140).depth
                frame = Frame(frame.color, depth, frame.stamp, CAMERA)
            capture.add(frame)


@pytest.mark.parametrize("sensor", sorted(PROFILES))
@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_screen_that_plays_is_restless(sensor: str, share: float) -> None:
    room = Room(sensor)
    rng = np.random.default_rng(1)
    height = round(np.sqrt(share * WIDTH * HEIGHT * 3 / 4))
    screen = (slice(20, 20 + height), slice(150, 150 + 4 * height // 3))
    capture = BackgroundCapture(40, 8.0)
    for index in range(40):
        frame = room.frame(index)
        if index % 3 == 0:
            picture = rng.integers(0, 256, (3, 4, 3), np.uint8)
        frame.color[screen] = cv2.resize(picture, (4 * height // 3, height))
        capture.add(frame)
    scene = capture.finish("room")
    restless = scene.restless()
    assert restless[screen].mean() > 0.9
    assert 0.8 * share < restless.mean() < 1.3 * share


def test_depth_that_flickers_on_leather_is_restless() -> None:
    room = Room()
    rng = np.random.default_rng(1)
    capture = BackgroundCapture(40, 8.0)
    sofa = (slice(180, 220), slice(20, 90))
    for index in range(40):
        frame = room.frame(index)
        clumps = cv2.resize(rng.random((3, 5)), (70, 40))
        depth = frame.depth[sofa]
        depth[clumps > 0.6] = -1
        depth[clumps < 0.4] -= 0.4
        capture.add(frame)
    restless = capture.finish("room").restless()
    assert restless[sofa].mean() > 0.6
    restless[sofa] = False
    assert restless.mean() < 0.02


@pytest.mark.parametrize("seed", range(10))
def test_a_walker_is_refused_ten_times_of_ten(seed: int) -> None:
    """Any size, distance, color, speed and way; some without depth in a third of the body."""
    rng = np.random.default_rng(seed)
    room = Room(sorted(PROFILES)[seed % len(PROFILES)], seed)
    distance = rng.uniform(0.8, 3.2)
    size = int(1.7 * 270 / distance), int(0.45 * 270 / distance)
    speed = rng.uniform(0.02, 0.2)  # of the picture in a frame
    color = rng.integers(0, 256, (max(2, size[0] // 20), 3, 3), np.uint8)
    clothes = cv2.resize(color, size[::-1])
    top = int(rng.uniform(0, 60))
    first = int(rng.integers(0, 40))
    capture = BackgroundCapture(100, 8.0)
    with pytest.raises(CaptureError, match="moves in the view") as caught:
        for index in range(100):
            frame = room.frame(index)
            left = -size[1] + round((index - first) * speed * WIDTH)
            if index >= first and left < WIDTH:
                rows = slice(top, min(HEIGHT, top + size[0]))
                columns = slice(max(0, left), max(0, min(WIDTH, left + size[1])))
                part = clothes[: rows.stop - top, columns.start - left : columns.stop - left]
                frame.color[rows, columns] = part
                frame.depth[rows, columns] = distance
                if seed % 3 == 0:
                    frame.depth[top + size[0] // 3 : top + 2 * size[0] // 3, columns] = -1
            capture.add(frame)
    assert capture.picture is not None and capture.picture.shape == (HEIGHT, WIDTH, 3)
    assert "seen in color and depth" in str(caught.value)


def test_the_picture_of_a_refusal_shows_where() -> None:
    room = Room()
    capture = BackgroundCapture(30, 8.0)
    capture.add(room.frame(0))
    capture.add(room.frame(1))
    with pytest.raises(CaptureError, match="on the right"):
        for index in (2, 3):
            capture.add(room.frame(index, 270))
    assert capture.picture is not None
    red = (capture.picture == (255, 40, 40)).all(axis=2)
    assert red.any() and abs(np.nonzero(red)[1].mean() - 290) < 15


def test_a_bumped_camera_is_refused() -> None:
    room = Room()
    capture = BackgroundCapture(30, 8.0)
    with pytest.raises(CaptureError, match=r"moves.*keep the camera still"):
        for index in range(30):
            frame = room.frame(index)
            shift = 12 if index > 15 else 0
            color, depth = np.roll(frame.color, shift, 1), np.roll(frame.depth, shift, 1)
            capture.add(Frame(color, depth, frame.stamp, CAMERA))


@pytest.mark.parametrize("gain", [0.7, 1.25])
def test_exposure_that_settles_is_waited_for(gain: float) -> None:
    room = Room()
    capture = BackgroundCapture(20, 8.0)
    notes = set()
    for index in range(60):
        settled = min(1.0, max(0.0, (index - 8) / 6))
        capture.add(room.frame(index, gain=1 + (gain - 1) * settled))
        notes.add(capture.note.partition(",")[0])
        if capture.done:
            break
    assert notes == {"", "waiting for light and exposure to settle"}
    plate = capture.finish("room").plate.astype(float)
    wanted = (room.color.astype(float) * gain).clip(0, 255)
    assert abs(np.median(plate - wanted)) < 4


def test_light_that_never_settles_is_told() -> None:
    room = Room()
    capture = BackgroundCapture(40, 8.0)
    with pytest.raises(CaptureError, match=r"light or the exposure changed by .* doesn't settle"):
        for index in range(400):
            capture.add(room.frame(index, gain=1.0 if index < 2 else 0.6 + 0.1 * (index % 5)))


def test_a_covered_lens_is_no_change_of_exposure() -> None:
    room = Room()
    capture = BackgroundCapture(40, 8.0)
    capture.add(room.frame(0))
    capture.add(room.frame(1))
    with pytest.raises(CaptureError, match="in most of it"):
        for index in range(2, 10):
            frame = room.frame(index)
            covered = np.full_like(frame.depth, -1.0)
            capture.add(Frame(frame.color // 12, covered, frame.stamp, CAMERA))


def test_wobbling_exposure_of_a_lamp_in_a_dark_room_is_no_motion() -> None:
    # Nearly all of the picture hardly changes, so the noise there forgives nothing at the lamp.
    color = np.full((HEIGHT, WIDTH, 3), 30, np.uint8)
    color[50:150, 100:200] = 215
    depth = np.full((HEIGHT, WIDTH), 3.0, np.float32)
    capture = BackgroundCapture(30, 8.0)
    for index in range(30):
        gain = 1.0 + 0.07 * np.sin(index / 3)
        seen = np.asarray(cv2.convertScaleAbs(color, alpha=gain), np.uint8)
        capture.add(Frame(seen, depth, index, CAMERA))
    assert capture.done


def test_a_single_odd_frame_is_left_out() -> None:
    room = Room()
    clean, odd = BackgroundCapture(20, 8.0), BackgroundCapture(20, 8.0)
    for index in range(20):
        frame = room.frame(index)
        clean.add(frame)
        odd.add(frame)
        if index in (5, 12):
            odd.add(room.frame(100 + index, 100))
    assert odd.frames == 20
    np.testing.assert_array_equal(odd.finish("a").plate, clean.finish("a").plate)


def test_size_change() -> None:
    room = Room()
    capture = BackgroundCapture(10, 8.0)
    capture.add(room.frame(0))
    small = Frame(np.zeros((60, 80, 3), np.uint8), np.ones((60, 80), np.float32), 0, CAMERA)
    with pytest.raises(CaptureError, match="320x240, now color is 80x60"):
        capture.add(small)
    uneven = Frame(small.color, small.depth[:, :-2], 0, CAMERA)
    with pytest.raises(CaptureError, match="80x60 and depth 78x60"):
        BackgroundCapture(10, 8.0).add(uneven)


def test_unknown_depth_is_allowed_and_flagged() -> None:
    room = Room()
    capture = BackgroundCapture(6, 8.0)
    for index in range(6):
        frame = room.frame(index)
        capture.add(Frame(frame.color, np.full_like(frame.depth, -1.0), 0, CAMERA))
    scene = capture.finish("dark")
    assert scene.known_share == 0.0
    assert (scene.depth_mean == 8.0).all()


def test_a_recording_without_empty_frames_is_told_from_a_silent_camera() -> None:
    with pytest.raises(CaptureError, match="recording has no empty frames"):
        capture_scene([], 100, "a", 8.0)


def test_too_few_frames_and_bad_arguments() -> None:
    capture = BackgroundCapture(100, 8.0)
    with pytest.raises(CaptureError, match="Only 0 of at least 5"):
        capture.finish("a")
    room = Room()
    for index in range(4):
        capture.add(room.frame(index))
    with pytest.raises(CaptureError, match="Only 4 of at least 5"):
        capture.finish("a")
    capture.add(room.frame(4))
    with pytest.raises(SceneError, match="can't name"):
        capture.finish("../a")
    assert capture.finish("a").frames == 5
    for frames, depth in ((0, 8.0), (5, 0.0), (5, float("nan"))):
        with pytest.raises(CaptureError, match="positive"):
            BackgroundCapture(frames, depth)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (3, 500), (97, 51)])
def test_any_size(height: int, width: int) -> None:
    camera = Camera(width, height, 100.0, 100.0, 0.0, 0.0)
    capture = BackgroundCapture(3, 8.0)
    color = np.full((height, width, 3), 120, np.uint8)
    for _ in range(3):
        capture.add(Frame(color, np.ones((height, width), np.float32), 0, camera))
    np.testing.assert_array_equal(capture.finish("a").plate, color)


REAL = OFFICE.parent
RECORDINGS = ("arm", "binder", "classroom", "corridor1", "lab1a", "lab1b", "office")


@pytest.mark.skipif(not REAL.is_dir(), reason="the real recordings aren't on this machine")
@pytest.mark.parametrize("name", RECORDINGS)
def test_real_rooms_are_captured_at_the_first_try_and_people_in_them_refused(name: str) -> None:
    recording = open_recording(REAL / name, max_depth=10.0)
    empty = [recording.frame(position) for position in recording.empty]
    scene = capture_scene(empty * (1 + 20 // len(empty)), len(empty), "real", 10.0)
    assert scene.restless().mean() < 0.02
    capture = BackgroundCapture(1000, 10.0)
    with pytest.raises(CaptureError, match="moves in the view"):
        for frame in empty * 2:
            capture.add(frame)
        for position in recording.occupied[:20]:
            capture.add(recording.frame(position))
    assert capture.picture is not None


@pytest.mark.parametrize("first", range(0, 80, 8))
def test_people_of_the_demo_are_refused(first: int) -> None:
    recording = open_recording(DEMO_RECORDING, max_depth=10.0)
    capture = BackgroundCapture(1000, 10.0)
    with pytest.raises(CaptureError, match="moves in the view"):
        for repeat in range(5):
            capture.add(recording.frame(recording.empty[0], repeat))
        for position in recording.occupied[first : first + 60]:
            capture.add(recording.frame(position))


@pytest.mark.skipif(not OFFICE.is_dir(), reason="the office recording isn't on this machine")
class TestOffice:
    """A real sequence: files 11 to 26 (positions 0 to 15) are empty, then people come in."""

    def test_empty_frames_pass(self) -> None:
        recording = open_recording(OFFICE, max_depth=8.0)
        capture = BackgroundCapture(16, 8.0)
        for position in range(16):
            capture.add(recording[position])
        scene = capture.finish("office")
        assert scene.frames == 16
        assert 0.5 < scene.known_share < 0.95

    def test_the_empty_frames_after_the_people_pass_too(self) -> None:
        recording = open_recording(OFFICE, max_depth=8.0)
        capture = BackgroundCapture(22, 8.0)
        for position in recording.empty:
            capture.add(recording[position])
        assert capture.done

    def test_people_entering_are_refused(self) -> None:
        recording = open_recording(OFFICE, max_depth=8.0)
        capture = BackgroundCapture(24, 8.0)
        with pytest.raises(CaptureError, match=r"moves in the view.*left.*color and depth"):
            for position in range(11, 35):
                capture.add(recording[position])
        assert capture.frames == 5  # files 22 to 26

    @pytest.mark.parametrize("first", [30, 45, 60, 75])
    def test_people_about_are_refused(self, first: int) -> None:
        recording = open_recording(OFFICE, max_depth=8.0)
        capture = BackgroundCapture(10, 8.0)
        with pytest.raises(CaptureError, match="moves in the view"):
            for position in range(first, first + 10):
                capture.add(recording[position])

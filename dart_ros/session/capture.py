"""Captures the empty scene from a stream of frames, and refuses when it isn't empty or stable."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import CaptureError
from dart_ros.method.depth_background import DepthBackgroundAccumulator
from dart_ros.session.scene import Scene, check_name, new_scene_id
from dart_ros.values import Camera, Frame

MIN_FRAMES = 5
"""Fewer frames than this make no background, unless fewer were asked for."""

# Motion is looked for in cells of a coarse grid: averaging a cell removes pixel and JPEG noise.
_GRID_WIDTH = 80
# Depth is sampled this many times along each side of a cell; half of the samples must agree.
_DEPTH_SAMPLES = 4
# Smallest connected patch of changed cells that counts, as a share of the grid.
_MOVING_SHARE = 0.0025
# Cells differ in color from this many of 255 levels, or this many times the picture's median.
_COLOR_LEVELS, _COLOR_TIMES_NOISE = 10.0, 6.0
# Samples differ in depth from this many metres, or this share of the distance.
_DEPTH_METRES, _DEPTH_SHARE = 0.10, 0.06
# Automatic exposure wobbles by a few per cent; more is a change of light.
_EXPOSURE_SHARE = 0.10
# One odd frame (a broken JPEG, a flash) is left out; two in a row are a finding.
_ODD_FRAMES = 2


class BackgroundCapture:
    """Accumulates empty frames into a :class:`Scene`, in memory of a few images.

    Args:
        frames_wanted: number of frames after which the capture is done.
        max_depth: range of the sensor in metres.

    Raises:
        CaptureError: if ``frames_wanted`` or ``max_depth`` isn't positive.
    """

    def __init__(self, frames_wanted: int, max_depth: float) -> None:
        if frames_wanted < 1 or not max_depth > 0:
            raise CaptureError(
                f"A capture of {frames_wanted} frames with a range of {max_depth} m is impossible; "
                "both must be positive."
            )
        self.frames_wanted = frames_wanted
        self.max_depth = max_depth
        self.frames = 0
        self._odd = 0
        self._camera: Camera | None = None

    @property
    def progress(self) -> float:
        """Share of the wanted frames that are in, 0 to 1."""
        return min(1.0, self.frames / self.frames_wanted)

    @property
    def done(self) -> bool:
        """Whether all wanted frames are in."""
        return self.frames >= self.frames_wanted

    def add(self, frame: Frame) -> None:
        """Take in one frame of the empty scene.

        A single frame that differs from those before is left out. Frames after the last wanted
        one are used too.

        Raises:
            CaptureError: if the images' size changed, something moves in the view or the light or
                exposure changed. The capture can't go on; start another one.
        """
        if self._camera is None:
            self._start(frame)
        self._check_size(frame)
        cells, depths = self._reduce(frame)
        if self.frames:
            problem = self._problem(cells, depths)
            if problem is not None:
                self._odd += 1
                if self._odd >= _ODD_FRAMES:
                    raise CaptureError(problem)
                return
        self._odd = 0
        known = depths > 0
        self._cells += cells
        self._depths[known] += depths[known]
        self._known += known
        cv2.accumulate(frame.color, self._color)
        self._depth.add(frame.depth)
        self.frames += 1

    def finish(self, name: str) -> Scene:
        """Make the scene of the frames taken in so far.

        Depth that was unknown in all frames is allowed; :attr:`Scene.known_share` tells.

        Args:
            name: plain name of the scene.

        Raises:
            CaptureError: if there are too few frames.
            SceneError: if ``name`` isn't plain.
        """
        check_name(name)
        needed = min(self.frames_wanted, MIN_FRAMES)
        if self._camera is None or self.frames < needed:
            raise CaptureError(
                f"Only {self.frames} of at least {needed} frames came; check that the camera "
                "streams color and depth, and capture again."
            )
        depth = self._depth.result()
        now = datetime.now(timezone.utc)
        return Scene(
            name=name,
            id=new_scene_id(name, now),
            camera=self._camera,
            plate=np.rint(self._color / self.frames).astype(np.uint8),
            depth_mean=depth.mean.numpy(),
            depth_std=depth.std.numpy(),
            depth_count=depth.count.clamp(max=np.iinfo(np.uint16).max).numpy().astype(np.uint16),
            frames=self.frames,
            captured_at=now.isoformat(timespec="seconds"),
            max_depth=self.max_depth,
        )

    def _start(self, frame: Frame) -> None:
        height, width = frame.depth.shape
        self._camera = frame.camera
        self._size = (height, width)
        columns = min(_GRID_WIDTH, width)
        self._grid = (columns, max(1, round(columns * height / width)))
        rows = self._grid[1]
        samples = (rows * _DEPTH_SAMPLES, columns * _DEPTH_SAMPLES)
        self._cells = np.zeros((rows, columns, 3), np.float32)
        self._depths = np.zeros(samples, np.float32)
        self._known = np.zeros(samples, np.float32)
        self._color = np.zeros((height, width, 3), np.float32)
        self._depth = DepthBackgroundAccumulator(height, width, self.max_depth)

    def _check_size(self, frame: Frame) -> None:
        here = (frame.color.shape[:2], frame.depth.shape)
        if here != (self._size, self._size):
            color, depth = (f"{size[1]}x{size[0]}" for size in here)
            raise CaptureError(
                f"The capture began with images of {self._size[1]}x{self._size[0]}, now color is "
                f"{color} and depth {depth}; keep the camera's resolution and capture again."
            )

    def _reduce(self, frame: Frame) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Color means of the grid's cells (0 to 255), and depth samples (metres)."""
        columns, rows = self._grid
        cells = cv2.resize(frame.color, (columns, rows), interpolation=cv2.INTER_AREA)
        size = (columns * _DEPTH_SAMPLES, rows * _DEPTH_SAMPLES)
        depths = cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST)
        return cells.astype(np.float32), depths.astype(np.float32, copy=False)

    def _problem(self, cells: NDArray[np.float32], depths: NDArray[np.float32]) -> str | None:
        """What makes this frame differ from the mean of those before, None if nothing does."""
        mean = self._cells / np.float32(self.frames)
        gain = _gain(cells, mean)
        in_depth = _largest_patch(self._moved_in_depth(depths))
        residual = np.abs(cells - mean * gain).max(axis=2)
        threshold = max(_COLOR_LEVELS, _COLOR_TIMES_NOISE * float(np.median(residual)))
        in_color = _largest_patch(residual > threshold)
        change = float(np.abs(gain - 1.0).max())
        if not in_depth.any() and change > _EXPOSURE_SHARE:
            return (
                f"The light or the exposure changed by {change:.0%} during the capture; switch off "
                "automatic exposure and white balance, or wait until they settle, and capture "
                "again."
            )
        moving = in_depth | in_color
        if not moving.any():
            return None
        seen = " and ".join(
            word for word, patch in (("color", in_color), ("depth", in_depth)) if patch.any()
        )
        return (
            f"Something moves in the view ({moving.mean():.1%} of the picture, {_where(moving)}, "
            f"seen in {seen}); clear the view, keep the camera still and capture again."
        )

    def _moved_in_depth(self, depths: NDArray[np.float32]) -> NDArray[np.bool_]:
        mean = self._depths / np.maximum(self._known, 1)
        both = (depths > 0) & (self._known > 0)
        moved = both & (np.abs(depths - mean) > np.maximum(_DEPTH_METRES, _DEPTH_SHARE * mean))
        columns, rows = self._grid
        parts = moved.reshape(rows, _DEPTH_SAMPLES, columns, _DEPTH_SAMPLES)
        changed = (parts.mean(axis=(1, 3)) >= 0.5).astype(np.uint8)
        # Sensors see an edge wander by pixels: what is thinner than three cells isn't motion.
        return cv2.morphologyEx(changed, cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)).astype(bool)


def capture_scene(frames: Iterable[Frame], wanted: int, name: str, max_depth: float) -> Scene:
    """A scene of frames that are at hand, as those of a recording.

    Args:
        frames: of the empty scene, all of which are used.
        wanted: how many there should be; a few less will do.
        name: plain name of the scene.
        max_depth: range of the sensor in metres.

    Raises:
        CaptureError: see :class:`BackgroundCapture`.
        SceneError: if ``name`` isn't plain.
    """
    capture = BackgroundCapture(wanted, max_depth)
    for frame in frames:
        capture.add(frame)
    if not capture.frames:
        raise CaptureError(
            "The recording has no empty frames to capture; name some as empty_frames in its "
            "sequence.json."
        )
    return capture.finish(name)


def _gain(cells: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Gain of each color channel against the mean, from what is neither black nor saturated."""
    usable = ((mean > 12) & (mean < 240) & (cells < 245)).all(axis=2)
    # In a picture that is nearly all black or white no gain can be told.
    if np.count_nonzero(usable) < 0.02 * usable.size:
        return np.ones(3, np.float32)
    return np.asarray(np.median(cells[usable] / mean[usable], axis=0), np.float32)


def _largest_patch(changed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The largest connected patch of changed cells, or nothing if it is too small to count."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(
        changed.astype(np.uint8), connectivity=8
    )
    if count > 1:
        largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
        if stats[largest, cv2.CC_STAT_AREA] >= max(2.0, _MOVING_SHARE * changed.size):
            return np.asarray(labels == largest)
    return np.zeros_like(changed)


def _where(moving: NDArray[np.bool_]) -> str:
    if moving.mean() > 0.5:
        return "in most of it"
    center = float(np.nonzero(moving)[1].mean() + 0.5) / moving.shape[1]
    return (
        "on the left" if center < 1 / 3 else "on the right" if center > 2 / 3 else "in the centre"
    )

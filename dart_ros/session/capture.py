"""Captures the empty scene from a stream of frames, and refuses when it isn't empty or stable."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timezone

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import CaptureError
from dart_ros.session.background_depth import BackgroundDepth, BackgroundDepthAccumulator
from dart_ros.session.camera_motion import CameraMotion
from dart_ros.session.capture_watch import EmptyView, Motion, View, gain_between
from dart_ros.session.depth_noise import DepthNoise
from dart_ros.session.registration import ALIGNED, Offset, depth_offset, significant
from dart_ros.session.scene import Scene, check_name, new_scene_id
from dart_ros.values import Camera, Frame

MIN_FRAMES = 5
"""Fewer frames than this make no background, unless fewer were asked for."""

# Automatic exposure wobbles by a few per cent; more is a change of light.
_EXPOSURE_SHARE = 0.10
# Exposure is settled again when it changes by less than this from frame to frame.
_SETTLED_SHARE = 0.03
# So often light may change for good, and so many frames, or as many as are wanted, may pass
# while it does.
_MOST_RESTARTS, _SETTLING_FRAMES = 5, 60
# One odd frame (a broken JPEG, a flash) is left out; two in a row are a finding.
_ODD_FRAMES = 2


class BackgroundCapture:
    """Accumulates empty frames into a :class:`Scene`, in bounded memory.

    Places that are restless (screens, windows, leaves) become part of the scene, by its deviations;
    exposure that changes is waited for, and the capture begins again at the new one.

    Args:
        frames_wanted: number of frames after which the capture is done.
        max_depth: range of the sensor in metres.
        noise: of the depth sensor.

    Attributes:
        note: what the capture waits for in words, empty if frames are taken.
        picture: ``H×W×3`` uint8 RGB, the frame in which something moved, which is outlined; None
            until a capture is refused for that.

    Raises:
        CaptureError: if ``frames_wanted`` or ``max_depth`` isn't positive.
    """

    def __init__(
        self, frames_wanted: int, max_depth: float, noise: DepthNoise | None = None
    ) -> None:
        if frames_wanted < 1 or not max_depth > 0:
            raise CaptureError(
                f"A capture of {frames_wanted} frames with a range of {max_depth} m is impossible; "
                "both must be positive."
            )
        self.frames_wanted = frames_wanted
        self.max_depth = max_depth
        self.note = ""
        self.picture: NDArray[np.uint8] | None = None
        self._noise = noise or DepthNoise()
        self._camera: Camera | None = None
        self._odd = 0
        self._restarts = 0
        self._settling = 0  # frames
        self._unsettled: View | None = None  # the last frame, if its exposure was another
        self.frames = 0

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
            CaptureError: if the images' size changed, something moves in the view or the light
                doesn't settle. The capture can't go on; start another one.
        """
        if self._camera is None:
            self._start(frame)
        self._check_size(frame)
        view = self._empty.reduce(frame)
        if self.frames:
            change = float(np.abs(self._empty.gain(view) - 1.0).max())
            problem = self._problem(frame, view, change > _EXPOSURE_SHARE)
            if problem is not None:
                self._odd += 1
                if self._odd >= _ODD_FRAMES:
                    raise CaptureError(problem)
                return
            self._odd = 0
            if change > _EXPOSURE_SHARE and not self._settles(view, change):
                return
            self._unsettled = None
        self._take(frame, view)

    def finish(self, name: str) -> Scene:
        """Make the scene of the frames taken in so far.

        Depth that was unknown in all frames is allowed; :attr:`Scene.known_share` tells.

        Args:
            name: plain name of the scene.

        Raises:
            CaptureError: if there are too few frames, or the camera has moved since the first.
            SceneError: if ``name`` isn't plain.
        """
        check_name(name)
        needed = min(self.frames_wanted, MIN_FRAMES)
        if self._camera is None or self.frames < needed:
            raise CaptureError(
                f"Only {self.frames} of at least {needed} frames came; "
                + (self.note or "check that the camera streams color and depth")
                + ", and capture again."
            )
        self._check_camera()
        plate = np.rint(self._color / self.frames).astype(np.uint8)
        depth, offset = self._registered(plate, self._depth.result())
        now = datetime.now(timezone.utc)
        return Scene(
            name=name,
            id=new_scene_id(name, now),
            camera=self._camera,
            plate=plate,
            depth_mean=depth.mean,
            depth_std=depth.std,
            depth_count=depth.count,
            frames=self.frames,
            captured_at=now.isoformat(timespec="seconds"),
            max_depth=self.max_depth,
            color_deviation=self._deviation(),
            depth_noise=self._noise,
            depth_offset=offset,
        )

    def _registered(
        self, plate: NDArray[np.uint8], depth: BackgroundDepth
    ) -> tuple[BackgroundDepth, Offset]:
        """The depth where color sees it, and what was taken out."""
        offset = depth_offset(plate, depth.mean, depth.count > 0)
        if offset is None or not significant(offset, plate.shape[1]):
            return depth, ALIGNED
        return depth.moved(offset, self.max_depth), offset

    def _start(self, frame: Frame) -> None:
        height, width = frame.depth.shape
        self._camera = frame.camera
        self._size = (height, width)
        self._empty = EmptyView(height, width)
        self._restart()

    def _restart(self) -> None:
        """Forget the frames taken so far."""
        height, width = self._size
        self.frames = 0
        self._empty.restart()
        self._depth = BackgroundDepthAccumulator(height, width, self.max_depth, self._noise)
        self._color = np.zeros((height, width, 3), np.float32)
        self._squares = np.zeros((height, width, 3), np.float32)
        self._gains: list[NDArray[np.float32]] = []

    def _take(self, frame: Frame, view: View) -> None:
        if not self.frames:
            self._first, self._first_view = frame.color.copy(), view
        self._empty.add(view)
        self._gains.append(gain_between(view.cells, self._first_view.cells))
        cv2.accumulate(frame.color, self._color)
        # From the first frame: sums of squares of whole colors would lose what differs in rounding.
        cv2.accumulateSquare(cv2.absdiff(frame.color, self._first), self._squares)
        self._depth.add(frame.depth)
        self._last = frame.color
        self.note = ""
        self.frames += 1

    def _check_size(self, frame: Frame) -> None:
        here = (frame.color.shape[:2], frame.depth.shape)
        if here != (self._size, self._size):
            color, depth = (f"{size[1]}x{size[0]}" for size in here)
            raise CaptureError(
                f"The capture began with images of {self._size[1]}x{self._size[0]}, now color is "
                f"{color} and depth {depth}; keep the camera's resolution and capture again."
            )

    def _problem(self, frame: Frame, view: View, light_changes: bool) -> str | None:
        """What moves in this frame in words, None if nothing does."""
        motion = self._empty.motion(view, light_changes)
        if motion is None:
            return None
        self.picture = outlined(frame.color, motion.cells)
        return _refusal(motion)

    def _settles(self, view: View, change: float) -> bool:
        """Begin again with a frame in another light if it has settled; else leave it out."""
        before, self._unsettled = self._unsettled, view
        self._settling += 1
        lasts = self._settling > max(_SETTLING_FRAMES, self.frames_wanted)
        if lasts or self._restarts >= _MOST_RESTARTS:
            raise CaptureError(
                f"The light or the exposure changed by {change:.0%} during the capture and doesn't "
                "settle; switch off automatic exposure and white balance, and capture again."
            )
        self.note = f"waiting for light and exposure to settle, which changed by {change:.0%}"
        if before is None:
            return False
        if float(np.abs(gain_between(view.cells, before.cells) - 1.0).max()) > _SETTLED_SHARE:
            return False
        # It stays as it is now, so what was taken before is of no use.
        self._restarts += 1
        self._restart()
        return True

    def _check_camera(self) -> None:
        """Raise CaptureError if the camera stands elsewhere than at the first frame."""
        motion = CameraMotion(self._first)
        pixels = motion.pixels(self._last)
        if pixels is not None and pixels > motion.tolerance:
            raise CaptureError(
                f"The camera has moved by about {pixels:.0f} pixels during the capture; keep it "
                "still and capture again."
            )

    def _deviation(self) -> NDArray[np.float16]:
        """Standard deviation of each pixel's color in levels, less what the exposure's wobble
        makes."""
        count = np.float32(self.frames)
        mean = self._color / count
        variance = self._squares / count - (mean - self._first) ** 2
        variance -= np.var(self._gains, axis=0, dtype=np.float32) * mean**2
        return np.sqrt(variance.max(axis=2).clip(min=0)).astype(np.float16)


def capture_scene(
    frames: Iterable[Frame],
    wanted: int,
    name: str,
    max_depth: float,
    noise: DepthNoise | None = None,
) -> Scene:
    """A scene of frames that are at hand, as those of a recording.

    Args:
        frames: of the empty scene, all of which are used.
        wanted: how many there should be; a few less will do.
        name: plain name of the scene.
        max_depth: range of the sensor in metres.
        noise: of the depth sensor.

    Raises:
        CaptureError: see :class:`BackgroundCapture`.
        SceneError: if ``name`` isn't plain.
    """
    capture = BackgroundCapture(wanted, max_depth, noise)
    for frame in frames:
        capture.add(frame)
    if not capture.frames:
        raise CaptureError(
            "The recording has no empty frames to capture; name some as empty_frames in its "
            "sequence.json."
        )
    return capture.finish(name)


def outlined(color: NDArray[np.uint8], cells: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """A picture in which some places are outlined in red, and the rest is darker.

    Args:
        color: ``H×W×3`` RGB.
        cells: where, in any size.

    Returns:
        ``H×W×3`` uint8 RGB.
    """
    height, width = color.shape[:2]
    mask = cv2.resize(cells.astype(np.uint8), (width, height), interpolation=cv2.INTER_NEAREST)
    picture = np.where(mask[..., None] > 0, color, color // 2).astype(np.uint8)
    edges, _ = cv2.findContours(mask, cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    cv2.drawContours(picture, edges, -1, (255, 40, 40), max(1, width // 320))
    return picture


def _refusal(motion: Motion) -> str:
    return (
        f"Something moves in the view ({motion.cells.mean():.1%} of the picture, {motion.where}, "
        f"seen in {motion.seen_in}); clear the view, keep the camera still and capture again."
    )

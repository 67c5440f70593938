"""One run of ~/capture_background."""

from __future__ import annotations

import time

from dart_ros.errors import CaptureError
from dart_ros.session.capture import BackgroundCapture
from dart_ros.session.scene import Scene
from dart_ros.values import Frame


class CaptureSession:
    """A capture that the worker thread feeds and the executor's thread watches.

    Args:
        name: of the scene, checked.
        frames_wanted: frames to take.
        max_depth: range of the sensor in metres.
        fit_seconds: length of the fit that is to follow, 0 for its own choice; None for no fit.
    """

    def __init__(
        self, name: str, frames_wanted: int, max_depth: float, fit_seconds: float | None
    ) -> None:
        self.name = name
        self.fit_seconds = fit_seconds
        self.frames_wanted = frames_wanted
        self._last_frame = time.monotonic()
        self._capture = BackgroundCapture(frames_wanted, max_depth)
        self._closed = False

    def add(self, frame: Frame) -> bool:
        """Take a frame; in the worker thread.

        Returns:
            Whether this frame was the last that was needed. Later ones are ignored.

        Raises:
            CaptureError: if the frame can't be part of the background; the capture is over then.
        """
        if self._closed:
            return False
        try:
            self._capture.add(frame)
        except CaptureError:
            self._closed = True
            raise
        self._last_frame = time.monotonic()
        self._closed = self._capture.done
        return self._closed

    def silent_for(self) -> float:
        """Return the seconds since the last usable frame, or since the start."""
        return 0.0 if self._closed else time.monotonic() - self._last_frame

    @property
    def frames_taken(self) -> int:
        """Frames that are in the background so far."""
        return self._capture.frames

    @property
    def progress(self) -> float:
        """Share of the frames taken, 0 to 1."""
        return self._capture.progress

    def finish(self) -> Scene:
        """Make the scene; CaptureError if too little came in."""
        return self._capture.finish(self.name)

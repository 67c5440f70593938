"""Steady mattes: alpha follows the network where the picture changes, and averages where it stands
still (not in the paper).

Sensors' noise makes outlines boil where frames are matted one by one. This is a recursive filter of
first order whose gain is 1 where color or depth has changed around a pixel since the last frame,
and :data:`GAIN` where neither has: noise falls to a fraction, and moving edges don't lag.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.runtime.depth_evidence import DepthEvidence

GAIN = 0.2
"""Share of the new alpha where nothing has changed."""

SAME, CHANGED = 5.0, 15.0
"""Changes of color, of 255 levels, the mean of 3×3 pixels: none up to the first, all from the
second on."""

SURE_CHANGE = 0.6
"""Changes of the depth posterior up to this are the sensor's own, as where an unknown depth gets
known; from a fifth more on all has changed."""

LONGEST_GAP = 2_000_000_000
"""Nanoseconds after which a frame has nothing to do with the last one."""

_NEIGHBORS = np.ones((3, 3), np.uint8)


class TemporalFilter:
    """Corrects alpha by depth where depth is sure, and steadies it; for one thread at a time.

    Args:
        evidence: of the scene.
        size: (height, width) of the frames.
    """

    def __init__(self, evidence: DepthEvidence, size: tuple[int, int]) -> None:
        self._evidence = evidence
        self._size = size
        levels = np.arange(256, dtype=np.float32)
        change = np.clip((levels - SAME) / (CHANGED - SAME), 0, 1)
        self._gain = (GAIN + (1 - GAIN) * change).astype(np.float32)
        # Kept, because new memory of this size takes longer than what is done with it.
        self._alpha, self._now, self._weight, self._full = np.zeros((4, *size), np.float32)
        self._color, self._smooth, self._moved = np.zeros((3, *size, 3), np.uint8)
        self.reset()

    def use(self, evidence: DepthEvidence) -> None:
        """Takes the evidence of another background of the same size; what is remembered stays, for
        alpha follows at once where the background's depth has changed."""
        self._evidence = evidence

    def reset(self) -> None:
        """Forgets the last frame."""
        self._stamp: int | None = None
        self._posterior: NDArray[np.float32] = np.zeros((1, 1), np.float32)

    def __call__(
        self,
        color: NDArray[np.uint8],
        depth: NDArray[np.float32],
        alpha: NDArray[np.uint8],
        stamp: int,
    ) -> NDArray[np.uint8]:
        """Alpha of one frame, H×W.

        Args:
            color: H×W×3 uint8 RGB.
            depth: H×W metres, not positive where unknown.
            alpha: H×W, of the network.
            stamp: time of the frame in nanoseconds; after a jump back or a long gap the filter
                begins anew.
        """
        posterior, front, back = self._evidence(color, depth)
        cv2.blur(color, (3, 3), self._smooth)
        now, last = self._now, self._alpha
        np.copyto(now, alpha)
        if self._stamp is not None and 0 <= stamp - self._stamp <= LONGEST_GAP:
            gain = cv2.LUT(self._changed(), self._gain, self._weight)
            jump = np.clip((np.abs(posterior - self._posterior) - SURE_CHANGE) * 5, 0, 1)
            np.maximum(
                gain,
                self._upsampled(np.asarray(cv2.dilate(jump, _NEIGHBORS), np.float32)),
                out=self._weight,
            )
            now -= last
            now *= self._weight
            now += last
        self._alpha, self._now = now, last
        # What is surely in front is opaque, what is surely behind isn't there. Not in what is
        # remembered: a view that stands still would be corrected again with each frame.
        shown = self._weight
        np.subtract(255, now, out=shown)
        shown *= self._upsampled(front)
        shown += now
        shown *= self._upsampled(1 - back)
        self._color, self._smooth = self._smooth, self._color
        self._stamp, self._posterior = stamp, posterior
        return np.rint(shown, out=shown).astype(np.uint8)

    def _changed(self) -> NDArray[np.uint8]:
        """The largest change of a channel in a pixel's neighborhood."""
        red, green, blue = cv2.split(cv2.absdiff(self._smooth, self._color, self._moved))
        cv2.max(cv2.max(red, green, red), blue, red)
        return np.asarray(cv2.dilate(red, _NEIGHBORS), np.uint8)

    def _upsampled(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cells to pixels, bilinear; what is beyond the last whole cell is like it. Valid until the
        next call."""
        rows, columns = (side * self._evidence.cell for side in cells.shape)
        height, width = self._size
        if (rows, columns) == self._size:
            cv2.resize(cells, (columns, rows), self._full, interpolation=cv2.INTER_LINEAR)
            return self._full
        full = cv2.resize(cells, (columns, rows), interpolation=cv2.INTER_LINEAR)
        beyond = max(0, height - rows), max(0, width - columns)
        bordered = cv2.copyMakeBorder(full, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE)
        return np.asarray(bordered[:height, :width], np.float32)

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

from dart_ros.runtime.depth_evidence import Evidence, cell_side

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

    Nearly everywhere alpha stays what it is, and depth agrees: only the other pixels are computed.

    Args:
        size: (height, width) of the frames.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self._size = size
        levels = np.arange(256, dtype=np.float32)
        change = np.clip((levels - SAME) / (CHANGED - SAME), 0, 1)
        self._gain = (GAIN + (1 - GAIN) * change).astype(np.float32)
        self._alpha = np.zeros(size, np.float32)
        self._level = np.zeros(size, np.uint8)  # the same, rounded
        # Kept, because new memory of this size takes longer than what is done with it.
        self._full = np.zeros(size, np.float32)
        self._color, self._smooth, self._moved = np.zeros((3, *size, 3), np.uint8)
        self._channels = np.zeros((3, *size), np.uint8)
        self.reset()

    def reset(self) -> None:
        """Forgets the last frame."""
        self._stamp: int | None = None
        self._posterior: NDArray[np.float32] = np.zeros((1, 1), np.float32)

    def __call__(
        self,
        color: NDArray[np.uint8],
        evidence: Evidence,
        alpha: NDArray[np.uint8],
        stamp: int,
    ) -> NDArray[np.uint8]:
        """Alpha of one frame, H×W.

        Args:
            color: H×W×3 uint8 RGB.
            evidence: what depth says, before any background of this size: alpha follows at once
                where the background's depth has changed.
            alpha: H×W, of the network.
            stamp: time of the frame in nanoseconds; after a jump back or a long gap the filter
                begins anew.
        """
        cv2.blur(color, (3, 3), self._smooth)
        if self._stamp is None or not 0 <= stamp - self._stamp <= LONGEST_GAP:
            np.copyto(self._alpha, alpha)
            np.copyto(self._level, alpha)
        else:
            self._follow(alpha, np.abs(evidence.posterior - self._posterior))
        self._color, self._smooth = self._smooth, self._color
        self._stamp, self._posterior = stamp, evidence.posterior
        return self._corrected(evidence.front, evidence.back)

    def _follow(self, alpha: NDArray[np.uint8], jump: NDArray[np.float32]) -> None:
        """Moves what is remembered towards a frame's alpha.

        Args:
            alpha: H×W, of the network.
            jump: of each cell, how much its posterior has changed.
        """
        # What is less than half a level away would be shown as the same, and need not move.
        places = np.flatnonzero(alpha != self._level)
        if not places.size:
            return
        gain = self._gain[self._changed().take(places)]
        sure = cv2.dilate(np.clip((jump - SURE_CHANGE) * 5, 0, 1), _NEIGHBORS)
        np.maximum(gain, self._upsampled(np.asarray(sure, np.float32)).take(places), out=gain)
        moved = self._alpha.take(places)
        moved += gain * (alpha.take(places) - moved)
        self._alpha.put(places, moved)
        self._level.put(places, np.rint(moved))

    def _corrected(
        self, front: NDArray[np.float32], back: NDArray[np.float32]
    ) -> NDArray[np.uint8]:
        """What is remembered, opaque where that is surely in front and gone where it is surely
        behind. What is remembered stays as it is: a view that stands still would be corrected again
        with each frame."""
        shown = self._level.copy()
        for sure, target in ((front, 255), (back, 0)):  # which never meet
            if not sure.any():
                continue
            share = self._upsampled(sure)
            places = np.flatnonzero((share > 0) & (self._level != target))
            value = self._alpha.take(places)
            value += share.take(places) * (target - value)
            shown.put(places, np.rint(value))
        return shown

    def _changed(self) -> NDArray[np.uint8]:
        """The largest change of a channel in a pixel's neighborhood, H×W."""
        red, green, blue = channels = self._channels
        cv2.split(cv2.absdiff(self._smooth, self._color, self._moved), tuple(channels))
        cv2.max(cv2.max(red, green, red), blue, red)
        return np.asarray(cv2.dilate(red, _NEIGHBORS, green), np.uint8)

    def _upsampled(self, cells: NDArray[np.float32]) -> NDArray[np.float32]:
        """Cells to pixels, H×W, bilinear; what is beyond the last whole cell is like it. Valid
        until the next call."""
        rows, columns = (side * cell_side(self._size[1]) for side in cells.shape)
        height, width = self._size
        if (rows, columns) == self._size:
            cv2.resize(cells, (columns, rows), self._full, interpolation=cv2.INTER_LINEAR)
            return self._full
        full = cv2.resize(cells, (columns, rows), interpolation=cv2.INTER_LINEAR)
        beyond = max(0, height - rows), max(0, width - columns)
        bordered = cv2.copyMakeBorder(full, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE)
        return np.asarray(bordered[:height, :width], np.float32)

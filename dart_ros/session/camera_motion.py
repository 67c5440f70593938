"""Whether a camera still sees a scene from where it was captured: details of the plate are looked
for in the frame."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

MOVED = 1.5
"""Pixels of a picture of 640 columns or less by which a camera has moved; in larger ones it is as
much more. Two of them raise the error of mattes by two thirds."""

_WIDTH = 640
"""Larger images are reduced to this; the figures below are for it."""

_SMALLEST = 32
"""Pixels on the shorter side below which a picture has no details; ORB's patches take 31."""

_DETAILS = 500
_FEWEST = 20
_SHARE = 0.3
"""Of the details found again, that must agree on one motion; else nothing is said."""

_STRAY = 1.5
"""Pixels by which they may differ from it."""

_AROUND = (31, 31)
"""Pixels over which brightness and contrast are evened out."""


class CameraMotion:
    """Finds the motion between a plate and frames of the same camera (ORB and RANSAC).

    Whoever stands in the view hides some of the plate and may move as he likes; light may change.

    Args:
        plate: ``H×W×3`` RGB uint8.

    Attributes:
        tolerance: pixels above which a camera has moved.
    """

    def __init__(self, plate: NDArray[np.uint8]) -> None:
        self._scale = min(1.0, _WIDTH / plate.shape[1])
        self.tolerance = MOVED / self._scale
        self._orb = cv2.ORB_create(_DETAILS)  # type: ignore[attr-defined]
        self._matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
        self._small = self._scale * min(plate.shape[:2]) < _SMALLEST
        if not self._small:
            self._places, self._looks = self._orb.detectAndCompute(self._even(plate), None)

    def pixels(self, color: NDArray[np.uint8]) -> float | None:
        """How far the camera has moved.

        Args:
            color: ``H×W×3`` RGB uint8, the plate's size.

        Returns:
            Pixels by which that corner of the picture has moved that moved farthest, 0 where it
            stands still; None where too little of the plate is seen to tell.
        """
        if self._small:
            return None
        frame = self._even(color)
        places, looks = self._orb.detectAndCompute(frame, None)
        if self._looks is None or looks is None:
            return None
        pairs = self._matcher.match(self._looks, looks)
        before = np.array([self._places[pair.queryIdx].pt for pair in pairs])
        after = np.array([places[pair.trainIdx].pt for pair in pairs])
        if len(pairs) < _FEWEST:
            return None
        # Turns and zooms as well as shifts.
        motion, agreeing = cv2.estimateAffinePartial2D(before, after, ransacReprojThreshold=_STRAY)
        if motion is None or agreeing.sum() < max(_FEWEST, _SHARE * len(pairs)):
            return None
        # Tiles and bricks look alike one further, too.
        still = np.linalg.norm(after - before, axis=1) < _STRAY
        if still.sum() > 0.8 * agreeing.sum():
            return 0.0
        height, width = frame.shape
        corners = np.array([[0, 0, 1], [width, 0, 1], [0, height, 1], [width, height, 1]], float)
        moved = corners @ motion.T - corners[:, :2]
        return float(np.linalg.norm(moved, axis=1).max()) / self._scale

    def _even(self, color: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Gray, of the same brightness and contrast everywhere."""
        gray = cv2.cvtColor(color, cv2.COLOR_RGB2GRAY)
        if self._scale < 1:
            scale = self._scale
            gray = cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        detail = gray - cv2.blur(gray.astype(np.float32), _AROUND)
        contrast = np.sqrt(cv2.blur(detail * detail, _AROUND).clip(min=0)) + 4
        return (128 + 40 * detail / contrast).clip(0, 255).astype(np.uint8)

"""Simulated sensor noise for clean (rendered) recordings, fast enough for playback at 30 Hz.

What is modelled, and after what:

* axial noise and quantisation that grow with the square of the distance, from the disparity
  geometry of triangulating sensors (Khoshelham and Elberink, Sensors 2012),
* the shadow beside near objects that the projector (or the second camera) can't see,
* edges that are a few pixels too fat, wander from frame to frame or mix near and far,
* missing depth on dark, far and grazing surfaces,
* color and depth registered a pixel or two apart,
* read noise and a slight wobble of the exposure in color.

It is one sensor, frame by frame, without torch; for training
:mod:`dart_ros.simulation.depth_sensor` draws the errors of any sensor, cruder and more various.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import RecordingError
from dart_ros.simulation.sensors import PROFILES
from dart_ros.values import UNKNOWN_DEPTH

_COLOR_NOISE = 2.5
_EXPOSURE_WOBBLE = 0.01
# Color noise is cut from one larger field at random places, which costs a tenth of drawing it.
_MARGIN = 64


class SensorNoise:
    """Adds the errors of one sensor to clean frames; the same arguments give the same noise.

    Args:
        sensor: a key of :data:`PROFILES`.
        seed: of all randomness.

    Raises:
        RecordingError: if there is no such sensor.
    """

    def __init__(self, sensor: str, seed: int) -> None:
        if sensor not in PROFILES:
            raise RecordingError(
                f"There is no noise of the sensor '{sensor}'; choose one of {', '.join(PROFILES)}."
            )
        self.profile = PROFILES[sensor]
        self.seed = seed
        angle = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi)
        self._offset = self.profile.offset * np.array([np.cos(angle), np.sin(angle)])
        self._field = np.zeros((0, 0, 3), np.uint8)

    def color(self, color: NDArray[np.uint8], index: tuple[int, ...]) -> NDArray[np.uint8]:
        """Color with noise.

        Args:
            color: ``H×W×3`` uint8.
            index: non-negative numbers of the frame; another index gives other noise.

        Returns:
            New ``H×W×3`` uint8.
        """
        rng = np.random.default_rng((self.seed, 1, *index))
        height, width = color.shape[:2]
        wanted = (height + _MARGIN, width + _MARGIN, 3)
        if self._field.shape != wanted:
            field = np.random.default_rng(self.seed).standard_normal(wanted, np.float32)
            self._field = np.clip(np.rint(128 + _COLOR_NOISE * field), 0, 255).astype(np.uint8)
        y, x = rng.integers(0, _MARGIN + 1, 2)
        noise = self._field[y : y + height, x : x + width]
        gain = 1.0 + _EXPOSURE_WOBBLE * float(np.clip(rng.standard_normal(), -2, 2))
        return np.asarray(cv2.addWeighted(color, gain, noise, 1.0, -128.0), np.uint8)

    def depth(
        self, depth: NDArray[np.float32], color: NDArray[np.uint8], index: tuple[int, ...]
    ) -> NDArray[np.float32]:
        """Depth with noise.

        Args:
            depth: ``H×W`` float32 metres, -1 where unknown.
            color: ``H×W×3`` uint8 RGB of the same view.
            index: non-negative numbers of the frame; another index gives other noise.

        Returns:
            New ``H×W`` float32 metres, -1 where unknown.
        """
        profile = self.profile
        rng = np.random.default_rng((self.seed, 2, *index))
        height, width = depth.shape
        scale = width / 640.0
        far = np.where(depth > 0, depth, np.float32(1e3))
        lost = _shadow(far, profile.shadow * scale)
        lost |= self._unseen(far, color, rng)
        reach = max(1, round(profile.halo * scale))
        noisy = _edges(far, reach, profile.mixing, rng)
        noisy, gone = _register(noisy, lost, self._offset * scale, rng)
        gone |= noisy > profile.reach
        grain = max(1, round(profile.noise_grain * scale))
        sigma = np.float32(profile.noise) + np.float32(profile.noise_z2) * noisy * noisy
        noisy += sigma * _grains(rng, height, width, grain)
        if profile.quantum:
            noisy = 1.0 / (np.rint(1.0 / (profile.quantum * noisy)) * profile.quantum + 1e-9)
        return np.where(gone | (noisy <= 0), np.float32(UNKNOWN_DEPTH), noisy)

    def _unseen(
        self, far: NDArray[np.float32], color: NDArray[np.uint8], rng: np.random.Generator
    ) -> NDArray[np.bool_]:
        """Pixels that return too little light: dark, far or grazing."""
        profile = self.profile
        height, width = far.shape
        # 0 for white, 1 for black, rising steeply below a quarter of the range.
        dark = np.clip(1.0 - color[..., 1] * np.float32(1 / 56), 0, 1)
        # Change of the distance over one pixel against the pixel's own width on the surface.
        slope = (np.abs(cv2.Sobel(far, -1, 1, 0)) + np.abs(cv2.Sobel(far, -1, 0, 1))) * (
            np.float32(0.83 * width / 8.0)
        )
        graze = np.clip(slope / (far * np.float32(20.0)) - np.float32(0.2), 0, 1)
        chance = profile.dark * dark * np.minimum(1, far * np.float32(0.3)) + (
            profile.grazing * graze
        )
        # What is lost is lost in clumps, of about two pixels.
        luck = _patches(rng, height, width, 2)
        return np.asarray(luck < chance)


def _shadow(far: NDArray[np.float32], strength: float) -> NDArray[np.bool_]:
    """Pixels hidden from the projector: it sees only what moves the frontier of its rays."""
    rays = np.arange(far.shape[1], dtype=np.float32) + np.float32(strength) / far
    return np.asarray(rays < np.maximum.accumulate(rays, axis=1) - 1.0)


def _edges(
    far: NDArray[np.float32], reach: int, mixing: bool, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Near objects grown by up to ``reach`` pixels, by a width that wanders along the edge."""
    near = cv2.erode(far, np.ones((2 * reach + 1, 2 * reach + 1), np.uint8))
    height, width = far.shape
    share = _patches(rng, height, width, 1 if mixing else 8)
    if mixing:
        apart = cv2.dilate(far, np.ones((3, 3), np.uint8)) - near > 0.05 * near
        return np.where(apart, near + (far - near) * share, far)
    return np.where(share > 0.5, near, far)


def _register(
    far: NDArray[np.float32],
    lost: NDArray[np.bool_],
    offset: NDArray[np.float64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Move depth against color by a constant offset and half a pixel that wanders."""
    height, width = far.shape
    wander = rng.uniform(-0.5, 0.5, (2, -(-height // 16), -(-width // 16))).astype(np.float32)
    x, y = (cv2.resize(part, (width, height)) for part in wander)
    x += np.arange(width, dtype=np.float32) + np.float32(offset[0])
    y += (np.arange(height, dtype=np.float32) + np.float32(offset[1]))[:, None]
    stretch = cv2.BORDER_REPLICATE
    moved = cv2.remap(far, x, y, cv2.INTER_NEAREST, borderMode=stretch)
    gone = cv2.remap(lost.view(np.uint8), x, y, cv2.INTER_NEAREST, borderMode=stretch)
    return moved.astype(np.float32, copy=False), gone.astype(bool)


def _patches(rng: np.random.Generator, height: int, width: int, size: int) -> NDArray[np.float32]:
    """Uniform numbers from 0 to 1, one for each patch of ``size`` pixels."""
    small = rng.random((-(-height // size), -(-width // size)), np.float32)
    return np.asarray(
        cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST), np.float32
    )


def _grains(rng: np.random.Generator, height: int, width: int, size: int) -> NDArray[np.float32]:
    """Standard normal numbers in soft grains of ``size`` pixels."""
    small = rng.standard_normal((-(-height // size), -(-width // size)), np.float32)
    if size == 1:
        return small
    grains = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    # Interpolating averages neighbours, which shrinks the deviation to two thirds.
    return np.asarray(grains * np.float32(1.5), np.float32)

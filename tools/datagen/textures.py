"""Procedural pictures for walls, floors, frames and windows (all tile seamlessly but pictures)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = 512


def noise(
    rng: np.random.Generator, slope: float = 1.0, stretch: float = 1.0, size: int = SIZE
) -> NDArray[np.float64]:
    """Periodic noise with a spectrum falling as ``1 / f**slope``.

    Args:
        stretch: Above 1 draws the noise out along the columns, as grain in wood.

    Returns:
        size × size, mean 0, standard deviation 1.
    """
    rows, columns = np.meshgrid(np.fft.fftfreq(size), np.fft.fftfreq(size), indexing="ij")
    frequency = np.hypot(rows * stretch, columns / stretch)
    frequency[0, 0] = np.inf
    spectrum = np.fft.fft2(rng.normal(0, 1, (size, size))) / frequency**slope
    values = np.fft.ifft2(spectrum).real
    return np.asarray((values - values.mean()) / values.std())


def _rgba(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    """H×W×3 in [0, 1] as RGBA bytes."""
    color = np.clip(np.rint(values * 255), 0, 255).astype(np.uint8)
    return np.dstack([color, np.full(color.shape[:2], 255, np.uint8)])


def _soft(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), width), np.float64)


def muted(
    rng: np.random.Generator, low: float, high: float, saturation: float
) -> NDArray[np.float64]:
    """A random color of a brightness in [low, high], with at most ``saturation``."""
    hsv = np.array(
        [[[rng.uniform(0, 360), saturation * rng.random(), rng.uniform(low, high)]]], np.float32
    )
    return np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0, 0], np.float64)


def paint(rng: np.random.Generator, color: NDArray[np.float64]) -> NDArray[np.uint8]:
    """A painted wall: clouds and grain of a few grey levels."""
    shade = 1 + rng.uniform(0.003, 0.02) * noise(rng, 1.4) + rng.uniform(0, 0.012) * noise(rng, 0.2)
    return _rgba(color * shade[..., None])


def wallpaper(rng: np.random.Generator, color: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Stripes, dots or an ornament in a second color."""
    second = np.clip(color * rng.uniform(0.65, 1.25) + rng.normal(0, 0.04, 3), 0, 1)
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE * 2 * np.pi
    count = int(rng.integers(2, 10))
    kind = int(rng.integers(3))
    if kind == 0:
        pattern = np.sin(count * x) > rng.uniform(-0.7, 0.7)
    elif kind == 1:
        pattern = np.cos(count * x) * np.cos(count * y) > rng.uniform(0.2, 0.7)
    else:
        swirl = np.sin(count * x + 1.5 * np.sin(count * y)) + np.cos(
            count * y + np.sin(2 * count * x)
        )
        pattern = swirl > rng.uniform(0.3, 1.0)
    share = _soft(pattern.astype(np.float64), 1.2)[..., None]
    grain = 1 + 0.015 * noise(rng, 0.5)[..., None]
    return _rgba((color * (1 - share) + second * share) * grain)


def _grid(
    rng: np.random.Generator, rows: int, columns: int, shift: bool, joint: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Random value of each cell of a tiling and a mask that is 1 in the joints."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE
    row = (y * rows).astype(int)
    across = x * columns + (0.5 * (row % 2) if shift else 0.0)
    column = across.astype(int) % columns
    cells = rng.random((rows, columns))[row, column]
    near_row = np.abs((y * rows) % 1 - 0.5) > 0.5 - joint * rows
    near_column = np.abs(across % 1 - 0.5) > 0.5 - joint * columns
    return cells, (near_row | near_column).astype(np.float64)


def bricks(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A brick wall, red, brown or painted white."""
    color = np.array([0.55, 0.28, 0.2]) if rng.random() < 0.6 else np.array([0.85, 0.84, 0.8])
    cells, joints = _grid(rng, 16, 6, True, 0.0045)
    shade = 0.8 + 0.4 * cells + 0.08 * noise(rng, 0.7)
    mortar = np.array([0.7, 0.68, 0.64]) * (1 + 0.05 * noise(rng, 0.4)[..., None])
    joints = _soft(joints, 0.8)[..., None]
    return _rgba(color * shade[..., None] * (1 - joints) + mortar * joints)


def planks(rng: np.random.Generator, color: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Wooden planks along the columns."""
    count = int(rng.integers(4, 9))
    cells, joints = _grid(rng, 2, count, False, 0.002)
    grain = noise(rng, 1.1, 4.0)
    rings = np.sin(6 * noise(rng, 1.6, 3.0) + 20 * cells)
    shade = 0.85 + 0.3 * cells + 0.06 * grain + 0.04 * rings
    joints = _soft(joints, 0.8)[..., None]
    return _rgba(color * shade[..., None] * (1 - 0.55 * joints))


def tiles(rng: np.random.Generator, color: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Square tiles, plain or as a chessboard."""
    count = 2 * int(rng.integers(1, 4))
    cells, joints = _grid(rng, count, count, False, 0.004)
    shade = 0.95 + 0.1 * cells + 0.03 * noise(rng, 1.2)
    if rng.random() < 0.25:
        y, x = np.mgrid[:SIZE, :SIZE] * count // SIZE
        shade = shade * np.where((x + y) % 2 == 0, 1.0, rng.uniform(0.3, 0.7))
    joints = _soft(joints, 0.8)[..., None]
    return _rgba(color * shade[..., None] * (1 - joints) + 0.8 * color * joints)


def carpet(rng: np.random.Generator, color: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Short pile."""
    shade = 1 + 0.09 * noise(rng, 0.1) + 0.05 * noise(rng, 1.0)
    return _rgba(color * shade[..., None])


def concrete(rng: np.random.Generator) -> NDArray[np.uint8]:
    """Bare concrete with stains."""
    color = np.array([0.56, 0.55, 0.53]) * rng.uniform(0.7, 1.3)
    shade = 1 + 0.08 * noise(rng, 1.3) + 0.03 * noise(rng, 0.4)
    return _rgba(color * shade[..., None])


def artwork(rng: np.random.Generator) -> NDArray[np.uint8]:
    """A poster: a landscape, shapes or lines of writing."""
    height, width = 256, int(rng.integers(180, 360))
    canvas = np.ones((height, width, 3)) * muted(rng, 0.3, 1.0, 0.6)
    kind = int(rng.integers(3))
    if kind == 0:
        fade = np.linspace(0, 1, height)[:, None, None]
        canvas = muted(rng, 0.5, 0.9, 0.6) * (1 - fade) + muted(rng, 0.7, 1, 0.4) * fade
        canvas = np.repeat(canvas, width, 1)
        x = np.arange(width)
        for k in range(4):
            waves = np.sin(x / rng.uniform(15, 60) + rng.uniform(0, 6)) * rng.uniform(4, 18)
            ridge = height * (0.45 + 0.15 * k) + waves
            below = np.arange(height)[:, None] > ridge[None]
            canvas[below] = muted(rng, 0.5 - 0.1 * k, 0.7 - 0.1 * k, 0.7)
    elif kind == 1:
        for _ in range(int(rng.integers(4, 16))):
            color = tuple(float(v) for v in muted(rng, 0.1, 1.0, 0.9))
            center = (int(rng.integers(width)), int(rng.integers(height)))
            reach = int(rng.integers(8, 70))
            if rng.random() < 0.5:
                cv2.circle(canvas, center, reach, color, -1, cv2.LINE_AA)
            else:
                corner = (center[0] + reach, center[1] + int(rng.integers(8, 90)))
                cv2.rectangle(canvas, center, corner, color, -1)
    else:
        sheet = np.zeros((height, width), np.uint8)
        for row in range(30, height - 10, 26):
            text = "".join(rng.choice(list("abcdefghiklmnoprstuvw   ")) for _ in range(22))
            cv2.putText(sheet, text, (12, row), cv2.FONT_HERSHEY_SIMPLEX, 0.6, 255, 1, cv2.LINE_AA)
        share = sheet[..., None] / 255.0
        canvas = canvas * (1 - share) + muted(rng, 0.0, 0.3, 0.5) * share
    return _rgba(canvas * (1 + 0.02 * rng.normal(0, 1, (height, width, 1))))


def outside(rng: np.random.Generator) -> NDArray[np.uint8]:
    """What is seen through a window: a bright sky over blurred trees or houses."""
    fade = np.linspace(0, 1, 256)[:, None, None]
    sky = np.array([0.72, 0.84, 1.0]) * (1 - 0.5 * fade) + 0.5 * fade
    canvas = np.repeat(sky, 256, 1)
    green = noise(rng, 1.2, size=256)
    below = np.arange(256)[:, None] > 150 + 14 * green
    leaves = np.array([0.25, 0.36, 0.18]) * (1 + 0.25 * noise(rng, 0.8, size=256))[..., None]
    canvas = np.where(below[..., None], leaves, canvas)
    return _rgba(_soft(canvas, 2.0))

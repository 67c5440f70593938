from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.runtime.layout import BORDER, FrameBuffer, Layout


@settings(deadline=None)
@given(st.integers(1, 50), st.integers(1, 50))
def test_a_frame_is_padded_with_its_edge(height: int, width: int) -> None:
    random = np.random.default_rng(height * 100 + width)
    buffer = FrameBuffer(Layout(height, width))
    color, depth = buffer.color, buffer.depth
    for _ in range(2):  # what the last frame left must be gone
        image = random.integers(0, 256, (height, width, 3), np.uint8)
        metres = random.random((height, width), np.float32)
        buffer.fill(image, metres)
        around = [(BORDER, BORDER + -side % 16) for side in (height, width)]
        np.testing.assert_array_equal(color, np.pad(image, [*around, (0, 0)], mode="edge"))
        np.testing.assert_array_equal(depth, np.pad(metres, around, mode="edge"))
    assert color.shape[:2] == Layout(height, width).bordered


def test_large_frames_are_padded_to_larger_multiples() -> None:
    assert Layout(480, 640).bordered == (480 + 2 * BORDER, 640 + 2 * BORDER)
    assert Layout(481, 640).bordered == (496 + 2 * BORDER, 640 + 2 * BORDER)
    assert Layout(720, 1280).bordered == (720 + 2 * BORDER, 1296 + 2 * BORDER)
    assert FrameBuffer(Layout(720, 1280)).depth.shape == Layout(720, 1280).bordered


def test_a_frame_of_another_size_is_refused() -> None:
    buffer = FrameBuffer(Layout(48, 64))
    with pytest.raises(ValueError, match="made for"):
        buffer.fill(np.zeros((64, 48, 3), np.uint8), np.zeros((64, 48), np.float32))
    with pytest.raises(ValueError, match="made for"):
        buffer.fill(np.zeros((48, 64, 3), np.uint8), np.zeros((1, 64), np.float32))

"""Raw bytes to color and depth: every encoding, padding, byte order, and broken input."""

from __future__ import annotations

from array import array

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.errors import MessageError
from dart_ros.session.encodings import (
    COLOR_ENCODINGS,
    color_from_bytes,
    color_from_compressed,
    depth_from_bytes,
)

# Where red, green and blue lie in a pixel of each plain encoding.
CHANNELS = {
    "rgb8": (3, [0, 1, 2]),
    "bgr8": (3, [2, 1, 0]),
    "rgba8": (4, [0, 1, 2]),
    "bgra8": (4, [2, 1, 0]),
    "mono8": (1, [0, 0, 0]),
}
SIZES = st.tuples(st.integers(1, 12), st.integers(1, 12), st.integers(0, 9))


def padded(rows: np.ndarray, padding: int) -> tuple[bytes, int]:
    """Rows of bytes with ``padding`` bytes of rubbish behind each, and the step."""
    flat = rows.reshape(rows.shape[0], -1).view(np.uint8)
    rubbish = np.full((rows.shape[0], padding), 0xAB, np.uint8)
    return np.hstack([flat, rubbish]).tobytes(), flat.shape[1] + padding


@settings(deadline=None)
@given(st.sampled_from(sorted(CHANNELS)), SIZES, st.integers(0, 2**32 - 1))
def test_plain_encodings_hold_their_channels(
    encoding: str, size: tuple[int, int, int], seed: int
) -> None:
    height, width, padding = size
    channels, order = CHANNELS[encoding]
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    data, step = padded(pixels, padding)
    result = color_from_bytes(data, height, width, step, encoding)
    np.testing.assert_array_equal(result, pixels[..., order])
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous


@pytest.mark.parametrize(
    ("encoding", "luma_first"),
    [("yuv422", False), ("uyvy", False), ("yuv422_yuy2", True), ("yuyv", True)],
)
def test_yuv422_by_the_formula(encoding: str, luma_first: bool) -> None:
    rng = np.random.default_rng(4)
    height, width = 6, 8
    luma = rng.integers(16, 236, (height, width)).astype(np.uint8)
    chroma = rng.integers(90, 166, (height, width)).astype(np.uint8)  # U and V by turns
    pair = (luma, chroma) if luma_first else (chroma, luma)
    data, step = padded(np.stack(pair, axis=-1), 6)
    result = color_from_bytes(data, height, width, step, encoding)
    # BT.601 with 16..235 luma, written out.
    y = 1.164383 * (luma.astype(float) - 16)
    u = np.repeat(chroma[:, 0::2], 2, axis=1).astype(float) - 128
    v = np.repeat(chroma[:, 1::2], 2, axis=1).astype(float) - 128
    expected = np.stack([y + 1.596 * v, y - 0.391 * u - 0.813 * v, y + 2.018 * u], axis=-1)
    np.testing.assert_allclose(result, np.clip(expected, 0, 255), atol=1.5)


@settings(deadline=None)
@given(st.sampled_from(["16UC1", "mono16", "32FC1"]), SIZES, st.booleans(), st.integers(0, 999))
def test_depth_of_both_byte_orders(
    encoding: str, size: tuple[int, int, int], big_endian: bool, seed: int
) -> None:
    height, width, padding = size
    millimetres = np.random.default_rng(seed).integers(0, 9000, (height, width), np.uint16)
    order = ">" if big_endian else "<"
    stored = (
        (millimetres / 1000).astype(order + "f4")
        if encoding == "32FC1"
        else millimetres.astype(order + "u2")
    )
    data, step = padded(stored, padding)
    result = depth_from_bytes(data, height, width, step, encoding, 8.0, big_endian)
    known = (millimetres > 0) & (millimetres <= 8000)
    np.testing.assert_allclose(result, np.where(known, millimetres / 1000, -1.0), rtol=1e-6)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous and result.flags.writeable


def test_rgb8_without_padding_is_a_view() -> None:
    data = array("B", bytes(range(24)))
    result = color_from_bytes(data, 2, 4, 12, "rgb8")
    data[0] = 99
    assert result[0, 0, 0] == 99


@pytest.mark.parametrize("encoding", COLOR_ENCODINGS)
def test_bytes_missing(encoding: str) -> None:
    with pytest.raises(MessageError, match=r"holds 63 of 64 bytes"):
        color_from_bytes(bytes(63), 4, 4, 16, encoding)


@pytest.mark.parametrize(
    ("height", "width", "step", "encoding", "text"),
    [
        (4, 4, 12, "bayer_rggb8", "bayer_rggb8"),
        (4, 4, 12, "", "''"),
        (4, 4, 11, "rgb8", "step of 11"),
        (4, 4, -12, "rgb8", "step of -12"),
        (0, 4, 12, "rgb8", "4x0"),
        (4, 0, 0, "rgb8", "0x4"),
        (4, -4, 12, "rgb8", "-4x4"),
        (4, 3, 12, "yuv422", "odd width"),
    ],
)
def test_impossible_color(height: int, width: int, step: int, encoding: str, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        color_from_bytes(bytes(1000), height, width, step, encoding)


@pytest.mark.parametrize(
    ("step", "size", "encoding", "text"),
    [
        (8, 32, "rgb8", "rgb8"),
        (7, 32, "16UC1", "step of 7"),
        (8, 31, "16UC1", "31 of 32"),
        (8, 32, "32FC1", "step of 8"),
        (8, 0, "mono16", "0 of 32"),
    ],
)
def test_impossible_depth(step: int, size: int, encoding: str, text: str) -> None:
    with pytest.raises(MessageError, match=text):
        depth_from_bytes(bytes(size), 4, 4, step, encoding, 5.0)


@pytest.mark.parametrize("ending", [".jpg", ".png"])
def test_compressed_color(ending: str) -> None:
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[:, :30] = (200, 40, 90)
    rgb[:, 30:] = (20, 180, 60)
    data = cv2.imencode(ending, rgb[..., ::-1])[1].tobytes()
    result = color_from_compressed(data)
    assert np.abs(result[:, 5:25].astype(int) - rgb[:, 5:25]).max() < 6
    assert np.abs(result[:, 35:55].astype(int) - rgb[:, 35:55]).max() < 6
    # Cameras pad MJPEG with zeros.
    for padding in (500, 4097, 1_000_000):
        assert color_from_compressed(data + bytes(padding)).shape == rgb.shape
    for cut in (0, 1, 10, len(data) // 2, len(data) - 3):
        with pytest.raises(MessageError, match="cut short"):
            color_from_compressed(data[:cut])
    with pytest.raises(MessageError, match="cut short"):
        color_from_compressed(data[: len(data) // 2] + bytes(5000))

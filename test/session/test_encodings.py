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
@given(
    st.sampled_from(["rgb16", "bgr16", "rgba16", "bgra16", "mono16"]),
    SIZES,
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_sixteen_bits_become_eight(
    encoding: str, size: tuple[int, int, int], big_endian: bool, seed: int
) -> None:
    height, width, padding = size
    channels, order = CHANNELS[encoding.replace("16", "8")]
    wide = np.random.default_rng(seed).integers(0, 65536, (height, width, channels), np.uint16)
    data, step = padded(wide.astype(">u2" if big_endian else "<u2"), padding)
    result = color_from_bytes(data, height, width, step, encoding, big_endian)
    np.testing.assert_array_equal(result, wide[..., order] // 256)


@pytest.mark.parametrize("encoding", ["nv12", "nv21"])
def test_nv12_by_the_formula(encoding: str) -> None:
    rng = np.random.default_rng(5)
    height, width = 6, 8
    luma = rng.integers(16, 236, (height, width)).astype(np.uint8)
    u, v = (rng.integers(90, 166, (height // 2, width // 2)).astype(np.uint8) for _ in range(2))
    planes = (u, v) if encoding == "nv12" else (v, u)
    stored = np.vstack([luma, np.stack(planes, axis=-1).reshape(height // 2, width)])
    data, step = padded(stored, 3)
    result = color_from_bytes(data, height, width, step, encoding)
    y = 1.164383 * (luma.astype(float) - 16)
    u, v = (np.kron(plane, np.ones((2, 2))) - 128 for plane in (u, v))
    expected = np.stack([y + 1.596 * v, y - 0.391 * u - 0.813 * v, y + 2.018 * u], axis=-1)
    np.testing.assert_allclose(result, np.clip(expected, 0, 255), atol=1.5)
    with pytest.raises(MessageError, match="cut short"):
        color_from_bytes(data[: height * step], height, width, step, encoding)
    with pytest.raises(MessageError, match="odd height"):
        color_from_bytes(data, height - 1, width, step, encoding)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("pattern", ["rggb", "bggr", "gbrg", "grbg"])
def test_bayer_patterns_keep_their_colors(pattern: str, bits: int) -> None:
    """A plain orange through each pattern."""
    color = {"r": 240, "g": 130, "b": 20}
    tile = np.array([color[letter] for letter in pattern], np.uint16).reshape(2, 2)
    mosaic = np.tile(tile, (5, 6)) * (256 if bits == 16 else 1)
    data, step = padded(mosaic.astype(np.uint16 if bits == 16 else np.uint8), 5)
    result = color_from_bytes(data, 10, 12, step, f"bayer_{pattern}{bits}")
    assert result.shape == (10, 12, 3)
    assert (result == (240, 130, 20)).all()


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


@pytest.mark.parametrize("kind", [".png", ".jpg"])
def test_a_compressed_image_that_claims_gigabytes_is_refused_at_once(kind: str) -> None:
    data = bytearray(cv2.imencode(kind, np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    if kind == ".png":
        data[16:24] = (16000).to_bytes(4, "big") * 2
    else:
        at = data.index(b"\xff\xc0") + 5
        data[at : at + 4] = (16000).to_bytes(2, "big") * 2
    with pytest.raises(MessageError, match="can't be decoded"):
        color_from_compressed(bytes(data))


def test_rgb8_without_padding_is_a_view() -> None:
    data = array("B", bytes(range(24)))
    result = color_from_bytes(data, 2, 4, 12, "rgb8")
    data[0] = 99
    assert result[0, 0, 0] == 99


@pytest.mark.parametrize("encoding", COLOR_ENCODINGS)
def test_bytes_missing(encoding: str) -> None:
    whole = 4 * 32 * 3 // 2 if encoding.startswith("nv") else 4 * 32
    assert color_from_bytes(bytes(whole), 4, 4, 32, encoding).shape == (4, 4, 3)
    with pytest.raises(MessageError, match=f"holds {whole - 1} of {whole} bytes"):
        color_from_bytes(bytes(whole - 1), 4, 4, 32, encoding)


@pytest.mark.parametrize(
    ("height", "width", "step", "encoding", "text"),
    [
        (4, 4, 12, "nv24", "'nv24'.*image_proc"),
        (4, 4, 12, "rgb8\x1b[2J" + "x" * 10**6, r"'rgb8\\x1b\[2Jx{30,40}' can't"),
        (10**6, 1, 3, "rgb8", "1x1000000"),
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

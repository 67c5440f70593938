"""Compressed depth: what an encoder of the published formats writes is read back."""

from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.errors import MessageError
from dart_ros.session.compressed_images import depth_from_compressed

HEADER = struct.pack("<iff", 0, 0.0, 0.0)


def rvl(image: np.ndarray) -> bytes:
    """The paper's encoder, one pixel after the other."""
    nibbles: list[int] = []

    def put(value: int) -> None:
        while True:
            rest = value >> 3
            nibbles.append((value & 7) | (8 if rest else 0))
            value = rest
            if not value:
                return

    pixels = image.ravel().tolist()
    at, previous = 0, 0
    while at < len(pixels):
        start = at
        while at < len(pixels) and pixels[at] == 0:
            at += 1
        put(at - start)
        end = at
        while end < len(pixels) and pixels[end]:
            end += 1
        put(end - at)
        for value in pixels[at:end]:
            delta = value - previous
            put(2 * delta if delta >= 0 else -2 * delta - 1)
            previous = value
        at = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [
        int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16) for i in range(0, len(nibbles), 8)
    ]
    rows, columns = image.shape
    return struct.pack("<ii", columns, rows) + np.array(words, "<u4").tobytes()


def plain_rvl(data: bytes) -> np.ndarray | None:
    """The paper's decoder, one group after the other; None where the data is no image."""
    columns, rows = struct.unpack_from("<ii", data)
    words = np.frombuffer(data, "<u4", offset=8, count=(len(data) - 8) // 4).tolist()
    nibbles = iter([word >> shift & 15 for word in words for shift in range(28, -1, -4)])

    def take() -> int:
        value = 0
        for group in range(9):
            nibble = next(nibbles)
            value |= (nibble & 7) << 3 * group
            if nibble < 8:
                return value
        raise StopIteration

    pixels: list[int] = []
    previous = 0
    try:
        while len(pixels) < rows * columns:
            zeros, others = take(), take()
            if not zeros + others or len(pixels) + zeros + others > rows * columns:
                return None
            pixels += [0] * zeros
            for _ in range(others):
                folded = take()
                previous += (folded >> 1) ^ -(folded & 1)
                if not 0 <= previous < 65536:
                    return None
                pixels.append(previous)
    except StopIteration:
        return None
    return np.array(pixels, np.uint16).reshape(rows, columns)


def png(image: np.ndarray) -> bytes:
    return cv2.imencode(".png", image)[1].tobytes()


def metres(image: np.ndarray, limit: float = 100.0) -> np.ndarray:
    known = (image > 0) & (image <= limit * 1000)
    return np.where(known, image / np.float32(1000), -1)


images = st.tuples(
    st.integers(1, 9), st.integers(1, 40), st.integers(0, 2**32 - 1), st.floats(0, 1)
)


@settings(max_examples=60, deadline=None)
@given(images)
def test_millimetres_come_back_exactly(drawn: tuple[int, int, int, float]) -> None:
    rows, columns, seed, holes = drawn
    random = np.random.default_rng(seed)
    image = random.integers(0, 65536, (rows, columns), np.uint16)
    image[random.random(image.shape) < holes] = 0
    for kind, data in (("png", png(image)), ("rvl", rvl(image))):
        depth = depth_from_compressed(HEADER + data, f"16UC1; compressedDepth {kind}", 100.0)
        np.testing.assert_allclose(depth, metres(image), rtol=1e-6)
        assert depth.dtype == np.float32
    np.testing.assert_allclose(
        depth_from_compressed(png(image), "16UC1; png compressed", 8.0),
        metres(image, 8.0),
        rtol=1e-6,
    )


@pytest.mark.parametrize("kind", ["png", "rvl"])
def test_float_depth_is_quantized_by_its_inverse(kind: str) -> None:
    true = np.linspace(0.5, 9.0, 24 * 32, dtype=np.float32).reshape(24, 32)
    # compressed_depth_image_transport: A = z0 (z0 + 1), B = 1 - A / max.
    scale = 100.0 * 101.0
    offset = 1.0 - scale / 10.0
    stored = np.rint(scale / true + offset).astype(np.uint16)
    stored[0] = 0
    body = png(stored) if kind == "png" else rvl(stored)
    data = struct.pack("<iff", 0, scale, offset) + body
    depth = depth_from_compressed(data, f"32FC1; compressedDepth {kind}", 10.0)
    np.testing.assert_allclose(depth[1:], true[1:], rtol=0.005)
    assert (depth[0] == -1).all()


def test_old_messages_name_no_codec() -> None:
    image = np.full((4, 6), 1234, np.uint16)
    depth = depth_from_compressed(HEADER + png(image), "16UC1; compressedDepth", 10.0)
    np.testing.assert_allclose(depth, 1.234, rtol=1e-6)


def test_other_data_is_refused() -> None:
    good = HEADER + rvl(np.arange(1, 601, dtype=np.uint16).reshape(20, 30))
    form = "16UC1; compressedDepth rvl"
    for data in (
        b"",
        HEADER,
        HEADER + b"abc",
        HEADER + png(np.zeros((4, 4), np.uint8)),
        HEADER + struct.pack("<ii", -1, 4),
        HEADER + struct.pack("<ii", 2**30, 2**30),
        HEADER + struct.pack("<ii", 30, 20) + bytes(400),
        good[:-80],
    ):
        with pytest.raises(MessageError):
            depth_from_compressed(data, form, 10.0)
    for form in ("jpeg", "rgb8; jpeg compressed bgr8", "8UC1; compressedDepth png", "x" * 100_000):
        with pytest.raises(MessageError, match="/compressedDepth") as told:
            depth_from_compressed(good, form, 10.0)
        assert len(str(told.value)) < 300
    with pytest.raises(MessageError, match="quantized"):
        depth_from_compressed(
            struct.pack("<iff", 0, float("nan"), 0) + good[12:], "32FC1; compressedDepth rvl", 10.0
        )


def surfaces(random: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """Depth as a sensor has it: slopes, noise of some mm, and holes in runs."""
    walk = np.cumsum(random.integers(-12, 13, rows * columns)) + random.integers(300, 60000)
    image = np.clip(walk, 1, 65535).astype(np.uint16)
    edges = random.choice(
        rows * columns, min(rows * columns, 2 * int(random.integers(1, 9))), False
    )
    for start, end in np.sort(edges)[: edges.size // 2 * 2].reshape(-1, 2):
        image[start:end] = 0
    return image.reshape(rows, columns)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 40), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_rvl_of_surfaces_comes_back_exactly(rows: int, columns: int, seed: int) -> None:
    image = surfaces(np.random.default_rng(seed), rows, columns)
    data = rvl(image)
    plain = plain_rvl(data)
    assert plain is not None
    np.testing.assert_array_equal(plain, image)
    depth = depth_from_compressed(HEADER + data, "16UC1; compressedDepth rvl", 100.0)
    np.testing.assert_allclose(depth, metres(image), rtol=1e-6)


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 3))
def test_damaged_rvl_is_refused_or_read_as_the_plain_decoder_does(seed: int, kind: int) -> None:
    random = np.random.default_rng(seed)
    data = bytearray(rvl(surfaces(random, 12, 16)))
    if kind == 0:  # groups that go on and on
        at = random.integers(8, len(data) - 5)
        data[at : at + 5] = b"\x88" * 5
    elif kind == 1:
        del data[random.integers(8, len(data)) :]
    for _ in range(kind):
        if len(data) > 8:
            data[random.integers(8, len(data))] ^= 1 << random.integers(8)
    plain = plain_rvl(bytes(data))
    try:
        depth = depth_from_compressed(HEADER + data, "16UC1; compressedDepth rvl", 100.0)
    except MessageError:
        assert plain is None
    else:
        assert plain is not None
        np.testing.assert_allclose(depth, metres(plain), rtol=1e-6)

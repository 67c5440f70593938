from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.picture_files import decode_file, picture_size


def test_what_follows_the_end_of_a_jpeg_is_left_out_and_a_cut_one_refused() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    whole = cv2.imencode(".jpg", pixels)[1].tobytes()
    small = cv2.imencode(".jpg", pixels[:8, :8])[1].tobytes()
    # A segment before the pixels that holds a small picture, as cameras write it.
    preview = b"\xff\xe1" + (2 + len(small)).to_bytes(2, "big") + small
    with_preview = whole[:2] + preview + whole[2:]
    expected = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_COLOR)
    for data in (whole, whole + bytes(500), whole + b"a phone's film" * 50, with_preview):
        np.testing.assert_array_equal(decode_file(data, cv2.IMREAD_COLOR), expected)
    for data in (whole[:-2], whole[: len(whole) // 2], with_preview[: len(with_preview) - 500]):
        assert decode_file(data, cv2.IMREAD_COLOR) is None


@pytest.mark.parametrize(
    ("suffix", "flags"),
    [
        (".png", []),
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 50]),
        (".bmp", []),
    ],
)
@given(st.integers(1, 300), st.integers(1, 300), st.sampled_from([3, 4]))
@settings(max_examples=15, deadline=None)
def test_the_header_tells_the_size(
    suffix: str, flags: list[int], width: int, height: int, channels: int
) -> None:
    channels = 3 if suffix in (".jpg", ".bmp") else channels
    image = np.full((height, width, channels), 77, np.uint8)
    data = cv2.imencode(suffix, image, flags)[1].tobytes()
    assert picture_size(data) == (width, height)


def test_a_bomb_is_measured_without_being_decoded() -> None:
    data = bytearray(cv2.imencode(".png", np.zeros((4, 4), np.uint8))[1].tobytes())
    data[16:24] = (20000).to_bytes(4, "big") + (30000).to_bytes(4, "big")
    assert picture_size(bytes(data)) == (20000, 30000)


@given(st.binary(max_size=60), st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8", b"BM"]))
def test_what_is_no_picture_has_no_size_or_a_positive_one(data: bytes, start: bytes) -> None:
    size = picture_size(start + data)
    assert size is None or min(size) > 0
    assert picture_size(b"GIF89a" + data) is None

from __future__ import annotations

import cv2
import numpy as np

from dart_ros.picture_files import decode_file


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

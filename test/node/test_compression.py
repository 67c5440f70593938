"""Compressed messages: what image_transport's subscriber would make of them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy")

from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

from dart_ros.node.compression import compressed_message


def decoded(message: CompressedImage) -> np.ndarray:
    """As compressed_image_transport decodes: by the words of the format."""
    image = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_UNCHANGED)
    encoding, _, compression = message.format.partition(";")
    if encoding in ("rgb8", "rgba8") and "compressed bgr" in compression:
        code = cv2.COLOR_BGR2RGB if encoding == "rgb8" else cv2.COLOR_BGRA2RGBA
        image = cv2.cvtColor(image, code)
    return image


@pytest.mark.parametrize(("encoding", "channels"), [("mono8", 0), ("rgba8", 4)])
@pytest.mark.parametrize("size", [(1, 1), (7, 1), (48, 65)])
def test_png_is_lossless(encoding: str, channels: int, size: tuple[int, int]) -> None:
    shape = (*size, channels) if channels else size
    pixels = np.random.default_rng(1).integers(0, 256, shape, np.uint8)
    message = compressed_message(pixels, encoding, Header(frame_id="camera"), 80)
    assert message.header.frame_id == "camera" and message.format.startswith(f"{encoding}; png")
    assert np.array_equal(decoded(message), pixels)


def test_a_picture_is_jpeg_and_its_quality_counts() -> None:
    rows, columns = np.mgrid[:96, :128]
    pixels = np.dstack([2 * rows, columns, 255 - columns]).astype(np.uint8)
    sizes = []
    for quality in (30, 95):
        message = compressed_message(pixels, "rgb8", Header(), quality)
        assert message.format == "rgb8; jpeg compressed bgr8"
        assert np.abs(decoded(message).astype(int) - pixels).mean() < 6
        sizes.append(len(message.data))
    assert sizes[0] < sizes[1]


def test_other_encodings_are_refused() -> None:
    with pytest.raises(KeyError):
        compressed_message(np.zeros((4, 4), np.uint8), "16UC1", Header(), 80)

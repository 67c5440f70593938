"""Images as compressed messages, in the conventions of compressed_image_transport.

Alpha, trimap and foreground are PNG, for an edge must not ring and JPEG has no alpha; what is a
picture to look at is JPEG.
"""

from __future__ import annotations

from array import array

import cv2
import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import Header

_FORMATS = {
    "mono8": "mono8; png compressed mono8",
    "rgba8": "rgba8; png compressed bgra8",
    "rgb8": "rgb8; jpeg compressed bgr8",
}


def _png(filter_name: str, *more: int) -> list[int]:
    """Fast settings of PNG; the filter can be set from OpenCV 4.12 on, others take longer."""
    settings = [cv2.IMWRITE_PNG_COMPRESSION, 1, *more]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):
        settings += [cv2.IMWRITE_PNG_FILTER, getattr(cv2, f"IMWRITE_PNG_FILTER_{filter_name}")]
    return settings


_MAPS = _png("NONE")
_COLORS = _png("UP", cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)


def compressed_message(
    pixels: NDArray[np.uint8], encoding: str, header: Header, quality: int
) -> CompressedImage:
    """Compress an image.

    Args:
        pixels: ``H×W`` uint8 for mono8, ``H×W×3`` for rgb8, ``H×W×4`` for rgba8.
        encoding: mono8 and rgba8 become PNG, rgb8 becomes JPEG.
        header: of the message.
        quality: of JPEG, 1 to 100.

    Raises:
        KeyError: if the encoding is another one.
        ValueError: if OpenCV can't encode the image.
    """
    image_format = _FORMATS[encoding]
    if encoding == "mono8":
        done, data = cv2.imencode(".png", pixels, _MAPS)
    elif encoding == "rgba8":
        done, data = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA), _COLORS)
    else:
        settings = [cv2.IMWRITE_JPEG_QUALITY, quality]
        done, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), settings)
    if not done:
        raise ValueError(f"OpenCV can't encode an image of {pixels.shape} as {image_format}")
    content = array("B")
    # Assigning anything else goes through a check of each element.
    content.frombytes(data.tobytes())
    return CompressedImage(header=header, format=image_format, data=content)

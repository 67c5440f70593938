"""Uploaded pictures: checked, decoded, scaled, and stored under names of our own."""

from __future__ import annotations

import hashlib
from pathlib import Path

import cv2

from dart_ros.files import replacing
from dart_ros.picture_files import decode_file, picture_size

MOST_BYTES = 20_000_000
_MOST_PIXELS = 50_000_000
_LARGEST_SIDE = 3840
_MOST_KEPT = 20


class UploadError(Exception):
    """A picture is refused; the text tells why."""


def store_backdrop(data: bytes, folder: Path) -> Path:
    """Store a picture as JPEG, at most 3840 pixels wide and high.

    The name comes from the content; nothing of the upload decides where it lies. The oldest of more
    than twenty pictures are deleted.

    Args:
        data: a PNG, JPEG or WebP file.
        folder: where pictures are kept; made where it is missing.

    Raises:
        UploadError: if it is no picture, too large, or can't be stored.
    """
    size = picture_size(data)
    if size is None:
        raise UploadError("that is no PNG, JPEG or WebP picture")
    if size[0] * size[1] > _MOST_PIXELS:
        raise UploadError(
            f"the picture has {size[0]}x{size[1]} pixels: make it smaller than "
            f"{_MOST_PIXELS // 1_000_000} megapixels"
        )
    image = decode_file(data, cv2.IMREAD_COLOR)
    if image is None:
        raise UploadError("the picture is broken")
    scale = min(1.0, _LARGEST_SIDE / max(image.shape[:2]))
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    done, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 92])
    if not done:
        raise UploadError("the picture can't be stored as JPEG")
    file = folder / f"backdrop-{hashlib.sha256(data).hexdigest()[:16]}.jpg"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as temporary:
            temporary.write_bytes(encoded.tobytes())
        kept = sorted(folder.glob("backdrop-*.jpg"), key=lambda path: path.stat().st_mtime)
        for old in kept[:-_MOST_KEPT]:
            old.unlink(missing_ok=True)
    except OSError as error:
        raise UploadError(f"the picture can't be stored ({error.strerror})") from error
    return file

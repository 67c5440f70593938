"""The composite: the foreground over what the parameters ask for."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.files import read_regular
from dart_ros.node.parameters import LARGEST_PICTURE, Settings
from dart_ros.picture_files import decode_file
from dart_ros.session.compositing import (
    blend,
    blurred_room,
    cover,
    decontaminated,
    light_wrap,
)
from dart_ros.values import Frame, Matte

_Key = tuple[str, int, int]


class Compositor:
    """Makes composites, for the sender's thread.

    A picture is read and scaled in a thread of its own; until then the backdrop of before is shown.

    Args:
        on_problem: called with the reason if a picture can't be used, in that thread.
    """

    def __init__(self, on_problem: Callable[[str], None]) -> None:
        self._on_problem = on_problem
        self._reader = ThreadPoolExecutor(1, "backdrop")
        self._wanted: _Key | None = None
        self._color: tuple[tuple[int, ...], tuple[int, int]] | None = None
        self._plain: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)
        self._picture: tuple[_Key, NDArray[np.uint8]] | None = None

    def composite(self, frame: Frame, matte: Matte, settings: Settings) -> NDArray[np.uint8]:
        """The composite of one frame.

        Args:
            frame: its color is blurred where composite_blur asks for that.
            matte: with its foreground.
            settings: the composite's parameters.

        Returns:
            ``H×W×3`` uint8 RGB.
        """
        foreground, alpha = matte.foreground, matte.alpha
        if foreground is None:
            raise ValueError("a matte without foreground can't be composed: ask the predictor")
        if settings.composite_blur:
            backdrop = blurred_room(frame.color, alpha, settings.composite_blur)
        else:
            backdrop = self.backdrop(alpha.shape[1], alpha.shape[0], settings)
        if settings.composite_clean_edges:
            foreground = decontaminated(foreground, alpha)
        pixels = blend(foreground, alpha, backdrop)
        if settings.composite_light_wrap:
            pixels = light_wrap(pixels, alpha, backdrop, settings.composite_light_wrap)
        return pixels

    def backdrop(self, width: int, height: int, settings: Settings) -> NDArray[np.uint8]:
        """The chosen picture, cropped to cover ``width×height``, or the color."""
        if settings.composite_image:
            key = (settings.composite_image, width, height)
            if key != self._wanted:
                self._wanted = key
                self._reader.submit(self._read, key).add_done_callback(self._told)
            ready = self._picture
            if ready is not None and ready[1].shape[:2] == (height, width):
                return ready[1]
        else:
            self._wanted = self._picture = None
        plan = settings.composite_color, (height, width)
        if plan != self._color:
            self._color = plan
            self._plain = np.empty((height, width, 3), np.uint8)
            self._plain[:] = settings.composite_color
        return self._plain

    def close(self) -> None:
        """End the thread."""
        self._reader.shutdown(wait=False, cancel_futures=True)

    def _read(self, key: _Key) -> None:
        """Decode and scale a picture, in the thread for that."""
        path, width, height = key
        image = decode_file(read_regular(path, LARGEST_PICTURE), cv2.IMREAD_COLOR)
        if image is None:
            raise ValueError("it is broken")
        pixels = cover(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8), width, height)
        if key == self._wanted:
            self._picture = (key, pixels)

    def _told(self, done: Future[None]) -> None:
        if not done.cancelled() and (error := done.exception()) is not None:
            self._on_problem(f"composite_image can't be shown: {error}; name another picture")

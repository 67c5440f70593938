"""MODNet (Ke et al., AAAI 2022), from its official ONNX file."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.peers.onnx_session import onnx_session
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.values import Frame

SHORT_SIDE = 512
MULTIPLE = 32


class ModNet(Method):
    """Mattes people and knows no background."""

    name = "modnet"
    title = "MODNet"
    needs = "its ONNX file, such as modnet_photographic_portrait_matting.onnx"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        assert self.weights is not None
        self._session = onnx_session(self.weights, {"input"}, {"output"}, self.title)
        self.engine = "ONNX Runtime"

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        height, width = frame.depth.shape
        size = _inner_size(height, width)
        small = cv2.resize(frame.color, size[::-1], interpolation=cv2.INTER_AREA)
        image = (small.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
        (matte,) = self._session.run(["output"], {"input": np.ascontiguousarray(image)})
        alpha = cv2.resize(matte[0, 0], (width, height), interpolation=cv2.INTER_AREA)
        return np.rint(255 * np.clip(alpha, 0, 1)).astype(np.uint8)


def _inner_size(height: int, width: int) -> tuple[int, int]:
    """Height and width of the network's picture: its short side is 512, in multiples of 32."""
    if max(height, width) < SHORT_SIDE or min(height, width) > SHORT_SIDE:
        scale = SHORT_SIDE / min(height, width)
        height, width = int(height * scale), int(width * scale)
    return max(MULTIPLE, height // MULTIPLE * MULTIPLE), max(MULTIPLE, width // MULTIPLE * MULTIPLE)

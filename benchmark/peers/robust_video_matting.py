"""Robust Video Matting (Lin et al., WACV 2022), from its official ONNX file."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark.peers.onnx_session import onnx_session
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.values import Frame

STATES = ("r1", "r2", "r3", "r4")
LONG_SIDE = 512
"""The network's inner picture is about so long (the authors' advice)."""


class RobustVideoMatting(Method):
    """Knows no background; its memory goes on from frame to frame where they are consecutive."""

    name = "rvm"
    title = "Robust Video Matting"
    needs = "its ONNX file, such as rvm_mobilenetv3_fp32.onnx"

    def learn(self, empty: EmptyScene) -> None:
        """See :meth:`Method.learn`."""
        assert self.weights is not None
        inputs = {"src", "downsample_ratio", *(f"{state}i" for state in STATES)}
        outputs = {"pha", *(f"{state}o" for state in STATES)}
        self._session = onnx_session(self.weights, inputs, outputs, self.title)
        kinds = {x.name: x.type for x in self._session.get_inputs()}
        self._dtype = np.float16 if "float16" in kinds["src"] else np.float32
        self.engine = "ONNX Runtime"
        self._remembers = empty.consecutive
        self._memory: dict[str, NDArray[Any]] = {}
        self._forget()

    def alpha(self, frame: Frame) -> NDArray[np.uint8]:
        """See :meth:`Method.alpha`."""
        if not self._remembers:
            self._forget()
        image = frame.color.transpose(2, 0, 1)[None].astype(self._dtype) / self._dtype(255)
        ratio = np.array([min(1.0, LONG_SIDE / max(frame.depth.shape))], np.float32)
        feeds = {"src": image, "downsample_ratio": ratio, **self._memory}
        pha, *states = self._session.run(["pha", *(f"{state}o" for state in STATES)], feeds)
        self._memory = {f"{name}i": state for name, state in zip(STATES, states, strict=True)}
        return np.rint(255 * np.clip(pha[0, 0].astype(np.float32), 0, 1)).astype(np.uint8)

    def _forget(self) -> None:
        zero = np.zeros((1, 1, 1, 1), self._dtype)
        self._memory = {f"{state}i": zero for state in STATES}

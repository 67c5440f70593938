"""The whole way of a frame as one module: bytes in, bytes out, the captured scene inside.

This is what an engine compiles. Everything that depends on the background alone is constant, so
engines fold it away when they compile.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from dart_ros.method.network import Background, MattingNetwork
from dart_ros.method.trimap import depth_corrected_alpha, trimap


class MattingGraph(nn.Module):
    """Frame to alpha and foreground.

    Args:
        network: the network, in evaluation mode.
        background: the captured scene, 1×C×H×W.
        tiles: number of 16×16 tiles that are refined, None for all.
    """

    def __init__(self, network: MattingNetwork, background: Background, tiles: int | None) -> None:
        super().__init__()
        self._network = network
        self._tiles = tiles
        for name, value in background._asdict().items():
            self.register_buffer(name, value)

    def forward(self, color: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
        """Mattes one frame.

        Args:
            color: H×W×3 uint8 RGB.
            depth: H×W float32 metres, -1 where unknown.

        Returns:
            alpha H×W uint8 and foreground H×W×3 uint8 RGB.
        """
        background = Background(*(self.get_buffer(name) for name in Background._fields))
        image = color.permute(2, 0, 1)[None].float() * (1 / 255)
        output = self._network(image, depth[None, None], background, self._tiles)
        foreground = _to_bytes(output.foreground[0]).permute(1, 2, 0)
        return _to_bytes(output.alpha[0, 0]), foreground


class TrimapGraph(nn.Module):
    """Alpha and depth to the trimap (Eq. 12-13).

    Args:
        background: the captured scene, 1×C×H×W.
    """

    def __init__(self, background: Background) -> None:
        super().__init__()
        self.register_buffer("mean", background.mean)
        self.register_buffer("std", background.std)

    def forward(self, alpha: Tensor, depth: Tensor) -> Tensor:
        """Trimap of one frame.

        Args:
            alpha: H×W uint8.
            depth: H×W float32 metres, -1 where unknown.

        Returns:
            H×W uint8: 0 background, 128 unknown, 255 foreground.
        """
        corrected = depth_corrected_alpha(
            alpha[None, None].float() * (1 / 255),
            depth[None, None],
            self.get_buffer("mean"),
            self.get_buffer("std"),
        )
        return _to_bytes(trimap(corrected)[0, 0])


def _to_bytes(image: Tensor) -> Tensor:
    """[0, 1] to 0..255, rounded."""
    return (image * 255 + 0.5).to(torch.uint8)

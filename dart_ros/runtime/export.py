"""The graph as ONNX, for TensorRT and ONNX Runtime: one file for a size, scenes are its inputs."""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from dart_ros.errors import EngineError
from dart_ros.files import replacing
from dart_ros.method.config import NetworkConfig
from dart_ros.method.geometry import base_reduction, padded_sides
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.method.trimap import depth_corrected_alpha, trimap
from dart_ros.runtime.graph import MattingGraph
from dart_ros.runtime.resident import BORDER, Resident, prepare

OPSET = 17

FRAME = ("color", "depth")
SCENE = (*Resident._fields, "full_mean", "full_std")
OUTPUTS = ("alpha", "foreground", "trimap")

_GUESSED = 1 << 15
"""Bit of millimetres that tells that they are a guess."""

_HALF = ("plate", "near_plate", "stage1")
"""Resident inputs that are in half precision with the network; depth stays in float32."""


class WholeGraph(nn.Module):
    """A frame as it comes from the camera to all three results, as bytes.

    Args:
        network: the network, in evaluation mode.
        height: rows of the frames.
        width: columns of the frames.
        tiles: number of 16×16 tiles that are refined, None for all.
        half: whether the network runs in float16; the posterior and the trimap stay in float32.
    """

    def __init__(
        self,
        network: MattingNetwork,
        height: int,
        width: int,
        tiles: int | None,
        half: bool = False,
    ) -> None:
        super().__init__()
        self._size = height, width
        self._dtype = torch.float16 if half else torch.float32
        self._graph = MattingGraph(network, height, width, tiles, wire=self._dtype).to(self._dtype)
        rows, columns = padded_sides(height, width, base_reduction(height, width))
        self._border = (BORDER, BORDER + columns - width, BORDER, BORDER + rows - height)

    def learned(self) -> dict[str, NDArray[np.generic]]:
        """What differs between weights, by its name in the exported file."""
        return {name: value.numpy() for name, value in self.named_parameters()}

    def forward(self, color: Tensor, depth: Tensor, *scene: Tensor) -> tuple[Tensor, ...]:
        """Mattes one frame.

        Args:
            color: H×W×3 uint8 RGB.
            depth: H×W×2 uint8, what :func:`depth_bytes` makes.
            *scene: the inputs named :data:`SCENE`, see :func:`scene_inputs`.

        Returns:
            alpha H×W, foreground H×W×3 RGB and trimap H×W (0, 128, 255), all uint8.
        """
        *resident, mean, std = scene
        # Bytes can't be moved in TensorRT, so they become numbers first and bytes again last.
        picture = color.to(self._dtype).permute(2, 0, 1)[None]
        picture = F.pad(picture, self._border, mode="replicate")[0].permute(1, 2, 0)
        low_high = depth.to(torch.float32)
        metres = (low_high[..., 0] + 256 * low_high[..., 1]) * 1e-3
        guessed = _GUESSED * 1e-3
        sure = (metres > 0) & (metres < guessed)
        metres = torch.where(sure, metres, -1 - (metres - guessed).clamp(min=0))[None, None]
        live = F.pad(metres, self._border, mode="replicate")[0, 0]
        alpha, parts = self._graph(picture, live, *resident)
        foreground = self._graph.foreground(picture, *parts)
        sure = alpha.float().floor()[None, None] * (1 / 255)
        levels = trimap(depth_corrected_alpha(sure, metres, mean, std))[0, 0]
        # Reshaped to what they are, so that their sizes stand in the file.
        return (
            alpha.reshape(self._size).to(torch.uint8),
            foreground.reshape(*self._size, 3).to(torch.uint8),
            (levels * 255 + 0.5).reshape(self._size).to(torch.uint8),
        )


def depth_bytes(depth: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Depth as the graph reads it: the data of a ``16UC1`` image, since TensorRT has no such type.

    Args:
        depth: H×W metres, -1 where unknown, or as :func:`dart_ros.method.blind_sides.continued`
            returns it.

    Returns:
        H×W×2: the low and the high byte of millimetres, 0 where unknown, with the highest bit set
        in guesses; what is 32.767 m or farther becomes that.
    """
    metres = np.maximum(depth, -1 - depth)
    whole = np.rint(np.clip(metres * np.float32(1e3), 0, _GUESSED - 1)).astype("<u2", order="C")
    whole |= (depth < -1).astype("<u2") << np.uint16(15)
    return whole.view(np.uint8).reshape(*depth.shape, 2)


def scene_inputs(
    network: MattingNetwork, background: Background, half: bool = False
) -> dict[str, Tensor]:
    """The inputs that stay the same from frame to frame, by name, in the order of :data:`SCENE`.

    Args:
        network: the network whose weights the graph holds.
        background: the captured scene, 1×C×H×W.
        half: as the graph was exported.
    """
    resident = prepare(network, background)._asdict()
    values = {k: v.half() if half and k in _HALF else v for k, v in resident.items()}
    return {**values, "full_mean": background.mean, "full_std": background.std}


def onnx_bytes(
    network: MattingNetwork, height: int, width: int, tiles: int | None, half: bool = False
) -> bytes:
    """The graph as ONNX.

    Raises:
        EngineError: if torch can't export it.
    """
    graph = WholeGraph(network, height, width, tiles, half).eval()
    example = (
        torch.zeros(height, width, 3, dtype=torch.uint8),
        torch.zeros(height, width, 2, dtype=torch.uint8),
        *scene_inputs(network, Background.blank(height, width), half).values(),
    )
    file = io.BytesIO()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Sizes are meant to be constant; the exporter without dynamo needs no more packages.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                graph,
                example,
                file,  # type: ignore[arg-type]  # without dynamo it may be one in memory
                dynamo=False,
                opset_version=OPSET,
                input_names=[*FRAME, *SCENE],
                output_names=list(OUTPUTS),
            )
    except (ImportError, RuntimeError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise EngineError(
            f"the network can't be exported as ONNX ({error}): it takes torch 2.5 or newer, and "
            "pip install onnx"
        ) from error
    return file.getvalue()


def write_onnx(path: Path, content: bytes) -> None:
    """Writes a file whole or not at all.

    Raises:
        EngineError: if it can't be written.
    """
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(content)
    except OSError as error:
        raise EngineError(
            f"{path} can't be written ({error.strerror}): choose another place"
        ) from error


def weights_digest(network: MattingNetwork) -> str:
    """SHA-256 of a network's weights."""
    digest = hashlib.sha256()
    state: Mapping[str, Tensor] = network.state_dict()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(state[name].detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def graph_digest(config: NetworkConfig, *settings: object) -> str:
    """What tells exported graphs apart without exporting them, but for their weights.

    Args:
        config: the network's.
        *settings: what else decides the graph, such as size, tiles and precision.
    """
    digest = hashlib.sha256(repr((config, OPSET, torch.__version__, settings)).encode())
    package = Path(__file__).resolve().parents[1]
    for folder in ("method", "runtime"):
        for source in sorted((package / folder).glob("*.py")):
            digest.update(source.read_bytes())
    return digest.hexdigest()

"""The exported graphs: what goes into each stage, and whole models of a size and set of weights."""

from __future__ import annotations

import functools
import hashlib
import json
import tempfile
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import EngineError
from dart_ros.method.config import NetworkConfig
from dart_ros.method.geometry import STRIDE, TILE
from dart_ros.runtime.folding import (
    COARSE_CHANNELS,
    COLORS,
    HEAD,
    coarse_weights,
    refiner_weights,
)
from dart_ros.runtime.layout import HALF_RUN, STAGE1_RUN, Layout
from dart_ros.runtime.onnx_file import Shapes, complete
from dart_ros.runtime.weights import NetworkWeights

COARSE, TILES, REFINING, FOREGROUND = "coarse", "tiles", "refining", "foreground"
STAGES = (COARSE, TILES, REFINING, FOREGROUND)
"""The stages, in the order in which they run."""

INPUTS: dict[str, tuple[str, ...]] = {
    COARSE: ("color", "depth", "plate", "mean", "std", "known", "behind", "restless"),
    TILES: ("worst",),
    REFINING: (
        *("color", "depth", "refiner_plate", "refiner_behind", "refiner_stage1"),
        *("maps", "picture", "gain", "lit", "tiles"),
    ),
    FOREGROUND: ("color", "residual", "tiles", "refined"),
}
"""What each stage reads: the frame, the scene, and outputs of stages before it, by name."""

OUTPUTS: dict[str, tuple[str, ...]] = {
    COARSE: ("maps", "picture", "gain", "lit", "residual", "worst"),
    TILES: ("tiles",),
    REFINING: ("alpha", "refined"),
    FOREGROUND: ("foreground",),
}
"""What each stage makes."""

TABLES: dict[str, tuple[str, ...]] = {
    COARSE: ("light_samples",),
    TILES: (),
    REFINING: ("color_windows", "half_windows", "stage1_windows", "map_windows", "places"),
    FOREGROUND: ("places",),
}
"""What of :meth:`dart_ros.runtime.layout.Layout.tables` each stage looks up."""

UNKNOWN = -1
"""Size of an axis that may be any."""

TILE_COUNT = "tile_count"
"""Initializer of the number of tiles, int64 of one element."""


@dataclass(frozen=True)
class Graphs:
    """The graph files of a network.

    Attributes:
        folder: where they lie.
    """

    folder: Path

    def model(
        self,
        stage: str,
        layout: Layout,
        count: int,
        half: bool = False,
        weights: NetworkWeights | None = None,
    ) -> bytes:
        """A stage as a whole ONNX model.

        Args:
            stage: its name, such as :data:`COARSE`.
            layout: of the frames.
            count: number of refined tiles, 0 where it may be any.
            half: whether the network runs in float16.
            weights: of the network; None leaves them out.

        Raises:
            EngineError: if the file is missing.
        """
        shapes, tables = tensor_shapes(layout, count, half), layout.tables
        held: dict[str, NDArray[Any]] = {name: tables[name] for name in TABLES[stage]}
        if stage == TILES:
            held[TILE_COUNT] = np.array([count], np.int64)
        if weights is not None:
            held |= stage_weights(stage, weights, half)
        inputs = {name: shapes[name] for name in INPUTS[stage]}
        return complete(self._read(stage, layout, half), inputs, held)

    def digest(self, stage: str, layout: Layout, count: int, half: bool = False) -> str:
        """SHA-256 of a stage's model without its weights."""
        return hashlib.sha256(self.model(stage, layout, count, half)).hexdigest()

    def _read(self, stage: str, layout: Layout, half: bool) -> bytes:
        path = self.folder / file_name(stage, layout.reduction, half)
        try:
            return path.read_bytes()
        except OSError as error:
            raise EngineError(
                f"{path} can't be read ({error.strerror}): reinstall dart_ros"
            ) from error


def file_name(stage: str, reduction: int, half: bool) -> str:
    """Name of a stage's file.

    Args:
        stage: its name.
        reduction: 4 or 6; only the coarse stage depends on it.
        half: whether it computes in float16; the choice of tiles never does.
    """
    size = str(reduction) if stage == COARSE else ""
    return f"{stage}{size}{'_half' if half and stage != TILES else ''}.onnx"


def has_weights(stage: str) -> bool:
    """Whether a stage has learnt anything."""
    return stage in (COARSE, REFINING)


def stage_weights(stage: str, weights: NetworkWeights, half: bool) -> dict[str, NDArray[Any]]:
    """What a stage takes of the weights, by the names of its initializers."""
    if stage == COARSE:
        folded = coarse_weights(weights.state)
    elif stage == REFINING:
        folded = refiner_weights(weights.state, weights.config)
    else:
        return {}
    return {k: v.astype(np.float16 if half else np.float32) for k, v in folded.items()}


def tensor_shapes(layout: Layout, count: int, half: bool) -> Shapes:
    """Type and shape of everything that goes into or comes out of a stage.

    Args:
        layout: of the frames.
        count: number of refined tiles, 0 where it may be any.
        half: whether the network runs in float16.
    """
    net = np.float16 if half else np.float32
    wire = np.float16 if half else np.uint8
    padded, bordered, reduced = layout.padded, layout.bordered, layout.reduced
    quarter = padded[0] // 4, padded[1] // 4
    halves = bordered[0] // 2, bordered[1] // 2
    stage1 = (halves[0] - 2) * (halves[1] - 2)
    count = count or UNKNOWN
    pixels = quarter[0] * quarter[1]
    return {
        "color": (np.uint8, (*bordered, 3)),
        "depth": (np.float32, bordered),
        "plate": (net, (1, 3, *reduced)),
        **{
            name: (np.float32, (1, 1, *reduced))
            for name in ("mean", "std", "known", "behind", "restless")
        },
        "refiner_plate": (wire, (halves[0] * halves[1] // HALF_RUN, COLORS * HALF_RUN)),
        "refiner_behind": (np.float32, (halves[0] * halves[1] // HALF_RUN, HALF_RUN)),
        "refiner_stage1": (net, (stage1 // STAGE1_RUN, STAGE1_RUN * STAGE1_CHANNELS)),
        "maps": (net, (pixels, HEAD)),
        "picture": (wire, (16 * pixels // STRIDE, STRIDE)),
        "gain": (net, (3,)),
        "lit": (net, (layout.tiles, TILE, STRIDE)),
        "residual": (net, (1, 3, *quarter)),
        "worst": (np.float32, (layout.tiles,)),
        "tiles": (np.int32, (count,)),
        "refined": (net, (count, COARSE_CHANNELS, STRIDE, STRIDE)),
        "alpha": (np.uint8, padded),
        "foreground": (np.uint8, (*padded, 3)),
    }


def graphs_of(config: NetworkConfig) -> Graphs:
    """The graphs of a network: those that ship, or for another network than theirs new ones.

    Raises:
        EngineError: if the network isn't the one that ships and torch is missing.
    """
    if config == shipped_network(GRAPHS):
        return Graphs(GRAPHS)
    return _exported(config)


@functools.cache
def shipped_network(folder: Path) -> NetworkConfig | None:
    """The network whose graphs lie in a folder, None where there are none."""
    try:
        metadata = json.loads((folder / NETWORK).read_text(encoding="utf-8"))
        return NetworkConfig.from_metadata(metadata)
    except (OSError, ValueError, AttributeError):
        return None


GRAPHS = Path(str(files("dart_ros"))) / "data" / "graphs"
"""Where the graphs that ship lie."""

NETWORK = "network.json"
"""File beside the graphs that names their network, see
:meth:`dart_ros.method.config.NetworkConfig.metadata`."""

STAGE1_CHANNELS = 16
"""Of the refiner's first convolution."""

_folders: list[tempfile.TemporaryDirectory[str]] = []


@functools.cache
def _exported(config: NetworkConfig) -> Graphs:
    """Graphs that are exported by this process, for as long as it runs."""
    try:
        from dart_ros.export.graph_files import write_graphs
    except ImportError as error:
        raise EngineError(
            f"the graphs of this network don't ship, and can't be exported ({error}): install "
            "torch and onnx, or use the weights that ship"
        ) from error
    folder = tempfile.TemporaryDirectory(prefix="dart_ros_graphs_")
    _folders.append(folder)
    write_graphs(config, Path(folder.name))
    return Graphs(Path(folder.name))

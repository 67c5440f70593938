"""Writes the graphs of a network as ONNX, without sizes and weights.

What depends on them is appended when an engine reads a graph (:mod:`dart_ros.runtime.onnx_file`).
"""

from __future__ import annotations

import io
import json
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn

from dart_ros.errors import EngineError
from dart_ros.export.stages import CoarseStage, ForegroundStage, RefiningStage, TileStage
from dart_ros.files import replacing
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import MattingNetwork
from dart_ros.runtime.graphs import (
    COARSE,
    FOREGROUND,
    INPUTS,
    NETWORK,
    OUTPUTS,
    REFINING,
    TABLES,
    TILE_COUNT,
    TILES,
    file_name,
    tensor_shapes,
)
from dart_ros.runtime.layout import Layout
from dart_ros.runtime.weights import NetworkWeights

OPSET = 17

# Sizes of which the example frames are: one for each reduction.
_EXAMPLES = {4: Layout(48, 80), 6: Layout(624, 1008)}

_COUNT = 7
"""Tiles of the example."""


def write_graphs(config: NetworkConfig, folder: Path) -> None:
    """Writes the files of all stages, in both precisions.

    Args:
        config: the network's.
        folder: where to; it is made.

    Raises:
        EngineError: if torch can't export a stage, or a file can't be written.
    """
    weights = _random_weights(config)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for half in (False, True):
            for reduction in _EXAMPLES:
                stage = CoarseStage(weights, reduction, half)
                _write(stage, COARSE, reduction, half, folder)
            _write(RefiningStage(weights, half), REFINING, 4, half, folder)
            _write(ForegroundStage(half), FOREGROUND, 4, half, folder)
        _write(TileStage(_COUNT), TILES, 4, False, folder)
        text = json.dumps(config.metadata(), indent=2) + "\n"
        (folder / NETWORK).write_text(text, encoding="utf-8")
    except OSError as error:
        raise EngineError(
            f"the graphs can't be written to {folder} ({error.strerror}): choose another place"
        ) from error


def _write(module: nn.Module, stage: str, reduction: int, half: bool, folder: Path) -> None:
    content = graph_bytes(module.eval(), stage, _EXAMPLES[reduction], half)
    with replacing(folder / file_name(stage, reduction, half)) as temporary:
        temporary.write_bytes(content)


def graph_bytes(module: nn.Module, stage: str, layout: Layout, half: bool) -> bytes:
    """A stage as ONNX, without inputs, weights and tables.

    Args:
        module: the stage, see :mod:`dart_ros.export.stages`.
        stage: its name.
        layout: of an example frame.
        half: whether the module computes in float16.

    Raises:
        EngineError: if torch can't export it.
    """
    shapes, tables = tensor_shapes(layout, _COUNT, half), layout.tables
    names = (*INPUTS[stage], *TABLES[stage])
    zeros = {name: np.zeros(shape, dtype) for name, (dtype, shape) in shapes.items()}
    example = tuple(torch.from_numpy({**zeros, **tables}[name]) for name in names)
    axes = {
        name: {axis: f"{name}_{axis}" for axis in range(value.dim())}
        for name, value in zip(names, example, strict=True)
    }
    file = io.BytesIO()
    try:
        import onnx

        with torch.no_grad(), warnings.catch_warnings():
            # Checks of sizes are done while it is traced, and need not be in the graph.
            warnings.simplefilter("ignore")
            torch.onnx.export(
                module,
                example,
                file,  # type: ignore[arg-type]  # without dynamo it may be one in memory
                dynamo=False,
                opset_version=OPSET,
                input_names=list(names),
                output_names=list(OUTPUTS[stage]),
                dynamic_axes=axes,
            )
        model = onnx.load_model_from_string(file.getvalue())
    except (ImportError, RuntimeError, TypeError, torch.onnx.errors.OnnxExporterError) as error:
        raise EngineError(
            f"the network can't be exported as ONNX ({error}): it takes torch 2.5 or newer, and "
            "pip install onnx"
        ) from error
    learned = set(dict(module.named_parameters()))
    graph = model.graph
    there = {initializer.name for initializer in graph.initializer}
    if missing := learned - there:
        raise EngineError(f"weights are not in the exported graph by name: {sorted(missing)[:3]}")
    if stage == TILES:
        _free_count(graph)
    kept = [tensor for tensor in graph.initializer if tensor.name not in learned]
    del graph.initializer[:]
    graph.initializer.extend(kept)
    del graph.input[:]
    del graph.value_info[:]
    for node in graph.node:
        node.ClearField("doc_string")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _free_count(graph: object) -> None:
    """Lets the number of tiles be an initializer that is given later."""
    (node,) = (node for node in graph.node if node.op_type == "TopK")  # type: ignore[attr-defined]
    node.input[1] = TILE_COUNT


def _random_weights(config: NetworkConfig) -> NetworkWeights:
    """Weights that all differ: the exporter makes one of equal ones."""
    random = np.random.default_rng(0)
    state = {
        name: random.uniform(0.5, 1.5, tuple(value.shape)).astype(np.float32)
        for name, value in MattingNetwork(config).state_dict().items()
        if value.is_floating_point()
    }
    return NetworkWeights(config, state)

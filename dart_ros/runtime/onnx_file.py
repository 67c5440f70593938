"""Completes an exported graph without the ``onnx`` package: inputs of a size, weights, tables.

A graph file holds the nodes alone. Protocol buffers merge when they are concatenated, so what
belongs to a size and to weights is appended as a second ``ModelProto``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Shapes = Mapping[str, tuple[DTypeLike, tuple[int, ...]]]
"""Type and shape of tensors, by name."""

# TensorProto.DataType
_TYPES = {
    np.dtype(np.float32): 1,
    np.dtype(np.uint8): 2,
    np.dtype(np.int32): 6,
    np.dtype(np.int64): 7,
    np.dtype(np.float16): 10,
}

# Field numbers of onnx.proto.
_MODEL_GRAPH = 7
_GRAPH_INITIALIZER = 5
_GRAPH_INPUT = 11
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 8, 9
_VALUE_NAME, _VALUE_TYPE = 1, 2
_TYPE_TENSOR, _TENSOR_TYPE_ELEMENT, _TENSOR_TYPE_SHAPE = 1, 1, 2
_SHAPE_DIM, _DIM_VALUE = 1, 1


def complete(graph: bytes, inputs: Shapes, initializers: Mapping[str, NDArray[Any]]) -> bytes:
    """The whole model: a graph with its inputs and everything that it holds.

    Args:
        graph: a file of :mod:`dart_ros.export`, a ``ModelProto`` without inputs.
        inputs: type and shape of each input, in order; -1 for a side that may be any.
        initializers: weights and tables by name.

    Raises:
        KeyError: if a type is none of float16, float32, uint8, int32 and int64.
    """
    parts = [_message(_GRAPH_INPUT, _value(name, *kind)) for name, kind in inputs.items()]
    parts += [_message(_GRAPH_INITIALIZER, _tensor(*item)) for item in initializers.items()]
    return graph + _message(_MODEL_GRAPH, b"".join(parts))


def _value(name: str, dtype: DTypeLike, shape: Iterable[int]) -> bytes:
    # A dimension without a value may be any.
    values = (_number(_DIM_VALUE, side) if side >= 0 else b"" for side in shape)
    dims = (_message(_SHAPE_DIM, value) for value in values)
    element = _number(_TENSOR_TYPE_ELEMENT, _TYPES[np.dtype(dtype)])
    tensor = element + _message(_TENSOR_TYPE_SHAPE, b"".join(dims))
    kind = _message(_VALUE_TYPE, _message(_TYPE_TENSOR, tensor))
    return _message(_VALUE_NAME, name.encode()) + kind


def _tensor(name: str, value: NDArray[Any]) -> bytes:
    dims = b"".join(_number(_TENSOR_DIMS, side) for side in value.shape)
    kind = _number(_TENSOR_TYPE, _TYPES[value.dtype])
    # The file is little-endian whatever the machine.
    raw = np.ascontiguousarray(value, value.dtype.newbyteorder("<")).tobytes()
    return dims + kind + _message(_TENSOR_NAME, name.encode()) + _message(_TENSOR_RAW, raw)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _varint(value: int) -> bytes:
    made = bytearray()
    while value > 0x7F:
        made.append(value & 0x7F | 0x80)
        value >>= 7
    made.append(value)
    return bytes(made)

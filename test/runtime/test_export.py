"""Tests of how frames enter the exported graph."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from dart_ros.fitting.weights import load_network
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.export import WholeGraph, depth_bytes, onnx_bytes, scene_inputs

SIZE = (32, 48)


@given(
    arrays.arrays(
        np.uint16,
        st.tuples(st.integers(1, 5), st.integers(1, 5)),
        elements=st.integers(0, 32767),
    )
)
def test_bytes_are_those_of_the_sensors_image(millimetres: np.ndarray) -> None:
    metres = np.where(millimetres > 0, millimetres * np.float32(1e-3), np.float32(-1))
    sent = millimetres.astype("<u2").tobytes()
    assert depth_bytes(metres.astype(np.float32)).tobytes() == sent


@pytest.mark.parametrize(
    ("metres", "millimetres"),
    [(-1.0, 0), (0.0014, 1), (1.2346, 1235), (32.767, 32767), (80, 32767), (-2.5, 32768 + 1500)],
)
def test_what_is_unknown_or_far_or_guessed(metres: float, millimetres: int) -> None:
    low, high = depth_bytes(np.full((1, 1), metres, np.float32))[0, 0]
    assert int(low) + 256 * int(high) == millimetres


@torch.no_grad()
def test_the_graph_mattes_what_the_method_mattes() -> None:
    """Among the depths are unknown ones, guesses, and some whose low byte is 0."""
    torch.manual_seed(0)
    network = MattingNetwork().eval()
    # Untrained, alpha is near 1/2 everywhere.
    network.refiner.head.weight *= 30
    random = np.random.default_rng(0)
    color = random.integers(0, 256, (*SIZE, 3), np.uint8)
    some = np.array([-1.0, 0.001, 0.255, 0.256, 1.024, 1.5, 3.0, -2.2, -1.256], np.float32)
    metres = random.choice(some, SIZE)
    depth = torch.from_numpy(metres.astype(np.float32))[None, None]
    flat = torch.ones(1, 1, *SIZE)
    # Bytes, as a plate is stored; mostly of the frame's color, or alpha would be 1 everywhere.
    plate = torch.from_numpy(color // 2 + 60).permute(2, 0, 1)[None].float() / 255
    background = Background(plate, 1.6 * flat, 0.02 * flat, flat)
    picture = torch.from_numpy(color).permute(2, 0, 1)[None].float() / 255
    expected = network(picture, depth, background).alpha[0, 0]
    graph = WholeGraph(network, *SIZE, tiles=None).eval()
    data = torch.from_numpy(depth_bytes(metres.astype(np.float32)))
    scene = scene_inputs(network, background).values()
    alpha, _, _ = graph(torch.from_numpy(color), data, *scene)
    assert expected.std() > 0.01
    assert (alpha.float() / 255 - expected).abs().max() < 0.003


def constants(onnx: Any, network: MattingNetwork) -> dict[str, np.ndarray]:
    model = onnx.load_from_string(onnx_bytes(network, *SIZE, 2, half=True))
    return {x.name: onnx.numpy_helper.to_array(x) for x in model.graph.initializer}


def test_all_that_differs_between_weights_is_in_the_file_by_name() -> None:
    """So an engine can be refitted with a scene's weights without a new export."""
    onnx = pytest.importorskip("onnx")
    trained = load_network()
    other = copy.deepcopy(trained)
    with torch.no_grad():
        for value in other.parameters():
            value += 0.01 * torch.randn_like(value)
    found, changed = constants(onnx, trained), constants(onnx, other)
    learned = WholeGraph(other, *SIZE, 2, half=True).learned()
    assert found.keys() == changed.keys()
    different = {k for k in found if not np.array_equal(found[k], changed[k], equal_nan=True)}
    assert different == set(learned)
    for name, value in learned.items():
        np.testing.assert_array_equal(changed[name], value)
        assert changed[name].dtype == np.float16

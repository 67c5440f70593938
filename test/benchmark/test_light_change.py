"""What the benchmark of light makes of frames, and that it shows what it is for."""

from __future__ import annotations

import numpy as np

from benchmark.light_change import LIGHTS, Light, lit, measure
from dart_ros.values import Camera, Frame


def test_another_light_by_hand() -> None:
    color = np.array([[[100, 100, 100], [0, 250, 255]]], np.uint8)
    depth, camera = np.ones((1, 2), np.float32), Camera(2, 1, 1.0, 1.0, 0.5, 0.0)
    frame = Frame(color, depth, 7, camera)
    found = lit(frame, Light(1.15, 1.0, 0.85))
    assert found.color.tolist() == [[[115, 100, 85], [0, 250, 217]]]
    assert lit(frame, Light(1.25, 1.25, 1.25)).color.tolist() == [[[125, 125, 125], [0, 255, 255]]]
    assert (found.stamp, found.depth is depth) == (7, True)


def test_light_is_taken_out() -> None:
    found = measure(stride=60, backend="torch")
    assert found.keys() == LIGHTS.keys()
    recorded = found["as recorded"]["dart"]
    assert 0.2 < recorded < 3
    for light, scores in found.items():
        assert abs(scores["dart"] - recorded) < 0.1 * recorded, light
    assert found["0.6 times as bright"]["without"] > 1.1 * recorded

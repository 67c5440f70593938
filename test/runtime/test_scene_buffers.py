"""What is prepared of a scene, against the method's own functions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.fitting.weights import load_network
from dart_ros.method.geometry import base_reduction
from dart_ros.method.network import Background, padded, reduced_color, reduced_depth
from dart_ros.method.posterior import depth_channels, guessed_background
from dart_ros.method.refiner import half_size
from dart_ros.runtime.layout import BORDER
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.scene_buffers import guessed_background as guessed
from dart_ros.runtime.weights import load_weights


def scene(height: int, width: int, seed: int = 0) -> CapturedBackground:
    random = np.random.default_rng(seed)
    plate = random.integers(0, 256, (height, width, 3), np.uint8)
    mean = random.uniform(1, 5, (height, width)).astype(np.float32)
    known, restless = (random.random((height, width)) > 0.3 for _ in range(2))
    return CapturedBackground(plate, mean, 0.01 * mean, known, restless)


def of(background: CapturedBackground) -> Background:
    """The same for the method's functions."""
    return Background.of_images(
        *(background.plate, background.mean, background.std),
        *(background.known, background.restless),
    )


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([0.0, 0.02, 0.5, 1.0]))
def test_unknown_depth_is_guessed_as_the_method_does(h: int, w: int, share: float) -> None:
    random = np.random.default_rng(h * 100 + w)
    mean = random.uniform(1, 5, (h, w)).astype(np.float32)
    known = random.random((h, w)) < share
    tensors = (torch.from_numpy(x)[None, None] for x in (mean, known.astype(np.float32)))
    expected = guessed_background(*tensors)[0, 0].numpy()
    np.testing.assert_allclose(guessed(mean, known), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (61, 97), (624, 1000)])
def test_the_base_network_sees_the_methods_background(size: tuple[int, int]) -> None:
    background, reduction = scene(*size), base_reduction(*size)
    found = scene_buffers(load_weights(), background)
    plate, mean, std, known, restless = (padded(x, reduction) for x in of(background))
    expected = {
        "plate": reduced_color(plate, reduction),
        "mean": reduced_depth(mean, reduction),
        "std": reduced_depth(std, reduction),
        "known": reduced_depth(known, reduction),
        "behind": reduced_depth(guessed_background(mean, known), reduction),
        "restless": reduced_depth(restless, reduction),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value.numpy(), rtol=1e-5, atol=1e-5)


def test_the_scenes_part_of_the_refiner_is_the_methods() -> None:
    """Stage one of the refiner, over a picture of which only what the scene knows isn't 0."""
    background = scene(48, 64)
    captured = of(background)
    depth = depth_channels(torch.full((1, 1, 48, 64), -1.0), captured.mean, captured.known)
    picture = torch.cat([torch.zeros_like(captured.plate), captured.plate, depth], dim=1)
    half = half_size(F.pad(picture, (BORDER,) * 4, mode="replicate"))
    half[:, 24:36] = 0  # the difference between frame and plate, which comes with a frame
    maps = torch.zeros(1, 15, *half.shape[-2:])
    stage1 = load_network().refiner.stage1
    with torch.inference_mode():
        expected = stage1[1](stage1[0](torch.cat([maps, half], dim=1)))[0].permute(1, 2, 0).numpy()
    found = scene_buffers(load_weights(), background)["refiner_stage1"]
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-4)

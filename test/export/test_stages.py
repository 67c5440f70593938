"""The deployed graph against the method, on frames of cameras."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from dart_ros.export.stages import CoarseStage, RefiningStage, TileStage
from dart_ros.fitting.weights import deployed, load_network
from dart_ros.method.config import NetworkConfig
from dart_ros.method.geometry import tile_count
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.graphs import COARSE, INPUTS, OUTPUTS, REFINING, TABLES, TILES
from dart_ros.runtime.layout import FrameBuffer, Layout
from dart_ros.runtime.openvino_engine import OpenVinoEngine
from dart_ros.runtime.scene_buffers import CapturedBackground, scene_buffers
from dart_ros.runtime.tile_choice import SURE
from dart_ros.runtime.torch_engine import TorchEngine
from dart_ros.session.capture import BackgroundCapture
from dart_ros.session.predictor import background_of
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.frames import empty_frames
from dart_ros.values import Frame

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "dart_ros" / "data" / "demo"
OFFICE = ROOT.parent / "shared" / "real" / "office"


def frames_of(path: Path) -> tuple[CapturedBackground, list[Frame]]:
    """A recording's background, and two frames with somebody in them."""
    recording = open_recording(str(path), max_depth=10.0)
    capture = BackgroundCapture(6, 10.0)
    for frame in empty_frames(recording, 6):
        capture.add(frame)
    busy = len(recording) // 2, len(recording) * 3 // 4
    return background_of(capture.finish("test")), [recording[index] for index in busy]


def resized(background: CapturedBackground, size: tuple[int, int]) -> CapturedBackground:
    assert background.restless is not None
    plate, mean, std, known, restless = (
        cv2.resize(image, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
        for image in (
            *(background.plate, background.mean, background.std),
            *(background.known.astype(np.uint8), background.restless.astype(np.uint8)),
        )
    )
    return CapturedBackground(plate, mean, std, known > 0, restless > 0)


def by_the_method(
    network: MattingNetwork, background: CapturedBackground, frame: Frame, tiles: int | None
) -> tuple[np.ndarray, np.ndarray]:
    color = torch.from_numpy(frame.color / np.float32(255)).permute(2, 0, 1)[None]
    scene = Background.of_images(
        *(background.plate, background.mean, background.std),
        *(background.known, background.restless),
    )
    with torch.inference_mode():
        output = network(color, torch.from_numpy(frame.depth)[None, None], scene, tiles)
    alpha, foreground = output.alpha[0, 0].numpy(), output.foreground[0].permute(1, 2, 0).numpy()
    return np.floor(255 * alpha + 0.5), np.floor(255 * foreground + 0.5)


@pytest.mark.parametrize("path", [DEMO, OFFICE], ids=["demo", "office"])
def test_deployed_mattes_are_the_methods(path: Path) -> None:
    """Tolerance: mean difference 0.01 of 255, one pixel in 10,000 over 2 of 255."""
    if not path.exists():
        pytest.skip("the recording ../shared/real/office is not here")
    network = load_network()
    background, frames = frames_of(path)
    tiles = tile_count(*background.mean.shape)
    engine = TorchEngine(deployed(network), background, tiles, threads=1)
    for frame in frames:
        expected = by_the_method(network, background, frame, tiles)
        assert 0.01 < (expected[0] > 128).mean() < 0.9, "there is somebody in the frame"
        made = engine.run(frame.color, frame.depth)
        for found, wanted in zip((made.alpha, made.foreground), expected, strict=True):
            assert found is not None
            difference = np.abs(found - wanted)
            assert difference.mean() < 0.01
            assert (difference > 2).mean() < 1e-4


def test_deployed_mattes_of_large_frames_are_the_methods() -> None:
    """At a sixth of the sides; same tolerance."""
    network = load_network()
    small, frames = frames_of(DEMO)
    size = (721, 962)
    background = resized(small, size)
    tiles = tile_count(*size)
    engine = TorchEngine(deployed(network), background, tiles, threads=1)
    for frame in frames:
        large = replace(
            frame,
            color=cv2.resize(frame.color, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT),
            depth=cv2.resize(frame.depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT),
        )
        expected = by_the_method(network, background, large, tiles)
        assert 0.01 < (expected[0] > 128).mean() < 0.9, "there is somebody in the frame"
        made = engine.run(large.color, large.depth)
        for found, wanted in zip((made.alpha, made.foreground), expected, strict=True):
            assert found is not None
            difference = np.abs(found - wanted)
            assert difference.mean() < 0.01
            assert (difference > 2).mean() < 1e-4


@pytest.mark.parametrize("gain", [(1.25, 1.25, 1.25), (0.6, 0.6, 0.6), (1.15, 1.0, 0.85)])
def test_exposure_and_white_balance_leave_the_matte_as_it_is(
    gain: tuple[float, float, float],
) -> None:
    network = load_network()
    background, frames = frames_of(DEMO)
    tiles = tile_count(*background.mean.shape)
    engine = TorchEngine(deployed(network), background, tiles, threads=1)
    for frame in frames:
        color = (frame.color * np.array(gain)).clip(0, 255).round().astype(np.uint8)
        lit = replace(frame, color=color)
        expected, before = by_the_method(network, background, lit, tiles)
        made = engine.run(lit.color, lit.depth)
        alpha = made.alpha
        for found, wanted in ((alpha, expected), (made.foreground, before)):
            assert np.abs(found - wanted).mean() < 0.01
        same = engine.run(frame.color, frame.depth).alpha
        # Without what takes the light out it is 0.7 to 1.8.
        assert np.abs(alpha.astype(int) - same).mean() < 0.1


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> EngineCache:
    """Both recordings are of one size, and to compile takes long."""
    return EngineCache(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize("path", [DEMO, OFFICE], ids=["demo", "office"])
def test_openvino_leaves_out_what_nobody_sees(path: Path, cache: EngineCache) -> None:
    """Tolerance: mean difference 0.02 of 255, 5 pixels in 10,000 over 2 of 255.

    Tiles of which the network is sure are not refined: hardly any in an empty view.
    """
    pytest.importorskip("openvino")
    if not path.exists():
        pytest.skip("the recording ../shared/real/office is not here")
    network = load_network()
    background, frames = frames_of(path)
    tiles = tile_count(*background.mean.shape)
    engine = OpenVinoEngine(deployed(network), background, tiles, 1, cache)
    if "bf16" in engine.name:
        pytest.skip("bfloat16 moves more than what is left out")
    for frame in frames:
        expected, _ = by_the_method(network, background, frame, tiles)
        difference = np.abs(engine.run(frame.color, frame.depth).alpha - expected)
        assert difference.mean() < 0.02
        assert (difference > 2).mean() < 0.0005
    empty = open_recording(str(path), max_depth=10.0)[0]
    engine.run(empty.color, empty.depth)
    assert (engine._output("worst") > SURE).sum() <= min(engine._counts)


@pytest.mark.parametrize("size", [(480, 640), (600, 1024)], ids=["a quarter", "a sixth"])
@torch.inference_mode()
def test_half_precision_mattes_what_the_method_mattes(size: tuple[int, int]) -> None:
    """As TensorRT gets it. Tolerance: mean difference 0.02 of 255, one pixel in 1,000 over 2."""
    network = load_network()
    background, frames = frames_of(DEMO)
    tiles = tile_count(*size)
    background = resized(background, size)
    color = cv2.resize(frames[0].color, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    depth = cv2.resize(frames[0].depth, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    expected, _ = by_the_method(network, background, Frame(color, depth, 0, None), tiles)
    weights, layout = deployed(network), Layout(*size)
    frame = FrameBuffer(layout)
    frame.fill(color, depth)
    given = {"color": frame.color, "depth": frame.depth, **layout.tables}
    values = {
        name: torch.from_numpy(array)
        for name, array in (given | scene_buffers(weights, background, half=True)).items()
    }
    stages = {
        COARSE: CoarseStage(weights, layout.reduction, half=True),
        TILES: TileStage(tiles or layout.tiles),
        REFINING: RefiningStage(weights, half=True),
    }
    for name, stage in stages.items():
        made = stage(*(values[key] for key in (*INPUTS[name], *TABLES[name])))
        values |= zip(OUTPUTS[name], made if isinstance(made, tuple) else [made], strict=True)
    found = values["alpha"][: size[0], : size[1]]
    difference = np.abs(found.numpy().astype(np.float32) - expected)
    assert (expected > 128).mean() > 0.01, "there is somebody in the frame"
    assert difference.mean() < 0.02 and (difference > 2).mean() < 0.001


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(depth_in_refiner=False),
        NetworkConfig(depth_in_base=False),
        NetworkConfig(depth_in_error=False),
        NetworkConfig(depth_in_light=False),
        NetworkConfig(depth_in_shadow=False),
        NetworkConfig(restless_in_base=True),
        NetworkConfig("resnet50"),
    ],
    ids=[
        "no depth in refiner",
        "no depth in base",
        "no depth in error",
        "no depth in light",
        "no depth in shadow",
        "restless places in base",
        "resnet50",
    ],
)
@pytest.mark.parametrize("tiles", [5, None])
def test_every_network_can_be_deployed(config: NetworkConfig, tiles: int | None) -> None:
    torch.manual_seed(0)
    network = MattingNetwork(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            # Else the signal dies out in the depth of a network that has learnt nothing.
            module.running_var.fill_(0.3)
    random = np.random.default_rng(0)
    height, width = 50, 70
    background = CapturedBackground(
        10 * random.integers(6, 26, (height, width, 3), np.uint8),  # seven tenths are whole
        random.uniform(3, 4, (height, width)).astype(np.float32),
        np.full((height, width), 0.03, np.float32),
        random.random((height, width)) > 0.2,
        random.random((height, width)) > 0.5,
    )
    depth = random.uniform(1, 4, (height, width)).astype(np.float32)
    depth[random.random(depth.shape) < 0.2] = -1
    color = random.integers(0, 256, (height, width, 3), np.uint8)
    # The right half is background in shadow.
    color[:, 32:] = background.plate[:, 32:] // 10 * 7
    depth[:, 32:] = background.mean[:, 32:]
    frame = Frame(color, depth, 0, None)
    engine = TorchEngine(deployed(network), background, tiles, threads=1)
    made = engine.run(frame.color, frame.depth)
    found = made.alpha, made.foreground
    assert made.alpha[:, 40:].any() != config.depth_in_shadow
    for image, wanted in zip(found, by_the_method(network, background, frame, tiles), strict=True):
        assert image is not None and wanted.std() > 1
        assert np.abs(image - wanted).max() <= 1

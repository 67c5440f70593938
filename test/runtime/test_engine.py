from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import nn

from dart_ros.errors import EngineError
from dart_ros.fitting.weights import deployed
from dart_ros.method.config import HIDDEN_CHANNELS
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime import cuda
from dart_ros.runtime.engine import BACKENDS, Engine, automatic, create_engine, must_compile
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.openvino_engine import OpenVinoEngine
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.torch_engine import TorchEngine
from dart_ros.runtime.weights import NetworkWeights
from dart_ros.values import Matte

POSTERIOR = 32 + 6
"""The head's input of the posterior: after the decoder's 32 features and six colors."""


@dataclass(frozen=True)
class Room:
    """A wall, a shelf before it, and frames of a body that walks by."""

    background: CapturedBackground
    frames: list[tuple[NDArray[np.uint8], NDArray[np.float32]]]


def make_room(height: int, width: int, frames: int = 2, seed: int = 0) -> Room:
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    texture = cv2.resize(random.random((9, 12, 3)), (width, height), interpolation=cv2.INTER_CUBIC)
    stripes = 0.1 * np.sin(columns / 5)[..., None]
    captured = np.round(255 * np.clip(0.25 + 0.5 * texture + stripes, 0, 1)).astype(np.uint8)
    plate = (captured / 255).astype(np.float32)
    mean = (3 + columns / width).astype(np.float32)
    mean[: height // 3, : width // 4] = 2.5
    known = np.ones((height, width), bool)
    known[height // 2 : height // 2 + 9, -20:-8] = False
    mean[~known] = 5.46
    made = []
    for index in range(frames):
        middle = width * (0.35 + 0.3 * index)
        across, down = (columns - middle) / (0.13 * width), (rows - 0.65 * height) / (0.5 * height)
        body = across**2 + down**2 < 1
        picture = cv2.GaussianBlur(body.astype(np.float32), (5, 5), 0)[..., None]
        clothes = np.array([0.8, 0.2 + 0.2 * index, 0.15]) + 0.1 * np.sin(rows / 3)[..., None]
        clothes[: height // 2] = 1.2  # a white shirt, at the limit of a byte
        color = np.clip(255 * (picture * clothes + (1 - picture) * plate), 0, 255)
        color[-8:, :40] = 0
        color = (color + random.normal(0, 1.5, color.shape)).clip(0, 255).astype(np.uint8)
        depth = np.where(body, 1.6, mean) + random.normal(0, 0.01, mean.shape)
        depth[~known & ~body] = -1
        depth[random.random(mean.shape) < 0.05] = -1
        # Whole millimetres, as sensors give them.
        whole = np.where(depth > 0, np.round(1000 * depth), -1000)
        whole[random.random(mean.shape) < 0.03] = -1000 - 1400  # guesses, as at blind sides
        made.append((color, whole.astype(np.float32) * np.float32(1e-3)))
    background = CapturedBackground(captured, mean, (0.01 * mean).astype(np.float32), known)
    return Room(background, made)


def make_network() -> MattingNetwork:
    """A network whose alpha follows the depth posterior, with some of every layer in it.

    Random weights alone give a noise on which a comparison of engines says little.
    """
    torch.manual_seed(0)
    network = MattingNetwork()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    edges = torch.full((3, 3), -0.25)
    edges[1, 1] = 2
    with torch.no_grad():
        head = network.base.decoder.head
        head.weight[:5] *= 0.15
        head.weight[0, POSTERIOR, 1, 1] += 1.1
        head.bias[0] = -0.05
        head.weight[4, POSTERIOR] += edges
        refiner = network.refiner
        # Alpha is carried through the refiner by one channel of each layer.
        for layer, source in ((refiner.stage1[0], HIDDEN_CHANNELS), (refiner.stage2[0], 0)):
            layer.weight[0] *= 0.1
            layer.weight[0, source, 1, 1] += 1
        refiner.head.weight *= 0.1
        refiner.head.weight[:4, 0, 0, 0] += 1.8
        refiner.head.bias[:4] = 0
    return network.eval()


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads wait for each other on a machine that does other things as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return make_network()


@pytest.fixture(scope="module")
def weights(network: MattingNetwork) -> NetworkWeights:
    return deployed(network)


def tensors(background: CapturedBackground) -> Background:
    return Background.of_images(
        *(background.plate, background.mean, background.std),
        *(background.known, background.restless),
    )


def images(matte: Matte) -> list[NDArray[np.uint8]]:
    assert matte.foreground is not None
    return [matte.alpha, matte.foreground]


@pytest.fixture(scope="module")
def room() -> Room:
    return make_room(144, 192)


@pytest.fixture(scope="module")
def odd_room() -> Room:
    return make_room(61, 97)


@pytest.fixture(scope="module")
def torch_engine(weights: NetworkWeights, odd_room: Room) -> Engine:
    return TorchEngine(weights, odd_room.background, 7, threads=1)


@pytest.fixture(scope="module")
def compiled(
    weights: NetworkWeights,
    odd_room: Room,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A cache with all that OpenVINO needs for the network, made once because it takes long."""
    pytest.importorskip("openvino")
    folder = tmp_path_factory.mktemp("compiled")
    OpenVinoEngine(weights, odd_room.background, 7, 1, EngineCache(folder))
    return folder


@pytest.fixture
def cache(compiled: Path, tmp_path: Path) -> EngineCache:
    """The same for one test, which may damage it."""
    return EngineCache(shutil.copytree(compiled, tmp_path / "cache"))


@pytest.fixture(scope="module")
def openvino_engine(weights: NetworkWeights, odd_room: Room, compiled: Path) -> Engine:
    return OpenVinoEngine(weights, odd_room.background, 7, 1, EngineCache(compiled))


@pytest.fixture(scope="module")
def onnxruntime_engine(weights: NetworkWeights, odd_room: Room) -> Engine:
    pytest.importorskip("onnxruntime")
    return create_engine(weights, odd_room.background, 7, "onnxruntime", threads=1)[0]


@pytest.fixture(params=["torch", "openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest) -> Engine:
    found: Engine = request.getfixturevalue(f"{request.param}_engine")
    return found


def differences(found: NDArray[np.uint8], expected: NDArray[np.uint8]) -> NDArray[np.int64]:
    return np.abs(found.astype(np.int64) - expected)


# -- against the method -----------------------------------------------------------------------


@torch.inference_mode()
def test_torch_engine_is_the_method_in_bytes(
    torch_engine: Engine, network: MattingNetwork, odd_room: Room
) -> None:
    for color, depth in odd_room.frames:
        image = torch.from_numpy(color.astype(np.float32) / 255).permute(2, 0, 1)[None]
        live = torch.from_numpy(depth)[None, None]
        output = network(image, live, tensors(odd_room.background), 7)
        alpha, foreground = images(torch_engine.run(color, depth))
        expected = np.floor(255 * output.alpha[0, 0].numpy() + 0.5)
        assert differences(alpha, expected.astype(np.uint8)).max() <= 1
        assert (alpha != expected).mean() < 1e-3
        expected = np.floor(255 * output.foreground[0].numpy() + 0.5).transpose(1, 2, 0)
        assert differences(foreground, expected.astype(np.uint8)).max() <= 1
        assert (foreground != expected).mean() < 1e-3


def test_frames_are_structured(torch_engine: Engine, odd_room: Room) -> None:
    """What the engines are compared on holds background, foreground and edges."""
    for color, depth in odd_room.frames:
        alpha, foreground = images(torch_engine.run(color, depth))
        assert (alpha == 0).mean() > 0.3
        assert (alpha == 255).mean() > 0.1
        assert ((alpha > 20) & (alpha < 235)).mean() > 0.02
        assert foreground.min() < 8 and foreground.max() == 255


def test_onnxruntime_equals_torch(
    torch_engine: Engine, onnxruntime_engine: Engine, odd_room: Room
) -> None:
    """Tolerance: mean difference of alpha 0.02 of 255, 0.1 % of pixels over 2 of 255."""
    assert onnxruntime_engine.name == "onnxruntime (cpu)"
    for frame in odd_room.frames:
        found, expected = onnxruntime_engine.run(*frame), torch_engine.run(*frame)
        for image, wanted in zip(images(found), images(expected), strict=True):
            difference = differences(image, wanted)
            assert difference.mean() < 0.02
            assert (difference > 2).mean() < 0.001


# -- OpenVINO against torch -------------------------------------------------------------------


def test_openvino_in_float32_equals_torch(
    weights: NetworkWeights, room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tolerance: mean difference of alpha 0.02 of 255, 0.1 % of pixels over 2 of 255."""
    openvino = pytest.importorskip("openvino")
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32"])
    engine, notes = create_engine(weights, room.background, 27, "openvino", threads=1)
    assert (engine.name, notes) == ("openvino (f32)", ())
    reference = TorchEngine(weights, room.background, 27, threads=1)
    for frame in room.frames:
        for found, expected in zip(
            images(engine.run(*frame)), images(reference.run(*frame)), strict=True
        ):
            difference = differences(found, expected)
            assert difference.mean() < 0.02
            assert (difference > 2).mean() < 0.001


def test_openvino_as_it_ships_is_near_torch(
    torch_engine: Engine, openvino_engine: Engine, odd_room: Room
) -> None:
    """Tolerance: mean difference of alpha 1 of 255, 8 % of pixels over 2 and none over 64.

    In bfloat16, 8 bits of mantissa, values near 1 are 2 of 255 apart after a few layers; most
    pixels of these small frames lie near an edge. A wrapped byte or a shifted tile gives more.
    """
    for frame in odd_room.frames:
        for found, expected in zip(
            images(openvino_engine.run(*frame)), images(torch_engine.run(*frame)), strict=True
        ):
            difference = differences(found, expected)
            assert difference.mean() < 1
            assert (difference > 2).mean() < 0.08
            assert difference.max() <= 64


def test_openvino_serves_another_scene_from_the_cache(
    weights: NetworkWeights, cache: EngineCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_room(61, 97, seed=5)
    monkeypatch.setattr("openvino.Core.compile_model", None)  # nothing is made again
    engine = OpenVinoEngine(weights, other.background, 7, 1, cache)
    assert engine.notes == ()
    expected = TorchEngine(weights, other.background, 7, threads=1).run(*other.frames[0])
    for image, wanted in zip(images(engine.run(*other.frames[0])), images(expected), strict=True):
        assert differences(image, wanted).mean() < 1


def test_what_is_compiled_or_cannot_be_kept_is_not_compiled_apart(
    weights: NetworkWeights,
    odd_room: Room,
    compiled: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def asked(home: Path, backend: str, tiles: int = 7) -> bool:
        monkeypatch.setenv("XDG_CACHE_HOME", str(home))
        return must_compile(weights, odd_room.background, tiles, backend)

    shutil.copytree(compiled, tmp_path / "full" / "dart_ros")
    (tmp_path / "file").touch()
    assert asked(tmp_path / "empty", "openvino") and not asked(tmp_path / "empty", "torch")
    assert not asked(tmp_path / "full", "openvino") and asked(tmp_path / "full", "openvino", 3)
    assert not asked(tmp_path / "file", "openvino"), "a folder can't be made there"
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert not asked(tmp_path / "empty", "openvino"), "it isn't installed"


@pytest.mark.parametrize("checksum", [False, True], ids=["truncated", "of another version"])
def test_openvino_makes_again_what_does_not_load(
    weights: NetworkWeights,
    odd_room: Room,
    openvino_engine: Engine,
    cache: EngineCache,
    checksum: bool,
) -> None:
    frame = odd_room.frames[0]
    (file,) = cache.directory.glob("foreground_*.openvino")
    if checksum:
        cache.write(file.name, b"nonsense")
    else:
        file.write_bytes(file.read_bytes()[:1000])
    engine = OpenVinoEngine(weights, odd_room.background, 7, 1, cache)
    assert len(engine.notes) == 1 and "made again" in engine.notes[0]
    for found, expected in zip(
        images(engine.run(*frame)), images(openvino_engine.run(*frame)), strict=True
    ):
        assert np.array_equal(found, expected)


# -- what engines are given and give back -----------------------------------------------------


def reversed_channels(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array[..., ::-1])[..., ::-1]


def reversed_rows(array: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(array[::-1])[::-1]


def part_of_larger(array: NDArray[Any]) -> NDArray[Any]:
    larger = np.zeros([side + 2 for side in array.shape], array.dtype)
    part = larger[tuple(slice(1, -1) for _ in array.shape)]
    part[...] = array
    return part


def message_bytes(array: NDArray[Any]) -> NDArray[Any]:
    return np.frombuffer(array.tobytes(), array.dtype).reshape(array.shape)


@pytest.mark.parametrize(
    "lay_out",
    [reversed_channels, reversed_rows, part_of_larger, np.asfortranarray, message_bytes],
    ids=lambda function: function.__name__,
)
@pytest.mark.filterwarnings("error")
def test_any_memory_layout_gives_the_same(
    engine: Engine, odd_room: Room, lay_out: Callable[[NDArray[Any]], NDArray[Any]]
) -> None:
    color, depth = odd_room.frames[0]
    laid_color, laid_depth = lay_out(color), lay_out(depth)
    odd = not laid_color.flags.c_contiguous or not laid_color.flags.writeable
    assert odd and np.array_equal(laid_color, color) and np.array_equal(laid_depth, depth)
    expected, found = engine.run(color, depth), engine.run(laid_color, laid_depth)
    assert np.array_equal(found.alpha, expected.alpha)
    assert np.array_equal(found.foreground, expected.foreground)


def test_results_are_the_callers_own(engine: Engine, odd_room: Room) -> None:
    first, second = odd_room.frames
    made = images(engine.run(*first))
    kept = [image.copy() for image in made]
    other = engine.run(*second)
    assert not np.array_equal(other.alpha, made[0])
    for image, before, shape in zip(made, kept, [(61, 97), (61, 97, 3)], strict=True):
        assert np.array_equal(image, before)
        assert image.shape == shape and image.dtype == np.uint8
        assert image.flags.c_contiguous and image.flags.writeable


def test_frames_are_left_as_they_were(engine: Engine, odd_room: Room) -> None:
    color, depth = (array.copy() for array in odd_room.frames[0])
    engine.run(color, depth)
    assert np.array_equal(color, odd_room.frames[0][0])
    assert np.array_equal(depth, odd_room.frames[0][1])


def test_a_frame_of_another_size_is_an_engine_error(engine: Engine, odd_room: Room) -> None:
    color, depth = np.zeros((96, 128, 3), np.uint8), np.ones((96, 128), np.float32)
    with pytest.raises(EngineError, match="failed on a frame"):
        engine.run(color, depth)
    engine.run(*odd_room.frames[0])  # and it resumes


def test_depth_that_is_lost_altogether_gives_a_matte(engine: Engine, odd_room: Room) -> None:
    color, depth = odd_room.frames[0]
    nothing = np.full_like(depth, -1)
    alpha = engine.run(color, nothing).alpha
    assert alpha.std() > 10


# -- which engine -----------------------------------------------------------------------------


def test_backend_that_does_not_exist(weights: NetworkWeights, odd_room: Room) -> None:
    with pytest.raises(EngineError, match=r"no backend 'tpu': use auto, tensorrt, .* or torch"):
        create_engine(weights, odd_room.background, 7, "tpu")


def test_torch_by_name(weights: NetworkWeights, odd_room: Room) -> None:
    engine, notes = create_engine(weights, odd_room.background, 7, "torch", threads=1)
    assert engine.name.startswith("torch (")
    assert notes == ()


def test_a_gpu_without_memory_is_no_end(
    weights: NetworkWeights,
    odd_room: Room,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def full(*_: object) -> None:
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr("dart_ros.runtime.torch_engine.CoarseStage.forward", full)
    with pytest.raises(EngineError, match=r"torch can't run the network here.*out of memory"):
        create_engine(weights, odd_room.background, 7, "torch", threads=1)


def no_import(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setitem(sys.modules, "openvino", None)
    return "OpenVINO can't be imported.*pip install"


def no_device(monkeypatch: pytest.MonkeyPatch) -> str:
    def fail() -> None:
        raise RuntimeError("plugins.xml is missing")

    monkeypatch.setattr(pytest.importorskip("openvino"), "Core", fail)
    return "OpenVINO finds no CPU.*plugins.xml is missing"


def no_conversion(monkeypatch: pytest.MonkeyPatch) -> str:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("ONNX's Nothing is not known")

    monkeypatch.setattr(pytest.importorskip("openvino").Core, "read_model", fail)
    return "OpenVINO can't compile the network: ONNX's Nothing"


@pytest.mark.parametrize("break_openvino", [no_import, no_device, no_conversion])
def test_auto_goes_on_without_openvino_and_says_so(
    weights: NetworkWeights,
    odd_room: Room,
    torch_engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    break_openvino: Callable[[pytest.MonkeyPatch], str],
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    reason = break_openvino(monkeypatch)
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    engine, notes = create_engine(weights, odd_room.background, 7, threads=1)
    assert engine.name.startswith("torch (")
    assert len(notes) == 3
    assert "no NVIDIA GPU" in notes[0]
    assert re.search(reason, notes[1])
    assert "ONNX Runtime can't be imported" in notes[2]
    with pytest.raises(EngineError, match=reason):
        create_engine(weights, odd_room.background, 7, "openvino")
    frame = odd_room.frames[0]
    assert np.array_equal(engine.run(*frame).alpha, torch_engine.run(*frame).alpha)


def test_the_fastest_engine_is_tried_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cuda, "available", lambda: False)
    assert automatic() == ("tensorrt", "openvino", "onnxruntime", "torch")
    monkeypatch.setattr(cuda, "available", lambda: True)
    assert automatic() == ("tensorrt", "torch", "openvino", "onnxruntime")
    assert set(automatic()) < set(BACKENDS)


@pytest.mark.skipif(cuda.available(), reason="there is a GPU")
def test_no_intel_gpu(weights: NetworkWeights, odd_room: Room) -> None:
    pytest.importorskip("openvino")
    with pytest.raises(EngineError, match="OpenVINO finds no GPU"):
        create_engine(weights, odd_room.background, 7, "openvino-gpu")


def test_what_nobody_wants_is_not_made(engine: Engine, odd_room: Room) -> None:
    both, alone = (engine.run(*odd_room.frames[0], foreground=wanted) for wanted in (True, False))
    assert both.foreground is not None and alone.foreground is None
    assert np.array_equal(alone.alpha, both.alpha)


# -- another background --------------------------------------------------------------------------


@pytest.fixture(params=["torch", "openvino", "onnxruntime"])
def made_for(
    request: pytest.FixtureRequest, weights: NetworkWeights, compiled: Path
) -> Callable[[CapturedBackground], Engine]:
    """Makes an engine of its own for a test that changes it."""
    name = request.param
    if name == "openvino":
        return lambda background: OpenVinoEngine(weights, background, 7, 1, EngineCache(compiled))
    pytest.importorskip("onnxruntime")
    return lambda background: create_engine(weights, background, 7, name, threads=1)[0]


def test_a_background_that_is_swapped_is_as_good_as_one_from_the_start(
    made_for: Callable[[CapturedBackground], Engine], odd_room: Room
) -> None:
    other = make_room(61, 97, seed=5)
    kept = [image.copy() for image in (odd_room.background.mean, other.background.mean)]
    first, second = made_for(odd_room.background), made_for(other.background)
    before = images(first.run(*odd_room.frames[0]))
    swap = first.prepare(other.background)
    for image, wanted in zip(images(first.run(*odd_room.frames[0])), before, strict=True):
        assert np.array_equal(image, wanted), "prepared isn't swapped"
    swap()
    for frame in other.frames:
        found, expected = images(first.run(*frame)), images(second.run(*frame))
        for image, wanted in zip(found, expected, strict=True):
            assert np.array_equal(image, wanted)
        assert not np.array_equal(found[0], before[0])
    first.prepare(odd_room.background)()
    for image, wanted in zip(images(first.run(*odd_room.frames[0])), before, strict=True):
        assert np.array_equal(image, wanted)
    for mean, as_before in zip(
        (odd_room.background.mean, other.background.mean), kept, strict=True
    ):
        assert np.array_equal(mean, as_before), "the backgrounds are the caller's"


def test_a_background_of_another_size_is_refused(engine: Engine, room: Room) -> None:
    with pytest.raises(EngineError, match="background is 192x144, the engine is made for 97x61"):
        engine.prepare(room.background)


# -- how many tiles ---------------------------------------------------------------------------

from __future__ import annotations

import os
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.fitting.weights import (
    grown,
    load_network,
    network_with,
    save_network,
    weights_of,
)
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import Background, MattingNetwork

pytestmark = pytest.mark.usefixtures("generic_weights")


def state(network: MattingNetwork) -> dict[str, Tensor]:
    content = network.state_dict()
    return {k: v for k, v in content.items() if not k.endswith("num_batches_tracked")}


def half(network: MattingNetwork) -> dict[str, Tensor]:
    return {name: value.half() for name, value in state(network).items()}


def same(found: MattingNetwork, expected: dict[str, Tensor]) -> bool:
    weights = state(found)
    return weights.keys() == expected.keys() and all(
        torch.equal(weights[name], value.float()) for name, value in expected.items()
    )


@pytest.mark.parametrize(
    "config",
    [
        NetworkConfig(),
        NetworkConfig(depth_in_base=False),
        NetworkConfig(depth_in_shadow=False, shadow_in_base=True),
        NetworkConfig(depth_in_refiner=False, depth_in_error=False),
        NetworkConfig("resnet50"),
    ],
    ids=["student", "colors", "shadows", "plain", "teacher"],
)
def test_what_is_saved_is_loaded(config: NetworkConfig, tmp_path: Path) -> None:
    network = MattingNetwork(config)
    path = tmp_path / "weights.safetensors"
    save_network(network, path, {"steps": "3"})
    loaded = load_network(path)
    assert loaded.config == config
    assert not loaded.training
    assert same(loaded, half(network))
    assert [file.name for file in tmp_path.iterdir()] == ["weights.safetensors"]
    (tmp_path / "other").touch()
    assert path.stat().st_mode == (tmp_path / "other").stat().st_mode, "others may read it as well"
    on_disk = load_file(path)
    assert {value.dtype for value in on_disk.values()} == {torch.float16}


@pytest.mark.parametrize("in_light", [True, False])
def test_files_of_before_shadows_go_as_the_light(in_light: bool, tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    network = MattingNetwork(NetworkConfig(depth_in_light=in_light))
    older = {"encoder": "mobilenetv2", "depth_in_light": str(in_light).lower()}
    save_file(half(network), path, metadata=older)
    config = load_network(path).config
    assert config == NetworkConfig(depth_in_light=in_light, depth_in_shadow=in_light)


@pytest.mark.parametrize(
    "further",
    [
        NetworkConfig(depth_in_shadow=False, shadow_in_base=True),
        NetworkConfig(depth_in_shadow=False, restless_in_base=True),
        NetworkConfig(depth_in_shadow=False, shadow_in_base=True, restless_in_base=True),
    ],
)
def test_a_network_with_further_inputs_gives_what_it_gave_before(further: NetworkConfig) -> None:
    torch.manual_seed(1)
    network = MattingNetwork(NetworkConfig(depth_in_shadow=False)).eval()
    larger = grown(network, further)
    assert larger.config == further and not larger.training
    images = [torch.rand(1, channels, 32, 48) for channels in (3, 1, 3, 1, 1, 1, 1)]
    color, depth, plate, mean, std, known, restless = images
    background = Background(plate, 1 + mean, 0.01 + std, known.round(), restless.round())
    with torch.inference_mode():
        before, after = (net(color, depth, background) for net in (network, larger))
    assert torch.equal(before.alpha, after.alpha)


def test_a_network_of_another_kind_does_not_grow() -> None:
    with pytest.raises(FitError, match="can't become"):
        grown(MattingNetwork(), NetworkConfig("resnet50"))
    with pytest.raises(FitError, match="can't become"):
        grown(MattingNetwork(NetworkConfig(shadow_in_base=True)), NetworkConfig())
    shadow, restless = NetworkConfig(shadow_in_base=True), NetworkConfig(restless_in_base=True)
    both = NetworkConfig(shadow_in_base=True, restless_in_base=True)
    for before, after in ((shadow, restless), (restless, both)):
        with pytest.raises(FitError, match="can't become"):
            grown(MattingNetwork(before), after)


def test_saving_again_replaces(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    networks = MattingNetwork(), MattingNetwork()
    for network in networks:
        save_network(network, path, {})
    assert same(load_network(path), half(networks[1]))


def test_a_full_disk_leaves_the_weights_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(MattingNetwork(), path, {})
    before = path.read_bytes()
    most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, most[1]))
    try:
        with pytest.raises(FitError, match=r"weights\.safetensors can't be written .*free some"):
            save_network(MattingNetwork(), path, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, most)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_pipe_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "weights.safetensors")
    with pytest.raises(FitError, match="named pipe"):
        load_network(tmp_path / "weights.safetensors")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FitError, match=r"nothing\.safetensors can't be read"):
        load_network(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 4, 100, 5000, -7])
def test_a_file_cut_short_is_named(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "weights.safetensors"
    save_network(MattingNetwork(), path, {})
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FitError, match=r"weights\.safetensors can't be read"):
        load_network(path)


def less(weights: dict[str, Tensor]) -> None:
    del weights["refiner.stage2.1.bias"]


def more(weights: dict[str, Tensor]) -> None:
    weights["refiner.stage3"] = torch.zeros(1)


def other_shape(weights: dict[str, Tensor]) -> None:
    weights["refiner.stage2.1.bias"] = torch.zeros(5)


def whole_numbers(weights: dict[str, Tensor]) -> None:
    weights["refiner.stage2.1.bias"] = weights["refiner.stage2.1.bias"].to(torch.int8)


def not_finite(weights: dict[str, Tensor]) -> None:
    weights["refiner.stage2.1.bias"][0] = torch.nan


@pytest.mark.parametrize("change", [less, more, other_shape, whole_numbers, not_finite])
def test_weights_of_another_network_are_refused(tmp_path: Path, change: object) -> None:
    assert callable(change)
    weights = {name: value.contiguous() for name, value in half(MattingNetwork()).items()}
    change(weights)
    path = tmp_path / "weights.safetensors"
    save_file(weights, path)
    with pytest.raises(FitError, match=r"weights\.safetensors: not the weights of this network"):
        load_network(path)
    arrays = {name: value.numpy() for name, value in weights.items()}
    with pytest.raises(FitError, match="the scene's fitted weights: not the weights"):
        network_with(arrays)


def test_a_scenes_weights_go_into_the_generic_network(generic_weights: MattingNetwork) -> None:
    assert same(network_with(None), half(generic_weights))
    fitted = MattingNetwork()
    weights = weights_of(fitted)
    assert {value.dtype for value in weights.values()} == {np.dtype(np.float16)}
    for value in weights.values():
        value.flags.writeable = False  # as they may be when read from a file
    loaded = network_with(weights)
    assert not loaded.training
    assert same(loaded, half(fitted))
    assert same(network_with(None), half(generic_weights))


def test_the_weights_that_ship_are_of_the_network_that_ships() -> None:
    path = Path(__file__).parents[2] / "dart_ros" / "data" / "weights.safetensors"
    network = load_network(path)
    # Shadows and restless places are inputs of what ships, and of no other design.
    assert network.config == NetworkConfig(
        depth_in_shadow=False, shadow_in_base=True, restless_in_base=True
    )
    assert all(bool(value.isfinite().all()) for value in state(network).values())

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dart_ros.fitting import weights
from dart_ros.method.network import MattingNetwork

# name, kind, identity, cut, RGB
SPRITES = [
    ("anna", "person", "anna", [], (20, 230, 30)),
    ("bert", "person", "bert", ["bottom"], (10, 200, 20)),
    ("box", "object", "box", [], (30, 240, 40)),
]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Several threads wait for each other on a machine that does other things as well."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people and an object, all green ellipses of 64x33 pixels, 2 m away and flat."""
    folder = tmp_path_factory.mktemp("sprites")
    rows, columns = np.mgrid[:64, :33].astype(np.float32)
    inside = ((rows - 31.5) / 30) ** 2 + ((columns - 16) / 14) ** 2 < 1
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (3, 3), 0) * 255
    entries = []
    for name, kind, identity, cut, (red, green, blue) in SPRITES:
        color = np.empty((64, 33, 4), np.uint8)
        color[..., :3] = blue, green, red
        color[..., 3] = alpha.round()
        lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
        assert cv2.imwrite(str(folder / f"{name}.webp"), color, lossless)
        assert cv2.imwrite(str(folder / f"{name}.depth.png"), np.full((32, 17), 128, np.uint8))
        entry = {"name": name, "kind": kind, "identity": identity, "cut": cut}
        entries.append({**entry, "focal_px": 110.0, "distance_m": 2.0})
    (folder / "sprites.json").write_text(json.dumps({"sprites": entries}))
    return folder


@pytest.fixture(scope="module")
def generic_weights(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MattingNetwork]:
    """A network with random weights in the place of those that ship."""
    torch.manual_seed(5)
    network = MattingNetwork().eval()
    path = tmp_path_factory.mktemp("weights") / "weights.safetensors"
    weights.save_network(network, path, {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(weights, "generic_weights_path", lambda: path)
        yield network

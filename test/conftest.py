"""What holds for all tests."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# pymatting compiles for more than a minute when it is first imported; small pictures need no
# compiler.
os.environ.setdefault("NUMBA_DISABLE_JIT", "1")

# Engines that tests build are neither taken from the user's cache nor left there.
_cache = tempfile.TemporaryDirectory()
os.environ["XDG_CACHE_HOME"] = _cache.name

# How long an example takes, or is made, says nothing on a machine that does other things as well.
settings.register_profile(
    "any_machine", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("any_machine")

# name, kind, identity, cut, RGB
FOREGROUNDS = [
    ("anna", "person", "anna", [], (20, 230, 30)),
    ("bert", "person", "bert", ["bottom"], (10, 200, 20)),
    ("box", "object", "box", [], (30, 240, 40)),
]


@pytest.fixture(scope="module")
def one_torch_thread() -> Iterator[None]:
    """Several threads wait for each other on a machine that does other things as well."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two people and an object, all green ellipses of 64x33 pixels, 2 m away and flat."""
    folder = tmp_path_factory.mktemp("foregrounds")
    rows, columns = np.mgrid[:64, :33].astype(np.float32)
    inside = ((rows - 31.5) / 30) ** 2 + ((columns - 16) / 14) ** 2 < 1
    alpha = cv2.GaussianBlur(inside.astype(np.float32), (3, 3), 0) * 255
    entries = []
    for name, kind, identity, cut, (red, green, blue) in FOREGROUNDS:
        color = np.empty((64, 33, 4), np.uint8)
        color[..., :3] = blue, green, red
        color[..., 3] = alpha.round()
        lossless = [cv2.IMWRITE_WEBP_QUALITY, 101]
        assert cv2.imwrite(str(folder / f"{name}.webp"), color, lossless)
        assert cv2.imwrite(str(folder / f"{name}.depth.png"), np.full((32, 17), 128, np.uint8))
        entry = {"name": name, "kind": kind, "identity": identity, "cut": cut}
        entries.append({**entry, "focal_px": 110.0, "distance_m": 2.0})
    (folder / "foregrounds.json").write_text(json.dumps({"foregrounds": entries}))
    return folder

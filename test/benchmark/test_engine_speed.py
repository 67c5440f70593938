"""The benchmark of the engines: figures, plot, and the frames that it times."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.engine_speed import main, recorded, unsure_everywhere
from dart_ros.files import DEMO_RECORDING
from dart_ros.fitting.weights import deployed
from dart_ros.method.network import MattingNetwork
from dart_ros.runtime.weights import NetworkWeights
from dart_ros.session.recording import open_recording


def test_engines_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "--sizes 96x64 --backends torch,tpu --rounds 1 --threads 1 --output"
    assert main([*arguments.split(), str(tmp_path / "speed")]) == 0
    told = capsys.readouterr()
    assert "tpu is left out" in told.err
    assert "96x64  torch (" in told.out
    rows = json.loads((tmp_path / "speed" / "speed.json").read_text())["rows"]
    assert {row["tiles"] for row in rows} == {6}
    kinds = {row["name"].partition(", ")[2] for row in rows}
    assert {"", "with foreground", "every tile refined"} <= kinds
    assert all(0 < row["least"] <= row["median"] <= row["p95"] for row in rows)
    assert (tmp_path / "speed" / "speed.png").stat().st_size > 1000


def test_the_recording_is_cut_to_other_shapes() -> None:
    background, frames = recorded(72, 128)
    assert background.plate.shape == (72, 128, 3) and background.known.mean() > 0.8
    assert {frame.color.shape for frame in frames} == {(72, 128, 3)}
    assert {frame.depth.shape for frame in frames} == {(72, 128)}
    # 640x480 at a fifth, of which the middle three quarters are left.
    camera, original = frames[0].camera, open_recording(DEMO_RECORDING).camera
    assert camera.fx == pytest.approx(original.fx / 5)
    assert camera.cx == pytest.approx(original.cx / 5)
    assert camera.cy == pytest.approx(original.cy / 5 - 12)
    # Somebody stands in the last ones, where the plate is another.
    plate = background.plate.astype(int)
    changed = [(np.abs(frame.color - plate).mean(axis=2) > 40).mean() for frame in frames]
    assert max(changed) > 0.03


def network_of(weights: NetworkWeights) -> MattingNetwork:
    network = MattingNetwork(weights.config).eval()
    state = {name: torch.from_numpy(np.array(value)) for name, value in weights.state.items()}
    network.load_state_dict(state, strict=False)
    return network


@torch.no_grad()
def test_a_network_unsure_of_everything_is_otherwise_the_same() -> None:
    torch.manual_seed(0)
    network = MattingNetwork().eval()
    unsure = network_of(unsure_everywhere(deployed(network)))
    picture = torch.rand(1, network.config.base_channels, 16, 24)
    before, after = network.base(picture), unsure.base(picture)
    assert (after.error > 0.5).all() and (before.error < 0.5).all()
    assert torch.equal(before.alpha, after.alpha) and torch.equal(before.hidden, after.hidden)

"""``dart-ros export``, ``build-engine`` and ``bench``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from dart_ros.cli import main
from dart_ros.commands.bench import recorded, unsure_everywhere
from dart_ros.files import DEMO_RECORDING
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.openvino_engine import OpenVinoEngine
from dart_ros.session.recording import open_recording


def test_the_graph_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    file = tmp_path / "graph.onnx"
    assert main(["export", "--size", "96x64", "--output", str(file)]) == 0
    assert "96x64, 6 refined tiles, float32" in capsys.readouterr().out
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    assert [port.shape for port in session.get_outputs()] == [[64, 96], [64, 96, 3], [64, 96]]
    assert session.get_inputs()[0].shape == [64, 96, 3]


def test_a_place_that_cant_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    file = tmp_path / "nowhere" / "graph.onnx"
    assert main(["export", "--size", "32x32", "--output", str(file)]) == 1
    assert "can't be written" in capsys.readouterr().err


@pytest.mark.parametrize("size", ["640", "640x", "0x480", "-1x5", "axb"])
def test_a_size_that_is_none(size: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["export", f"--size={size}", "--output", "x.onnx"])
    assert "is no size" in capsys.readouterr().err


def test_an_engine_is_built_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert main(["build-engine", "--size", "96x64", "--compute-capability", "8.6"]) == 0
    (engine,) = (tmp_path / "dart_ros").glob("*_96x64_fp16_tensorrt_rtx*_sm86_any_*.engine")
    assert str(engine) in capsys.readouterr().out


def test_an_engine_of_other_tiles_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for share in ("0.25", "0.5"):
        more = ["--compute-capability", "8.6", "--refine-fraction", share]
        assert main(["build-engine", "--size", "96x64", *more]) == 0
    assert len(list((tmp_path / "dart_ros").glob("*.engine"))) == 2
    with pytest.raises(SystemExit):
        main(["build-engine", "--size", "96x64", "--refine-fraction", "25"])
    assert "write 1 or less" in capsys.readouterr().err


def test_openvino_is_compiled_into_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    arguments = ["build-engine", "--backend", "openvino", "--size", "64x48"]
    assert main(arguments) == 0
    made = {path.name.rpartition("_")[2] for path in tmp_path.rglob("*.openvino")}
    assert {"coarse.openvino", "foreground.openvino"} < made
    assert str(tmp_path / "dart_ros") in capsys.readouterr().out
    # An engine that leaves nothing behind is no success.
    next(tmp_path.rglob("*_coarse.openvino")).unlink()
    monkeypatch.setattr("dart_ros.runtime.openvino_engine.OpenVinoEngine", lambda *_, **__: None)
    assert main(arguments) == 1
    assert "is not there after the build" in capsys.readouterr().err


def test_openvino_tells_what_it_compiles_next(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    told: list[tuple[float, str]] = []
    OpenVinoEngine(
        MattingNetwork().eval(),
        Background.blank(48, 64),
        2,
        cache=EngineCache(tmp_path),
        on_progress=lambda share, message: told.append((share, message)),
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert [message for _, message in told] == [
        "compiling coarse",
        "compiling foreground",
        "compiling refining1",
        "compiling refining2",
        "ready",
    ]


def test_openvino_builds_for_no_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["--backend", "openvino", "--size", "64x48", "--compute-capability", "86"]
    assert main(["build-engine", *arguments]) == 1
    assert "leave it out" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_no_gpu_to_build_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build-engine", "--size", "96x64"]) == 1
    assert "--compute-capability" in capsys.readouterr().err


def test_engines_are_timed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = "bench --sizes 96x64 --backends torch,tpu --rounds 1 --threads 1 --output"
    assert main([*arguments.split(), str(tmp_path / "speed")]) == 0
    told = capsys.readouterr()
    assert "tpu is left out" in told.err
    assert "96x64  torch (" in told.out
    rows = json.loads((tmp_path / "speed" / "speed.json").read_text())["rows"]
    assert {row["tiles"] for row in rows} == {6}
    kinds = {row["name"].partition(", ")[2] for row in rows}
    assert {"", "with foreground and trimap", "every tile refined"} <= kinds
    assert all(0 < row["least"] <= row["median"] <= row["p95"] for row in rows)
    assert (tmp_path / "speed" / "speed.png").stat().st_size > 1000


def test_the_recording_is_cut_to_other_shapes() -> None:
    background, frames = recorded(72, 128)
    assert background.plate.shape == (1, 3, 72, 128) and background.known.mean() > 0.8
    assert {frame.color.shape for frame in frames} == {(72, 128, 3)}
    assert {frame.depth.shape for frame in frames} == {(72, 128)}
    # 640x480 at a fifth, of which the middle three quarters are left.
    camera, original = frames[0].camera, open_recording(DEMO_RECORDING).camera
    assert camera.fx == pytest.approx(original.fx / 5)
    assert camera.cx == pytest.approx(original.cx / 5)
    assert camera.cy == pytest.approx(original.cy / 5 - 12)
    # Somebody stands in the last ones, where the plate is another.
    plate = background.plate[0].permute(1, 2, 0).numpy() * 255
    changed = [(np.abs(frame.color - plate).mean(axis=2) > 40).mean() for frame in frames]
    assert max(changed) > 0.03


@torch.no_grad()
def test_a_network_unsure_of_everything_is_otherwise_the_same() -> None:
    torch.manual_seed(0)
    network = MattingNetwork().eval()
    unsure = unsure_everywhere(network)
    picture = torch.rand(1, network.config.base_channels, 16, 24)
    before, after = network.base(picture), unsure.base(picture)
    assert (after.error > 0.5).all() and (before.error < 0.5).all()
    assert torch.equal(before.alpha, after.alpha) and torch.equal(before.hidden, after.hidden)

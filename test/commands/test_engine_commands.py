"""``dart-ros export`` and ``build-engine``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dart_ros.cli import main
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.graphs import INPUTS, OUTPUTS, STAGES
from dart_ros.runtime.openvino_engine import OpenVinoEngine
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.weights import load_weights


def test_the_graph_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert main(["export", "--size", "96x64", "--output", str(tmp_path / "graph")]) == 0
    assert "96x64, 6 refined tiles, float32" in capsys.readouterr().out
    sessions = {
        path.stem: onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for path in (tmp_path / "graph").glob("*.onnx")
    }
    assert set(sessions) == set(STAGES)
    for stage, session in sessions.items():
        assert {port.name for port in session.get_inputs()} == set(INPUTS[stage])
        assert [port.name for port in session.get_outputs()] == list(OUTPUTS[stage])
    assert sessions["refining"].get_inputs()[0].shape == [64 + 8, 96 + 8, 3]


def test_a_place_that_cant_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert main(["export", "--size", "32x32", "--output", str(tmp_path / "file" / "graph")]) == 1
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
    built = (tmp_path / "dart_ros").glob("*_96x64_*_tensorrt_rtx*_sm86_any_*.engine")
    assert {path.name.partition("_")[0] for path in built} == set(STAGES)
    assert str(tmp_path / "dart_ros") in capsys.readouterr().out


def test_an_engine_of_other_tiles_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("tensorrt_rtx")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for share in ("0.25", "0.5"):
        more = ["--compute-capability", "8.6", "--refine-fraction", share]
        assert main(["build-engine", "--size", "96x64", *more]) == 0
    kinds = [path.name.partition("_")[0] for path in (tmp_path / "dart_ros").glob("*.engine")]
    # What doesn't know the number of tiles is shared.
    assert sorted(kinds) == [
        "coarse",
        *["foreground"] * 2,
        *["refining"] * 2,
        *["tiles"] * 2,
    ]
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
    made = {path.name.partition("_")[0] for path in tmp_path.rglob("*.openvino")}
    assert {"coarse", "foreground", "refining1"} < made
    assert str(tmp_path / "dart_ros") in capsys.readouterr().out
    # An engine that leaves nothing behind is no success.
    next(tmp_path.rglob("coarse_*.openvino")).unlink()
    monkeypatch.setattr("dart_ros.runtime.openvino_engine.OpenVinoEngine", lambda *_, **__: None)
    assert main(arguments) == 1
    assert "is not there after the build" in capsys.readouterr().err


def test_openvino_tells_what_it_compiles_next(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    told: list[tuple[float, str]] = []
    OpenVinoEngine(
        load_weights(),
        CapturedBackground.blank(48, 64),
        2,
        cache=EngineCache(tmp_path),
        on_progress=lambda share, message: told.append((share, message)),
    )
    shares = [share for share, _ in told]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] == 1
    assert [message for _, message in told] == [
        "compiling coarse",
        "compiling refining",
        "compiling refining",
        "compiling foreground",
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

"""``dart-ros export`` and ``build-engine``."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from dart_ros.cli import main
from dart_ros.method.network import Background, MattingNetwork
from dart_ros.runtime.engine_cache import EngineCache
from dart_ros.runtime.openvino_engine import OpenVinoEngine


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

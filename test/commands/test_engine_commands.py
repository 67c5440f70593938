"""``dart-ros export``, ``build-engine`` and ``bench``."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from dart_ros.cli import main


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
    (engine,) = (tmp_path / "dart_ros").glob("*_96x64_fp16_tensorrt_rtx*_sm86_any.engine")
    assert str(engine) in capsys.readouterr().out


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
    assert all(0 < row["least"] <= row["median"] <= row["p95"] for row in rows)
    assert (tmp_path / "speed" / "speed.png").stat().st_size > 1000

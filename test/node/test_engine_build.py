"""Engines built in a process of its own: how it ends, and what is told of it."""

from __future__ import annotations

import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from waiting import PATIENCE, wait_for

from dart_ros.errors import EngineError
from dart_ros.node.engine_build import EngineBuilder, build_command
from dart_ros.session.predictor import Predictor
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Camera


def scene() -> Scene:
    size = (32, 48)
    return Scene(
        name="room",
        id="room-20260101T000000Z-abcdef",
        camera=Camera(48, 32, 30.0, 30.0, 23.5, 15.5),
        plate=np.zeros((*size, 3), np.uint8),
        depth_mean=np.full(size, 3.0, np.float32),
        depth_std=np.full(size, 0.01, np.float32),
        depth_count=np.full(size, 10, np.uint16),
        frames=10,
        captured_at="2026-01-01T00:00:00+00:00",
        max_depth=5.46,
    )


def program(text: str) -> EngineBuilder:
    return EngineBuilder("TensorRT engine", lambda *_: [sys.executable, "-c", text])


def build(builder: EngineBuilder) -> None:
    builder.build(scene(), 0.25, lambda: True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "print('chatter'); print('{\"error\": \"no GPU\"}'); raise SystemExit(1)",
            "built: no GPU",
        ),
        ("import os; os.kill(os.getpid(), 9)", "built: its process was killed by SIGKILL"),
        ("raise SystemExit(3)", "ended with status 3: it said nothing"),
    ],
)
def test_a_build_that_fails_says_why(text: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        build(program(text))


def test_a_program_that_is_missing_is_told() -> None:
    with pytest.raises(EngineError, match="builds the OpenVINO engine can't be started"):
        build(EngineBuilder("OpenVINO engine", lambda *_: ["/nonexistent/python"]))


def test_a_build_waits_and_is_nice_to_the_node(tmp_path: Path) -> None:
    file = tmp_path / "niceness"
    build(
        program(
            "import os, pathlib, time\n"
            "end = time.monotonic() + 30\n"
            "while os.getpriority(os.PRIO_PROCESS, 0) < 10 and time.monotonic() < end:\n"
            "    time.sleep(0.01)\n"
            f"pathlib.Path({str(file)!r}).write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))\n"
            "print('{\"done\": true}')"
        )
    )
    assert int(file.read_text()) >= 10


def test_a_build_that_nobody_wants_any_more_is_not_started() -> None:
    builder = EngineBuilder("TensorRT engine", lambda *_: ["/nonexistent/python"])
    builder.build(scene(), 0.25, lambda: False)


def test_a_build_can_be_ended(tmp_path: Path) -> None:
    started = tmp_path / "started"
    text = f"import pathlib, time; pathlib.Path({str(started)!r}).touch(); time.sleep(600)"
    builder, errors = program(text), []

    def run() -> None:
        try:
            build(builder)
        except EngineError as error:
            errors.append(str(error))

    thread = threading.Thread(target=run)
    thread.start()
    wait_for(started.exists)
    builder.kill()
    thread.join(PATIENCE)
    assert not thread.is_alive() and "SIGKILL" in errors[0]
    builder.kill()  # nothing runs, nothing happens


def test_the_real_command_builds_for_this_scene_and_fraction() -> None:
    store = SceneStore("/scenes", "left")
    fitted = replace(scene(), weights={"scale": np.array(0.5, np.float16)})
    # Without weights of its own a scene needn't be stored: the engine is any scene's.
    for captured, own in ((scene(), []), (fitted, ["--scene=left/room"])):
        assert build_command("openvino", store, captured, 0.5)[1:] == [
            *("-m", "dart_ros.cli", "build-engine", "--json-progress"),
            "--size=48x32",
            "--backend=openvino",
            *own,
            *("--scenes-dir=/scenes", "--refine-fraction=0.5"),
        ]


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_the_real_command_says_why_it_cannot(tmp_path: Path) -> None:
    SceneStore(tmp_path).save(scene())
    command = partial(build_command, "tensorrt", SceneStore(tmp_path))
    builder = EngineBuilder("TensorRT engine", command)
    with pytest.raises(EngineError, match=r"could not be built: there is no NVIDIA GPU"):
        build(builder)


def test_the_real_command_compiles_what_the_node_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    SceneStore(tmp_path).save(scene())
    command = partial(build_command, "openvino", SceneStore(tmp_path))
    asked = []

    def compile_apart() -> None:
        asked.append(sorted((tmp_path / "cache").rglob("*.openvino")))
        EngineBuilder("OpenVINO engine", command).build(scene(), 0.25, lambda: True)

    with monkeypatch.context() as patch:
        patch.setattr("openvino.Core.compile_model", None)  # not made here
        for _ in range(2):
            assert Predictor(scene(), "openvino", compile_apart=compile_apart).backend
    assert asked == [[]], "what is compiled is not compiled again"
    Predictor(scene(), "torch", refine_fraction=0.5, compile_apart=compile_apart)
    assert len(asked) == 1, "another engine doesn't ask"

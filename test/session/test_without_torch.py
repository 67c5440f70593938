"""A robot without torch: captures, mattes and builds engines, and mattes as the method does."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import torch

from dart_ros.files import DEMO_RECORDING
from dart_ros.fitting.weights import load_network
from dart_ros.method.geometry import tile_count
from dart_ros.method.network import Background
from dart_ros.runtime.depth_evidence import DepthEvidence
from dart_ros.runtime.outlines import smoothed, without_specks
from dart_ros.runtime.temporal_filter import TemporalFilter
from dart_ros.session.capture import capture_scene
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.frames import empty_frames
from dart_ros.session.scene_store import SceneStore

BLOCKED = """
import sys

# None makes an import fail as if it weren't installed.
for name in ("torch", "onnx", "kornia", "tensorboard", "transformers", "scipy"):
    sys.modules[name] = None
"""


def without_torch(code: str, *arguments: object) -> str:
    """Runs code where torch isn't; returns what it prints."""
    program = BLOCKED + textwrap.dedent(code)
    done = subprocess.run(
        [sys.executable, "-c", program, *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("scenes")
    recording = open_recording(DEMO_RECORDING)
    scene = capture_scene(empty_frames(recording, 6), 6, "room", 10.0)
    SceneStore(folder).save(scene)
    return folder


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("precision", ["as it ships", "float32"])
def test_mattes_are_the_methods(scenes: Path, tmp_path: Path, backend: str, precision: str) -> None:
    """Tolerance: mean difference of alpha 0.02 of 255, one pixel in 1,000 over 2 in float32; 0.1
    and one in 100 in bfloat16."""
    pytest.importorskip(backend)
    if (backend, precision) == ("onnxruntime", "as it ships"):
        pytest.skip("it is float32")
    number = len(open_recording(DEMO_RECORDING)) // 2
    made = without_torch(
        """
        import numpy as np
        if "float32" in sys.argv:
            import openvino
            openvino.Core.get_property = lambda *_: ["FP32"]
        from dart_ros.session.predictor import Predictor
        from dart_ros.session.recording import open_recording
        from dart_ros.session.scene_store import SceneStore
        scenes, recording, number, output, backend, _ = sys.argv[1:]
        predictor = Predictor(SceneStore(scenes).load("room"), backend, threads=1)
        matte = predictor.predict(open_recording(recording)[int(number)])
        np.savez(output, **vars(matte))
        print(predictor.backend)
        """,
        *(scenes, DEMO_RECORDING, number, tmp_path / "matte.npz", backend, precision),
    )
    bfloat = "bf16" in made
    assert backend in made and (precision == "as it ships" or not bfloat)
    scene, frame = SceneStore(scenes).load("room"), open_recording(DEMO_RECORDING)[number]
    background = Background.of_images(
        scene.plate,
        scene.depth_mean,
        scene.depth_std,
        scene.depth_count > 0,
        scene.restless_color(),
    )
    color = torch.from_numpy(frame.color / np.float32(255)).permute(2, 0, 1)[None]
    depth = torch.from_numpy(frame.depth)[None, None]
    with torch.inference_mode():
        tiles = tile_count(*frame.depth.shape)
        alpha = load_network()(color, depth, background, tiles).alpha[0, 0].numpy()
    evidence = DepthEvidence(scene.plate, scene.depth_mean, scene.depth_std, scene.depth_count > 0)
    rounded = np.floor(255 * alpha + 0.5).astype(np.uint8)
    looked = evidence(frame.color, frame.depth)
    steadied = TemporalFilter(alpha.shape)(
        frame.color, looked, smoothed(without_specks(rounded)), 0
    )
    corrected = without_specks(steadied)
    with np.load(tmp_path / "matte.npz") as found:
        difference = np.abs(found["alpha"] - corrected.astype(np.float32))
        assert set(np.unique(found["trimap"])) == {0, 128, 255}
        assert found["foreground"].shape == (*alpha.shape, 3)
    assert (alpha > 0.5).mean() > 0.01, "there is somebody in the frame"
    assert difference.mean() < (0.1 if bfloat else 0.02)
    assert (difference > 2).mean() < (0.01 if bfloat else 0.001)


def test_the_engine_is_built(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    code = """
    import os
    os.environ["XDG_CACHE_HOME"] = sys.argv.pop(1)
    from dart_ros.cli import main
    sys.exit(main(sys.argv[1:]))
    """
    arguments = ["build-engine", "--backend=openvino", "--size=64x48"]
    assert "is ready" in without_torch(code, tmp_path, *arguments)
    graph = ["export", "--size=64x48", f"--output={tmp_path}"]
    assert "Wrote coarse" in without_torch(code, tmp_path, *graph)


def test_a_recording_is_captured_and_matted(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    code = """
    from dart_ros.cli import main
    sys.exit(main(sys.argv[1:]))
    """
    folder = f"--scenes-dir={tmp_path}"
    frames = "--frames=6"
    captured = without_torch(code, "capture", DEMO_RECORDING, "--scene=room", frames, folder)
    assert "Captured scene 'room'" in captured
    assert "room" in without_torch(code, "scenes", folder)
    fit = subprocess.run(
        [sys.executable, "-c", BLOCKED + textwrap.dedent(code), "fit", "room", folder],
        capture_output=True,
        text=True,
    )
    assert fit.returncode == 1 and "a fit needs torch" in fit.stderr


def test_the_node_is_imported() -> None:
    pytest.importorskip("rclpy")
    told = without_torch(
        """
        import dart_ros.node.matting_node
        from pathlib import Path
        status = Path("/proc/self/status").read_text().splitlines()
        print(next(line.split()[1] for line in status if line.startswith("VmRSS")))
        """
    )
    assert int(told) < 150_000, "kB of memory"


def test_torch_itself_is_told_to_be_missing() -> None:
    told = without_torch(
        """
        from dart_ros.errors import EngineError
        from dart_ros.runtime.engine import create_engine
        from dart_ros.runtime.scene_buffers import CapturedBackground
        from dart_ros.runtime.weights import load_weights
        try:
            create_engine(load_weights(), CapturedBackground.blank(48, 64), 2, "torch")
        except EngineError as error:
            print(error)
        """
    )
    assert "torch can't be imported" in told and "pip install torch" in told

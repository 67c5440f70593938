"""The command line: real commands on a small recording, and the protocol of the fit."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dart_ros import __version__, cli
from dart_ros.errors import EngineError, FitError
from dart_ros.fitting.run import FitRun, Teacher
from dart_ros.fitting.scene_fit import FitResult
from dart_ros.postmatting import create_post_matting
from dart_ros.session import fit as fit_module
from dart_ros.session.predictor import Predictor
from dart_ros.session.recording import open_recording
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore

ROOT = Path(__file__).resolve().parents[1]
WIDTH, HEIGHT = 96, 64


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One empty frame and four with a box that walks to the right, all with simulated noise."""
    path = tmp_path_factory.mktemp("recordings") / "box"
    path.mkdir()
    content = {
        "width": WIDTH,
        "height": HEIGHT,
        "K": [80, 0, 48, 0, 80, 32, 0, 0, 1],
        "empty_frames": [[0, 0]],
        "occupied_frames": [1, 4],
        "noise": {"sensor": "time_of_flight", "seed": 1},
    }
    (path / "sequence.json").write_text(json.dumps(content))
    rng = np.random.default_rng(0)
    wall = cv2.resize(rng.integers(80, 200, (8, 12, 3), np.uint8), (WIDTH, HEIGHT))
    for number in range(5):
        color, depth = wall.copy(), np.full((HEIGHT, WIDTH), 3000, np.uint16)
        alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
        if number:
            place = (slice(10, 60), slice(12 * number, 12 * number + 30))
            color[place], depth[place], alpha[place] = (20, 30, 200), 1500, 255
        cv2.imwrite(str(path / f"color_{number:04d}.png"), color)
        cv2.imwrite(str(path / f"depth_{number:04d}.png"), depth)
        cv2.imwrite(str(path / f"alpha_{number:04d}.png"), alpha)
    return path


@pytest.fixture
def store(tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]) -> SceneStore:
    """A folder of scenes that holds 'box', captured by the command."""
    scenes = tmp_path / "scenes"
    command = ["capture", str(recording), "--scene", "box", "--scenes-dir", str(scenes)]
    assert cli.main([*command, "--frames", "12"]) == 0
    told = capsys.readouterr().out
    assert "Captured scene 'box'" in told and "of the picture was restless" in told
    return SceneStore(scenes)


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dart_ros.cli", *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_capture_makes_a_scene(store: SceneStore) -> None:
    scene = store.load("box")
    assert scene.frames == 12
    assert scene.known_share > 0.9
    assert np.median(scene.depth_mean) == pytest.approx(3.0, abs=0.02)


def test_capture_refuses_frames_in_which_something_moves(
    tmp_path: Path, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    moving = tmp_path / "moving"
    moving.mkdir()
    for file in recording.iterdir():
        (moving / file.name).write_bytes(file.read_bytes())
    content = json.loads((moving / "sequence.json").read_text())
    (moving / "sequence.json").write_text(json.dumps({**content, "empty_frames": [[0, 4]]}))
    scenes = tmp_path / "scenes"
    command = ["capture", str(moving), "--scene", "a", "--scenes-dir", str(scenes)]
    assert cli.main(command) == 1
    assert re.fullmatch(r"dart-ros: Something moves.*\n", capsys.readouterr().err)
    assert not scenes.exists()


def test_scenes_are_listed(store: SceneStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.set_last("/matting_node", "box")
    store.path("bad").write_bytes(b"x")
    assert cli.main(["scenes", "--scenes-dir", str(store.directory)]) == 0
    bad, box = capsys.readouterr().out.splitlines()
    assert bad.startswith("bad ") and "cut short" in bad
    assert box.startswith("box ") and "96x64" in box and box.endswith("last used")
    store.set_last("/left/matting_node", "box")
    assert cli.main(["scenes", "--scenes-dir", str(store.directory)]) == 0
    box = capsys.readouterr().out.splitlines()[1]
    assert box.endswith("last used by /left/matting_node, /matting_node")
    empty = str(store.directory / "none")
    assert cli.main(["scenes", "--scenes-dir", empty]) == 0
    assert capsys.readouterr().out == f"No scenes in {empty}\n"


def test_evaluate(recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "out"
    command = ["evaluate", str(recording), "--output", str(output), "--backend", "torch"]
    assert cli.main([*command, "--stride", "2"]) == 0
    printed = capsys.readouterr().out
    lines = printed.strip().splitlines()
    assert lines[0].startswith("Recording 'box', 2 frames")
    rows = {line.split("|")[1].strip(): line.split("|")[2:7] for line in lines[4:]}
    ours, *others = rows
    assert ours.startswith("DART (torch")
    assert others == ["depth threshold", "MOG2", "KNN"]
    assert all(float(rows[ours][k]) >= 0 for k in range(4))
    # A red box before a gray wall is found by all of these; doing nothing scores 1.5.
    assert all(float(rows[name][0]) < 0.5 for name in others)
    assert (output / "table.md").read_text() == printed
    content = json.loads((output / "results.json").read_text())
    assert content["methods"]["knn"]["overall"]["frames"] == 2
    assert "data:image/webp;base64," in (output / "report.html").read_text()
    # The second run takes everything from the folder, and the times with it.
    assert cli.main([*command, "--stride", "2", "--save-alphas", str(tmp_path / "alphas")]) == 0
    assert capsys.readouterr().out == printed
    assert len(list((tmp_path / "alphas").glob("knn/box/alpha_0?.png"))) == 2


@pytest.mark.parametrize(
    "option", ["--stride", "--max-depth", "--color-topic", "--camera-info-topic", "--empty-seconds"]
)
def test_evaluate_takes_no_options_of_recordings_for_a_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    (tmp_path / "scene_00").mkdir()
    assert cli.main(["evaluate", str(tmp_path), option, "2"]) == 1
    told = capsys.readouterr().err
    assert f"is a data set, and {option} can only be used with recordings" in told
    assert told.count("\n") == 1


def test_evaluate_chosen_methods(recording: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(recording), "--methods", "knn, depth"]) == 0
    first = capsys.readouterr().out
    assert [line.split("|")[1].strip() for line in first.splitlines()[4:]] == [
        "KNN",
        "depth threshold",
    ]
    # The noise is the same each time, so the scores are, down to the last digit.
    assert cli.main(["evaluate", str(recording), "--methods", "knn, depth"]) == 0
    again = capsys.readouterr().out
    assert [line.split("|")[:7] for line in again.splitlines()] == [
        line.split("|")[:7] for line in first.splitlines()
    ]
    assert cli.main(["evaluate", str(recording), "--methods", "magic"]) == 1
    assert "no method 'magic'" in capsys.readouterr().err
    peers = ["--methods-from", "benchmark.peers"]
    assert cli.main(["evaluate", str(recording), *peers, "--methods", "rvm"]) == 1
    assert "--weights rvm=PATH" in capsys.readouterr().err
    assert cli.main(["evaluate", str(recording), "--methods-from", "no.such.package"]) == 1
    assert "no.such.package can't be imported" in capsys.readouterr().err
    assert cli.main(["evaluate", str(recording), "--weights", "x=y"]) == 1
    assert "--weights METHOD=PATH" in capsys.readouterr().err


def test_matte(
    store: SceneStore, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "mattes"
    command = ["matte", str(recording), "--scene", "box", "--scenes-dir", str(store.directory)]
    command += ["--output", str(output), "--backend", "torch"]
    assert cli.main(command) == 0
    assert "Matted 5 frames on torch" in capsys.readouterr().out
    predictor = Predictor(store.load("box"), "torch")
    frames = open_recording(recording)
    for position in range(5):
        expected = predictor.predict(frames[position])
        alpha = cv2.imread(str(output / f"alpha_{position:04d}.png"), cv2.IMREAD_UNCHANGED)
        bgra = cv2.imread(str(output / f"foreground_{position:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert alpha is not None and bgra is not None
        np.testing.assert_allclose(alpha, expected.alpha, atol=1)
        np.testing.assert_array_equal(bgra[..., 3], alpha)
        np.testing.assert_allclose(bgra[..., 2::-1], expected.foreground, atol=1)
        trimap = cv2.imread(str(output / f"trimap_{position:04d}.png"), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(trimap, expected.trimap)
    (tmp_path / "file").write_text("x")
    command[command.index("--output") + 1] = str(tmp_path / "file")
    assert cli.main(command) == 1
    assert "can't be written" in capsys.readouterr().err


def test_matte_into_a_bag_and_a_video_at_once(
    store: SceneStore, recording: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bag, video = tmp_path / "mattes", tmp_path / "mattes.mp4"
    command = ["matte", str(recording), "--scene", "box", "--scenes-dir", str(store.directory)]
    command += ["--bag", str(bag), "--video", str(video), "--backend", "torch"]
    assert cli.main(command) == 0
    assert f"{bag}, {video}" in capsys.readouterr().out
    assert (bag / "metadata.yaml").is_file() and video.stat().st_size > 0
    assert cli.main(command) == 1
    assert "is there already" in capsys.readouterr().err


def test_matte_with_post_matting(
    store: SceneStore,
    recording: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("pymatting")
    short, output = tmp_path / "short", tmp_path / "mattes"
    short.mkdir()
    for file in (*recording.glob("*_0000.png"), *recording.glob("*_0001.png")):
        (short / file.name).write_bytes(file.read_bytes())
    content = json.loads((recording / "sequence.json").read_text())
    (short / "sequence.json").write_text(json.dumps({**content, "occupied_frames": [1, 1]}))
    command = ["matte", str(short), "--scene", "box", "--scenes-dir", str(store.directory)]
    command += ["--output", str(output), "--backend", "torch", "--post", "closed-form"]
    assert cli.main(command) == 0
    assert "Matted 2 frames" in capsys.readouterr().out
    frames, post = open_recording(short), create_post_matting("closed-form")
    for position in range(2):
        alpha = cv2.imread(str(output / f"alpha_{position:04d}.png"), cv2.IMREAD_UNCHANGED)
        trimap = cv2.imread(str(output / f"trimap_{position:04d}.png"), cv2.IMREAD_UNCHANGED)
        assert alpha is not None and trimap is not None
        np.testing.assert_allclose(alpha, post.refine(frames[position].color, trimap), atol=1)
    # The box of the second frame: there is something to solve, and it comes out as foreground.
    assert (trimap == 128).any() and (trimap == 255).any()
    assert (alpha[20:50, 20:35] > 200).all()
    # What can't be solved keeps its alpha.
    monkeypatch.setattr("dart_ros.postmatting.closed_form.MOST_UNKNOWN", 0.0)
    assert cli.main(command) == 0
    told = capsys.readouterr()
    assert "Matted 2 frames" in told.out and "frames are without post-matting" in told.err


def test_matte_wants_to_know_where_to(
    store: SceneStore, recording: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        cli.main(["matte", str(recording), "--scene", "box", "--scenes-dir", str(store.directory)])
    assert "--output, --video, --bag or --rrd" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["evaluate", "/nowhere"], "There is no recording"),
        (["capture", "/nowhere", "--scene", "../x"], "can't name a scene"),
        (["fit", "nobody", "--scenes-dir", "/nowhere"], "no scene 'nobody'"),
    ],
)
def test_problems_are_told_in_one_line(arguments: list[str], text: str) -> None:
    result = run(*arguments)
    assert result.returncode == 1
    assert result.stdout == ""
    assert result.stderr.startswith("dart-ros: ") and text in result.stderr
    assert result.stderr.count("\n") == 1


def test_wrong_arguments(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], ["dance"], ["fit", "a", "--seconds", "-1"], ["fit", "a", "--seconds=x"]):
        with pytest.raises(SystemExit) as caught:
            cli.main(arguments)
        assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        cli.main(["--version"])
    assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_light_commands_do_not_load_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from dart_ros.cli import main; "
        f"main(['scenes', '--scenes-dir', {str(tmp_path)!r}]); "
        "sys.exit('torch' in sys.modules or 'cv2' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


# --- fit


FakeFit = Callable[..., tuple[Scene, FitResult]]


def fake_fit(improved: bool, meanwhile: Callable[[], None] = lambda: None) -> FakeFit:
    """Stands in for the training, which has tests of its own; the command around it is real."""

    def fit(
        scene: Scene,
        run: FitRun,
        on_progress: Any,
        stop: Any,
        checkpoint: Path,
        logs: Path | None,
        recorded: object = None,
    ) -> tuple[Scene, FitResult]:
        seconds = run.seconds
        on_progress(0.0, "begins")
        checkpoint.write_text("half done")
        on_progress(0.5, f"{seconds} s")
        meanwhile()
        weights = {"w": np.ones(2, np.float16)}
        result = FitResult(weights, improved, 4.0, 3.0 if improved else 4.0, 7, seconds or 9.0, {})
        return (replace(scene, weights=weights) if improved else scene), result

    return fit


@pytest.fixture
def termination() -> Any:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_a_fit_is_handed_the_frames_of_its_recording(
    store: SceneStore, termination: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []

    def fit(scene: Scene, run: FitRun, *arguments: Any) -> tuple[Scene, FitResult]:
        given.append(arguments[-1])
        return fake_fit(False)(scene, run, *arguments)

    monkeypatch.setattr(fit_module, "fit", fit)
    monkeypatch.setattr(
        "dart_ros.session.recorded_scene.load_frames_of_scene",
        lambda path, scene: (str(path), scene.name),
    )
    command = ["fit", "box", "--scenes-dir", str(store.directory)]
    assert cli.main(command) == 0
    assert cli.main([*command, "--recording", "room"]) == 0
    assert given == [None, ("room", "box")]


def test_options_of_a_fit_come_before_its_settings(
    store: SceneStore, termination: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[FitRun] = []

    def fit(scene: Scene, run: FitRun, *arguments: Any) -> tuple[Scene, FitResult]:
        runs.append(run)
        return fake_fit(False)(scene, run, *arguments)

    monkeypatch.setattr(fit_module, "fit", fit)
    settings = tmp_path / "fit.yaml"
    settings.write_text("{seconds: 60, batch: 4, foregrounds: mine, teacher: {weights: large}}")
    command = ["fit", "box", "--scenes-dir", str(store.directory)]
    assert cli.main(command) == 0
    assert cli.main([*command, "--settings", str(settings)]) == 0
    own = ("--seconds", "9", "--foregrounds", "others", "--teacher", "larger")
    assert cli.main([*command, "--settings", str(settings), *own]) == 0
    assert runs == [
        FitRun(),
        FitRun(60.0, batch=4, foregrounds=Path("mine"), teacher=Teacher(Path("large"))),
        FitRun(9.0, batch=4, foregrounds=Path("others"), teacher=Teacher(Path("larger"))),
    ]


def test_of_several_processes_the_first_one_speaks_and_saves(
    store: SceneStore,
    termination: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fit_module, "fit", fake_fit(True))
    before = store.path("box").read_bytes()
    command = ["fit", "box", "--scenes-dir", str(store.directory)]
    monkeypatch.setenv("RANK", "1")
    assert cli.main(command) == 0
    assert "".join(capsys.readouterr()) == ""
    assert store.path("box").read_bytes() == before
    monkeypatch.setenv("RANK", "0")
    assert cli.main(command) == 0
    assert "Fitted scene 'box'" in capsys.readouterr().out
    assert store.path("box").read_bytes() != before


@pytest.mark.parametrize("improved", [True, False])
def test_fit_protocol(
    improved: bool,
    store: SceneStore,
    termination: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fit_module, "fit", fake_fit(improved))
    command = ["fit", "box", "--scenes-dir", str(store.directory), "--seconds", "9"]
    assert cli.main([*command, "--json-progress"]) == 0
    entries = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert entries[:2] == [
        {"progress": 0.0, "message": "begins"},
        {"progress": 0.5, "message": "9.0 s"},
    ]
    end = entries[2]
    assert (end["done"], end["improved"], end["before"]) == (True, improved, 4.0)
    assert end["after"] == (3.0 if improved else 4.0)
    assert ("unchanged" in end["message"]) is not improved
    assert (store.load("box").weights is not None) is improved
    assert not list(store.directory.glob("*.fit.pt"))
    assert cli.main(command) == 0
    assert capsys.readouterr().out.startswith("Fitted scene 'box': 7 steps in 9 s")


@pytest.mark.parametrize(("improved", "fails"), [(True, False), (True, True), (False, False)])
def test_the_fits_result_is_compiled_before_it_is_told(
    improved: bool,
    fails: bool,
    store: SceneStore,
    termination: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made: list[tuple[Any, ...]] = []

    def predictor(scene: Scene, *settings: Any, ready_only: bool) -> None:
        assert store.load("box").weights is None, "a fit that is cancelled now changes nothing"
        made.append((scene.weights is not None, *settings, ready_only))
        if fails:
            raise EngineError("no such engine here")

    monkeypatch.setattr(fit_module, "fit", fake_fit(improved))
    monkeypatch.setattr("dart_ros.session.predictor.Predictor", predictor)
    command = ["fit", "box", "--scenes-dir", str(store.directory), "--backend", "openvino"]
    assert cli.main([*command, "--refine-fraction", "0.5", "--threads", "2"]) == 0
    assert made == ([(True, "openvino", 0.5, 2, True)] if improved else [])
    assert (store.load("box").weights is not None) is improved


def test_fit_of_a_scene_that_was_captured_anew_is_void(
    store: SceneStore,
    termination: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def recapture() -> None:
        store.save(replace(store.load("box"), id="box-20300101T000000Z-abcdef"))

    monkeypatch.setattr(fit_module, "fit", fake_fit(True, recapture))
    command = ["fit", "box", "--scenes-dir", str(store.directory), "--json-progress"]
    assert cli.main(command) == 1
    assert "captured anew" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert store.load("box").weights is None
    assert not list(store.directory.glob("*.fit.pt"))

    monkeypatch.setattr(fit_module, "fit", fake_fit(True, lambda: store.delete("box")))
    assert cli.main(command) == 1
    assert "deleted" in json.loads(capsys.readouterr().out.splitlines()[-1])["error"]
    assert not list(store.directory.iterdir())


def test_fit_error(
    store: SceneStore,
    termination: None,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail() -> None:
        raise FitError("no foregrounds")

    monkeypatch.setattr(fit_module, "fit", fake_fit(True, fail))
    command = ["fit", "box", "--scenes-dir", str(store.directory), "--json-progress"]
    assert cli.main(command) == 1
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1]) == {"error": "no foregrounds"}
    assert captured.err == "dart-ros: no foregrounds\n"


ENDLESS = """
    import sys, time
    from dart_ros import cli
    from dart_ros.session import fit as module

    def fit(scene, run, on_progress, stop, checkpoint, logs, recorded):
        try:
            checkpoint.write_text("half done")
            on_progress(0.1, "training")
            while True:
                time.sleep(0.05)
        except SystemExit:
            raise RuntimeError("a worker died")

    module.fit = fit
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_signals_end_a_fit_and_leave_the_scene(
    store: SceneStore, number: signal.Signals, code: int
) -> None:
    before = store.path("box").read_bytes()
    arguments = ["fit", "box", "--scenes-dir", str(store.directory), "--json-progress"]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(ENDLESS), *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell that starts the tests in the background makes its children ignore Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    assert process.stdout is not None
    assert json.loads(process.stdout.readline())["progress"] == 0.1
    process.send_signal(number)
    _, errors = process.communicate(timeout=180)
    assert process.returncode == code
    assert "Traceback" not in errors
    assert store.path("box").read_bytes() == before
    left = store.unfinished_fit(store.load("box").id)
    assert left.read_text() == "half done"
    assert sorted(os.listdir(store.directory)) == sorted([left.name, "box.safetensors"])

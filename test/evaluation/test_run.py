"""Evaluations: what is computed, what is kept for the next run, and the report of it."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dart_ros.errors import EvaluationError
from dart_ros.evaluation import run as running
from dart_ros.evaluation.methods.depth_threshold import DepthThreshold
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.evaluation.metrics import flicker, score
from dart_ros.evaluation.report import html_report
from dart_ros.evaluation.results import Results, SceneResult
from dart_ros.evaluation.run import PARTS, alpha_file, evaluate, read_alpha, save_alphas
from dart_ros.values import Frame


class Counting(Method):
    """Answers with one gray level more at each frame, and counts its calls."""

    name = "counting"
    title = "counting <levels>"

    def __init__(self, weights: Path | None = None, backend: str = "auto") -> None:
        super().__init__(weights, backend)
        self.learnt = self.calls = 0

    def learn(self, empty: EmptyScene) -> None:
        self.learnt += sum(1 for _ in empty.frames())

    def alpha(self, frame: Frame) -> np.ndarray:
        self.calls += 1
        return np.full(frame.depth.shape, 100 + self.calls, np.uint8)


def part(output: Path) -> Path:
    return output / PARTS / "counting" / "room"


def run(room: Any, output: Path, **options: Any) -> tuple[Counting, Results]:
    method = Counting(**options)
    return method, evaluate("rooms", [room], [method], output)


def test_what_is_computed(room: Any, tmp_path: Path) -> None:
    method, results = run(room, tmp_path)
    assert (method.learnt, method.calls) == (60, 3)
    alphas = [np.full(room.truth().shape, 101 + n, np.uint8) for n in range(3)]
    found = results.pairs["counting", "room"]
    assert found.frames == (None, score(alphas[1], room.truth()), score(alphas[2], room.truth()))
    # The first frame has no truth, so one pair of frames is left.
    assert found.flicker == (flicker(alphas[2], alphas[1], room.truth(), room.truth()),)
    assert len(found.milliseconds) == 3 and min(found.milliseconds) > 0
    for number, alpha in enumerate(alphas):
        kept = read_alpha(alpha_file(tmp_path, "counting", "room", number))
        np.testing.assert_array_equal(kept, alpha)


def test_flicker_is_of_videos_alone(room: Any, tmp_path: Path) -> None:
    room.consecutive = False
    _, results = run(room, tmp_path)
    assert results.pairs["counting", "room"].flicker == ()
    assert results.rows()[0].flicker is None


def test_finished_pairs_are_kept(room: Any, tmp_path: Path) -> None:
    _, first = run(room, tmp_path)
    depth = DepthThreshold()
    method = Counting()
    again = evaluate("rooms", [room], [method, depth], tmp_path)
    assert (method.learnt, method.calls) == (0, 0)
    assert again.pairs["counting", "room"] == first.pairs["counting", "room"]
    scores = again.pairs["depth", "room"].frames[1]
    # The box has 750 pixels; doing nothing scores 0.75.
    assert scores is not None and scores.sad < 0.1


def change_data(room: Any, _output: Path) -> dict[str, Any]:
    room.stamp = "other"
    return {}


def change_backend(_room: Any, _output: Path) -> dict[str, Any]:
    return {"backend": "torch"}


def give_weights(_room: Any, output: Path) -> dict[str, Any]:
    (output / "weights" / "inner").mkdir(parents=True)
    (output / "weights" / "inner" / "more.bin").write_bytes(b"x")
    return {"weights": output / "weights"}


def break_result(_room: Any, output: Path) -> dict[str, Any]:
    (part(output) / "result.json").write_text('{"stamp": "')
    return {}


def empty_result(_room: Any, output: Path) -> dict[str, Any]:
    file = part(output) / "result.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({**content, "result": {"engine": ""}}))
    return {}


def lose_alpha(_room: Any, output: Path) -> dict[str, Any]:
    (part(output) / "alpha_01.png").unlink()
    return {}


@pytest.mark.parametrize(
    "change",
    [change_data, change_backend, give_weights, break_result, empty_result, lose_alpha],
)
def test_what_changed_is_computed_anew(
    room: Any, tmp_path: Path, change: Callable[[Any, Path], dict[str, Any]]
) -> None:
    _, first = run(room, tmp_path)
    options = change(room, tmp_path)
    method, again = run(room, tmp_path, **options)
    assert method.calls == 3
    assert again.pairs["counting", "room"].frames == first.pairs["counting", "room"].frames
    # What was computed anew is kept in its turn.
    assert run(room, tmp_path, **options)[0].calls == 0


@pytest.mark.parametrize("what", ["engines", "library", "engine library"])
def test_another_environment_is_another_result(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    run(room, tmp_path)
    assert run(room, tmp_path)[0].calls == 0
    version = running.metadata.version
    if what == "engines":
        monkeypatch.setattr(running, "automatic", lambda: ("another",))
    else:
        changed = {"library": "numpy", "engine library": "tensorrt"}[what]
        monkeypatch.setattr(
            running.metadata,
            "version",
            lambda library: "0.0.1" if library == changed else version(library),
        )
    assert run(room, tmp_path)[0].calls == 3
    assert run(room, tmp_path)[0].calls == 0
    if what == "engines":
        # A backend that was named is what it is, whatever "auto" would take.
        assert run(room, tmp_path, backend="torch")[0].calls == 3
        monkeypatch.undo()
        assert run(room, tmp_path, backend="torch")[0].calls == 0


@pytest.mark.parametrize("module", ["dataset.py", "scenes.py", "metrics.py", "run.py"])
def test_the_code_of_the_evaluation_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    package = Path(running.dart_ros.__file__).parent
    ignore = shutil.ignore_patterns("data", "__pycache__")
    shutil.copytree(package, tmp_path / "package", ignore=ignore)
    monkeypatch.setattr(running.dart_ros, "__file__", str(tmp_path / "package" / "__init__.py"))
    before = running._code_digest()
    with (tmp_path / "package" / "evaluation" / module).open("a") as file:
        file.write("# changed\n")
    assert running._code_digest() != before


def test_changed_weights_count(room: Any, tmp_path: Path) -> None:
    weights = tmp_path / "weights.bin"
    for content in (b"one", b"two"):
        weights.write_bytes(content)
        assert run(room, tmp_path, weights=weights)[0].calls == 3
        assert run(room, tmp_path, weights=weights)[0].calls == 0


def test_an_interrupted_run_goes_on(room: Any, tmp_path: Path) -> None:
    class Dying(Counting):
        name = "dying"

        def alpha(self, frame: Frame) -> np.ndarray:
            if self.calls == 1:
                raise KeyboardInterrupt
            return super().alpha(frame)

    with pytest.raises(KeyboardInterrupt):
        evaluate("rooms", [room], [Counting(), Dying()], tmp_path)
    method, mended = Counting(), Counting()
    mended.name = "dying"  # type: ignore[misc]
    evaluate("rooms", [room], [method, mended], tmp_path)
    assert (method.calls, mended.calls) == (0, 3)


def test_results_to_json_and_back(room: Any, tmp_path: Path) -> None:
    _, results = run(room, tmp_path)
    content = json.loads(json.dumps(results.to_json()))
    scene = content["scenes"]["room"]
    assert scene["tags"] == ["box", "plain <wall>"]
    found = results.pairs["counting", "room"]
    assert SceneResult.from_json(scene["methods"]["counting"]) == found
    row = results.rows()[0]
    assert row.scores is not None
    assert content["methods"]["counting"]["overall"]["scores"] == asdict(row.scores)
    assert content["methods"]["counting"]["box"]["frames"] == 3
    assert {"python", "dart_ros", "numpy"} <= set(content["versions"])
    assert "cores" in content["machine"]


def test_report(room: Any, tmp_path: Path) -> None:
    methods = [Counting(), DepthThreshold()]
    results = evaluate("rooms", [room], methods, tmp_path)
    page = html_report(results, [room], tmp_path, "Rooms & boxes")
    assert "<h1>Rooms &amp; boxes</h1>" in page
    # Once in each of the two tables and once over its pictures.
    assert page.count("counting &lt;levels&gt;") == page.count("depth threshold") == 3
    assert "counting <levels>" not in page and "plain &lt;wall&gt;" in page
    # Input, depth and truth; for each method alpha, error and worst region.
    assert page.count("<img src='data:image/webp;base64,") == 3 + 2 * 3
    # The first method errs more the higher its level is over all of the background.
    assert "room, frame 2" in page
    for address in ("http:", "https:", "src='/", "<script"):
        assert address not in page


def test_report_without_truth(room: Any, tmp_path: Path) -> None:
    blind = type(room)(test_frames=1)
    results = evaluate("rooms", [blind], [Counting()], tmp_path)
    page = html_report(results, [blind], tmp_path, "Rooms")
    assert "room, frame 0" in page and "<th>SAD" not in page
    assert page.count("<img ") == 2 + 1


def test_alphas_are_copied(room: Any, tmp_path: Path) -> None:
    _, results = run(room, tmp_path / "out")
    save_alphas(results, tmp_path / "out", tmp_path / "one")
    names = [f"alpha_{n:02d}.png" for n in range(3)]
    assert sorted(file.name for file in (tmp_path / "one" / "room").iterdir()) == names
    both = evaluate("rooms", [room], [Counting(), DepthThreshold()], tmp_path / "out")
    save_alphas(both, tmp_path / "out", tmp_path / "both")
    assert sorted(folder.name for folder in (tmp_path / "both").iterdir()) == ["counting", "depth"]
    (tmp_path / "file").write_text("x")
    with pytest.raises(EvaluationError, match="can't be written"):
        save_alphas(results, tmp_path / "out", tmp_path / "file")
    with pytest.raises(EvaluationError, match="can't be written"):
        run(room, tmp_path / "file")


def test_a_full_disk_is_told(room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_file: Path, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(EvaluationError, match=r"can't be written to .*No space left on device"):
        run(room, tmp_path)


def test_what_fails_in_reading_is_not_told_as_writing(
    room: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "generic_weights_path", lambda: tmp_path / "weights.bin")
    with pytest.raises(EvaluationError, match=r"weights.bin can't be read \(No such file"):
        run(room, tmp_path / "out")
    with pytest.raises(EvaluationError, match=r"alpha.png can't be read \(No such file"):
        read_alpha(tmp_path / "alpha.png")


def test_a_broken_alpha_is_told(tmp_path: Path) -> None:
    (tmp_path / "alpha.png").write_bytes(b"x")
    with pytest.raises(EvaluationError, match="is broken; delete its folder"):
        read_alpha(tmp_path / "alpha.png")

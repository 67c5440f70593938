from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from dart_ros.errors import FitError
from dart_ros.fitting.run import FitRun, described, load_fit, load_run
from dart_ros.simulation.composition import Chances
from dart_ros.simulation.depth_sensor import DepthChances
from dart_ros.simulation.recorded import RecordedChances

CONFIG = Path(__file__).parents[2] / "config" / "training"
OTHERS = "fit", "release", "gpu_release"
READY = sorted(path for path in CONFIG.glob("*.yaml") if path.stem not in OTHERS)
LEAST = {"stage": "student", "output": "runs/a", "steps": 10}


def written(folder: Path, content: object) -> Path:
    path = folder / "run.yaml"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", READY, ids=lambda path: path.stem)
def test_the_runs_that_ship_are_valid(path: Path) -> None:
    run = load_run(path)
    assert run.output == Path("runs") / path.stem
    assert run.network.encoder == ("resnet50" if run.stage == "teacher" else "mobilenetv2")


def test_what_is_not_given_is_the_papers(tmp_path: Path) -> None:
    run = load_run(written(tmp_path, LEAST))
    assert (run.rates.encoder, run.rates.aspp, run.rates.decoder) == (1e-4, 5e-4, 5e-4)
    assert run.batch == 16
    teacher = load_run(written(tmp_path, {**LEAST, "stage": "teacher"}))
    assert teacher.network.encoder == "resnet50"
    assert described(teacher)["output"] == "a"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "can't be read"),
        ("- 1", "keys and values"),
        ({"stage": "student", "steps": 1}, "key output is missing"),
        ({**LEAST, "stage": "pupil"}, "stage is 'pupil'"),
        ({**LEAST, "colour": 1}, "no key colour"),
        ({**LEAST, "data": {"romms": []}}, "no key data.romms"),
        ({**LEAST, "batch": "many"}, "batch is 'many': give a int"),
        ({**LEAST, "batch": 0}, "batch is 0"),
        ({**LEAST, "rates": {"encoder": -1e-4}}, "rates.encoder"),
        ({**LEAST, "sizes": [[32, 33]]}, "multiples of 16"),
        ({**LEAST, "sizes": [[32]]}, "sizes"),
        ({**LEAST, "sizes": []}, "sizes is empty"),
        ({**LEAST, "sizes": [[48, 48], [720, 1280]]}, r"of 48; the next is \[720, 1296\]"),
        ({**LEAST, "keep_norms": True}, "keep_norms needs start.weights"),
        ({**LEAST, "minutes": 5}, "as steps or as minutes"),
        ({"stage": "student", "output": "a"}, "as steps or as minutes"),
        ({**LEAST, "stage": "refiner"}, "needs start.weights"),
        ({**LEAST, "stage": "teacher", "teacher": {"weights": "a"}}, "only the stage student"),
        ({**LEAST, "start": {"weights": "a", "imagenet": "b"}}, "give one of them"),
        ({**LEAST, "data": {"invented": 0}}, "names no rooms"),
        ({**LEAST, "data": {"recorded_share": 1.0}}, "recorded_share is 1.0"),
        ({**LEAST, "composition": {"camera": {"gian": 1.0}}}, "no key composition.camera.gian"),
        ({**LEAST, "composition": {"depth": {"all_lost": 2.0}}}, "composition.depth.all_lost is 2"),
        ({**LEAST, "composition": {"background": {"zoom": 0.5}}}, "composition.background.zoom"),
        ({**LEAST, "recorded": {"still": -0.1}}, "recorded.still is -0.1"),
        ({**LEAST, "mean_decay": 1.0}, "mean_decay"),
        ({**LEAST, "workers": 0, "pool": {"folder": "a", "renewing": 4}}, "needs workers"),
        ({**LEAST, "pool": {"folder": "a", "renewing": -1}}, "pool.renewing is -1"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(FitError, match=f"run.yaml.*{reason}"):
        load_run(written(tmp_path, content))


def test_chances_are_set_one_by_one(tmp_path: Path) -> None:
    given = {**LEAST, "composition": {"depth": {"people_lost": 0.5}}, "recorded": {"mirror": 0.0}}
    run = load_run(written(tmp_path, given))
    assert run.composition == Chances(depth=DepthChances(people_lost=0.5))
    assert run.recorded == RecordedChances(mirror=0.0)


def test_the_fit_that_ships_is_what_a_fit_is_by_default() -> None:
    assert load_fit(CONFIG / "fit.yaml") == FitRun()


def test_a_fit_may_be_told_anything_or_nothing(tmp_path: Path) -> None:
    assert load_fit(written(tmp_path, "# nothing")) == FitRun()
    told = {
        "seconds": 60,
        "foregrounds": "mine",
        "teacher": {"weights": "t"},
        "rates": {"aspp": 1e-3},
    }
    run = load_fit(written(tmp_path, told))
    assert (run.seconds, run.foregrounds) == (60.0, Path("mine"))
    assert run.teacher is not None and run.teacher.weights == Path("t")
    assert (run.rates.encoder, run.rates.aspp) == (1e-4, 1e-3)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("{", "can't be read"),
        ("- 1", "keys and values"),
        ({"stage": "student"}, "no key stage; there are seconds"),
        ({"seconds": 0}, "seconds is 0"),
        ({"batch": -2}, "batch is -2"),
        ({"frames": 0}, "frames is 0"),
        ({"seed": -1}, "seed is -1"),
        ({"rates": {"refiner": 0.0}}, "rates.refiner is 0"),
        ({"teacher": {"weights": "t", "temperature": 0}}, "teacher.temperature is 0"),
        ({"foregrounds": ["a", "b"]}, "give a path"),
    ],
)
def test_what_is_wrong_with_a_fit_is_named(tmp_path: Path, content: object, reason: str) -> None:
    with pytest.raises(FitError, match=f"run.yaml.*{reason}"):
        load_fit(written(tmp_path, content))

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import recorded_example
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dart_ros.errors import FitError
from dart_ros.fitting import scene_fit
from dart_ros.fitting.optimization import Stepper
from dart_ros.fitting.run import FitRun
from dart_ros.fitting.scene_fit import fit_scene
from dart_ros.fitting.validation import ValidationScores, ValidationSet
from dart_ros.fitting.weights import network_with, weights_of
from dart_ros.runtime import weights
from dart_ros.simulation.backgrounds import invent_room
from dart_ros.simulation.foregrounds import Foreground, load_foregrounds
from dart_ros.simulation.frames import Batch, RgbdBackground

pytestmark = pytest.mark.usefixtures("generic_weights")


@pytest.fixture(scope="module")
def background() -> RgbdBackground:
    room = invent_room(2, 64, 80)
    return RgbdBackground(room.color, room.depth, room.focal, 0.01 * room.depth)


def test_a_fit_is_never_worse_and_its_weights_load(
    library: Path, background: RgbdBackground
) -> None:
    steps: list[tuple[float, str]] = []
    run = FitRun(seconds=3.0, library=library)
    result = fit_scene(background, 5.46, run, lambda *step: steps.append(step), lambda: False)
    shares = [share for share, _ in steps]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] <= 1
    assert all("per mille" in words for _, words in steps)
    assert result.after <= result.before
    assert result.improved == (result.after < result.before)
    assert result.steps >= 1 and result.seconds > 0
    fitted = network_with(result.weights)
    assert weights_of(fitted).keys() == result.weights.keys()


def test_a_recording_of_the_scene_is_learned_from_and_judged_by(
    library: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)  # on a slow machine four seconds may be one step
    recorded = recorded_example.scene(10)
    seen: list[Batch] = []
    step = Stepper.step

    def watched(stepper: Stepper, batch: Batch) -> float:
        seen.append(batch)
        return step(stepper, batch)

    monkeypatch.setattr(Stepper, "step", watched)
    run = FitRun(seconds=4.0, library=library, recorded_share=0.9, frames=4)
    plain = replace(recorded.background, samples=None, varied=False)
    made: list[ValidationSet] = []
    build = scene_fit.ValidationSet
    monkeypatch.setattr(
        scene_fit, "ValidationSet", lambda *a, **k: made.append(build(*a, **k)) or made[-1]
    )
    result = fit_scene(plain, 5.46, run, lambda *_: None, lambda: False, recorded=recorded)
    assert result.made_of["recording"] == recorded.digest()

    def numbers(batches: list[Batch]) -> set[int]:
        """Of the real frames, which their brightness tells."""
        real = [
            b.color[i, 0] for b in batches for i in range(len(b.color)) if (b.weight[i] == 0).any()
        ]
        return {round((float(image[30, 30]) * 255 - 150) / 10) for image in real}

    # The last fifth is kept to judge by, as it is.
    assert numbers(made[0]._batches) <= {8, 9} and numbers(made[0]._batches)
    assert any((batch.weight == 0).any() for batch in seen)


def test_a_recording_of_one_frame_is_too_short(library: Path) -> None:
    recorded = recorded_example.scene(1)
    with pytest.raises(FitError, match="two occupied frames"):
        fit_scene(
            recorded.background,
            *(5.46, FitRun(library=library), lambda *_: None, lambda: True),
            recorded=recorded,
        )


def test_a_fit_that_is_stopped_at_once_keeps_the_generic_weights(
    library: Path, background: RgbdBackground
) -> None:
    run = FitRun(library=library)
    result = fit_scene(background, 5.46, run, lambda *_: None, lambda: True)
    assert (result.improved, result.steps) == (False, 0)
    generic = weights_of(network_with(None))
    assert all((result.weights[name] == value).all() for name, value in generic.items())


def test_the_users_own_person_is_trained_on(
    library: Path, background: RgbdBackground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Before all others in the alphabet, where those who are held out are taken.
    picture = np.full((40, 20, 4), 255, np.uint8)
    assert cv2.imwrite(str(tmp_path / "001_front.png"), picture)
    shown: dict[str, set[str]] = {}

    def spy(name: str) -> None:
        made = getattr(scene_fit, name)

        def make(foregrounds: list[Foreground], *arguments: object, **options: object) -> object:
            shown[name] = {foreground.identity for foreground in foregrounds}
            return made(foregrounds, *arguments, **options)

        monkeypatch.setattr(scene_fit, name, make)

    spy("CompositionStream")
    spy("ValidationSet")
    run = FitRun(library=library, foregrounds=tmp_path)
    fit_scene(background, 5.46, run, lambda *_: None, lambda: True)
    assert shown == {"CompositionStream": {"001", "bert", "box"}, "ValidationSet": {"anna"}}


def test_a_fit_needs_time_and_people(
    library: Path, background: RgbdBackground, tmp_path: Path
) -> None:
    def fit(seconds: float, foregrounds: Path) -> None:
        run = FitRun(seconds=seconds, library=foregrounds)
        fit_scene(background, 5.46, run, lambda *_: None, lambda: False)

    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(FitError, match=r"seconds is .*: give a number above 0"):
            fit(seconds, library)
    with pytest.raises(FitError, match=r"foregrounds\.json"):
        fit(1, tmp_path)
    assert len(load_foregrounds(library, ["anna"])) == 1
    (tmp_path / "one").mkdir()
    for file in library.glob("anna*"):
        (tmp_path / "one" / file.name).write_bytes(file.read_bytes())
    index = (library / "foregrounds.json").read_text().split('}, {"name": "bert"')[0] + "}]}"
    (tmp_path / "one" / "foregrounds.json").write_text(index)
    with pytest.raises(FitError, match="the foregrounds show 1 people: training needs two"):
        fit(1, tmp_path / "one")


SECONDS = 12.0
"""Of a fit by the clock of :func:`tick`: as many steps, with eight validations."""

FRAMES = 2
"""Of each validation."""


def tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which each step takes a second, so that fits can be compared step by step."""
    ticks = itertools.count()
    monkeypatch.setattr(scene_fit, "monotonic", lambda: float(next(ticks)))


CHILD = """
    import itertools, sys, time
    from pathlib import Path
    from dart_ros.fitting import scene_fit
    from dart_ros.runtime import weights
    from dart_ros.simulation.backgrounds import invent_room
    from dart_ros.simulation.frames import RgbdBackground
    from dart_ros.fitting.run import FitRun

    ticks = itertools.count()
    scene_fit.monotonic = lambda: float(next(ticks))
    write = scene_fit.save_checkpoint

    def write_and_wait(*arguments):
        write(*arguments)
        time.sleep(600)

    scene_fit.save_checkpoint = write_and_wait
    room = invent_room(2, 64, 80)
    background = RgbdBackground(room.color, room.depth, room.focal, 0.01 * room.depth)
    library, generic, checkpoint, seconds = sys.argv[1:]
    weights.generic_weights_path = lambda: Path(generic)
    run = FitRun(seconds=float(seconds), library=Path(library), frames=2)
    scene_fit.fit_scene(
        background, 5.46, run, lambda *_: None, lambda: False, Path(checkpoint)
    )
"""


def test_a_fit_that_is_killed_goes_on_and_ends_the_same(
    library: Path, background: RgbdBackground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)
    said: list[str] = []

    def fit(name: str) -> scene_fit.FitResult:
        return fit_scene(
            background,
            5.46,
            FitRun(seconds=SECONDS, library=library, frames=FRAMES),
            lambda _share, words: said.append(words),
            lambda: False,
            tmp_path / name,
        )

    whole = fit("whole.pt")
    assert not any("goes on" in words for words in said)
    broken = tmp_path / "broken.pt"
    files = library, weights.generic_weights_path(), broken
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), *map(str, files), str(SECONDS)]
    )
    until = time.monotonic() + 300
    while running.poll() is None and time.monotonic() < until and not broken.exists():
        time.sleep(0.002)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL
    done = torch.load(broken, weights_only=True)["step"]
    assert 0 < done < whole.steps
    result = fit("broken.pt")
    assert f"fitting: goes on after step {done}" in said
    assert (result.steps, result.seconds) == (whole.steps, whole.seconds)
    assert (result.before, result.after) == (whole.before, whole.after)
    assert all((result.weights[name] == value).all() for name, value in whole.weights.items())
    one, other = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("whole", "broken"))
    for part in ("network", "mean"):
        assert one[part].keys() == other[part].keys()
        assert all(torch.equal(other[part][name], value) for name, value in one[part].items())

    # Started again when all is done, as after a kill between its last step and its result.
    again = fit("broken.pt")
    assert (again.steps, again.after) == (whole.steps, whole.after)


def test_a_fit_that_goes_on_is_as_long_as_it_was_to_be(
    library: Path, background: RgbdBackground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)
    monkeypatch.setattr(scene_fit, "PATIENCE", 100)

    def fit(seconds: float | None, stop_after: int) -> int:
        shares: list[float] = []
        return fit_scene(
            background,
            5.46,
            FitRun(seconds=seconds, library=library, frames=FRAMES),
            lambda share, _: shares.append(share),
            lambda: len(shares) > stop_after,
            tmp_path / "scene.fit.pt",
        ).steps

    assert fit(SECONDS, 4) == 4
    assert fit(None, 100) == SECONDS


def test_at_last_the_refiner_learns_alone(
    library: Path, background: RgbdBackground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)
    monkeypatch.setattr(scene_fit, "PATIENCE", 100)
    states: list[dict[str, torch.Tensor]] = []
    kept = scene_fit.save_checkpoint

    def keep(path: Path, state: dict[str, Any]) -> None:
        states.append({name: value.clone() for name, value in state["network"].items()})
        kept(path, state)

    monkeypatch.setattr(scene_fit, "save_checkpoint", keep)
    run = FitRun(seconds=40.0, library=library, frames=FRAMES)
    checkpoint = tmp_path / "scene.fit.pt"
    fit_scene(background, 5.46, run, lambda *_: None, lambda: False, checkpoint)
    assert len(states) == 8

    def changed(one: int, other: int) -> set[str]:
        pairs = ((name, value, states[other][name]) for name, value in states[one].items())
        return {name.split(".")[0] for name, a, b in pairs if not torch.equal(a, b)}

    assert changed(0, 1) == {"base", "refiner"}
    # The last fifth begins with step 33, two steps before the seventh validation.
    assert changed(6, 7) == {"refiner"}


def test_a_fit_that_finds_nothing_better_ends(
    library: Path, background: RgbdBackground, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)
    monkeypatch.setattr(ValidationSet, "score", lambda *_: ValidationScores(1.0, 1.0, 1.0, 1.0))
    run = FitRun(seconds=16.0, library=library, frames=FRAMES)
    result = fit_scene(background, 5.46, run, lambda *_: None, lambda: False)
    assert (result.steps, result.improved) == (10, False)


def test_a_checkpoint_of_another_fit_or_a_broken_one_is_written_over(
    library: Path,
    background: RgbdBackground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    checkpoint = tmp_path / "scene.fit.pt"

    def steps(seed: int, seconds: float) -> int:
        tick(monkeypatch)
        run = FitRun(seconds=seconds, library=library, frames=FRAMES, seed=seed)
        return fit_scene(background, 5.46, run, lambda *_: None, lambda: False, checkpoint).steps

    assert steps(0, 2.0) == 2
    assert steps(0, 3.0) == 3 and torch.load(checkpoint, weights_only=True)["step"] == 3
    assert steps(1, 2.0) == 2 and torch.load(checkpoint, weights_only=True)["step"] == 2
    assert "of another scene, other foregrounds" in caplog.text
    caplog.clear()
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert steps(1, 1.0) == 1 and torch.load(checkpoint, weights_only=True)["step"] == 1
    assert "begins anew" in caplog.text and str(checkpoint) in caplog.text
    state = torch.load(checkpoint, weights_only=True)
    torch.save({**state, "network": {}}, checkpoint)
    with pytest.raises(FitError, match="delete it and fit again"):
        steps(1, 2.0)


def test_a_fit_goes_on_where_no_checkpoint_can_be_written(
    library: Path,
    background: RgbdBackground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tick(monkeypatch)
    checkpoint = tmp_path / "gone" / "scene.fit.pt"
    run = FitRun(seconds=2.0, library=library, frames=FRAMES)
    result = fit_scene(background, 5.46, run, lambda *_: None, lambda: False, checkpoint)
    assert result.steps == 2
    assert "will begin anew" in caplog.text and str(checkpoint) in caplog.text


def test_logs(
    library: Path, background: RgbdBackground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)
    run = FitRun(seconds=3.0, library=library, frames=FRAMES)
    quiet = lambda *_: None, lambda: False
    fit_scene(background, 5.46, run, *quiet, logs=tmp_path / "logs")
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    for tag in ("loss/training", "validation/error"):
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in points] == [1, 2, 3]
        assert all(value > 0 for _, value in points)
    (tmp_path / "file").write_text("")
    with pytest.raises(FitError, match="can't be written to"):
        fit_scene(background, 5.46, run, *quiet, logs=tmp_path / "file" / "logs")


SHARING = """
    import itertools, sys
    from pathlib import Path
    from dart_ros.fitting import scene_fit
    from dart_ros.runtime import weights
    from dart_ros.simulation.backgrounds import invent_room
    from dart_ros.simulation.frames import RgbdBackground
    from dart_ros.fitting.processes import is_first_process
    from dart_ros.fitting.run import FitRun

    ticks = itertools.count()
    scene_fit.monotonic = lambda: float(next(ticks)) if is_first_process() else 1e9 * next(ticks)
    scene_fit.PATIENCE = 100
    room = invent_room(2, 64, 80)
    background = RgbdBackground(room.color, room.depth, room.focal, 0.01 * room.depth)
    library, generic, checkpoint, seconds = sys.argv[1:]
    weights.generic_weights_path = lambda: Path(generic)
    run = FitRun(seconds=float(seconds), library=Path(library), frames=2)
    said = []
    result = scene_fit.fit_scene(
        background, 5.46, run, lambda *words: said.append(words),
        lambda: not is_first_process(), Path(checkpoint),
    )
    assert bool(said) == is_first_process()
    assert result.steps == int(float(seconds)), result.steps
"""


def test_two_processes_share_a_fit(
    library: Path,
    background: RgbdBackground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_two_processes: Callable[..., None],
) -> None:
    """They end where one does, go on after a kill, and keep to the first one's clock."""
    tick(monkeypatch)
    monkeypatch.setattr(scene_fit, "PATIENCE", 100)
    alone, shared = tmp_path / "alone.pt", tmp_path / "shared.pt"
    run = FitRun(seconds=SECONDS, library=library, frames=FRAMES)
    fit_scene(background, 5.46, run, lambda *_: None, lambda: False, alone)
    script = tmp_path / "fit.py"
    script.write_text(textwrap.dedent(SHARING))

    def together(seconds: float) -> dict[str, Any]:
        in_two_processes(script, library, weights.generic_weights_path(), shared, seconds)
        state: dict[str, Any] = torch.load(shared, weights_only=True)
        return state

    one, two = torch.load(alone, weights_only=True), together(SECONDS)
    assert one["step"] == two["step"] == SECONDS
    start = network_with(None).state_dict()

    def learnt(state: dict[str, Any]) -> torch.Tensor:
        steps = [state["network"][key] - value for key, value in start.items()]
        return torch.cat([step.flatten() for step in steps if step.is_floating_point()])

    apart = (learnt(two) - learnt(one)).norm()
    # Processes that don't share gradients are off by 0.47 of it.
    assert float(apart) < 0.05 * float(learnt(one).norm())
    assert together(SECONDS + 4)["step"] == SECONDS + 4

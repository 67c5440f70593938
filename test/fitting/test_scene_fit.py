from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from dart_ros.errors import FitError
from dart_ros.fitting import scene_fit, weights
from dart_ros.fitting.backgrounds import invent_room
from dart_ros.fitting.composition import RgbdBackground
from dart_ros.fitting.scene_fit import fit_scene
from dart_ros.fitting.sprites import Sprite, load_sprites
from dart_ros.fitting.validation import ValidationScores, ValidationSet
from dart_ros.fitting.weights import network_with, weights_of

pytestmark = pytest.mark.usefixtures("generic_weights")


@pytest.fixture(scope="module")
def background() -> RgbdBackground:
    room = invent_room(2, 64, 80)
    return RgbdBackground(room.color, room.depth, room.focal, 0.01 * room.depth)


def test_a_fit_is_never_worse_and_its_weights_load(
    library: Path, background: RgbdBackground
) -> None:
    steps: list[tuple[float, str]] = []
    result = fit_scene(
        background, 5.46, 3.0, lambda *step: steps.append(step), lambda: False, library
    )
    shares = [share for share, _ in steps]
    assert shares == sorted(shares) and shares[0] == 0 and shares[-1] <= 1
    assert all("per mille" in words for _, words in steps)
    assert result.after <= result.before
    assert result.improved == (result.after < result.before)
    assert result.steps >= 1 and result.seconds > 0
    fitted = network_with(result.weights)
    assert weights_of(fitted).keys() == result.weights.keys()


def test_a_fit_that_is_stopped_at_once_keeps_the_generic_weights(
    library: Path, background: RgbdBackground
) -> None:
    result = fit_scene(background, 5.46, 60, lambda *_: None, lambda: True, library)
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

        def make(sprites: list[Sprite], *arguments: object, **options: object) -> object:
            shown[name] = {sprite.identity for sprite in sprites}
            return made(sprites, *arguments, **options)

        monkeypatch.setattr(scene_fit, name, make)

    spy("CompositionStream")
    spy("ValidationSet")
    fit_scene(background, 5.46, 60, lambda *_: None, lambda: True, library, own_sprites=tmp_path)
    assert shown == {"CompositionStream": {"001", "bert", "box"}, "ValidationSet": {"anna"}}


def test_a_fit_needs_time_and_people(
    library: Path, background: RgbdBackground, tmp_path: Path
) -> None:
    def fit(seconds: float, sprites: Path) -> None:
        fit_scene(background, 5.46, seconds, lambda *_: None, lambda: False, sprites)

    for seconds in (0.0, -1.0, float("nan")):
        with pytest.raises(FitError, match="positive number of seconds"):
            fit(seconds, library)
    with pytest.raises(FitError, match=r"sprites\.json"):
        fit(1, tmp_path)
    assert len(load_sprites(library, ["anna"])) == 1
    (tmp_path / "one").mkdir()
    for file in library.glob("anna*"):
        (tmp_path / "one" / file.name).write_bytes(file.read_bytes())
    index = (library / "sprites.json").read_text().split('}, {"name": "bert"')[0] + "}]}"
    (tmp_path / "one" / "sprites.json").write_text(index)
    with pytest.raises(FitError, match="the sprites show 1 people: training needs two"):
        fit(1, tmp_path / "one")


SECONDS = 12.0
"""Of a fit by the clock of :func:`tick`: as many steps, with eight validations."""


def tick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A clock by which each step takes a second, so that fits can be compared step by step."""
    ticks = itertools.count()
    monkeypatch.setattr(scene_fit, "monotonic", lambda: float(next(ticks)))
    monkeypatch.setattr(scene_fit, "VALIDATION_FRAMES", 2)


CHILD = """
    import itertools, sys, time
    from pathlib import Path
    from dart_ros.fitting import scene_fit, weights
    from dart_ros.fitting.backgrounds import invent_room
    from dart_ros.fitting.composition import RgbdBackground

    ticks = itertools.count()
    scene_fit.monotonic = lambda: float(next(ticks))
    scene_fit.VALIDATION_FRAMES = 2
    write = scene_fit.save_checkpoint

    def write_and_wait(*arguments):
        write(*arguments)
        time.sleep(600)

    scene_fit.save_checkpoint = write_and_wait
    room = invent_room(2, 64, 80)
    background = RgbdBackground(room.color, room.depth, room.focal, 0.01 * room.depth)
    library, generic, checkpoint, seconds = sys.argv[1:]
    weights.generic_weights_path = lambda: Path(generic)
    scene_fit.fit_scene(
        background, 5.46, float(seconds), lambda *_: None, lambda: False, Path(library),
        checkpoint=Path(checkpoint),
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
            SECONDS,
            lambda _share, words: said.append(words),
            lambda: False,
            library,
            checkpoint=tmp_path / name,
        )

    whole = fit("whole.pt")
    assert not any("goes on" in words for words in said)
    broken = tmp_path / "broken.pt"
    files = library, weights.generic_weights_path(), broken
    running = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(CHILD), *map(str, files), str(SECONDS)]
    )
    until = time.monotonic() + 120
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
            *(background, 5.46, seconds, lambda share, _: shares.append(share)),
            lambda: len(shares) > stop_after,
            library,
            checkpoint=tmp_path / "scene.fit.pt",
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
    fit_scene(
        *(background, 5.46, 40.0, lambda *_: None, lambda: False, library),
        checkpoint=tmp_path / "scene.fit.pt",
    )
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
    monkeypatch.setattr(ValidationSet, "score", lambda *_: ValidationScores(1.0, 1.0, 1.0))
    result = fit_scene(background, 5.46, 16.0, lambda *_: None, lambda: False, library)
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
        return fit_scene(
            *(background, 5.46, seconds, lambda *_: None, lambda: False, library),
            seed=seed,
            checkpoint=checkpoint,
        ).steps

    assert steps(0, 2.0) == 2
    assert steps(0, 3.0) == 3 and torch.load(checkpoint, weights_only=True)["step"] == 3
    assert steps(1, 2.0) == 2 and torch.load(checkpoint, weights_only=True)["step"] == 2
    assert "of another scene, other sprites" in caplog.text
    caplog.clear()
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    assert steps(1, 1.0) == 1 and torch.load(checkpoint, weights_only=True)["step"] == 1
    assert "begins anew" in caplog.text and str(checkpoint) in caplog.text


def test_a_fit_goes_on_where_no_checkpoint_can_be_written(
    library: Path,
    background: RgbdBackground,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    tick(monkeypatch)
    checkpoint = tmp_path / "gone" / "scene.fit.pt"
    result = fit_scene(
        *(background, 5.46, 2.0, lambda *_: None, lambda: False, library), checkpoint=checkpoint
    )
    assert result.steps == 2
    assert "will begin anew" in caplog.text and str(checkpoint) in caplog.text


def test_logs(
    library: Path, background: RgbdBackground, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tick(monkeypatch)
    fit_scene(
        *(background, 5.46, 3.0, lambda *_: None, lambda: False, library), logs=tmp_path / "logs"
    )
    events = EventAccumulator(str(tmp_path / "logs")).Reload()
    for tag in ("loss/training", "validation/error"):
        points = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in points] == [1, 2, 3]
        assert all(value > 0 for _, value in points)
    (tmp_path / "file").write_text("")
    with pytest.raises(FitError, match="can't be written to"):
        fit_scene(
            *(background, 5.46, 3.0, lambda *_: None, lambda: False, library),
            logs=tmp_path / "file" / "logs",
        )

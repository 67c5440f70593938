from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dart_ros.errors import FitError
from dart_ros.fitting import scene_fit
from dart_ros.fitting.backgrounds import invent_room
from dart_ros.fitting.composition import RgbdBackground
from dart_ros.fitting.scene_fit import fit_scene
from dart_ros.fitting.sprites import Sprite, load_sprites
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

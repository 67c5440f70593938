"""Scores without truth: mattes with known holes, leaks, flips, specks and ragged outlines."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from dart_ros.evaluation.label_free import LabelFreeScorer, LabelFreeScores
from dart_ros.session.scene import Scene
from dart_ros.values import Camera, Frame

HEIGHT, WIDTH = 200, 240
WALL, BODY = 3.0, 1.5
ROWS, COLUMNS = slice(40, 160), slice(60, 180)
INSIDE = (slice(54, 146), slice(74, 166))
"""What is surely body: more than 14 pixels from its outline."""


@pytest.fixture
def scene() -> Scene:
    shape = (HEIGHT, WIDTH)
    camera = Camera(WIDTH, HEIGHT, 200.0, 200.0, WIDTH / 2, HEIGHT / 2)
    return Scene(
        name="wall",
        id="wall-20260101T000000Z-0123ab",
        camera=camera,
        plate=np.full((*shape, 3), 90, np.uint8),
        depth_mean=np.full(shape, WALL, np.float32),
        depth_std=np.full(shape, 0.005, np.float32),
        depth_count=np.full(shape, 20, np.uint16),
        frames=20,
        captured_at="2026-01-01T00:00:00+00:00",
        max_depth=10.0,
    )


def frame(scene: Scene, number: int = 0) -> Frame:
    depth = scene.depth_mean.copy()
    depth[ROWS, COLUMNS] = BODY
    color = scene.plate.copy()
    color[ROWS, COLUMNS] = 200
    return Frame(color, depth, number, scene.camera)


def matte() -> np.ndarray:
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8)
    alpha[ROWS, COLUMNS] = 255
    return alpha


def scores(scene: Scene, *mattes: np.ndarray) -> LabelFreeScores:
    scorer = LabelFreeScorer(scene)
    for number, alpha in enumerate(mattes):
        scorer.add(frame(scene, number), alpha)
    return scorer.scores()


def test_a_right_matte_has_nothing_wrong(scene: Scene) -> None:
    found = scores(scene, matte(), matte())
    assert (found.holes, found.leaks, found.flicker, found.flips) == (0, 0, 0, 0)
    assert found.specks == 0 and found.frames == 2
    assert found.ragged == pytest.approx(1.0, abs=0.02)


def test_holes_count_where_depth_is_sure(scene: Scene) -> None:
    alpha = matte()
    alpha[80:100, 100:130] = 200  # below 0.9 of 255
    sure = (INSIDE[0].stop - INSIDE[0].start) * (INSIDE[1].stop - INSIDE[1].start)
    found = scores(scene, alpha)
    assert found.holes == pytest.approx(100 * 600 / sure, rel=0.02)
    assert found.leaks == 0
    edge = matte()
    edge[40:48, 60:180] = 0  # nobody knows so near to the outline
    assert scores(scene, edge).holes == 0


def test_leaks_count_away_from_the_body(scene: Scene) -> None:
    alpha = matte()
    alpha[0:10, 0:20] = 100
    body = np.zeros((HEIGHT, WIDTH), bool)
    body[ROWS, COLUMNS] = True
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    beside = np.maximum(np.maximum(40 - rows, rows - 159), 0)
    across = np.maximum(np.maximum(60 - columns, columns - 179), 0)
    sure = np.hypot(beside, across) > 16
    found = scores(scene, alpha)
    assert found.leaks == pytest.approx(100 * 200 / sure.sum(), rel=0.01)
    near = matte()
    near[30:40, 60:180] = 255
    assert scores(scene, near).leaks == 0


def test_flips_and_flicker_of_what_stands_still(scene: Scene) -> None:
    other = matte()
    other[100:110, 100:120] = 0
    found = scores(scene, matte(), other, matte())
    assert found.flips == 200
    assert found.flicker == pytest.approx(1000 * 200 / (HEIGHT * WIDTH))
    soft = matte()
    soft[100:110, 100:120] = 153
    half = scores(scene, matte(), soft)
    assert half.flips == 0 and half.flicker == pytest.approx(400 * 200 / (HEIGHT * WIDTH))


def test_what_moves_may_change(scene: Scene) -> None:
    scorer = LabelFreeScorer(scene)
    scorer.add(frame(scene), matte())
    brighter = frame(scene, 1)
    brighter.color[100:110, 100:120] += 8
    changed = matte()
    changed[100:110, 100:120] = 0
    scorer.add(brighter, changed)
    assert scorer.scores().flips == 0


def test_specks_and_ragged_outlines(scene: Scene) -> None:
    alpha = matte()
    for number in range(3):
        alpha[5:10, 20 + 30 * number : 30 + 30 * number] = 255
    alpha[180:189, 10:19] = 255  # 81 pixels are no speck
    assert scores(scene, alpha).specks == 3
    assert scores(scene, alpha, matte()).specks == 1.5
    toothed = matte()
    toothed[36:40, 60:180:4] = 255
    toothed[36:40, 61:180:4] = 255
    ragged = scores(scene, toothed).ragged
    assert ragged is not None and ragged > 1.2


def test_what_depth_never_tells_has_no_score(scene: Scene) -> None:
    blind = replace(scene, depth_count=np.zeros((HEIGHT, WIDTH), np.uint16))
    found = scores(blind, np.zeros((HEIGHT, WIDTH), np.uint8))
    assert found.holes is None and found.leaks is None and found.ragged is None
    assert found.flicker is None and found.flips is None
    assert LabelFreeScorer(scene).scores().frames == 0

"""Numbers of the renderer against scenes whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from dart_ros.errors import FitError
from dart_ros.values import Camera
from tools.datagen.mesh import Material, Strands, quad
from tools.datagen.rasterizer import (
    Light,
    Lighting,
    Rasterizer,
    Viewpoint,
    world_to_camera,
)

CAMERA = Camera(80, 60, 100.0, 100.0, 39.5, 29.5)
AHEAD = Viewpoint((0.0, 0.0, 0.0), (0.0, 0.0, -1.0))
FLAT = Lighting(sky=(0.5, 0.5, 0.5), ground=(0.5, 0.5, 0.5))
WHITE = Material(color=(1.0, 1.0, 1.0), gloss=0.0)


def test_camera_axes_are_right_down_forward() -> None:
    matrix = world_to_camera(AHEAD)
    assert np.allclose(matrix @ [1, 0, 0, 1], [1, 0, 0, 1])
    assert np.allclose(matrix @ [0, 1, 0, 1], [0, -1, 0, 1])
    assert np.allclose(matrix @ [0, 0, -2, 1], [0, 0, 2, 1])


def test_depth_of_a_plane_is_along_the_optical_axis(renderer: Rasterizer) -> None:
    plane = quad((-9, -9, -2.5), (18, 0, 0), (0, 18, 0), WHITE)
    picture = renderer.draw(CAMERA, AHEAD, [plane], FLAT)
    assert np.allclose(picture.depth, 2.5, atol=1e-3)
    assert np.allclose(picture.coverage, 1.0)


def test_depth_of_a_floor_follows_the_pinhole_model(renderer: Rasterizer) -> None:
    floor = quad((-30, -1.0, 0), (60, 0, 0), (0, 0, -30), WHITE)
    picture = renderer.draw(CAMERA, AHEAD, [floor], FLAT)
    rows = np.arange(40, 60)
    # A floor 1 m below the eye is seen in row v at depth f / (v - cy).
    expected = 100.0 / (rows - 29.5)
    assert np.allclose(picture.depth[40:, 40], expected, rtol=2e-3)
    assert (picture.depth[:29] == 0).all()


def test_coverage_of_a_square_is_its_area(renderer: Rasterizer) -> None:
    # 1 m at 2 m is 50 px; the left edge is at 39.5 - 25 + 1/3: inside a pixel.
    shift = 2.0 / 100.0 / 3.0
    square = quad((-0.5 + shift, -0.3, -2), (1, 0, 0), (0, 0.6, 0), WHITE)
    picture = renderer.draw(CAMERA, AHEAD, [square], FLAT)
    assert picture.coverage.sum() == pytest.approx(50 * 30, rel=0.01)
    row = picture.coverage[30]
    assert row[14] == pytest.approx(0.0) and row[16] == pytest.approx(1.0)
    assert row[15] == pytest.approx(2 / 3, abs=0.01)
    assert row[65] == pytest.approx(1 / 3, abs=0.01)


def test_colors_are_straight_not_premultiplied(renderer: Rasterizer) -> None:
    shift = 2.0 / 100.0 / 3.0
    red = Material(color=(0.9, 0.1, 0.1), gloss=0.0)
    square = quad((-0.5 + shift, -0.3, -2), (1, 0, 0), (0, 0.6, 0), red)
    picture = renderer.draw(CAMERA, AHEAD, [square], FLAT)
    inner = picture.color[30, 40].astype(int)
    assert np.abs(picture.color[30, 15].astype(int) - inner).max() <= 1


def test_foreground_is_told_from_the_rest(renderer: Rasterizer) -> None:
    from dataclasses import replace

    wall = quad((-9, -9, -3), (18, 0, 0), (0, 18, 0), WHITE)
    near = replace(quad((-0.2, -9, -2), (0.4, 0, 0), (0, 18, 0), WHITE), foreground=True)
    picture = renderer.draw(CAMERA, AHEAD, [wall, near], FLAT)
    assert picture.foreground[30, 40] == 1.0 and picture.foreground[30, 5] == 0.0
    assert picture.coverage.min() == 1.0
    assert picture.foreground.sum() == pytest.approx(20 * 60, rel=0.01)


def test_a_thing_before_the_lamp_throws_a_shadow(renderer: Rasterizer) -> None:
    wall = quad((-3, -3, -3), (6, 0, 0), (0, 6, 0), WHITE)
    card = quad((-0.1, -0.3, -2), (0.2, 0, 0), (0, 0.6, 0), WHITE)
    lamp = Light((1.5, 0.0, 0.0), (0.0, 0.0, -3.0), size=0.02, angle=90.0)
    dark = Lighting((0.05,) * 3, (0.05,) * 3, (lamp,))
    with_card = renderer.draw(CAMERA, AHEAD, [wall, card], dark)
    without = renderer.draw(CAMERA, AHEAD, [wall], dark)
    # The lamp at x = 1.5 throws the card to x = -0.9 to -0.6 on the wall: columns 9.5 to 19.5.
    shade = with_card.color[30].astype(float).mean(-1) / without.color[30].mean(-1)
    assert shade[11:19].max() < 0.6
    assert shade[:8] == pytest.approx(1.0, abs=0.02)
    assert shade[22:33] == pytest.approx(1.0, abs=0.02)
    assert shade[70] == pytest.approx(1.0, abs=0.02)


def test_hairs_cover_in_part_and_leave_the_depth(renderer: Rasterizer) -> None:
    line = np.array([[[-0.5, 0.0, -1.0], [0.0, 0.001, -1.0], [0.5, 0.0, -1.0]]], np.float32)
    hair = Strands(line, np.array([[0.5, 0.4, 0.3]], np.float32), width=0.002)
    picture = renderer.draw(CAMERA, AHEAD, [], FLAT, [hair])
    # 2 mm at 1 m is a fifth of a pixel, a bit less towards the tip.
    column = picture.coverage[:, 35].sum()
    assert 0.05 < column < 0.25
    assert (picture.depth == 0).all()
    assert np.allclose(picture.foreground, picture.coverage, atol=0.02)


def test_too_many_lamps_are_refused(renderer: Rasterizer) -> None:
    lamp = Light((0.0, 2.0, 0.0), (0.0, 0.0, -1.0))
    with pytest.raises(FitError, match="3 lamps at most"):
        renderer.draw(CAMERA, AHEAD, [], Lighting(lights=(lamp,) * 4))

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.simulation.foregrounds import load_foregrounds
from tools.datagen.closeups import THINGS, _write_index, averaged, draw_thing, over
from tools.datagen.foregrounds import Foreground, save_foreground
from tools.datagen.hair import grow_fur
from tools.datagen.mesh import Material, Mesh, rod, sheet, tube
from tools.datagen.rasterizer import Picture, Rasterizer

PLAIN = Material()


def picture(coverage: float, red: int, depth: float, size: int = 4) -> Picture:
    color = np.zeros((size, size, 3), np.uint8)
    color[..., 0] = red
    cover = np.full((size, size), coverage, np.float32)
    return Picture(color, cover, cover, np.full((size, size), depth, np.float32))


@settings(deadline=None, max_examples=50)
@given(st.floats(0, 1), st.floats(0, 1), st.booleans())
def test_cloth_and_body_cover_what_is_behind_by_the_over_operator(
    body_cover: float, opacity: float, before: bool
) -> None:
    cloth, body = picture(1.0, 200, 1.0 if before else 3.0), picture(body_cover, 100, 2.0)
    both = over(cloth, body, opacity)
    background = 20.0
    through = (1 - body_cover) * background + body_cover * 100
    expected = (1 - opacity) * through + opacity * 200
    if not before:
        through = (1 - opacity) * background + opacity * 200
        expected = (1 - body_cover) * through + body_cover * 100
    seen = both.coverage * both.color[..., 0] + (1 - both.coverage) * background
    np.testing.assert_allclose(seen, expected, atol=0.6)


def test_a_depth_camera_looks_through_cloth() -> None:
    cloth, body = picture(1.0, 0, 1.0), picture(1.0, 0, 2.0)
    assert (over(cloth, body, 0.4).depth == 2.0).all()
    nobody = picture(0.0, 0, 0.0)
    assert (over(cloth, nobody, 0.4).depth == 1.0).all()


def test_an_open_shutter_adds_up_light() -> None:
    moments = [picture(1.0, 200, 2.0), picture(0.0, 0, 0.0), picture(0.5, 100, 1.0)]
    mean = averaged(moments)
    assert np.allclose(mean.coverage, 0.5)
    # (200 + 0 + 50) / 3 over black, as straight color.
    assert np.allclose(mean.color[..., 0], 250 / 3 / 0.5, atol=1)
    assert (mean.depth == 2.0).all()


def check(mesh: Mesh) -> None:
    assert np.isfinite(mesh.positions).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.normals, axis=1), 1, atol=1e-4)
    assert mesh.triangles.min() >= 0 and mesh.triangles.max() < len(mesh.positions)


def test_a_wire_is_as_thick_as_it_is_told() -> None:
    way = np.stack([np.linspace(0, 1, 9), np.zeros(9), np.linspace(0, 0.5, 9)], -1)
    mesh = tube(way, 0.01, PLAIN)
    check(mesh)
    axis = np.array([2, 0, 1]) / np.sqrt(5)
    away = mesh.positions - (mesh.positions @ axis)[:, None] * axis
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 0.01, rtol=1e-3)
    for axis_number in range(3):
        check(rod(np.zeros(3), np.eye(3)[axis_number], 0.002, PLAIN))


def test_a_sheet_has_the_area_of_its_grid() -> None:
    x, y = np.meshgrid(np.linspace(0, 2, 5), np.linspace(0, 1, 4))
    mesh = sheet(np.stack([x, y, 0 * x], -1), PLAIN)
    check(mesh)
    a, b, c = (mesh.positions[mesh.triangles[:, k]] for k in range(3))
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    assert areas.sum() == pytest.approx(2.0)


@pytest.mark.parametrize("hanging", [False, True])
def test_fur_grows_where_it_is_told(hanging: bool) -> None:
    y, angle = np.meshgrid(np.linspace(0, 2, 41), np.linspace(0, 2 * np.pi, 41), indexing="ij")
    points = np.stack([0.1 * np.sin(angle), y, 0.1 * np.cos(angle)], -1)
    fur = grow_fur(
        [sheet(points, PLAIN)],
        np.random.default_rng(0),
        between=(1.2, 1.5),
        around=(0.0, 0.0),
        count=500,
        length=0.04,
        color=np.array([0.5, 0.4, 0.3]),
        width=0.0002,
        hanging=hanging,
    )
    assert fur is not None and len(fur.points) == 500
    assert (fur.points[:, 0, 1] > 1.15).all() and (fur.points[:, 0, 1] < 1.55).all()
    steps = np.linalg.norm(np.diff(fur.points, axis=1), axis=2).sum(axis=1)
    assert 0.03 < steps.mean() < 0.05
    fall = (fur.points[:, 0, 1] - fur.points[:, -1, 1]).mean()
    assert fall > 0.027 if hanging else fall < 0.027
    assert grow_fur(
        [sheet(points, PLAIN)], np.random.default_rng(0), (5, 6), (0.0, 0.0), 10, 0.1,
        np.ones(3), 0.001, hanging,
    ) is None  # fmt: skip


@pytest.mark.parametrize("kind", THINGS)
def test_thin_things_are_soft_and_read_back(
    kind: str, renderer: Rasterizer, tmp_path: Path
) -> None:
    drawn = draw_thing(renderer, kind, 420, np.random.default_rng(5))
    assert drawn is not None
    shown, numbers = drawn
    soft = (shown.coverage > 0.05) & (shown.coverage < 0.95)
    assert soft.sum() > 0.2 * (shown.coverage > 0.05).sum()
    height, width = shown.coverage.shape
    entry = Foreground("a", "object", "a", width, height, **numbers, soft=True)  # type: ignore[arg-type]
    save_foreground(tmp_path, entry, shown, 92)
    _write_index(tmp_path, [entry])
    (read,) = load_foregrounds(tmp_path)
    assert read.soft and read.size == (height, width) and read.distance > 0.3
    alpha = read.levels[0][3].numpy() / 255
    assert np.abs(alpha - shown.coverage).mean() < 0.02

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dart_ros.simulation.depth_labels import (
    AWAY,
    BACKGROUND,
    FOREGROUND,
    INSIDE,
    INSIDE_NEAR,
    UNLABELLED,
    depth_labels,
)

SIZE = (240, 320)
SCALE = 0.5  # pixels at this width for one at 640
WALL = 3.0


class Scene:
    """A textured wall at 3 m, and somebody before it."""

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.plate = random.integers(60, 180, (*SIZE, 3)).astype(np.uint8)
        self.mean = np.full(SIZE, WALL, np.float32)
        self.std = np.full(SIZE, 0.03, np.float32)
        self.known = np.ones(SIZE, bool)
        self.color = self.plate.copy()
        self.depth = self.mean.copy()

    def person(self, distance: float = 1.5) -> np.ndarray:
        mask = np.zeros(SIZE, bool)
        mask[60:240, 120:220] = True
        self.color[mask] = 40
        self.depth[mask] = distance
        return mask

    def labels(self) -> np.ndarray:
        return depth_labels(self.color, self.depth, self.plate, self.mean, self.std, self.known)


def test_an_empty_scene_is_background_everywhere() -> None:
    assert (Scene().labels() == BACKGROUND).all()


@settings(max_examples=20, deadline=None)
@given(st.floats(0.5, 2.6), st.floats(0, 2 * np.pi))
def test_labels_hold_where_depth_lies_beside_color(distance: float, direction: float) -> None:
    """By the more pixels, the nearer somebody is."""
    scene = Scene()
    truth = scene.person(distance)
    reach = SCALE * (INSIDE + INSIDE_NEAR / distance) - 1
    down, across = round(reach * np.sin(direction)), round(reach * np.cos(direction))
    moved = ndimage.shift(scene.depth, (down, across), order=0, mode="nearest")
    scene.depth = moved.astype(np.float32)
    labels = scene.labels()
    assert truth[labels == FOREGROUND].all()
    assert not truth[labels == BACKGROUND].any()
    assert (labels == BACKGROUND).sum() > 0.3 * labels.size
    assert (labels == FOREGROUND).sum() > 0.1 * truth.sum()


def test_people_go_on_beyond_the_picture() -> None:
    scene = Scene()
    scene.person()
    assert scene.labels()[-1, 170] == FOREGROUND


@pytest.mark.parametrize("distance", [2.9, 2.8, 3.2])
def test_what_is_about_as_far_as_the_wall_has_no_label(distance: float) -> None:
    scene = Scene()
    mask = scene.person(distance)
    assert not (scene.labels()[mask] == FOREGROUND).any()


def test_noise_of_a_far_wall_is_no_foreground() -> None:
    scene = Scene()
    scene.mean[:] = scene.depth[:] = 6.0
    scene.std[:] = 0.2
    scene.depth[60:, 100:200] = 5.0
    assert not (scene.labels() == FOREGROUND).any()


def test_unknown_depth_has_no_label_and_keeps_background_away() -> None:
    scene = Scene()
    scene.depth[100:140, 100:140] = -1
    labels = scene.labels()
    assert (labels[100:140, 100:140] == UNLABELLED).all()
    away = ndimage.distance_transform_edt(scene.depth > 0)
    assert (labels[(away < 0.9 * SCALE * AWAY)] == UNLABELLED).all()
    assert (labels[away > 1.1 * SCALE * AWAY] == BACKGROUND).all()


def test_where_the_background_is_unknown_nothing_is_sure() -> None:
    scene = Scene()
    scene.person()
    scene.known[:, :170] = False
    assert (scene.labels()[:, :170] == UNLABELLED).all()


def test_small_unknown_specks_do_not_part_a_body() -> None:
    scene = Scene()
    mask = scene.person()
    whole = (scene.labels() == FOREGROUND).sum()
    scene.depth[100:106, 150:156] = -1
    scene.depth[150:153, 180:183] = -1
    labels = scene.labels()
    assert (labels == FOREGROUND).sum() == whole - 36 - 9
    assert (labels[mask & (scene.depth <= 0)] == UNLABELLED).all()


def test_a_gap_in_which_the_wall_is_seen_parts_it() -> None:
    scene = Scene()
    scene.person()
    scene.depth[100:106, 150:156] = WALL
    scene.color[100:106, 150:156] = scene.plate[100:106, 150:156]
    labels = scene.labels()
    assert (labels[97:109, 147:159] == UNLABELLED).all()


def test_a_ledge_that_color_alone_sees_hides_people() -> None:
    scene = Scene()
    scene.person()
    scene.plate[200:] = scene.color[200:] = 255
    labels = scene.labels()
    assert not (labels[200:] == FOREGROUND).any() and (labels[:190] == FOREGROUND).any()


def test_a_cable_that_depth_does_not_see_has_no_label() -> None:
    scene = Scene()
    scene.color[:, 160:163] = 240
    assert not (scene.labels()[:, 160:163] == BACKGROUND).any()


def test_a_screen_that_changes_and_a_shadow_stay_background() -> None:
    scene = Scene()
    scene.color[40:120, 40:160] = (250, 40, 40)
    scene.color[150:, :] = (scene.color[150:, :] * 0.5).astype(np.uint8)
    assert (scene.labels() == BACKGROUND).mean() > 0.95

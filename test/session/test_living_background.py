"""A background that learns over a day, and never somebody."""

from __future__ import annotations

import numpy as np
import pytest
from living_room import HEIGHT, WIDTH, WINDOW, Box, LivingRoom, person

from dart_ros.errors import SceneError

BAG = Box(150, 190, 35, 40, 2.4, (30, 30, 120))
SITTER = Box(110, 110, 70, 130, 2.0, (40, 120, 60))
CHAIR = Box(190, 130, 55, 100, 2.3, (90, 60, 30))


def color_error(room: LivingRoom, part: tuple[slice, slice] = (slice(None), slice(None))) -> float:
    return float(np.abs(room.living.model.plate[part] - room.wall[part]).mean())


def depth_error(room: LivingRoom, part: tuple[slice, slice] = (slice(None), slice(None))) -> float:
    """Mean over the known background, in metres."""
    known = room.distance[part] > 0
    true = room.distance[part] * room.scale
    return float(np.abs(room.living.model.mean[part] - true)[known].mean())


def test_an_empty_view_stays_what_it_is() -> None:
    room = LivingRoom()
    room.watch(60)
    assert color_error(room) < 1.0 and depth_error(room) < 0.01
    assert not room.living.things and not room.living.worth_using()
    assert abs(room.living.model.drift - 1) < 0.001


def test_light_that_moves_over_the_wall_is_learnt() -> None:
    room = LivingRoom(seconds=30)
    room.watch(10)
    sun = slice(80, 180), slice(40, 160)
    for _ in range(10):
        room.wall[sun] = np.minimum(1.04 * room.wall[sun], 250)
        room.watch(16, step=2)
    assert np.abs(room.living.model.plate[sun] - room.wall[sun]).mean() < 15
    room.watch(200, step=4)
    assert color_error(room, sun) < 3.0
    assert room.living.worth_using()
    room.living.background()
    assert not room.living.worth_using()


def test_a_matte_that_is_wrong_in_new_light_is_put_right_by_depth() -> None:
    """A lamp makes foreground of a part of the wall, where depth sees the wall."""
    room = LivingRoom()
    room.watch(10)
    lamp = slice(80, 160), slice(60, 140)
    room.wall[lamp] = np.clip(room.wall[lamp] * 1.5, 0, 250)
    wrong = np.zeros((HEIGHT, WIDTH), np.uint8)
    wrong[lamp] = 200
    room.watch(240, alpha=wrong, step=4)
    assert color_error(room, lamp) < 6.0


def test_the_same_beside_somebody_is_not_learnt() -> None:
    """A hand that lies flat on the wall is as far away as the wall; an arm leads to it."""
    room = LivingRoom()
    room.watch(10)
    body = person(100)
    _, alpha = room.frame([body])
    hand = slice(100, 130), slice(160, 230)
    before = room.living.model.plate[hand].copy()
    wall = room.wall.copy()
    room.wall[hand] = (220, 170, 140)
    alpha[hand] = 255
    room.watch(300, [body], alpha, step=4)
    room.wall = wall
    assert np.abs(room.living.model.plate[hand] - before).max() < 1.0


@pytest.mark.parametrize("hole", [False, True])
def test_somebody_who_sits_still_for_half_an_hour_stays_foreground(hole: bool) -> None:
    """Without any motion but noise, in good mattes and in such that have lost the person."""
    room = LivingRoom()
    room.watch(10)
    for left in range(-60, SITTER.left, 40):
        room.watch(1, [person(left)])
    before = room.living.model.patch(SITTER.place, np.ones((130, 70), np.bool_))
    alpha = np.zeros((HEIGHT, WIDTH), np.uint8) if hole else None
    absorbed = room.watch(600, [SITTER], alpha, step=5)
    room.settings = type(room.settings)(absorb_persons_size=True)
    absorbed += room.watch(1200, [SITTER], alpha, step=5)
    assert absorbed == []
    after = room.living.model.patch(SITTER.place, before.inside)
    inner = slice(16, -16), slice(16, -16)
    assert np.abs(after.plate - before.plate)[inner].max() < 1.0
    assert np.abs(after.mean - before.mean)[inner].max() < 0.03


def test_only_a_head_behind_a_desk_stays_foreground_too() -> None:
    """Smaller than furniture, and motionless: nobody has left it there."""
    room = LivingRoom()
    room.watch(5)
    head = Box(120, 120, 30, 40, 2.0, (180, 130, 110))
    for left in range(-60, 100, 40):
        room.watch(1, [person(left)])
    room.watch(1, [Box(110, 90, 50, 90, 2.0, (180, 130, 110))])
    assert room.watch(400, [head], step=4) == []
    assert len(room.living.things) == 1 and not room.living.things[0].left_behind


def test_what_somebody_put_down_is_told_and_absorbed_in_time() -> None:
    room = LivingRoom(absorb_seconds=40)
    room.watch(8)
    room.bring(BAG)
    assert room.watch(20, [BAG]) == []
    (thing,) = room.living.things
    assert thing.kind == "put down" and thing.left_behind and not thing.persons_size
    left, top, width, height = thing.box
    assert abs(left - BAG.left) <= 8 and abs(top - BAG.top) <= 8
    assert abs(width - BAG.width) <= 12 and abs(height - BAG.height) <= 12
    assert thing.area == pytest.approx(BAG.width * BAG.height * (2.4 / 262.5) ** 2, rel=0.35)
    assert len(room.watch(30, [BAG])) == 1 and not room.living.things
    frame, _ = room.frame([BAG])
    inside = BAG.place
    assert np.abs(room.living.model.mean[inside] - 2.4).mean() < 0.02
    assert np.abs(room.living.model.plate[inside] - frame.color[inside]).mean() < 4
    assert room.living.worth_using()


def test_a_chair_that_is_moved_leaves_neither_ghost_nor_hole() -> None:
    room = LivingRoom(absorb_seconds=30)
    room.furnish(CHAIR)
    room.watch(8)
    room.clear()
    for left in range(-60, CHAIR.left - 20, 30):
        room.watch(1, [person(left), CHAIR])
    moved = CHAIR._replace(left=100)
    for left in (140, 100):
        room.watch(1, [person(left - 50), CHAIR._replace(left=left)])
    for left in range(50, -80, -30):
        room.watch(1, [person(left), moved])
    absorbed = room.watch(45, [moved])
    assert {thing.kind for thing in absorbed} == {"put down", "taken away"}
    frame, _ = room.frame([moved])
    wrong = np.abs(room.living.model.mean - np.where(frame.depth > 0, frame.depth, np.nan)) > 0.15
    assert wrong.mean() < 0.004
    away = np.abs(room.living.model.plate - frame.color).max(axis=2) > 30
    assert away.mean() < 0.004


def test_somebody_who_stands_beside_what_was_put_down_holds_it_up() -> None:
    room = LivingRoom(absorb_seconds=20)
    room.watch(8)
    room.bring(BAG)
    for second in range(40):
        assert room.watch(1, [BAG, person(120 + 3 * (second % 4))]) == []


def test_at_once_and_back() -> None:
    room = LivingRoom(absorb_seconds=0)
    room.watch(8)
    with pytest.raises(SceneError, match="nothing there was put down"):
        room.living.absorb(None)
    with pytest.raises(SceneError, match="nothing was absorbed"):
        room.living.undo()
    room.bring(BAG)
    room.watch(4, [BAG])
    before = room.living.background()
    with pytest.raises(SceneError, match="nothing there"):
        room.living.absorb((0, 0, 60, 60))
    assert len(room.living.absorb((BAG.left - 10, BAG.top - 10, 60, 60))) == 1
    assert room.living.worth_using()
    after = room.living.background()
    assert np.abs(after.mean - before.mean)[BAG.place].min() > 0.4
    assert room.living.undo() == 1
    back = room.living.background()
    for name in ("plate", "mean", "std", "known"):
        assert np.array_equal(getattr(back, name), getattr(before, name))
    room.settings = type(room.settings)(absorb_seconds=10)
    assert room.watch(40, [BAG]) == [], "what was taken back isn't absorbed again by itself"
    assert len(room.living.things) == 1


def test_of_the_whole_view_nobody_is_absorbed_unless_that_is_asked_for() -> None:
    room = LivingRoom()
    big = SITTER._replace(top=60, height=180)
    room.watch(8)
    room.watch(8, [big])
    with pytest.raises(SceneError, match="as large as somebody"):
        room.living.absorb(None)
    assert len(room.living.absorb(None, persons_size=True)) == 1


def test_undo_is_bounded() -> None:
    room = LivingRoom(absorb_seconds=0)
    room.watch(3)
    for number in range(20):
        left, top = 20 + 50 * (number % 5), 60 + 45 * (number // 5)
        box = BAG._replace(left=left, top=top, color=(10 * number, 40, 90))
        room.watch(6, [box])
        room.living.absorb((left - 8, top - 8, 60, 60))
    assert room.living.undoable == 16


def test_a_sensor_that_warms_up_is_followed_behind_somebody_too() -> None:
    room = LivingRoom(seconds=30)
    room.watch(8)
    for _ in range(30):
        room.scale += 0.0005
        room.watch(8, [SITTER], step=2)
    room.watch(60, [SITTER], step=2)
    assert room.living.model.drift == pytest.approx(1.015, abs=0.002)
    assert depth_error(room, SITTER.place) < 0.012
    assert depth_error(room) < 0.012


def test_somebodys_shadow_is_hardly_learnt() -> None:
    room = LivingRoom()
    room.watch(10)
    shadow = slice(60, 200), slice(200, 240)
    light = room.wall.copy()
    room.wall[shadow] *= 0.7
    room.watch(60, [person(60)])
    darker = 1 - room.living.model.plate[shadow].mean() / light[shadow].mean()
    assert darker < 0.1


def test_behind_a_window_only_what_is_much_like_it_is_learnt() -> None:
    room = LivingRoom()
    room.watch(40)
    before = room.living.model.plate[WINDOW].copy()
    room.wall[WINDOW] = 250 - room.wall[WINDOW]
    room.watch(120, step=4)
    assert np.abs(room.living.model.plate[WINDOW] - before).max() < 3.0


def test_a_view_in_another_exposure_is_no_motion() -> None:
    room = LivingRoom(absorb_seconds=30)
    room.watch(8)
    room.bring(BAG)
    for second in range(40):
        room.gain = 0.85 if second % 8 > 4 else 1.0
        absorbed = room.watch(1, [BAG])
        if absorbed:
            break
    assert len(absorbed) == 1


def test_nothing_is_learnt_if_that_is_switched_off() -> None:
    room = LivingRoom(learn=False, absorb_seconds=0)
    before = room.living.background()
    room.wall *= 0.8
    room.scale = 1.01
    room.watch(60)
    after = room.living.background()
    assert np.array_equal(after.plate, before.plate) and np.array_equal(after.mean, before.mean)


def test_a_gap_that_nobody_was_seen_to_make_is_background_in_time() -> None:
    """Nobody is behind the background."""
    room = LivingRoom(absorb_seconds=40)
    room.furnish(CHAIR)
    room.watch(8)
    room.clear()
    assert room.watch(30) == []
    (thing,) = room.living.things
    assert thing.kind == "taken away" and thing.left_behind
    assert len(room.watch(20)) == 1 and not room.living.things
    assert np.abs(room.living.model.mean - room.distance)[CHAIR.place].mean() < 0.03


def test_somebody_who_stands_where_something_was_taken_away_is_no_gap() -> None:
    """Farther away than the chair was, and higher than it."""
    room = LivingRoom(absorb_seconds=40)
    room.furnish(CHAIR)
    room.watch(8)
    room.clear()
    behind = Box(CHAIR.left + 6, 60, 40, 170, 2.7, (40, 120, 60))
    assert room.watch(300, [behind], step=4) == []
    assert not any(thing.left_behind for thing in room.living.things)

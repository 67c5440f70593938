"""The day: what is planned, how it is played and judged; on small pictures that nobody rendered."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmark.day.measure import (
    Results,
    Score,
    bump_gone_after,
    bystanders,
    gone_after,
    mean_sad,
    measure,
)
from benchmark.day.plan import (
    BUMPS,
    CHANGES,
    DAY,
    GRID,
    MOVES,
    THINGS,
    WARM_UP,
    make_plan,
    state,
    things,
    viewpoint,
)
from benchmark.day.report import SHEET_BYTES, TITLES, ContactSheet, figures, plot
from benchmark.day.stream import GOAL, Day, hour, times
from dart_ros.errors import EvaluationError
from tools.datagen.rasterizer import world_to_camera

SIZE = (96, 128)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The day's pictures, painted: a wall, a block for each thing, one for each person."""
    folder = tmp_path_factory.mktemp("day")
    height, width = SIZE
    rng = np.random.default_rng(0)
    wall = cv2.GaussianBlur(rng.integers(60, 160, (*SIZE, 3)).astype(np.uint8), (0, 0), 1.2)
    for shot in make_plan().shots:
        color, depth = wall.copy(), np.full(SIZE, 4000, np.uint16)
        alpha = np.zeros(SIZE, np.uint8)
        for key, (x, z, _) in things(shot.moves).items():
            place = np.s_[76:90, round(30 * x) : round(30 * x) + 10]
            color[place], depth[place] = (30, 80, 60 * list(THINGS).index(key)), 4000 - 500 * z
        if shot.people:
            alpha[20:70, 90:110] = 255
            color[alpha > 0], depth[alpha > 0] = (200, 120, 90), 2000
            cv2.imwrite(str(folder / f"{shot.name}_alpha.png"), alpha)
        shift = np.array([[1.0, 0, shot.bumps], [0, 1, 0]])
        color = cv2.warpAffine(color, shift, (width, height), borderMode=cv2.BORDER_REPLICATE)
        cv2.imwrite(str(folder / f"{shot.name}.webp"), color, [cv2.IMWRITE_WEBP_QUALITY, 100])
        cv2.imwrite(str(folder / f"{shot.name}.png"), depth)
    about = {"width": width, "height": height, "seed": 0, "samples": 1}
    (folder / "day.json").write_text(json.dumps(about))
    return folder


def test_the_plan_holds_what_a_day_brings() -> None:
    plan = make_plan()
    names = [shot.name for shot in plan.shots]
    assert len(names) == len(set(names))
    assert len(BUMPS) == 3 and len(MOVES) == 6
    assert [state(second) != state(second - 1) for second in CHANGES] == [True] * len(CHANGES)
    assert state(0) == (0, 0, True) and state(DAY)[:2] == (6, 3)
    for before, after in zip(plan.presences, plan.presences[1:], strict=False):
        assert before.last <= after.first
    shown = {name for presence in plan.presences for name in presence.shots}
    assert shown == {shot.name for shot in plan.people}
    longest = [p for p in plan.presences if p.shots[0].startswith("work")]
    assert sum(p.last - p.first for p in longest) == 3600
    assert sum(p.last - p.first for p in longest if len(p.shots) == 1) == 1800  # without motion


def test_bumps_turn_the_camera_by_what_they_say() -> None:
    for number, bump in enumerate(BUMPS):
        before, after = (world_to_camera(viewpoint(n))[:3, :3] for n in (number, number + 1))
        angle = np.rad2deg(np.arccos((np.trace(after @ before.T) - 1) / 2))
        assert angle == pytest.approx(np.hypot(np.hypot(bump.yaw, bump.pitch), bump.roll), rel=0.05)


def test_frames_come_in_order_and_close_after_a_bump() -> None:
    found = times(make_plan(), 60.0, 1200.0, DAY)
    seconds = [second for second, _ in found]
    assert seconds == sorted(set(seconds)) and seconds[0] >= 0 and seconds[-1] < DAY
    assert max(np.diff(seconds)) <= 60
    bump = BUMPS[0].second
    close = [second for second in seconds if bump <= second < bump + 3]
    assert max(np.diff(close)) <= 0.11
    assert any(scored for second, scored in found if bump < second <= bump + 2)
    assert len(times(make_plan(), 60.0, 1200.0, 600.0)) < len(found)


def test_light_depth_and_screen_of_frames(pictures: Path) -> None:
    day = Day(pictures, make_plan())
    moments = list(day.moments(120.0, 600.0, 2 * GRID - 20))
    assert [m.scored for m in moments].count(True) == 2
    for moment in moments[1:]:
        assert moment.frame.color.mean() == pytest.approx(GOAL, abs=12)
        assert moment.frame.color.dtype == np.uint8 and moment.frame.depth.dtype == np.float32
    warm = np.median(moments[-1].frame.depth) / np.median(moments[0].frame.depth) - 1
    assert 0.3 * WARM_UP < warm < 0.8 * WARM_UP
    screen = moments[0].empty.screen
    assert 20 < np.count_nonzero(screen) < 0.1 * screen.size
    first, last = (m.frame.color.astype(float) for m in (moments[0], moments[-1]))
    change = np.abs(first - last).mean(axis=2)
    assert change[screen].mean() > 5 * change[~screen].mean()


def test_what_a_move_changed_is_known(pictures: Path) -> None:
    day = Day(pictures, make_plan())
    box = day.changed(MOVES[1].second)
    assert 100 < np.count_nonzero(box) < 200 and not box[:70].any()


def test_a_folder_without_pictures_is_told(tmp_path: Path, pictures: Path) -> None:
    with pytest.raises(EvaluationError, match="render one first"):
        Day(tmp_path, make_plan())
    (tmp_path / "day.json").write_text((pictures / "day.json").read_text())
    with pytest.raises(EvaluationError, match=r"lacks \d+ pictures"):
        Day(tmp_path, make_plan())


def test_a_short_day_is_played_to_all_methods(pictures: Path, tmp_path: Path) -> None:
    sheet = ContactSheet()
    day = Day(pictures, make_plan())
    results = measure(day, 900.0, 900.0, "onnxruntime", MOVES[0].second + 21, sheet.add)
    assert results.frames > 10 and len(results.scores) > 5
    assert {name for score in results.scores for name in score.sad} == set(TITLES)
    assert any(score.kept for score in results.scores) and any(s.left for s in results.scores)
    assert results.added_ms > 0 and results.memory[-1][1] > 10
    text = figures(results)
    assert all(title in text for title in TITLES.values())
    plot(results, tmp_path / "day.png")
    sheet.save(tmp_path / "day.jpg")
    assert 0 < (tmp_path / "day.jpg").stat().st_size <= SHEET_BYTES
    results.save(tmp_path / "day.json")
    assert json.loads((tmp_path / "day.json").read_text())["frames"] == results.frames


def test_judgements_by_hand() -> None:
    bump, move = BUMPS[0].second, MOVES[0].second

    def score(second: float, living: float, left: float | None = None) -> Score:
        made = Score(second, left is None, {"living": living, "fresh": 1.0})
        if left is None:
            made.kept = {"living": living}
        else:
            made.left = {"living": left}
        return made

    bumped = [score(bump + at, sad) for at, sad in ((0.5, 9.0), (1.0, 1.2), (2.0, 1.3), (3.0, 1.2))]
    assert bump_gone_after(bumped, "living") == [3.0, None, None]
    moved = [score(move + at, 1.0, left) for at, left in ((10, 0.9), (60, 0.02), (600, 0.01))]
    assert gone_after(moved, "living") == [60.0] + [None] * 5
    kept = [score(1.0, 0.9), score(2.0, 0.3), score(3.0, 1.0, 0.5)]
    assert bystanders(kept, "living") == (1, 2, 0.3)
    assert mean_sad(kept, "living") == pytest.approx(2.2 / 3)
    assert mean_sad(kept, "living", occupied=False) == 1.0


def test_times_of_the_day() -> None:
    assert [hour(second) for second in (0, 3661, DAY - 1)] == ["08:00", "09:01", "17:59"]
    results = Results(learn_ms=6.0, learns=3.0, look_ms=6.0, looks=2.0)
    assert results.added_ms == pytest.approx(1.0)

"""The plan of the test set: held-out people, known tags, places inside of the rooms."""

from __future__ import annotations

import itertools

import numpy as np

from benchmark.sim_rgbd.scenes import CLIP_PLANS, CLOSEUP_PLANS, LARGE_PLANS, PLANS, TAGS, Actor
from dart_ros.simulation.sensors import PROFILES
from tools.datagen.foregrounds import HELD_OUT
from tools.datagen.rooms import KINDS


def test_plans() -> None:
    assert len(PLANS) == 12
    assert {tag for plan in PLANS for tag in plan.tags} == set(TAGS)
    assert len({plan.seed for plan in PLANS}) == 12
    for plan in PLANS:
        assert plan.kind in KINDS and plan.sensor in PROFILES
        assert len(plan.frames) == 5
        wide, _, deep = plan.size
        for frame in plan.frames:
            assert frame
            for item in frame:
                assert 0.3 < item.x < wide - 0.3
                assert item.z is None or 0.3 < item.z < deep - 1.2
                if isinstance(item, Actor):
                    assert item.name in HELD_OUT


def test_large_scenes_show_the_same() -> None:
    for number, large in LARGE_PLANS.items():
        plan = PLANS[number]
        assert (large.width, large.height) == (1280, 720)
        # The view is as high, in the same units.
        assert large.focal / large.height == plan.focal / plan.height
        assert 0 < len(large.frames) < len(plan.frames) and set(large.frames) <= set(plan.frames)
        assert (large.seed, large.tags, large.sensor) == (plan.seed, plan.tags, plan.sensor)


def test_a_tag_shows() -> None:
    by_tag = {tag: [plan for plan in PLANS if tag in plan.tags] for tag in TAGS}
    for plan in by_tag["several people"]:
        assert any(len([i for i in f if isinstance(i, Actor)]) > 1 for f in plan.frames)
    for plan in by_tag["motion blur"]:
        for frame in plan.frames:
            poses = [(i.pose(-0.5), i.pose(0.5)) for i in frame if isinstance(i, Actor)]
            assert any(np.abs(a[bone] - b[bone]).max() > 0.1 for a, b in poses for bone in a)
    assert all(plan.later is not None for plan in by_tag["light change"])
    for plan in by_tag["depth camouflage"]:
        assert any(isinstance(i, Actor) and i.z is None for f in plan.frames for i in f)


def test_closeups_and_videos_show_people_and_rooms_of_their_own() -> None:
    more = [*CLOSEUP_PLANS.values(), *CLIP_PLANS.values()]
    assert len({plan.seed for plan in [*PLANS, *more]}) == len(PLANS) + len(more)
    people = [i.name for plan in more for f in plan.frames for i in f if isinstance(i, Actor)]
    assert set(people) <= set(HELD_OUT)
    for plan in CLOSEUP_PLANS.values():
        assert (plan.width, plan.height) == (1280, 720) and plan.fps is None
        for frame in plan.frames:
            (actor,) = frame
            assert isinstance(actor, Actor) and actor.z is not None
            # A head of 0.23 m, as high as in a video call.
            assert 0.23 * plan.focal / (plan.size[2] - 0.1 - actor.z) > 140


def test_videos_take_two_seconds_and_nobody_jumps() -> None:
    for plan in CLIP_PLANS.values():
        assert plan.fps is not None and len(plan.frames) / plan.fps == 2.0
        for before, after in itertools.pairwise(plan.frames):
            for a, b in zip(before, after, strict=True):
                assert isinstance(a, Actor) and isinstance(b, Actor) and a.name == b.name
                assert abs(a.x - b.x) * plan.fps < 2.0
                turns = [a.pose(0.0)[bone] - b.pose(0.0)[bone] for bone in a.pose(0.0)]
                assert max(np.abs(turn).max() for turn in turns) < 0.75

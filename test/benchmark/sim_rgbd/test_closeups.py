from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from benchmark.sim_rgbd.__main__ import CLOSEUPS, LARGE
from benchmark.sim_rgbd.closeups import ROOMS, compose_closeups, placed
from benchmark.sim_rgbd.scenes import CLOSEUP_PLANS
from dart_ros.errors import EvaluationError
from dart_ros.simulation.foregrounds import Foreground
from tools.datagen.foregrounds import HELD_OUT


def person(alpha: int) -> Foreground:
    level = torch.zeros(5, 6, 4, dtype=torch.uint8)
    level[0] = 200 * alpha // 255  # red, multiplied by alpha
    level[3], level[4] = alpha, 138
    return Foreground("a", "person", "a", 500.0, 1.0, ("bottom",), (level,))


@pytest.mark.parametrize("left", [-2, 3, 8])
@pytest.mark.parametrize("alpha", [0, 100, 255])
def test_the_matting_equation_holds(left: int, alpha: int) -> None:
    color = np.full((9, 10, 3), 60, np.uint8)
    depth = np.full((9, 10), 3000, np.uint16)
    shown, cover, metres = placed(person(alpha), color, depth, left)
    inside = np.zeros((9, 10), bool)
    inside[3:, max(0, left) : left + 4] = True
    share = alpha / 255
    assert (cover == np.where(inside, alpha, 0)).all()
    red = np.where(inside, share * 200 + (1 - share) * 60, 60)
    green = np.where(inside, (1 - share) * 60, 60)
    assert np.abs(shown[..., 2] - red).max() <= 1.01
    assert np.abs(shown[..., 1] - green).max() <= 0.51
    # A depth camera sees no single hair.
    assert (metres == np.where(inside & (alpha > 127), 1080, 3000)).all()


def test_what_ships_shows_people_held_out_and_is_soft() -> None:
    scenes = sorted(CLOSEUPS.glob("scene_*"))
    assert len(scenes) == len(ROOMS) + len(CLOSEUP_PLANS) == 5
    for number, scene in enumerate(scenes):
        about = json.loads((scene / "scene.json").read_text())
        plan = CLOSEUP_PLANS.get(number)
        assert about["tags"] == (list(plan.tags) if plan else ["close-up"])
        assert (about["width"], about["height"]) == (1280, 720)
        assert set(about["people"]) <= set(HELD_OUT)
        alphas = [cv2.imread(str(file), -1) for file in sorted(scene.glob("alpha_*.png"))]
        assert len(alphas) == 2
        # Held things have hard edges.
        least = 3_000 if "objects" in about["tags"] else 10_000
        for alpha in alphas:
            assert ((alpha > 12) & (alpha < 243)).sum() > least


def test_too_few_people_are_told(library: Path, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="shows 2 people and 6 are needed"):
        compose_closeups(library, LARGE, tmp_path)

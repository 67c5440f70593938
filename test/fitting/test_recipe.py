"""Recipes: stages one after the other, each from what the one before hands on."""

from __future__ import annotations

import itertools
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file

from dart_ros import cli
from dart_ros.errors import FitError
from dart_ros.fitting.library import file_hash
from dart_ros.fitting.recipe import RESULT, load_recipe, mean_of, with_output
from dart_ros.fitting.weights import save_network
from dart_ros.method.config import NetworkConfig
from dart_ros.method.network import MattingNetwork

CONFIG = Path(__file__).parents[2] / "config" / "training"


def toy(folder: Path, library: Path, start: Path | None = None) -> dict[str, Any]:
    """Two stages of a few steps on tiny frames."""
    first: dict[str, Any] = {"steps": 1}
    if start is not None:
        first["start"] = {"weights": str(start)}
    return {
        "output": str(folder / "release"),
        "shared": {
            "stage": "student",
            "data": {"foregrounds": [str(library)], "invented": 2, "held_out": 2},
            "sizes": [[32, 48]],
            "batch": 2,
            "workers": 0,
            "mean_decay": 0.5,
            "validation": {"frames": 1, "every": 2},
        },
        "stages": [
            {"name": "first", "run": first},
            {"name": "second", "run": {"steps": 1, "data": {"invented": 3}}, "kept": 0.25},
        ],
    }


def written(folder: Path, recipe: object) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(recipe))
    return path


def test_stages_follow_each_other_and_are_not_done_again(
    library: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torch.manual_seed(3)
    start = tmp_path / "start.safetensors"
    save_network(MattingNetwork(), start, {})
    path = written(tmp_path, toy(tmp_path, library, start))
    assert cli.main(["train", "recipe", str(path)]) == 0
    first, second = tmp_path / "release" / "first", tmp_path / "release" / "second"
    assert f"Weights are in {second / RESULT}" in capsys.readouterr().out

    before, handed = load_file(start), load_file(first / RESULT)
    assert any(not torch.equal(before[name], value) for name, value in handed.items())
    # Nothing of what it all starts from is kept by the first, a quarter by the second.
    trained = load_file(first / "weights.safetensors")
    for name, value in handed.items():
        torch.testing.assert_close(value, trained[name])
    trained = load_file(second / "weights.safetensors")
    for name, value in load_file(second / RESULT).items():
        if value.is_floating_point():
            expected = 0.75 * trained[name].float() + 0.25 * before[name].float()
            torch.testing.assert_close(value.float(), expected, rtol=2e-3, atol=2e-3)
    with safe_open(str(second / RESULT), "pt") as file:
        assert file.metadata()["recipe_stage"] == "second"
        assert "invented" in file.metadata()["run"]
        assert file.metadata()["kept_of"] == file_hash(start)

    (second / RESULT).unlink()
    kept = (first / RESULT).read_bytes()
    assert cli.main(["train", "recipe", str(path)]) == 0
    assert "stage 1 of 2, first: done before" in capsys.readouterr().out
    assert (first / RESULT).read_bytes() == kept and (second / RESULT).exists()

    (second / RESULT).unlink()
    save_network(MattingNetwork(), start, {})
    assert cli.main(["train", "recipe", str(path)]) == 1
    assert "isn't what the recipe began with" in capsys.readouterr().err
    assert not (second / RESULT).exists()


@pytest.mark.parametrize("name", ["release", "gpu_release"])
def test_the_recipes_that_ship_are_valid(name: str) -> None:
    stages = load_recipe(CONFIG / f"{name}.yaml")
    assert [stage.run.output.parent for stage in stages] == [Path("runs") / name] * len(stages)
    for before, stage in itertools.pairwise(stages):
        assert stage.run.start.weights == before.run.output / RESULT
    moved = with_output(stages, Path("elsewhere"))
    assert all(stage.run.output.parent == Path("elsewhere") for stage in moved)
    assert moved[-1].run.start.weights == (
        moved[-2].run.output / RESULT if len(moved) > 1 else stages[-1].run.start.weights
    )


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "usage"),
        (["here", "none.yaml"], "there is no recipe none.yaml"),
        (["here", "config/training/gpu_release.yaml", "nowhere"], "there is no folder nowhere"),
        (["here", "config/training/gpu_release.yaml", "/tmp"], "copy it to data/"),
    ],
)
def test_what_cannot_be_sent_to_another_machine_is_told(arguments: list[str], reason: str) -> None:
    script = CONFIG.parents[1] / "scripts" / "train_on_gpu.sh"
    made = subprocess.run(["bash", str(script), *arguments], capture_output=True, text=True)
    assert made.returncode == 1 and "error: " in made.stderr and reason in made.stderr


def test_a_stage_has_its_own_keys_over_those_of_all(library: Path, tmp_path: Path) -> None:
    path = written(tmp_path, toy(tmp_path, library, tmp_path / "start.safetensors"))
    first, second = load_recipe(path)
    assert (first.run.data.invented, second.run.data.invented) == (2, 3)
    assert second.run.data.foregrounds == first.run.data.foregrounds
    assert (first.kept, second.kept) == (0, 0.25)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"stages": []}, "stages is missing"),
        ({"output": 3}, "output is missing"),
        ({"steps": 1}, "no key steps in the file"),
        ({"stages": [{"name": "../a", "run": {"steps": 1}}]}, "name of a stage"),
        ({"stages": [{"name": "a", "run": {"steps": 1}}] * 2}, "two stages"),
        ({"stages": [{"name": "a", "run": {"stepz": 1}}]}, "stage a: there is no key stepz"),
        ({"stages": [{"name": "a", "run": {"steps": 1}, "kept": 1.5}]}, "kept is 1.5"),
        ({"stages": [{"name": "a", "run": {"steps": 1}, "kept": 0.5}]}, "kept needs"),
        ({}, "stage second: kept needs the first"),
        ({"stages": [{"name": "a", "run": {"steps": 1, "output": "b"}}]}, "leave it out"),
        ({"stages": ["a"]}, "must hold keys"),
    ],
)
def test_a_wrong_recipe_is_refused(
    change: dict[str, Any], reason: str, library: Path, tmp_path: Path
) -> None:
    with pytest.raises(FitError, match=reason):
        load_recipe(written(tmp_path, {**toy(tmp_path, library), **change}))


def test_no_mean_of_two_kinds() -> None:
    with pytest.raises(FitError, match="two kinds"):
        mean_of(MattingNetwork(), MattingNetwork(NetworkConfig(depth_in_base=False)), 0.5)

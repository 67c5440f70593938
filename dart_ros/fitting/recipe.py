"""A recipe: the trainings, one after the other, that make weights which ship."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from dart_ros.errors import FitError
from dart_ros.fitting.library import file_hash
from dart_ros.fitting.processes import Processes, processes
from dart_ros.fitting.run import Run, run_of, yaml_content
from dart_ros.fitting.training import WEIGHTS, train
from dart_ros.fitting.weights import grown, load_network, save_network
from dart_ros.method.network import MattingNetwork
from dart_ros.simulation.recorded import RecordedScene

RESULT = "result.safetensors"
"""Name of what a stage hands on, in the stage's folder."""


@dataclass(frozen=True)
class RecipeStage:
    """One training of a recipe.

    Attributes:
        name: of the stage's folder.
        run: the training; but for the first, it starts from what the stage before hands on.
        kept: share of the weights that the recipe starts from in what the stage hands on, the rest
            is its result: a mean of weights keeps what a short training would forget.
    """

    name: str
    run: Run
    kept: float


def load_recipe(path: Path) -> list[RecipeStage]:
    """Reads a recipe's YAML file.

    ``output``: folder of all stages. ``shared``: keys of a run that hold for all stages.
    ``stages``: of each its ``name``, the keys of its ``run`` and ``kept`` (0).

    Raises:
        FitError: if it can't be read, a key isn't known or a value can't be; the message names
            the file and the stage.
    """
    content = yaml_content(path)
    try:
        given = _mapping("the file", content, {"output", "shared", "stages"})
        output, shared = given.get("output"), given.get("shared", {})
        if not isinstance(output, str) or not output:
            raise ValueError("the key output is missing: give a folder")
        entries = given.get("stages")
        if not isinstance(entries, list) or not entries:
            raise ValueError("the key stages is missing: give a list")
        stages: list[RecipeStage] = []
        for entry in entries:
            stages.append(_stage(entry, shared, Path(output).expanduser(), stages))
    except ValueError as error:
        raise FitError(f"{path}: {error}") from error
    return stages


def follow(
    stages: Sequence[RecipeStage],
    load_scenes: Callable[[Sequence[Path]], Sequence[RecordedScene]],
    tell: Callable[[str], None],
) -> Path:
    """Trains the stages that aren't done yet; one that was interrupted is resumed.

    Args:
        stages: of the recipe.
        load_scenes: the recorded scenes of a run's recordings.
        tell: told of each stage.

    Returns:
        The weights that the last stage hands on.

    Raises:
        FitError: as :func:`dart_ros.fitting.training.train`, and if what the recipe began with
            has changed where a share of it is kept.
    """
    for number, stage in enumerate(stages, 1):
        result = stage.run.output / RESULT
        title = f"stage {number} of {len(stages)}, {stage.name}"
        if result.exists():
            tell(f"{title}: done before, in {result}")
            continue
        scores = train(stage.run, load_scenes(stage.run.data.recordings))
        with processes() as together:
            _hand_on(stage, stages[0].run, result, together)
        tell(f"{title}: on held-out frames SAD {scores.sad:.3f}, MSE {scores.mse:.3f}")
    return result


def _hand_on(stage: RecipeStage, first: Run, result: Path, together: Processes) -> None:
    if not together.first:
        return
    trained = load_network(stage.run.output / WEIGHTS)
    header = _header(stage.run)
    if stage.kept:
        start = first.start.weights
        assert start is not None  # or the recipe had been refused
        begun_with = json.loads(_header(first)["weights"])["start"]
        if file_hash(start) != begun_with:
            raise FitError(
                f"{start} isn't what the recipe began with any more, of which stage {stage.name} "
                f"keeps a share: put it back, or delete {first.output.parent} to begin anew"
            )
        # Those may have fewer inputs, see Run.network.
        trained = mean_of(trained, grown(load_network(start), trained.config), stage.kept)
        header["kept_of"] = begun_with
    save_network(trained, result, {**header, "recipe_stage": stage.name, "kept": f"{stage.kept:g}"})


def _header(run: Run) -> dict[str, str]:
    """What a training has written of itself beside its weights."""
    with safe_open(str(run.output / WEIGHTS), "pt") as file:
        return dict(file.metadata())


def mean_of(new: MattingNetwork, old: MattingNetwork, kept: float) -> MattingNetwork:
    """The network whose weights are the mean of two networks' of one kind.

    Args:
        new: counts by ``1 - kept``; it is changed.
        old: counts by ``kept``, 0 to 1.

    Raises:
        FitError: if the networks differ in kind.
    """
    if new.config != old.config:
        raise FitError(f"no mean of two kinds of network: {new.config} and {old.config}")
    before = old.state_dict()
    state = {
        name: torch.lerp(value, before[name], kept) if value.is_floating_point() else value
        for name, value in new.state_dict().items()
    }
    new.load_state_dict(state)
    return new


def _stage(entry: Any, shared: Any, output: Path, before: Sequence[RecipeStage]) -> RecipeStage:
    given = _mapping("a stage", entry, {"name", "run", "kept"})
    name, kept = given.get("name"), given.get("kept", 0.0)
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f"the name of a stage is {name!r}: give letters, digits and '_'")
    if any(stage.name == name for stage in before):
        raise ValueError(f"two stages are called {name}")
    where = f"stage {name}"
    if not isinstance(kept, (int, float)) or isinstance(kept, bool) or not 0 <= kept < 1:
        raise ValueError(f"{where}: kept is {kept!r}: give a number from 0 to below 1")
    try:
        own = _mapping("run", given.get("run", {}))
        if "output" in own:
            raise ValueError("run.output is the recipe's: leave it out")
        if before and "start" in own:
            raise ValueError("run.start is what the stage before hands on: leave it out")
        start = {"start": {"weights": str(before[-1].run.output / RESULT)}} if before else {}
        keys = {**_merged(_mapping("shared", shared), own), **start, "output": str(output / name)}
        run = run_of(keys)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    if kept and (before[0].run if before else run).start.weights is None:
        raise ValueError(f"{where}: kept needs the first stage's run.start.weights")
    return RecipeStage(name, run, float(kept))


def _mapping(what: str, value: Any, known: set[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what} must hold keys and values")
    for key in value:
        if known is not None and key not in known:
            raise ValueError(
                f"there is no key {key} in {what}; there are {', '.join(sorted(known))}"
            )
    return value


def _merged(shared: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """A stage's own keys over those of all; mappings are merged key by key."""
    merged = dict(shared)
    for key, value in own.items():
        below = merged.get(key)
        both = isinstance(below, Mapping) and isinstance(value, Mapping)
        merged[key] = _merged(below, value) if both else value  # type: ignore[arg-type]
    return merged


def with_output(stages: Sequence[RecipeStage], output: Path) -> list[RecipeStage]:
    """The same recipe in another folder."""
    moved: list[RecipeStage] = []
    for stage in stages:
        run = dataclasses.replace(stage.run, output=output / stage.name)
        if moved:
            start = dataclasses.replace(run.start, weights=moved[-1].run.output / RESULT)
            run = dataclasses.replace(run, start=start)
        moved.append(dataclasses.replace(stage, run=run))
    return moved

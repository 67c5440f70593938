"""``dart-ros train``: the networks that ship, or one's own."""

from __future__ import annotations

import argparse
from pathlib import Path

from dart_ros.errors import FitError

# Those of dart_ros.fitting.run, which would bring torch with it.
STAGES = {
    "teacher": "the large network that a student learns from",
    "student": "the network that runs on robots, from the truth or from a teacher too",
    "refiner": "the refinement of edges, behind a trained base network",
}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "train",
        help="train a network on composed frames",
        description="Train a network as a YAML file describes. A training that was interrupted "
        "goes on when the same command is given again. For several GPUs or machines: "
        "torchrun --nproc-per-node N -m dart_ros.cli train STAGE RUN.yaml",
    )
    stages = command.add_subparsers(dest="stage", required=True, metavar="STAGE")
    for name, what in STAGES.items():
        stage = stages.add_parser(name, help=what)
        stage.add_argument("file", type=Path, metavar="RUN.yaml", help="see config/training/")
        stage.add_argument("--output", type=Path, help="folder, instead of the one in the file")
    recipe = stages.add_parser("recipe", help="several trainings, one after the other")
    recipe.add_argument("file", type=Path, metavar="RECIPE.yaml", help="see config/training/")
    recipe.add_argument("--output", type=Path, help="folder, instead of the one in the file")
    command.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> None:
    import dataclasses

    from dart_ros.fitting.available import check

    check()
    if options.stage == "recipe":
        _follow(options)
        return
    from dart_ros.fitting.run import load_run
    from dart_ros.fitting.training import WEIGHTS, train
    from dart_ros.session.recorded_scene import load_recorded_scene

    run = load_run(options.file)
    if run.stage != options.stage:
        raise FitError(
            f"{options.file} is a run of the stage {run.stage}: give 'dart-ros train {run.stage}'"
        )
    if options.output is not None:
        run = dataclasses.replace(run, output=options.output)
    scores = train(run, [load_recorded_scene(path) for path in run.data.recordings])
    print(
        f"Weights are in {run.output / WEIGHTS}: on held-out frames SAD {scores.sad:.3f}, "
        f"MSE {scores.mse:.3f}"
    )


def _follow(options: argparse.Namespace) -> None:
    from dart_ros.fitting.recipe import follow, load_recipe, with_output
    from dart_ros.session.recorded_scene import load_recorded_scene

    stages = load_recipe(options.file)
    if options.output is not None:
        stages = with_output(stages, options.output)
    result = follow(
        stages,
        lambda recordings: [load_recorded_scene(path) for path in recordings],
        lambda text: print(text, flush=True),
    )
    print(f"Weights are in {result}")

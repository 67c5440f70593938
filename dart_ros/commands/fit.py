"""``dart-ros fit``: the network to a scene."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dart_ros.child_process import say
from dart_ros.commands.options import json_progress, positive, scenes_options
from dart_ros.errors import EngineError, FitError, SceneError

if TYPE_CHECKING:
    from dart_ros.fitting.run import FitRun
    from dart_ros.session.scene import Scene
    from dart_ros.session.scene_store import SceneStore

_CANCELLED = 128 + signal.SIGTERM


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "fit",
        parents=[scenes_options()],
        help="fit the network to a scene, or go on with a fit that was interrupted",
        description="Fit the network to a scene, or go on with a fit that was interrupted. For "
        "several GPUs: torchrun --nproc-per-node N -m dart_ros.cli fit SCENE --settings FIT.yaml, "
        "with a batch in the file that N divides.",
    )
    command.add_argument("scene")
    command.add_argument(
        "--settings", type=Path, metavar="FIT.yaml", help="see config/training/fit.yaml (defaults)"
    )
    command.add_argument("--seconds", type=positive, help="how long to train (120, on a GPU 30)")
    command.add_argument(
        "--foregrounds", type=Path, help="folder of further people or things to fit with (RGBA PNG)"
    )
    command.add_argument(
        "--recording",
        type=Path,
        help="taken in the scene by its camera: learn from its frames as well, which depth labels",
    )
    command.add_argument("--teacher", type=Path, help="weights of a teacher to learn from as well")
    command.add_argument("--logs", type=Path, help="folder for TensorBoard's logs (none)")
    command.add_argument(
        "--backend", help="compile the result for this engine, so that it is used at once (none)"
    )
    command.add_argument("--refine-fraction", type=positive, help="of the engine (its own)")
    command.add_argument("--threads", type=int, default=0, help="of the engine (0: all cores)")
    json_progress(command)
    command.set_defaults(run=_fit)


def _compile(fitted: Scene, options: argparse.Namespace) -> None:
    """Leaves the engine in the cache; why it can't be made is told by who needs it."""
    from dart_ros.method.geometry import REFINED_SHARE
    from dart_ros.session.predictor import Predictor

    share = options.refine_fraction or REFINED_SHARE
    with contextlib.suppress(EngineError):
        Predictor(fitted, options.backend, share, options.threads, ready_only=True)


def _still_there(store: SceneStore, scene: Scene) -> bool:
    try:
        return store.load(scene.name).id == scene.id
    except SceneError:
        return False


def _settings(options: argparse.Namespace) -> FitRun:
    """Those of the file, where options don't say otherwise."""
    from dart_ros.fitting.run import FitRun, Teacher, load_fit

    run = FitRun() if options.settings is None else load_fit(options.settings)
    if options.seconds is not None:
        run = replace(run, seconds=options.seconds)
    if options.foregrounds is not None:
        run = replace(run, foregrounds=options.foregrounds)
    if options.recording is not None:
        run = replace(run, recording=options.recording)
    if options.teacher is not None:
        run = replace(run, teacher=Teacher(options.teacher))
    return run


def _fit(options: argparse.Namespace) -> None:
    from dart_ros.session.scene_store import find_scene

    store, name = find_scene(options.scenes_dir, options.scene)
    scene = store.load(name)
    # At once: torch's loader would wait for its workers, which may die by the same signal.
    signal.signal(signal.SIGTERM, lambda _number, _frame: os._exit(_CANCELLED))

    from tqdm import tqdm

    from dart_ros.fitting.available import check

    check()
    from dart_ros.fitting.processes import is_first_process
    from dart_ros.runtime.heavy_work import one_at_a_time
    from dart_ros.session.fit import fit
    from dart_ros.session.recorded_scene import load_frames_of_scene

    first = is_first_process()
    hidden = options.json_progress or not first
    with tqdm(total=100, disable=hidden or None, unit="%", leave=False) as bar:

        def on_progress(share: float, message: str) -> None:
            if options.json_progress:
                say(progress=round(share, 4), message=message)
            bar.set_description(message)
            bar.update(round(100 * share) - bar.n)

        run, recorded = _settings(options), None
        if run.recording is not None:
            on_progress(0.0, "reading the recording")
            recorded = load_frames_of_scene(run.recording, scene)

        def on_wait() -> None:
            on_progress(0.0, "waiting until another fit or build of an engine ends")

        # Processes of one fit work together.
        with one_at_a_time(on_wait) if first else contextlib.nullcontext():
            fitted, result = fit(
                scene,
                run,
                on_progress,
                lambda: False,
                store.unfinished_fit(scene.id),
                options.logs,
                recorded,
            )
        if not first:
            return
        if result.improved and options.backend:
            on_progress(1.0, "compiling the fitted network")
            _compile(fitted, options)
    # From here on it is decided: a signal that comes later finds the fit done.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if result.improved:
        if not _still_there(store, scene):
            store.forget_fit(scene.id)
            raise FitError(
                f"The scene '{scene.name}' was captured anew or deleted during the fit, which is "
                "void; fit the new one."
            )
        store.save(fitted)
    else:
        store.forget_fit(scene.id)
    message = (
        f"{result.steps} steps in {result.seconds:.0f} s: alpha error {result.before:.2f} -> "
        f"{result.after:.2f} per mille"
    ) + ("" if result.improved else "; no better, the scene is unchanged")
    if options.json_progress:
        say(
            done=True,
            improved=result.improved,
            before=result.before,
            after=result.after,
            message=message,
        )
    else:
        print(f"Fitted scene '{scene.name}': {message}")

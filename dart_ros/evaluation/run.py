"""Runs methods on scenes; what is finished is kept in the output folder and not done again."""

from __future__ import annotations

import hashlib
import inspect
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from importlib import metadata
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

import dart_ros
from dart_ros.errors import EvaluationError
from dart_ros.evaluation.dataset import readable
from dart_ros.evaluation.methods.method import EmptyScene, Method
from dart_ros.evaluation.metrics import flicker, score
from dart_ros.evaluation.results import Results, SceneResult, versions
from dart_ros.evaluation.scenes import LabelledScene
from dart_ros.files import replacing
from dart_ros.picture_files import decode_file
from dart_ros.runtime.engine import automatic
from dart_ros.runtime.weights import generic_weights_path
from dart_ros.session.scene_store import SceneStore

PARTS = "parts"
"""Folder, inside the output, of what is finished: ``METHOD/SCENE/result.json`` and the alphas."""

_CODE = ("method", "runtime", "session", "fitting", "postmatting", "evaluation/methods")
_MODULES = (
    "values.py",
    "evaluation/dataset.py",
    "evaluation/metrics.py",
    "evaluation/run.py",
    "evaluation/scenes.py",
)
# Beside those that the results name: engines under all their names, and what some methods use.
_LIBRARIES = (
    "BackgroundMattingV2",
    "onnxruntime-gpu",
    "scipy",
    "tensorrt",
    "tensorrt-rtx",
    "tensorrt-rtx-cu12",
    "tensorrt-rtx-cu13",
    "transformers",
)


def evaluate(
    data: str,
    scenes: Sequence[LabelledScene],
    methods: Sequence[Method],
    output: Path,
    fit_seconds: float = 0.0,
) -> Results:
    """Runs every method on every scene.

    A pair of method and scene that the output folder holds already is taken from there, unless
    the scene's files, the weights, the fit's length, the code of methods or metrics, the engines
    that can be had or the versions of libraries have changed since.

    Args:
        data: name of the data.
        scenes: the scenes.
        methods: the methods.
        output: folder for the parts; made where it is missing.
        fit_seconds: how long the network is fitted to each scene, 0 for not at all.

    Raises:
        EvaluationError: if a method can't run, a scene's file can't be read, or the output can't
            be written.
        CaptureError: if a scene's empty frames don't show an empty, stable scene.
    """
    code = _code_digest()
    pairs: dict[tuple[str, str], SceneResult] = {}
    total = len(methods) * sum(len(scene) + 1 for scene in scenes)
    # tqdm takes None for "only on a terminal".
    with tqdm(total=total, unit="step", leave=False, disable=None) as bar:
        for scene in scenes:
            empty = EmptyScene(scene, SceneStore(output / "fits"), fit_seconds)
            for method in methods:
                bar.set_description(f"{scene.name}: {method.title}")
                folder = output / PARTS / method.name / scene.name
                stamp = _fingerprint(scene, method, fit_seconds, code)
                result = _finished(folder, stamp, len(scene))
                if result is None:
                    result = _run(scene, method, empty, folder, bar)
                    with _writable(output):
                        _keep(folder, stamp, result)
                else:
                    bar.update(len(scene) + 1)
                pairs[method.name, scene.name] = result
    return Results(
        data=data,
        scenes={scene.name: scene.tags for scene in scenes},
        titles={method.name: method.title for method in methods},
        pairs=pairs,
        fit_seconds=fit_seconds,
    )


def alpha_file(output: Path, method: str, scene: str, number: int) -> Path:
    """Where a computed alpha lies."""
    return output / PARTS / method / scene / f"alpha_{number:02d}.png"


def read_alpha(file: Path) -> NDArray[np.uint8]:
    """A computed alpha, ``H×W`` uint8; EvaluationError if the file is gone or broken."""
    with readable(file):
        data = file.read_bytes()
    image = decode_file(data, cv2.IMREAD_UNCHANGED)
    if image is None:
        raise EvaluationError(f"{file} is broken; delete its folder and evaluate again.")
    return np.asarray(image, np.uint8)


def save_alphas(results: Results, output: Path, target: Path) -> None:
    """Copies the alphas to ``target/scene_XX/alpha_%02d.png``.

    With several methods each has a folder of its name between ``target`` and the scenes.

    Raises:
        EvaluationError: if they can't be read or written.
    """
    for method, scene in results.pairs:
        folder = target / method / scene if len(results.titles) > 1 else target / scene
        with _writable(target):
            folder.mkdir(parents=True, exist_ok=True)
        for file in sorted((output / PARTS / method / scene).glob("alpha_*.png")):
            with readable(file):
                data = file.read_bytes()
            with _writable(target):
                (folder / file.name).write_bytes(data)


def _run(
    scene: LabelledScene, method: Method, empty: EmptyScene, folder: Path, bar: tqdm[None]
) -> SceneResult:
    with _writable(folder):
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
    method.learn(empty)
    bar.update()
    milliseconds, frames, changes = [], [], []
    before: tuple[NDArray[np.uint8], NDArray[np.uint8]] | None = None
    for number in range(len(scene)):
        frame, truth = scene.frame(number), scene.alpha(number)
        start = time.perf_counter()
        alpha = method.alpha(frame)
        milliseconds.append(1e3 * (time.perf_counter() - start))
        picture = cv2.imencode(".png", alpha)[1].tobytes()
        with _writable(folder):
            (folder / f"alpha_{number:02d}.png").write_bytes(picture)
        frames.append(None if truth is None else score(alpha, truth))
        if before is not None and truth is not None and scene.consecutive:
            changes.append(flicker(alpha, before[0], truth, before[1]))
        before = None if truth is None else (alpha, truth)
        bar.update()
    return SceneResult(method.engine, tuple(milliseconds), tuple(frames), tuple(changes))


def _finished(folder: Path, stamp: str, frames: int) -> SceneResult | None:
    """What an earlier run has kept, if it is whole and nothing has changed since."""
    if not all((folder / f"alpha_{number:02d}.png").is_file() for number in range(frames)):
        return None
    try:
        content = json.loads((folder / "result.json").read_text(encoding="utf-8"))
        return SceneResult.from_json(content["result"]) if content["stamp"] == stamp else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(folder: Path, stamp: str, result: SceneResult) -> None:
    text = json.dumps({"stamp": stamp, "result": asdict(result)})
    with replacing(folder / "result.json") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _fingerprint(scene: LabelledScene, method: Method, fit_seconds: float, code: str) -> str:
    # Which of them "auto" takes is decided by the GPU, which gives the order, and the versions.
    backend = automatic() if method.backend == "auto" else (method.backend,)
    with readable(Path(scene.name)):
        data = scene.fingerprint()
    what = (data, method.name, backend, fit_seconds, code, _library_versions())
    digest = hashlib.sha256(repr(what).encode())
    weights = [generic_weights_path(), Path(inspect.getfile(type(method)))]
    if method.weights is not None:
        found = method.weights.rglob("*") if method.weights.is_dir() else [method.weights]
        weights += sorted(file for file in found if file.is_file())
    for file in weights:
        with readable(file):
            digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()


def _library_versions() -> dict[str, str]:
    found = versions()
    for library in _LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[library] = metadata.version(library)
    return found


def _code_digest() -> str:
    root = Path(dart_ros.__file__).parent
    digest = hashlib.sha256()
    files = [file for part in _CODE for file in (root / part).rglob("*.py")]
    for file in sorted([*files, *(root / module for module in _MODULES)]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise EvaluationError(
            f"The evaluation can't be written to {folder} ({error.strerror or error}); free some "
            "space or choose another folder; what is finished is kept."
        ) from error

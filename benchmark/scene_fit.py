"""What a fit gains on a real sensor's frames: people who were held out before a real scene.

``python -m benchmark.scene_fit RECORDING...`` captures each recording's empty scene from the first
half of its empty frames and fits the network to it. Then it composes people whom neither the
generic network nor the fit was trained on before the other half, with true alpha, and prints the
scores of the generic and of the fitted network on these. ``--output`` shows both on frames with
whoever is in the recording.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from dart_ros.demo.pictures import gradient, save_png
from dart_ros.errors import DartError, EvaluationError
from dart_ros.evaluation.metrics import Scores, mean_scores, score
from dart_ros.files import DEMO_RECORDING
from dart_ros.fitting.library import foregrounds_path, split_identities
from dart_ros.fitting.run import FitRun
from dart_ros.fitting.scene_fit import HELD_OUT, FitResult
from dart_ros.session.capture import capture_scene
from dart_ros.session.fit import background_of, fit
from dart_ros.session.predictor import Predictor
from dart_ros.session.recording import Recording, first_run, open_recording
from dart_ros.session.recording.frames import EMPTY_FRAMES
from dart_ros.session.scene import Scene
from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.frames import MAX_DEPTH
from dart_ros.values import UNKNOWN_DEPTH, Frame, Matte

_SAMPLES = 16
_SEED = 100_000
_RESAMPLINGS = 2000
_ROWS = 10
_CELL_WIDTH = 320

Truth = tuple[Frame, NDArray[np.uint8]]


def halves(recording: Recording) -> tuple[list[int], list[int]]:
    """Positions of empty frames to capture and to test with.

    A recording whose noise is simulated may have a single one, which looks different each time.

    Raises:
        EvaluationError: if there is no empty frame.
    """
    run = first_run(recording.empty, recording.number)
    if not run:
        raise EvaluationError(f"The recording '{recording.name}' has no empty frames.")
    middle = len(run) // 2
    return run[:middle] or run, run[middle:]


def captured(recording: Recording, max_depth: float) -> Scene:
    """The scene, from the first half of the empty frames.

    Raises:
        CaptureError: see :class:`dart_ros.session.capture.BackgroundCapture`.
    """
    first, _ = halves(recording)
    frames = (
        recording.frame(first[number % len(first)], number // len(first))
        for number in range(EMPTY_FRAMES)
    )
    return capture_scene(frames, EMPTY_FRAMES, "fit", max_depth)


def composed(recording: Recording, scene: Scene, count: int) -> list[Truth]:
    """Frames with true alpha (H×W uint8): people before the second half of the empty frames."""
    _, second = halves(recording)
    # Later repeats than any of the capture: simulated noise is another one then.
    frames = [
        recording.frame(second[number % len(second)], EMPTY_FRAMES + number)
        for number in range(max(_SAMPLES, len(second)))
    ]
    samples = (
        torch.from_numpy(np.stack([frame.color for frame in frames])).permute(0, 3, 1, 2),
        torch.from_numpy(np.stack([frame.depth for frame in frames])),
    )
    _, people = split_identities(load_foregrounds(foregrounds_path()), HELD_OUT)
    background = replace(background_of(scene), samples=samples)
    composer = Composer(people, [background], max_depth=scene.max_depth)
    found = []
    for number in tqdm(range(count), desc="composing", unit="frame", leave=False, disable=None):
        batch = composer.frames([_SEED + number])
        depth = batch.depth[0, 0]
        frame = Frame(
            color=_bytes(batch.color[0].permute(1, 2, 0)),
            depth=torch.where(depth > 0, depth, UNKNOWN_DEPTH).numpy(),
            stamp=number,
            camera=scene.camera,
        )
        found.append((frame, _bytes(batch.alpha[0, 0])))
    return found


def scores(scene: Scene, frames: list[Truth], backend: str) -> list[Scores]:
    """Scores of the scene's network for each frame."""
    predictor = Predictor(scene, backend, video=False)
    return [
        score(predictor.predict(frame, trimap=False, foreground=False).alpha, truth)
        for frame, truth in tqdm(frames, desc="matting", unit="frame", leave=False, disable=None)
    ]


def interval(before: list[Scores], after: list[Scores]) -> tuple[float, float]:
    """95 % of the change of mean SAD, relative, over draws of the frames (bootstrap)."""
    sad = np.array([(a.sad, b.sad) for a, b in zip(before, after, strict=True)])
    draws = np.random.default_rng(0).integers(len(sad), size=(_RESAMPLINGS, len(sad)))
    means = sad[draws].mean(axis=1)
    low, high = np.percentile(means[:, 1] / means[:, 0] - 1, [2.5, 97.5])
    return float(low), float(high)


def sheet(recording: Recording, scenes: Sequence[Scene], backend: str) -> NDArray[np.uint8]:
    """Frames of the recording, from above, each with alpha and composite of each scene's network.

    Returns:
        ``H×W×3`` uint8 RGB.
    """
    predictors = [Predictor(scene, backend) for scene in scenes]
    camera = scenes[0].camera
    backdrop = gradient(camera.width, camera.height)
    steps = np.linspace(0, len(recording.occupied) - 1, _ROWS).round().astype(int)
    rows = []
    for step in steps:
        frame = recording.frame(recording.occupied[step])
        mattes = [predictor.predict(frame, trimap=False) for predictor in predictors]
        alphas = [np.repeat(matte.alpha[..., None], 3, axis=2) for matte in mattes]
        row = np.hstack([frame.color, *alphas, *(composite(m, backdrop) for m in mattes)])
        size = (_CELL_WIDTH * (1 + 2 * len(scenes)), _CELL_WIDTH * camera.height // camera.width)
        rows.append(cv2.resize(row, size, interpolation=cv2.INTER_AREA))
    return np.vstack(rows).astype(np.uint8)


def composite(matte: Matte, backdrop: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A matte's foreground over a picture of its size."""
    assert matte.foreground is not None
    alpha = matte.alpha[..., None] / 255
    return (matte.foreground * alpha + backdrop * (1 - alpha)).round().astype(np.uint8)


def fitted(scene: Scene, seconds: float) -> tuple[Scene, FitResult]:
    """The scene after a fit, with a progress bar."""
    with tqdm(total=100, unit="%", leave=False, disable=None) as bar:

        def on_progress(share: float, message: str) -> None:
            bar.set_description(message)
            bar.update(round(100 * share) - bar.n)

        return fit(scene, FitRun(seconds=seconds), on_progress, lambda: False)


def measure(
    path: Path, max_depth: float, count: int, seconds: float, backend: str, output: Path | None
) -> None:
    """Prints one recording's table and writes its picture, if a folder is given for it."""
    recording = open_recording(path, max_depth=max_depth)
    scene = captured(recording, max_depth)
    frames = composed(recording, scene, count)
    before = scores(scene, frames, backend)
    after_fit, result = fitted(scene, seconds)
    after = scores(after_fit, frames, backend) if result.improved else before
    print(
        f"{recording.name}: {count} frames, a fit of {result.seconds:.0f} s, {result.steps} steps"
    )
    for name, found in (("generic", before), ("fitted", after)):
        mean = mean_scores(found)
        print(
            f"  {name:8s} SAD {mean.sad:.2f}  MSE {mean.mse:.2f}  Grad {mean.grad:.2f}  "
            f"Conn {mean.conn:.2f}  false foreground {100 * mean.false_foreground:.2f} %"
        )
    change = mean_scores(after).sad / mean_scores(before).sad - 1
    low, high = interval(before, after)
    if output is not None and recording.occupied:
        output.mkdir(parents=True, exist_ok=True)
        file = output / f"{recording.name}.png"
        save_png(file, sheet(recording, [scene, after_fit], backend))
        print(f"  input, alpha before and after, composite before and after: {file}")
    print(f"  SAD {100 * change:+.1f} % (95 % between {100 * low:+.1f} and {100 * high:+.1f} %)")


def main() -> int:
    """Run the command line; the exit code is 1 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.scene_fit", description=__doc__)
    parser.add_argument("recordings", nargs="*", type=Path, default=[DEMO_RECORDING])
    parser.add_argument("--max-depth", type=float, default=MAX_DEPTH, help="metres (5.46)")
    parser.add_argument("--frames", type=int, default=300, help="composed for each (300)")
    parser.add_argument("--seconds", type=float, default=120.0, help="of each fit (120)")
    parser.add_argument("--backend", default="auto", help="inference engine (auto)")
    parser.add_argument("--output", type=Path, help="folder for a picture of each recording")
    options = parser.parse_args()
    try:
        for path in options.recordings:
            measure(
                path,
                options.max_depth,
                options.frames,
                options.seconds,
                options.backend,
                options.output,
            )
    except DartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _bytes(image: torch.Tensor) -> NDArray[np.uint8]:
    """An image in [0, 1] as a camera sends it."""
    scaled = (image * 255).round().clamp(0, 255)
    return np.ascontiguousarray(scaled.to(torch.uint8).numpy())


if __name__ == "__main__":
    sys.exit(main())

"""Mattes in other light than the capture's, with and without what takes the light out.

``python -m benchmark.light_change`` gives the frames of the recording that ships another exposure,
tint or tone curve, mattes them by the generic network, and prints SAD for each.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from dart_ros.errors import DartError
from dart_ros.evaluation.metrics import sad
from dart_ros.evaluation.scenes import RecordingScene
from dart_ros.files import DEMO_RECORDING
from dart_ros.runtime.weights import load_weights
from dart_ros.session.capture import capture_scene
from dart_ros.session.predictor import Predictor
from dart_ros.session.recording import open_recording
from dart_ros.session.recording.frames import EMPTY_FRAMES
from dart_ros.values import Frame


class Light(NamedTuple):
    """Gains of red, green and blue, and the exponent of colors in [0, 1]."""

    red: float = 1.0
    green: float = 1.0
    blue: float = 1.0
    gamma: float = 1.0


LIGHTS = {
    "as recorded": Light(),
    "0.6 times as bright": Light(0.6, 0.6, 0.6),
    "0.8 times": Light(0.8, 0.8, 0.8),
    "1.1 times": Light(1.1, 1.1, 1.1),
    "1.25 times": Light(1.25, 1.25, 1.25),
    "tinted by 15 %": Light(1.15, 1.0, 0.85),
    "gamma 0.8": Light(gamma=0.8),
    "gamma 1.25": Light(gamma=1.25),
}

_MAX_DEPTH = 10.0


def lit(frame: Frame, light: Light) -> Frame:
    """The frame in another light; what gets too bright is cut off, as by a camera."""
    color = 255 * (frame.color / 255) ** light.gamma * np.array(light[:3])
    return replace(frame, color=color.clip(0, 255).round().astype(np.uint8))


def measure(stride: int, backend: str) -> dict[str, dict[str, float]]:
    """Mean SAD for each light: ``dart``, and ``without`` light taken out.

    Args:
        stride: every so many frames with somebody in them.
        backend: name of the engine, or ``auto``.
    """
    recording = open_recording(DEMO_RECORDING, max_depth=_MAX_DEPTH)
    scene = RecordingScene(recording, DEMO_RECORDING, _MAX_DEPTH, stride)
    captured = capture_scene(scene.empty(), EMPTY_FRAMES, "light", _MAX_DEPTH)
    shipped = load_weights()
    without = replace(shipped, config=replace(shipped.config, depth_in_light=False))
    predictors = {
        "dart": Predictor(captured, backend, video=False),
        "without": Predictor(captured, backend, weights=without, video=False),
    }
    found: dict[str, dict[str, float]] = {}
    for name, light in tqdm(LIGHTS.items(), unit="light", disable=None):
        scores: dict[str, list[float]] = {method: [] for method in predictors}
        for number in range(len(scene)):
            frame, truth = lit(scene.frame(number), light), scene.alpha(number)
            assert truth is not None
            for method, predictor in predictors.items():
                alpha = predictor.predict(frame, trimap=False, foreground=False).alpha
                scores[method].append(sad(alpha / 255, truth / 255))
        found[name] = {method: float(np.mean(values)) for method, values in scores.items()}
    return found


def main() -> int:
    """Run the command line; the exit code is 1 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.light_change", description=__doc__)
    parser.add_argument("--stride", type=int, default=9, help="every so many frames (9)")
    parser.add_argument("--backend", default="auto", help="inference engine (auto)")
    options = parser.parse_args()
    try:
        found = measure(options.stride, options.backend)
    except DartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("SAD, thousands of pixels          dart   without light taken out")
    for light, scores in found.items():
        print(f"{light:32s}  {scores['dart']:5.2f}  {scores['without']:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

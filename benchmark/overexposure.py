"""Mattes where bright things are cut off to the same white, people's clothes as well.

``python -m benchmark.overexposure sim-rgbd`` gives a data set a longer exposure, the capture as
well as the frames, runs the methods on it, and prints a table of SAD.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from benchmark.light_change import Light, lit
from dart_ros.errors import DartError
from dart_ros.evaluation.dataset import open_dataset
from dart_ros.evaluation.methods import all_methods
from dart_ros.evaluation.results import Results
from dart_ros.evaluation.run import evaluate
from dart_ros.evaluation.scenes import LabelledScene
from dart_ros.evaluation.table import by_tag
from dart_ros.values import Frame

METHODS = ("dart", "depth", "knn", "mog2")
GAINS = (1.0, 1.6, 2.5)


class OverexposedScene(LabelledScene):
    """A scene of a data set as a camera with a longer exposure takes it.

    Its tag tells the gain.

    Args:
        scene: the scene as it is.
        gain: how many times as bright it becomes, before it is cut off at 255.
    """

    def __init__(self, scene: LabelledScene, gain: float) -> None:
        self.name = f"{scene.name}_{gain:g}"
        self.tags = ("as it is" if gain == 1 else f"{gain:g} times as bright",)
        self.max_depth = scene.max_depth
        self.consecutive = scene.consecutive
        self._scene = scene
        self._gain = gain

    def empty(self) -> Iterator[Frame]:
        """See :meth:`LabelledScene.empty`."""
        return map(self._exposed, self._scene.empty())

    def __len__(self) -> int:
        """Number of test frames."""
        return len(self._scene)

    def frame(self, number: int) -> Frame:
        """See :meth:`LabelledScene.frame`."""
        return self._exposed(self._scene.frame(number))

    def alpha(self, number: int) -> NDArray[np.uint8] | None:
        """See :meth:`LabelledScene.alpha`."""
        return self._scene.alpha(number)

    def fingerprint(self) -> str:
        """See :meth:`LabelledScene.fingerprint`."""
        return f"{self._scene.fingerprint()} {self._gain}"

    def _exposed(self, frame: Frame) -> Frame:
        return lit(frame, Light(self._gain, self._gain, self._gain))


def measure(
    scenes: Sequence[LabelledScene], gains: Sequence[float], methods: Sequence[str], backend: str
) -> Results:
    """The scores of methods on scenes under several exposures.

    Args:
        scenes: those of a data set.
        gains: how many times as bright it becomes.
        methods: names of methods that need no files.
        backend: name of the engine, or ``auto``.

    Raises:
        EvaluationError: if a method can't run, or a scene's file can't be read.
    """
    exposed = [OverexposedScene(scene, gain) for gain in gains for scene in scenes]
    known = all_methods()
    chosen = [known[name](None, backend) for name in methods]
    with TemporaryDirectory() as folder:
        return evaluate("overexposed", exposed, chosen, Path(folder))


def main() -> int:
    """Run the command line; the exit code is 1 after an error that the user can mend."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.overexposure", description=__doc__)
    parser.add_argument("data", type=Path, help="folder of a data set, as sim-rgbd")
    parser.add_argument("--backend", default="auto", help="inference engine (auto)")
    options = parser.parse_args()
    try:
        results = measure(open_dataset(options.data), GAINS, METHODS, options.backend)
    except DartError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print(by_tag(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Scores of mattes without any truth, from depth alone where depth can't be wrong.

A recording of a real camera has no true alpha. What can be said all the same: who stands well
before the captured background is foreground, what measures the same as the background is not, what
stands still in color and depth has no reason to change, and a matte of people has no specks and no
ragged outlines. Frames of some recordings lie seconds apart: compare a recording with itself before
and after a change, not with another.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from tqdm import tqdm

from dart_ros.evaluation.results import Results
from dart_ros.evaluation.run import alpha_file, read_alpha
from dart_ros.evaluation.scenes import LabelledScene
from dart_ros.evaluation.table import table
from dart_ros.session.capture import capture_scene
from dart_ros.session.recording.frames import EMPTY_FRAMES
from dart_ros.session.registration import registered
from dart_ros.session.scene import Scene
from dart_ros.values import Frame

# Surely foreground: so far before the background in metres, in deviations and as a share of the
# distance, and so many pixels from the outline of all that is (near people's depth lies beside
# their color).
_FRONT_METRES, _FRONT_DEVIATIONS, _FRONT_SHARE, _FRONT_INSIDE = 0.25, 8.0, 0.08, 14
# Surely background: so near to the captured one, and so many pixels from all that isn't.
_BACK_DEVIATIONS, _BACK_SHARE, _BACK_AWAY = 2.0, 0.02, 16
_HOLE, _LEAK = 0.9, 0.1
# Stands still: color by fewer levels, depth by a smaller share of the background's distance.
_STILL_LEVELS, _STILL_SHARE = 8, 0.03
_FLIP = 0.5
_SPECK_PIXELS = 80
_SMOOTHING = 3.0


@dataclass(frozen=True)
class LabelFreeScores:
    """What is wrong with a method's mattes of a recording; less is better.

    Attributes:
        holes: % of surely-foreground pixels with alpha below 0.9, None if there are none.
        leaks: % of surely-background pixels with alpha above 0.1, None if there are none.
        flicker: mean change of alpha x 1000 between neighboring frames, over pixels that stand
            still in color and depth; None if there are none.
        flips: such pixels a frame whose alpha changes by more than 0.5; None as above.
        specks: pieces of alpha > 0.5 a frame that are smaller than 80 pixels.
        ragged: length of the outlines of alpha > 0.5 over that of the same outlines smoothed; 1 is
            smooth, None where there is no outline.
        frames: number of frames.
    """

    holes: float | None
    leaks: float | None
    flicker: float | None
    flips: float | None
    specks: float
    ragged: float | None
    frames: int


class LabelFreeScorer:
    """Scores the mattes of one method on one recording, frame after frame.

    Args:
        scene: the captured background that tells near from far.
    """

    def __init__(self, scene: Scene) -> None:
        self._mean, self._std = scene.depth_mean, scene.depth_std
        self._seen = scene.depth_count > 0
        self._offset = scene.depth_offset
        self._front = self._back = self._holes = self._leaks = 0
        self._changes: list[float] = []
        self._flips: list[int] = []
        self._specks: list[int] = []
        self._outline = self._smooth = 0.0
        self._before: tuple[Frame, NDArray[np.float32]] | None = None

    def add(self, frame: Frame, alpha: NDArray[np.uint8]) -> None:
        """Take in a frame and its matte, ``H×W`` uint8; in the order of the recording."""
        frame = registered(frame, self._offset)
        share = alpha / np.float32(255)
        front, back = self._sure(frame.depth)
        self._front += int(front.sum())
        self._back += int(back.sum())
        self._holes += int((share[front] < _HOLE).sum())
        self._leaks += int((share[back] > _LEAK).sum())
        if self._before is not None:
            self._compare(frame, share, *self._before)
        self._shape(share)
        self._before = (frame, share)

    def scores(self) -> LabelFreeScores:
        """The scores of all frames so far."""
        return LabelFreeScores(
            holes=100 * self._holes / self._front if self._front else None,
            leaks=100 * self._leaks / self._back if self._back else None,
            flicker=1000 * float(np.mean(self._changes)) if self._changes else None,
            flips=float(np.mean(self._flips)) if self._flips else None,
            specks=float(np.mean(self._specks)) if self._specks else 0.0,
            ragged=self._outline / self._smooth if self._smooth else None,
            frames=len(self._specks),
        )

    def _sure(self, depth: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Where a frame is surely foreground and surely background."""
        known = (depth > 0) & self._seen
        gap = self._mean - depth
        least = np.maximum(_FRONT_DEVIATIONS * self._std, _FRONT_SHARE * self._mean)
        front = known & (gap > np.maximum(_FRONT_METRES, least))
        back = known & (np.abs(gap) < _BACK_DEVIATIONS * self._std + _BACK_SHARE * self._mean)
        # The picture's border is an outline too: what lies beyond isn't known.
        inside = ndimage.distance_transform_edt(np.pad(front, 1))[1:-1, 1:-1] > _FRONT_INSIDE
        other = ndimage.binary_opening((depth > 0) & ~back)
        away = ndimage.distance_transform_edt(~other) > _BACK_AWAY if other.any() else True
        return front & inside, back & away

    def _compare(
        self,
        frame: Frame,
        alpha: NDArray[np.float32],
        before: Frame,
        alpha_before: NDArray[np.float32],
    ) -> None:
        levels = np.abs(frame.color.astype(np.int16) - before.color).max(axis=2)
        moved = np.abs(frame.depth - before.depth)
        still = (levels < _STILL_LEVELS) & (moved < _STILL_SHARE * np.maximum(self._mean, 0.1))
        change = np.abs(alpha - alpha_before)[still]
        if change.size:
            self._changes.append(float(change.mean()))
            self._flips.append(int((change > _FLIP).sum()))

    def _shape(self, alpha: NDArray[np.float32]) -> None:
        _, labels, stats, _ = cv2.connectedComponentsWithStats((alpha > 0.5).astype(np.uint8))
        areas = stats[1:, cv2.CC_STAT_AREA]
        large = np.isin(labels, 1 + np.flatnonzero(areas >= _SPECK_PIXELS))
        smooth = cv2.GaussianBlur(large.astype(np.float32), (0, 0), _SMOOTHING) > 0.5
        self._specks.append(int((areas < _SPECK_PIXELS).sum()))
        self._outline += _outline(large)
        self._smooth += _outline(smooth)


def has_truth(scene: LabelledScene) -> bool:
    """Whether the true alpha of any test frame is known."""
    return any(scene.alpha(number) is not None for number in range(len(scene)))


def label_free_scores(
    results: Results, scene: LabelledScene, output: Path
) -> list[LabelFreeScores]:
    """Scores of each method, of the mattes that an evaluation has left in its output folder.

    Args:
        results: of the evaluation.
        scene: what was evaluated on.
        output: the folder.

    Raises:
        CaptureError: if the scene's empty frames make no background.
        EvaluationError: if a matte is gone or broken.
    """
    background = capture_scene(scene.empty(), EMPTY_FRAMES, "evaluation", scene.max_depth)
    scorers = {method: LabelFreeScorer(background) for method in results.titles}
    # None: only on a terminal.
    numbers = tqdm(range(len(scene)), desc="scoring", unit="frame", leave=False, disable=None)
    for number in numbers:
        frame = scene.frame(number)
        for method, scorer in scorers.items():
            scorer.add(frame, read_alpha(alpha_file(output, method, scene.name, number)))
    return [scorer.scores() for scorer in scorers.values()]


def label_free_markdown(results: Results, scene: LabelledScene, output: Path, title: str) -> str:
    """A Markdown table of :func:`label_free_scores`, with a line above it.

    Args:
        results: see there.
        scene: see there.
        output: see there.
        title: what was evaluated on.
    """
    fitted = f", fitted for {results.fit_seconds:g} s" if results.fit_seconds else ""
    head = (
        f"{title}, {len(scene)} frames{fitted}; it has no truth, so these are scores from depth "
        "alone (docs/accuracy.md); less is better"
    )
    columns = ["method", "holes %", "leaks %", "flicker", "flips", "specks", "ragged", "ms a frame"]
    lines = []
    rows = zip(results.rows(), label_free_scores(results, scene, output), strict=True)
    for row, scores in rows:
        lines.append(
            [
                row.method,
                _cell(scores.holes, 3),
                _cell(scores.leaks, 3),
                _cell(scores.flicker, 3),
                _cell(scores.flips, 1),
                _cell(scores.specks, 1),
                _cell(scores.ragged, 3),
                f"{row.milliseconds:.1f}",
            ]
        )
    return f"{head}\n\n{table(columns, lines)}"


def _cell(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _outline(mask: NDArray[np.bool_]) -> float:
    """Length in pixels of the outlines of a mask."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    return sum(cv2.arcLength(contour, True) for contour in contours)

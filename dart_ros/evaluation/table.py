"""Runs several methods over the same frames of a recording and shows how they compare."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from dart_ros.errors import EvaluationError
from dart_ros.evaluation.baselines import Method
from dart_ros.evaluation.metrics import Scores, mean_scores, score
from dart_ros.values import Frame

EMPTY_FRAMES = 100
"""Frames from which each method learns the background (the paper's N)."""

_SHEET_ROWS = 6
_SHEET_WIDTH = 320


class LabelledFrames(Protocol):
    """What is asked of a recording, see :class:`dart_ros.session.recording.Recording`."""

    name: str
    empty: list[int]
    occupied: list[int]

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """One frame; simulated noise depends on both numbers and on nothing else."""

    def alpha(self, position: int) -> NDArray[np.uint8] | None:
        """True alpha of a frame, if it is known."""


@dataclass(frozen=True)
class Row:
    """One method's line of the table.

    Attributes:
        method: its name.
        scores: means over all frames.
        milliseconds: median time for one frame.
        frames: number of frames.
    """

    method: str
    scores: Scores
    milliseconds: float
    frames: int


def empty_frames(recording: LabelledFrames, wanted: int = EMPTY_FRAMES) -> Iterator[Frame]:
    """The recording's empty frames, over again with other noise until there are ``wanted``."""
    for index in range(wanted if recording.empty else 0):
        repeat, which = divmod(index, len(recording.empty))
        yield recording.frame(recording.empty[which], repeat)


def compare(
    recording: LabelledFrames,
    methods: Sequence[Method],
    stride: int = 1,
    output: Path | None = None,
    progress: bool = True,
) -> list[Row]:
    """Score methods on the occupied frames whose truth is known.

    All methods get the same frames with the same noise.

    Args:
        recording: the frames.
        methods: the methods; each learns the background first.
        stride: only every so many frames are scored.
        output: folder for a contact sheet per method (input, truth, alpha, difference), or None.
        progress: whether to draw a progress bar on stderr, where that is a terminal.

    Raises:
        EvaluationError: if the recording has no truth or no empty frames, or the sheets can't be
            written.
    """
    if stride < 1:
        raise EvaluationError(f"A stride of {stride} is impossible; take 1 or more.")
    positions = [i for i in recording.occupied if recording.alpha(i) is not None][::stride]
    if not positions:
        raise EvaluationError(
            f"The recording '{recording.name}' has no true alpha (alpha_0000.png and so on) beside "
            "its occupied frames; evaluate on one that has."
        )
    shown = set(np.array(positions)[_spread(len(positions))].tolist())
    scores: list[list[Scores]] = [[] for _ in methods]
    seconds: list[list[float]] = [[] for _ in methods]
    sheets: list[list[NDArray[np.uint8]]] = [[] for _ in methods]
    total = len(methods) + len(positions)
    # tqdm takes None for "only on a terminal".
    with tqdm(total=total, disable=None if progress else True, unit="step", leave=False) as bar:
        for method in methods:
            bar.set_description(f"{method.name} learns the background")
            method.fit(empty_frames(recording))
            bar.update()
        bar.set_description("frames")
        for position in positions:
            frame, truth = recording.frame(position), recording.alpha(position)
            assert truth is not None
            for index, method in enumerate(methods):
                start = time.perf_counter()
                alpha = method.alpha(frame)
                seconds[index].append(time.perf_counter() - start)
                scores[index].append(score(alpha, truth))
                if position in shown:
                    sheets[index].append(_strip(frame.color, truth, alpha))
            bar.update()
    if output is not None:
        for method, strips in zip(methods, sheets, strict=True):
            name = re.sub("[^a-z0-9]+", "_", method.name.lower()).strip("_")
            _write_sheet(output / f"{name}.png", strips)
    return [
        Row(method.name, mean_scores(s), 1e3 * float(np.median(t)), len(s))
        for method, s, t in zip(methods, scores, seconds, strict=True)
    ]


def markdown(rows: Sequence[Row], title: str) -> str:
    """The rows as a Markdown table under a line that says what they are."""
    count = rows[0].frames if rows else 0
    lines = [
        f"{title}, {count} frames; less is better",
        "",
        "| method | SAD | MSE | Grad | Conn | false foreground | ms a frame |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        s = row.scores
        lines.append(
            f"| {row.method} | {s.sad:.2f} | {s.mse:.2f} | {s.grad:.2f} | {s.conn:.2f} | "
            f"{s.false_foreground:.2%} | {row.milliseconds:.1f} |"
        )
    return "\n".join(lines)


def _spread(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, _SHEET_ROWS).round().astype(np.int64))


def _strip(
    color: NDArray[np.uint8], truth: NDArray[np.uint8], alpha: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Input, truth, alpha and their difference side by side, BGR."""
    grays = (truth, alpha, cv2.absdiff(truth, alpha))
    parts = [cv2.cvtColor(color, cv2.COLOR_RGB2BGR)]
    parts += [cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR) for gray in grays]
    height = max(1, round(_SHEET_WIDTH * color.shape[0] / color.shape[1]))
    size = (_SHEET_WIDTH, height)
    return np.hstack(
        [np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_AREA)) for part in parts]
    ).astype(np.uint8, copy=False)


def _write_sheet(path: Path, strips: list[NDArray[np.uint8]]) -> None:
    data = cv2.imencode(".png", np.vstack(strips))[1].tobytes()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    except OSError as error:
        raise EvaluationError(
            f"The contact sheet {path} can't be written ({error.strerror}); choose another folder."
        ) from error

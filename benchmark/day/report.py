"""The day as a table, a plot and a contact sheet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmark.day.measure import Results, bump_gone_after, bystanders, gone_after, mean_sad
from benchmark.day.methods import DepthThreshold, Fresh, Knn, Living, Mog2, Still
from benchmark.day.plan import BUMPS, DAY, LAMP_OFF, LAMP_ON, MOVES, START
from benchmark.day.stream import Moment, hour
from dart_ros.errors import EvaluationError
from dart_ros.evaluation.table import table

TITLES = {m.name: m.title for m in (Living, Still, Fresh, Mog2, Knn, DepthThreshold)}
"""Of the methods, in the order of the tables."""

MOMENTS = (1890.0, 6210.0, 10803.0, 12900.0, 17160.0, 21900.0, 27930.0, 34800.0)
"""Seconds of the day on the contact sheet; the scored frames nearest to them are shown."""

SHEET_BYTES = 200_000
_SHOWN = ("living", "still", "mog2")
_TILE = (176, 132)
_BACKDROP = (0, 177, 64)


def figures(results: Results) -> str:
    """The figures in words and tables (Markdown)."""
    rows = []
    for name, title in TITLES.items():
        absorbed, bodies, least = bystanders(results.scores, name)
        rows.append(
            [
                title,
                *(f"{mean_sad(results.scores, name, who):.2f}" for who in (None, True, False)),
                f"{absorbed} of {bodies} ({least:.2f})",
                _times(gone_after(results.scores, name)),
                _times(bump_gone_after(results.scores, name)),
            ]
        )
    columns = [
        "method",
        "SAD",
        "with people",
        "empty",
        "frames with somebody absorbed (least share kept)",
        "moved things gone after, s",
        "bumps gone after, s",
    ]
    hours = list(range(START, START + -(-int(results.memory[-1][0]) // 3600)))
    by_hour = [
        [title, *(_hour_sad(results, name, number) for number in hours)]
        for name, title in TITLES.items()
    ]
    bumps = ", ".join(f"{hour(second)} {pixels:.1f} px" for second, pixels in results.bumps)
    absorbed = ", ".join(f"{hour(second)} ({count})" for second, count in results.absorbed)
    first, last = results.memory[min(1, len(results.memory) - 1)][1], results.memory[-1][1]
    notes = (
        f"{results.frames} frames, {len(results.scores)} scored, {results.backend}. "
        f"A matte takes {results.matte_ms:.1f} ms; a frame learnt from {results.learn_ms:.1f} ms, "
        f"a look for a bump {results.look_ms:.1f} ms, together {results.added_ms:.2f} ms a "
        f"frame at 30 Hz. Memory {first:.0f} MB after an hour, {last:.0f} MB at the end. "
        f"Bumps found: {bumps or 'none'}. Absorbed: {absorbed or 'nothing'}."
    )
    return "\n\n".join(
        [
            table(columns, rows),
            "SAD by hour",
            table(["method", *(f"{number}:00" for number in hours)], by_hour),
            notes,
        ]
    )


def _times(found: Sequence[float | None]) -> str:
    return ", ".join("never" if seconds is None else f"{seconds:g}" for seconds in found)


def _hour_sad(results: Results, name: str, number: int) -> str:
    first = 3600 * (number - START)
    chosen = [s for s in results.scores if first <= s.second < first + 3600]
    return f"{mean_sad(chosen, name):.2f}" if chosen else "–"


def plot(results: Results, path: Path) -> None:
    """SAD of all methods over the day, with what happens."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, title in TITLES.items():
        at = [START + score.second / 3600 for score in results.scores]
        axes.plot(at, [max(s.sad[name], 0.05) for s in results.scores], label=title, linewidth=1.2)
    for kind, seconds, color in (
        ("bump", [bump.second for bump in BUMPS], "tab:red"),
        ("thing moved", [move.second for move in MOVES], "tab:gray"),
        ("lamp", [LAMP_OFF, LAMP_ON], "tab:olive"),
    ):
        for number, second in enumerate(seconds):
            label = kind if number == 0 else None
            axes.axvline(START + second / 3600, color=color, linestyle=":", label=label)
    axes.set(xlabel="hour", ylabel="SAD, thousands of pixels", yscale="log")
    axes.set_xlim(START, START + min(DAY, results.memory[-1][0]) / 3600)
    axes.legend(ncols=3, fontsize="small")
    figure.savefig(path, dpi=110)


class ContactSheet:
    """Collects the moments that are shown: the frame, and what methods cut out."""

    def __init__(self) -> None:
        self._best: dict[float, tuple[float, list[NDArray[np.uint8]]]] = {}

    def add(self, moment: Moment, alphas: dict[str, NDArray[np.uint8]]) -> None:
        """Take in a scored frame."""
        wanted = min(MOMENTS, key=lambda second: abs(second - moment.second))
        away = abs(wanted - moment.second)
        if away < self._best.get(wanted, (600.0, []))[0]:
            color = moment.frame.color
            tiles = [color, *(_before(color, alphas[name]) for name in _SHOWN)]
            labelled = [_labelled(_small(tiles[0]), hour(moment.second)), *map(_small, tiles[1:])]
            self._best[wanted] = (away, labelled)

    def save(self, path: Path) -> None:
        """Write a JPEG of at most :data:`SHEET_BYTES`.

        Raises:
            EvaluationError: if it can't be written.
        """
        columns = [np.vstack(tiles) for _, (_, tiles) in sorted(self._best.items())]
        if not columns:
            return
        sheet = np.ascontiguousarray(np.hstack(columns)[..., ::-1])
        for quality in range(88, 30, -6):
            coded = cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
            if len(coded) <= SHEET_BYTES:
                break
        try:
            path.write_bytes(coded)
        except OSError as error:
            raise EvaluationError(f"{path} can't be written: {error.strerror}") from error


def _before(color: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    share = alpha[..., None] / np.float32(255)
    return np.asarray(color * share + np.array(_BACKDROP) * (1 - share), np.uint8)


def _small(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.resize(image, _TILE, interpolation=cv2.INTER_AREA), np.uint8)


def _labelled(tile: NDArray[np.uint8], text: str) -> NDArray[np.uint8]:
    cv2.rectangle(tile, (0, 0), (46, 16), (0, 0, 0), -1)
    cv2.putText(tile, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 255, 255), 1, cv2.LINE_AA)
    return tile

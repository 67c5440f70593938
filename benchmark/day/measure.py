"""Plays the day to all methods, and what comes out in figures."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmark.day.methods import (
    FRAME_RATE,
    DayMethod,
    DepthThreshold,
    Fresh,
    Knn,
    Living,
    Mog2,
    Still,
    captured,
)
from benchmark.day.plan import BUMPS, DAY, MOVES, state
from benchmark.day.stream import Day, Moment
from dart_ros.evaluation.metrics import sad

MORNING_FRAMES, FRESH_FRAMES = 30, 8
_ANEW = 0.35  # seconds after which another fresh capture is made

GONE = 0.05
"""Mean alpha of what was put down or taken away, from which on it counts as gone."""

ABSORBED = 0.5
"""Share of somebody's body that alpha keeps, below which he counts as absorbed."""

LEAST_BODY = 400
"""Pixels of somebody, to be judged."""

_LIKE_FRESH, _LEVEL = 1.1, 0.15
"""A bump is gone where SAD is at most so many times that of a fresh capture, and so much more."""


@dataclass
class Score:
    """One scored frame.

    Attributes:
        second: of the day.
        occupied: whether somebody is in it.
        sad: of each method.
        kept: of each method, mean alpha over the pixels that are all body; empty without a body.
        left: of each method, mean alpha of what the last move changed; empty where somebody is.
    """

    second: float
    occupied: bool
    sad: dict[str, float]
    kept: dict[str, float] = field(default_factory=dict)
    left: dict[str, float] = field(default_factory=dict)


@dataclass
class Results:
    """The day in figures.

    Attributes:
        scores: by time.
        memory: seconds of the day and resident megabytes of this process.
        frames: how many were played.
        matte_ms: mean of a matte.
        learn_ms, learns: of a frame learnt from, and how many a second at 30 Hz.
        look_ms, looks: of a look for a bump, likewise.
        absorbed: see :class:`benchmark.day.methods.Living`.
        bumps: likewise.
        backend: the engine.
    """

    scores: list[Score] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    frames: int = 0
    matte_ms: float = 0.0
    learn_ms: float = 0.0
    learns: float = 0.0
    look_ms: float = 0.0
    looks: float = 0.0
    absorbed: list[tuple[float, int]] = field(default_factory=list)
    bumps: list[tuple[float, float]] = field(default_factory=list)
    backend: str = ""

    def save(self, path: Path) -> None:
        """Write them as JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    @property
    def added_ms(self) -> float:
        """What a frame costs more at 30 Hz, on one core."""
        return (self.learn_ms * self.learns + self.look_ms * self.looks) / FRAME_RATE


def measure(
    day: Day,
    step: float,
    score_every: float,
    backend: str,
    end: float = DAY,
    shown: Callable[[Moment, dict[str, NDArray[np.uint8]]], None] = lambda *_: None,
) -> Results:
    """Play the day.

    Args:
        day: its frames.
        step: seconds between two frames where nothing happens.
        score_every: seconds between two scored ones there.
        backend: name of the engine, or ``auto``.
        end: second after which the day is over.
        shown: called with each scored frame and the alphas of all methods.
    """
    from tqdm import tqdm

    frames = day.morning(MORNING_FRAMES)
    scene = captured(frames, day.max_depth)
    living, fresh = Living(backend), Fresh(backend)
    methods: list[DayMethod] = [living, Still(backend), fresh, Mog2(), Knn(), DepthThreshold()]
    for method in methods:
        method.learn(scene, frames)
    results = Results(backend=living.predictor.backend)
    changed = {move.second: day.changed(move.second) for move in MOVES if move.second < end}
    hour, anew = -1, -1.0
    moments = day.moments(step, score_every, end)
    for moment in tqdm(moments, unit="frame", disable=None):
        results.frames += 1
        alphas = {m.name: m.alpha(moment.frame) for m in methods if m.every_frame}
        if moment.scored or moment.settles:
            if moment.second - anew > _ANEW or state(moment.second) != state(anew):
                fresh.use(captured(day.captured(moment, FRESH_FRAMES), day.max_depth))
                anew = moment.second
            alphas |= {m.name: m.alpha(moment.frame) for m in methods if not m.every_frame}
        if moment.scored:
            results.scores.append(_scored(moment, alphas, changed))
            shown(moment, alphas)
        if moment.second // 3600 > hour:
            hour = int(moment.second // 3600)
            results.memory.append((moment.second, memory()))
    results.memory.append((end, memory()))
    _cost(results, living)
    return results


def _scored(
    moment: Moment,
    alphas: dict[str, NDArray[np.uint8]],
    changed: dict[int, NDArray[np.bool_]],
) -> Score:
    truth = moment.alpha / 255
    score = Score(
        moment.second,
        moment.present is not None,
        {name: sad(alpha / 255, truth) for name, alpha in alphas.items()},
    )
    body = moment.alpha >= 250
    if np.count_nonzero(body) >= LEAST_BODY:
        score.kept = {name: float(alpha[body].mean()) / 255 for name, alpha in alphas.items()}
    past = [second for second in changed if second <= moment.second]
    if past and moment.present is None and changed[past[-1]].any():
        place = changed[past[-1]]
        score.left = {name: float(alpha[place].mean()) / 255 for name, alpha in alphas.items()}
    return score


def _cost(results: Results, living: Living) -> None:
    mattes, learns, looks = living.counts
    results.matte_ms = 1e3 * living.matte_seconds / max(mattes, 1)
    results.learn_ms = 1e3 * living.learn_seconds / max(learns, 1)
    results.look_ms = 1e3 * living.look_seconds / max(looks, 1)
    results.learns, results.looks = living.rates
    results.absorbed, results.bumps = living.absorbed, living.bumps


def memory() -> float:
    """Resident megabytes of this process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))


def mean_sad(scores: Sequence[Score], name: str, occupied: bool | None = None) -> float:
    """Mean SAD of a method, of all frames or of those with or without somebody."""
    chosen = [s.sad[name] for s in scores if occupied is None or s.occupied == occupied]
    return float(np.mean(chosen)) if chosen else float("nan")


def bystanders(scores: Sequence[Score], name: str) -> tuple[int, int, float]:
    """Frames with a body in which it is absorbed, all those, and the least share that is kept."""
    kept = [score.kept[name] for score in scores if score.kept]
    return sum(share < ABSORBED for share in kept), len(kept), min(kept, default=float("nan"))


def gone_after(scores: Sequence[Score], name: str) -> list[float | None]:
    """For each move, seconds until what it changed is gone for good; None for never."""
    found: list[float | None] = []
    seconds = [move.second for move in MOVES]
    for number, second in enumerate(seconds):
        last = (seconds[number + 1] if number + 1 < len(seconds) else DAY) - 60
        found.append(
            _from_when(
                [
                    (score.second - second, score.left[name] < GONE)
                    for score in scores
                    if score.left and second <= score.second < min(last, second + 1800)
                ]
            )
        )
    return found


def bump_gone_after(scores: Sequence[Score], name: str) -> list[float | None]:
    """For each bump, seconds until mattes are as good as with a fresh capture; None for never."""
    return [
        _from_when(
            [
                (
                    score.second - bump.second,
                    score.sad[name] <= _LIKE_FRESH * score.sad["fresh"] + _LEVEL,
                )
                for score in scores
                if bump.second <= score.second <= bump.second + 60
            ]
        )
        for bump in BUMPS
    ]


def _from_when(found: Sequence[tuple[float, bool]]) -> float | None:
    """The first time from which on all are true; None if the last isn't, or there is none."""
    when: float | None = None
    for seconds, right in found:
        if not right:
            when = None
        elif when is None:
            when = seconds
    return when

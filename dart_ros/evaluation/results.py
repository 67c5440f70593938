"""What an evaluation found, and its way to JSON and back."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from dart_ros import __version__
from dart_ros.evaluation.metrics import Scores, mean_scores

_LIBRARIES = ("numpy", "opencv-python", "torch", "openvino", "onnxruntime", "pymatting")


@dataclass(frozen=True)
class SceneResult:
    """One method on one scene.

    Attributes:
        engine: what ran the method, may be empty.
        milliseconds: time of each frame.
        frames: scores of each frame, None where the truth isn't known.
        flicker: dtSSD x 100 of each pair of consecutive frames; empty where they aren't.
    """

    engine: str
    milliseconds: tuple[float, ...]
    frames: tuple[Scores | None, ...]
    flicker: tuple[float, ...]

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> SceneResult:
        """The inverse of ``asdict``; KeyError or TypeError if it is something else."""
        return cls(
            engine=content["engine"],
            milliseconds=tuple(content["milliseconds"]),
            frames=tuple(None if s is None else Scores(**s) for s in content["frames"]),
            flicker=tuple(content["flicker"]),
        )


@dataclass(frozen=True)
class Row:
    """One method's line of a table.

    Attributes:
        method: its title, and what ran it.
        scores: means over all frames whose truth is known, None if there is none.
        flicker: mean dtSSD x 100, None if no frames are consecutive.
        milliseconds: median time of a frame.
        frames: number of frames.
    """

    method: str
    scores: Scores | None
    flicker: float | None
    milliseconds: float
    frames: int


@dataclass(frozen=True)
class Results:
    """All methods on all scenes.

    Attributes:
        data: name of the data.
        scenes: tags of each scene by its name.
        titles: title of each method by its name.
        pairs: results by method and scene.
        fit_seconds: how long the network was fitted to each scene, 0 for not at all.
    """

    data: str
    scenes: Mapping[str, tuple[str, ...]]
    titles: Mapping[str, str]
    pairs: Mapping[tuple[str, str], SceneResult]
    fit_seconds: float

    def tags(self) -> list[str]:
        """All tags, in the order in which they first occur."""
        return list(dict.fromkeys(tag for tags in self.scenes.values() for tag in tags))

    def rows(self, tag: str | None = None) -> list[Row]:
        """A row for each method, over all scenes or those with a tag."""
        names = [name for name, tags in self.scenes.items() if tag is None or tag in tags]
        return [
            _row(title, [self.pairs[method, name] for name in names])
            for method, title in self.titles.items()
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values: means over all and per tag, each scene, the machine."""
        groups: dict[str | None, str] = {None: "overall", **{tag: tag for tag in self.tags()}}
        return {
            "data": self.data,
            "fit_seconds": self.fit_seconds,
            "machine": machine(),
            "versions": versions(),
            "methods": {
                name: {label: asdict(self.rows(tag)[index]) for tag, label in groups.items()}
                for index, name in enumerate(self.titles)
            },
            "scenes": {
                scene: {
                    "tags": list(tags),
                    "methods": {name: asdict(self.pairs[name, scene]) for name in self.titles},
                }
                for scene, tags in self.scenes.items()
            },
        }


def machine() -> str:
    """Processor, cores and GPU of this machine in words."""
    import torch

    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{name}, {os.cpu_count()} cores, {gpu}"


def versions() -> dict[str, str]:
    """Versions of Python, this package and the libraries that decide the figures."""
    found = {"python": platform.python_version(), "dart_ros": __version__}
    for library in _LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return found


def _row(title: str, results: Sequence[SceneResult]) -> Row:
    scores = [s for result in results for s in result.frames if s is not None]
    flicker = [value for result in results for value in result.flicker]
    engines = dict.fromkeys(result.engine for result in results if result.engine)
    return Row(
        method=f"{title} ({', '.join(engines)})" if engines else title,
        scores=mean_scores(scores) if scores else None,
        flicker=float(np.mean(flicker)) if flicker else None,
        milliseconds=float(np.median([ms for r in results for ms in r.milliseconds])),
        frames=sum(len(result.frames) for result in results),
    )

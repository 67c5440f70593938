"""The engines side by side, and the official network where it is installed.

    python -m benchmark.engine_speed --sizes 640x480 --output speed

The engines matte frames of the recording that ships, as a user's engine would, and once more with
a network that is sure of nothing, so that they refine all the tiles that their settings allow. The
official network always refines a number of pixels that is set beforehand.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmark.peers.background_matting_v2 import declare_torchvision
from dart_ros.commands.options import positive_integer, size
from dart_ros.errors import DartError, EngineError, EvaluationError
from dart_ros.files import DEMO_RECORDING

if TYPE_CHECKING:
    from dart_ros.runtime.scene_buffers import CapturedBackground
    from dart_ros.runtime.weights import NetworkWeights
    from dart_ros.values import Frame

SIZES = "640x480,1280x720,1920x1080"
OFFICIAL = "BackgroundMattingV2"
_PIXELS = 80_000  # refined by the official network on its own defaults
_DEFAULT, _SAME_AREA = f"{OFFICIAL}, its default", f"{OFFICIAL}, same area"
_EVERY_TILE = ", every tile refined"
_FRAMES = 8
_EMPTY_FRAMES = 20


def main(arguments: Sequence[str] | None = None) -> int:
    """Time the engines; returns the exit status."""
    parser = argparse.ArgumentParser("python -m benchmark.engine_speed", description=__doc__)
    parser.add_argument("--sizes", default=SIZES, help="default: %(default)s")
    parser.add_argument("--backends", default="", help="default: all that work here")
    parser.add_argument("--rounds", type=positive_integer, default=20, help="frames each (20)")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads; 0: all cores")
    parser.add_argument(
        "--growth", action="store_true", help="also with the number of tiles and of threads"
    )
    parser.add_argument("--output", type=Path, help="folder for speed.json and speed.png")
    try:
        _bench(parser.parse_args(arguments))
    except DartError as error:
        print(f"engine_speed: {error}", file=sys.stderr)
        return 1
    return 0


def _bench(options: argparse.Namespace) -> None:
    try:
        sizes = [size(text.strip()) for text in options.sizes.split(",")]
    except argparse.ArgumentTypeError as error:
        raise EvaluationError(f"--sizes: {error}") from error
    import torch

    from dart_ros.runtime.weights import load_weights

    torch.set_num_threads(options.threads or os.cpu_count() or 1)
    weights = load_weights()
    rows = []
    for height, width in sizes:
        rows += _at_size(weights, height, width, options)
    for row in rows:
        print(_line(row))
    growth = _growth(weights, options) if options.growth else {}
    for name, points in growth.items():
        print(f"{name}: " + ", ".join(f"{x} {ms:.1f} ms" for x, ms in points))
    if options.output is not None:
        _write(options.output, rows, growth)


def _at_size(
    weights: NetworkWeights, height: int, width: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """A row for each engine at one size."""
    from benchmark.timing import multiplications, resident_memory, time_interleaved
    from dart_ros.method.geometry import tile_count
    from dart_ros.runtime.engine import automatic, create_engine

    background, frames = recorded(height, width)
    tiles = tile_count(height, width)
    asked = [name.strip() for name in options.backends.split(",") if name.strip()]
    calls: dict[str, Callable[[], object]] = {}
    memory: dict[str, float] = {}
    for name in asked or automatic():
        before = resident_memory()
        try:
            engine, _ = create_engine(weights, background, tiles, name, options.threads)
            memory[engine.name] = resident_memory() - before
            unsure = unsure_everywhere(weights)
            every, _ = create_engine(unsure, background, tiles, name, options.threads)
        except EngineError as error:
            print(f"{name} is left out: {error}", file=sys.stderr)
            continue
        turns = itertools.cycle(frames)

        def alpha(engine: Any = engine, turns: Iterator[Frame] = turns) -> object:
            frame = next(turns)
            return engine.run(frame.color, frame.depth, foreground=False)

        def everything(engine: Any = engine, turns: Iterator[Frame] = turns) -> object:
            frame = next(turns)
            return engine.run(frame.color, frame.depth)

        calls[engine.name] = alpha
        calls[f"{engine.name}, with foreground"] = everything
        calls[engine.name + _EVERY_TILE] = functools.partial(alpha, every)
    official = _official(height, width, tiles)
    calls |= official
    if not calls:
        raise EngineError("there is no engine to time: name others with --backends")
    timings = time_interleaved(calls, options.rounds)
    macs = multiplications(weights, background, tiles)
    rows = []
    for name, timing in timings.items():
        than = _SAME_AREA if name.endswith(_EVERY_TILE) else _DEFAULT
        rows.append(
            {
                "name": name,
                "width": width,
                "height": height,
                "tiles": tiles,
                **asdict(timing),
                "times_faster": timings[than].median / timing.median if than in timings else None,
                "than": than,
                "memory_mb": memory.get(name),
                "million_macs": None if name in official else macs,
            }
        )
    return rows


def unsure_everywhere(weights: NetworkWeights) -> NetworkWeights:
    """The same network with an error map of 1: no engine leaves out a tile."""
    name = "base.decoder.head.bias"
    bias = weights.state[name].copy()
    bias[4] = 1
    return replace(weights, state={**weights.state, name: bias})


def recorded(height: int, width: int) -> tuple[CapturedBackground, list[Frame]]:
    """The scene of the recording that ships, and some of its occupied frames, at another size."""
    import numpy as np

    from dart_ros.session.capture import capture_scene
    from dart_ros.session.predictor import background_of
    from dart_ros.session.recording import MAX_DEPTH, open_recording
    from dart_ros.session.recording.frames import empty_frames

    recording = open_recording(DEMO_RECORDING)
    empty = (resized(f, height, width) for f in empty_frames(recording, _EMPTY_FRAMES))
    scene = capture_scene(empty, _EMPTY_FRAMES, "bench", MAX_DEPTH)
    chosen = np.linspace(0, len(recording.occupied) - 1, _FRAMES).round().astype(int)
    frames = [resized(recording.frame(recording.occupied[i]), height, width) for i in chosen]
    return background_of(scene), frames


def resized(frame: Frame, height: int, width: int) -> Frame:
    """A frame at another size, its middle cut to that shape."""
    import cv2
    import numpy as np

    from dart_ros.values import Camera, Frame

    camera = frame.camera
    zoom = max(height / camera.height, width / camera.width)
    size = round(camera.width * zoom), round(camera.height * zoom)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    cut = slice(top, top + height), slice(left, left + width)
    focal = zoom * camera.fx, zoom * camera.fy
    middle = zoom * camera.cx - left, zoom * camera.cy - top
    return Frame(
        np.ascontiguousarray(cv2.resize(frame.color, size, interpolation=cv2.INTER_LINEAR)[cut]),
        np.ascontiguousarray(cv2.resize(frame.depth, size, interpolation=cv2.INTER_NEAREST)[cut]),
        frame.stamp,
        Camera(width, height, *focal, *middle, camera.frame_id),
    )


def _official(height: int, width: int, tiles: int | None) -> dict[str, Callable[[], object]]:
    """The official network on its own defaults, and refining as much as this one does."""
    import torch

    from dart_ros.method.geometry import STRIDE

    try:
        declare_torchvision()
        from BackgroundMattingV2.model import MattingRefine
    except (ImportError, RuntimeError) as error:
        print(f"{OFFICIAL} is left out, it can't be imported: {error}", file=sys.stderr)
        return {}
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    source, plate = torch.rand(2, 1, 3, height, width).to(device).unbind()
    calls: dict[str, Callable[[], object]] = {}
    for name, pixels in ((_DEFAULT, _PIXELS), (_SAME_AREA, STRIDE**2 * (tiles or 0))):
        if pixels:
            pixels = min(pixels, height * width)
            model = MattingRefine("mobilenetv2", 0.25, "sampling", pixels).eval().to(device)
            # Patches without an error are left out, and random weights give hardly any.
            torch.nn.init.constant_(model.decoder.conv4.bias[4:5], 1.0)

            def call(model: Any = model) -> object:
                with torch.inference_mode():
                    alpha = model(source, plate)[0]
                    return alpha.cpu()  # a GPU is waited for, as the engines wait for theirs

            calls[name] = call
    return calls


def _growth(
    weights: NetworkWeights, options: argparse.Namespace
) -> dict[str, list[tuple[str, float]]]:
    """Medians of the fastest engine here, with more tiles and with more threads."""
    from benchmark.timing import time_interleaved
    from dart_ros.method.geometry import tile_count
    from dart_ros.runtime.engine import create_engine

    height, width = 720, 1280
    background, frames = recorded(height, width)
    unsure, frame = unsure_everywhere(weights), frames[-1]
    default = tile_count(height, width) or 1
    cores = os.cpu_count() or 1
    grown: dict[str, list[tuple[int, int]]] = {
        "tiles": [(tiles, options.threads) for tiles in (64, 256, default, 1024)],
        "threads": [(default, threads) for threads in sorted({1, 2, 4, cores}) if threads <= cores],
    }
    result = {}
    for kind, cases in grown.items():
        calls: dict[str, Callable[[], object]] = {}
        for tiles, threads in cases:
            engine, _ = create_engine(unsure, background, tiles, "auto", threads)
            key = str(tiles if kind == "tiles" else threads)
            calls[key] = functools.partial(engine.run, frame.color, frame.depth, foreground=False)
        timings = time_interleaved(calls, options.rounds)
        result[f"{kind} at {width}x{height}"] = [(key, t.median) for key, t in timings.items()]
    return result


def _line(row: dict[str, Any]) -> str:
    ratio = row["times_faster"]
    return (
        f"{row['width']}x{row['height']}  {row['name']}: {row['median']:.1f} ms, p95 "
        f"{row['p95']:.1f}, CPU {row['cpu']:.0f} ms"
        + ("" if ratio is None else f", {ratio:.1f}x of {row['than']}")
        + ("" if row["memory_mb"] is None else f", {row['memory_mb']:.0f} MB")
        + ("" if row["million_macs"] is None else f", {row['million_macs']:.0f} MMAC")
    )


def _write(
    folder: Path, rows: list[dict[str, Any]], growth: dict[str, list[tuple[str, float]]]
) -> None:
    import torch

    machine = {"processor": platform.processor() or platform.machine(), "torch": torch.__version__}
    if torch.cuda.is_available():
        machine["gpu"] = torch.cuda.get_device_name()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps({"machine": machine, "rows": rows, "growth": growth}, indent=2)
        (folder / "speed.json").write_text(text + "\n", encoding="utf-8")
        _plot(folder / "speed.png", rows, growth)
    except OSError as error:
        raise EvaluationError(
            f"the figures can't be written to {folder} ({error.strerror}); choose another folder"
        ) from error


def _plot(
    path: Path, rows: list[dict[str, Any]], growth: dict[str, list[tuple[str, float]]]
) -> None:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("matplotlib is not installed: no plot", file=sys.stderr)
        return
    figure = Figure(figsize=(6 * (1 + len(growth)), 5), layout="constrained")
    axes = figure.subplots(1, 1 + len(growth), squeeze=False)[0]
    for name in dict.fromkeys(row["name"] for row in rows):
        points = [(r["width"] * r["height"] / 1e6, r["median"]) for r in rows if r["name"] == name]
        axes[0].plot(*zip(*points, strict=True), marker="o", label=name)
    axes[0].set(xlabel="megapixels", ylabel="ms a frame", yscale="log")
    axes[0].legend(fontsize="small")
    for axis, (name, points) in zip(axes[1:], growth.items(), strict=True):
        axis.bar(*zip(*points, strict=True))
        axis.set(xlabel=name, ylabel="ms a frame")
    figure.savefig(path)


if __name__ == "__main__":
    sys.exit(main())

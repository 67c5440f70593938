"""How fast the node is, through DDS, beside a camera process that publishes at rising rates.

``python -m benchmark.node_speed --output DIR`` plays the recording that ships, at its own and at
other sizes, to a node that has its scene stored, until it can't follow; alpha and trimap are
subscribed to. It prints a table and leaves ``node_speed.json`` and ``node_speed.png``. With
``--page`` each rate is measured once more while somebody looks at the composite in the operator's
page.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import itertools
import json
import os
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from tqdm import tqdm

from dart_ros.commands.options import MAX_DEPTH, size
from dart_ros.demo.harness import (
    Child,
    Demo,
    DemoError,
    end_by_signals,
    running_camera,
    running_matting_node,
    set_environment,
)
from dart_ros.demo.pictures import gradient, save_png
from dart_ros.demo.recorder import Recorder
from dart_ros.errors import DartError
from dart_ros.files import DEMO_RECORDING

SATURATED = 0.95
"""Share of the published frames below which the node is said not to follow any more."""


_IN_THE_PAGE = "; in the page {seen_per_second:.1f} pictures/s of {bytes_a_picture} bytes"

PATIENCE = 60.0
"""Seconds to wait for the camera, and for the first matte of a node that says that it mattes."""


def resized(target: Path, height: int, width: int) -> Path:
    """The recording that ships, at another size, cut to its shape; empty and occupied frames."""
    target.mkdir()
    sequence = json.loads((DEMO_RECORDING / "sequence.json").read_text(encoding="utf-8"))
    zoom = max(height / sequence["height"], width / sequence["width"])
    grown = round(sequence["width"] * zoom), round(sequence["height"] * zoom)
    left, top = (grown[0] - width) // 2, (grown[1] - height) // 2
    sequence["K"] = [zoom * value for value in sequence["K"][:8]] + [1]
    sequence["K"][2] -= left
    sequence["K"][5] -= top
    sequence |= {"width": width, "height": height}
    for file in sorted(DEMO_RECORDING.iterdir()):
        if not file.name.startswith(("color_", "depth_")):
            continue
        image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        color = file.name.startswith("color_")
        way = cv2.INTER_LINEAR if color else cv2.INTER_NEAREST
        image = cv2.resize(image, grown, interpolation=way)[top : top + height, left : left + width]
        name = file.with_suffix(".jpg").name if color else file.name
        cv2.imwrite(str(target / name), image)
    (target / "sequence.json").write_text(json.dumps(sequence), encoding="utf-8")
    return target


@contextlib.contextmanager
def started(
    source: Path, rate: float, scenes: Path, logs: Path, backend: str, recorder: Recorder
) -> Iterator[tuple[Demo, Child, float]]:
    """Camera and node, ready; with the seconds from the start of the node to the first alpha.

    The scene is captured first where the folder holds none; then no such time is known (NaN). The
    camera runs already, as a robot's does.
    """
    parameters = {"recording": str(source), "rate": rate}
    stored = any(scenes.glob("demo*"))
    recorder.subscribe({"alpha": False})
    with contextlib.ExitStack() as stack:
        camera = stack.enter_context(running_camera(parameters, logs))
        deadline = time.monotonic() + PATIENCE
        while not recorder.camera_ready():
            camera.check()
            if time.monotonic() > deadline:
                raise DemoError(f"The camera did not start in {PATIENCE:.0f} s; see {camera.log}.")
            time.sleep(0.05)
        begun = time.time_ns()
        node = stack.enter_context(running_matting_node(backend, MAX_DEPTH, logs, scenes))
        demo = Demo(recorder, camera, node)
        demo.wait_for_stream()
        if not stored:
            demo.capture(None)
        demo.wait_for_mattes()
        alpha, deadline = recorder.take()["alpha"], time.monotonic() + PATIENCE
        while not alpha.arrivals:
            node.check()
            camera.check()
            if time.monotonic() > deadline:
                raise DemoError(f"No alpha arrived in {PATIENCE:.0f} s; see {node.log}.")
            time.sleep(0.02)
            alpha = recorder.take()["alpha"]
        first = (alpha.arrivals[0] - begun) / 1e9 if stored else float("nan")
        recorder.unsubscribe()
        yield demo, node, first


class Viewer(threading.Thread):
    """Reads a live picture of the operator's page as a browser does, and counts."""

    def __init__(self, address: str) -> None:
        super().__init__(daemon=True)
        self.pictures = self.bytes = 0
        self._address = address

    def run(self) -> None:
        """Read until the server ends."""
        with (
            contextlib.suppress(OSError, http.client.HTTPException),
            urllib.request.urlopen(self._address, timeout=PATIENCE) as stream,
        ):
            while line := stream.readline():
                if line.lower().startswith(b"content-length:"):
                    self.bytes += int(line.split(b":")[1])
                    self.pictures += 1


@contextlib.contextmanager
def viewed(logs: Path) -> Iterator[Viewer]:
    """The operator's page of the node, with somebody who looks at the composite."""
    command = [sys.executable, "-m", "dart_ros.operator_page.operator_node"]
    page = Child("operator's page", [*command, "--ros-args", "-p", "port:=0"], logs / "page.log")
    try:
        deadline = time.monotonic() + PATIENCE
        told = ""
        while "http://" not in told or "found /matting_node" not in told:
            page.check()
            if time.monotonic() > deadline:
                raise DemoError(f"The page found no node in {PATIENCE:.0f} s; see {page.log}.")
            time.sleep(0.1)
            told = page.log.read_text(encoding="utf-8", errors="replace")
        address = "http://" + told.partition("http://")[2].split()[0]
        viewer = Viewer(f"{address}api/live?node=/matting_node&view=composite")
        viewer.start()
        while not viewer.pictures:
            page.check()
            if not viewer.is_alive():
                raise DemoError(f"The page refuses the live picture; see {page.log}.")
            if time.monotonic() > deadline:
                raise DemoError(f"The page showed nothing in {PATIENCE:.0f} s; see {page.log}.")
            time.sleep(0.1)
        yield viewer
    finally:
        page.stop()


def measure(
    sizes: list[tuple[int, int]],
    rates: list[float],
    seconds: float,
    backend: str,
    page: bool = False,
) -> Generator[dict[str, Any], None, None]:
    """A row of figures for each size and rate, each as soon as it is measured.

    Raises:
        DartError: if a node fails.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs = folder / "logs"
        logs.mkdir()
        set_environment(logs)
        recorder = stack.enter_context(contextlib.closing(Recorder(0)))
        for height, width in sizes:
            source = resized(folder / f"{width}x{height}", height, width)
            scenes = folder / f"scenes_{width}x{height}"
            scenes.mkdir()
            save_png(scenes / "background.png", gradient(width, height))
            with started(source, 30.0, scenes, logs, backend, recorder):
                pass
            for rate, looked_at in itertools.product(rates, (False, True) if page else (False,)):
                with contextlib.ExitStack() as running:
                    ready = started(source, rate, scenes, logs, backend, recorder)
                    demo, node, first = running.enter_context(ready)
                    viewer = running.enter_context(viewed(logs)) if looked_at else None
                    before = (viewer.pictures, viewer.bytes) if viewer else (0, 0)
                    begun = time.monotonic()
                    keep = {"alpha": False, "trimap": False}
                    phase, _, _ = demo.record(f"{width}x{height} at {rate:g} Hz", keep, seconds)
                    passed = time.monotonic() - begun
                    memory = round(node.peak_memory())
                    seen = viewer.pictures - before[0] if viewer else 0
                    size_of_one = (viewer.bytes - before[1]) / max(1, seen) if viewer else 0.0
                yield {
                    "page": looked_at,
                    "seen_per_second": round(seen / passed, 1),
                    "bytes_a_picture": round(size_of_one),
                    "width": width,
                    "height": height,
                    "rate": rate,
                    **asdict(phase),
                    "first_matte_seconds": round(first, 2),
                    "peak_memory_mb": memory,
                }
                if looked_at is page and phase.matted < SATURATED * phase.published:
                    break


def line(row: dict[str, Any]) -> str:
    """A row for people."""
    late, cpu = row["latency_ms"], row["cpu_percent"]
    return (
        f"{row['width']}x{row['height']} at {row['rate']:g} Hz: {row['mattes_per_second']:.1f} "
        f"mattes/s, latency {late['p50']:.0f} / {late['p95']:.0f} / {late['p99']:.0f} ms (p50, "
        f"p95, p99), {row['lost']} lost and {row['dropped']} replaced of {row['published']}, CPU "
        f"of node {cpu['matting_node']:.0f} % and camera {cpu['camera']:.0f} % of a core, peak "
        f"{row['peak_memory_mb']} MB, first matte after {row['first_matte_seconds']:.1f} s"
        + (_IN_THE_PAGE.format_map(row) if row["page"] else "")
    )


def plot(path: Path, rows: list[dict[str, Any]]) -> None:
    """Mattes a second and latency over the camera's rate."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2)
    rates = sorted({row["rate"] for row in rows})
    left.plot(rates, rates, color="lightgray", linestyle="--", label="every frame")
    for width, height in dict.fromkeys((row["width"], row["height"]) for row in rows):
        own = [
            row
            for row in rows
            if (row["width"], row["height"], row["page"]) == (width, height, False)
        ]
        at = [row["rate"] for row in own]
        left.plot(at, [r["mattes_per_second"] for r in own], marker="o", label=f"{width}x{height}")
        for name, style in (("p50", "-"), ("p95", "--"), ("p99", ":")):
            right.plot(
                at,
                [r["latency_ms"][name] for r in own],
                style,
                marker="o",
                label=f"{width}x{height} {name}",
            )
    left.set(xlabel="camera, Hz", ylabel="mattes a second")
    right.set(xlabel="camera, Hz", ylabel="stamp to alpha, ms")
    left.legend()
    right.legend()
    figure.savefig(path, dpi=120)


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.node_speed", description=__doc__)
    parser.add_argument("--sizes", type=size, nargs="+", default=[(480, 640), (720, 1280)])
    parser.add_argument("--rates", type=float, nargs="+", default=[15, 30, 45, 60, 90])
    parser.add_argument("--seconds", type=float, default=12.0, help="at each rate (12)")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--page", action="store_true", help="also with a viewer of the page")
    parser.add_argument("--output", type=Path, required=True, help="folder for figures and plot")
    options = parser.parse_args()
    end_by_signals()
    machine = {"cpus": len(os.sched_getaffinity(0)), "numpy": np.__version__}
    rows: list[dict[str, Any]] = []
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        chosen = (options.sizes, options.rates, options.seconds, options.backend, options.page)
        measured = measure(*chosen)
        with contextlib.closing(measured):
            for row in measured:
                tqdm.write(line(row))
                rows.append(row)
                text = json.dumps({"machine": machine, "rows": rows}, indent=2)
                (options.output / "node_speed.json").write_text(text + "\n", encoding="utf-8")
        plot(options.output / "node_speed.png", rows)
    except (DartError, OSError) as error:
        print(f"node_speed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("node_speed: interrupted, the nodes are stopped", file=sys.stderr)
        return 130
    for row in rows:
        print(line(row))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Whether the node stays as it is over time: memory, descriptors, threads, mattes a second.

``python -m benchmark.soak --minutes 30 --output DIR`` plays the recording that ships at 30 Hz to a
node with its scene. Alpha and trimap are subscribed to, and once a minute the subscriber leaves and
comes back. It prints a line a minute, leaves ``soak.json``, and exits with 1 if something grew.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

from benchmark.node_speed import resized, started
from dart_ros.commands.options import size
from dart_ros.demo.harness import end_by_signals, set_environment
from dart_ros.demo.pictures import gradient, save_png
from dart_ros.demo.recorder import Recorder
from dart_ros.errors import DartError

GROWTH = 0.03
"""Share by which memory may grow from the first third to the last, after the warm-up."""
WARM_UP = 0.2
"""Share of the samples that is left out: engines and allocators settle."""
_PERIOD = 5.0  # seconds between two samples
_KEEP = {"alpha": False, "trimap": False}


@dataclass(frozen=True)
class Sample:
    """What the node holds at one moment.

    Attributes:
        seconds: since the first sample.
        memory: resident memory in MB.
        descriptors: open files, sockets and pipes.
        threads: threads.
        shared: MB of Fast DDS's segments in /dev/shm, of all processes.
        mattes: alphas received since the sample before.
    """

    seconds: float
    memory: float
    descriptors: int
    threads: int
    shared: float
    mattes: int


def look(pid: int, seconds: float, mattes: int) -> Sample:
    """Return what a process holds now.

    Raises:
        OSError: if it is gone.
    """
    proc = Path("/proc", str(pid))
    status = dict(
        line.split(":", 1) for line in (proc / "status").read_text().splitlines() if ":" in line
    )
    shared = 0
    for path in Path("/dev/shm").glob("fast*"):
        with contextlib.suppress(OSError):
            shared += path.stat().st_blocks * 512
    return Sample(
        round(seconds, 1),
        round(int(status["VmRSS"].split()[0]) / 1024, 1),
        len(list((proc / "fd").iterdir())),
        int(status["Threads"]),
        round(shared / 2**20, 1),
        mattes,
    )


def grown(samples: Sequence[Sample]) -> list[str]:
    """Return what grew from the first third to the last, in words; medians are compared.

    Raises:
        ValueError: if there are fewer than 9 samples.
    """
    if len(samples) < 9:
        raise ValueError(f"{len(samples)} samples are too few to tell; give more minutes.")
    settled = samples[int(len(samples) * WARM_UP) :]
    third = len(settled) // 3
    found = []
    for name, allowed in (("memory", GROWTH), ("descriptors", 0.0), ("threads", 0.0)):
        before = median(getattr(sample, name) for sample in settled[:third])
        after = median(getattr(sample, name) for sample in settled[-third:])
        if after > before * (1.0 + allowed):
            found.append(f"{name} grew from {before:g} to {after:g}")
    return found


def soak(minutes: float, height: int, width: int, rate: float, backend: str) -> list[Sample]:
    """Run camera and node, and look at the node every few seconds.

    Raises:
        DartError: if a node fails.
        OSError: if the node ends meanwhile.
    """
    samples: list[Sample] = []
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        logs, scenes = folder / "logs", folder / "scenes"
        logs.mkdir()
        scenes.mkdir()
        set_environment(logs)
        recorder = stack.enter_context(contextlib.closing(Recorder(0)))
        source = resized(folder / "recording", height, width)
        save_png(scenes / "background.png", gradient(width, height))
        _, node, _ = stack.enter_context(started(source, rate, scenes, logs, backend, recorder))
        recorder.show_occupied()
        recorder.subscribe(_KEEP)
        begun = time.monotonic()
        minute = 0
        while (seconds := time.monotonic() - begun) < minutes * 60.0:
            time.sleep(_PERIOD)
            node.check()
            mattes = len(recorder.take()["alpha"].arrivals)
            samples.append(look(node.pid, time.monotonic() - begun, mattes))
            if int(seconds // 60) > minute:
                minute = int(seconds // 60)
                print(line(samples), flush=True)
                recorder.unsubscribe()
                recorder.subscribe(_KEEP)
    return samples


def line(samples: Sequence[Sample]) -> str:
    """The last sample for people, with the mattes a second of the last minute."""
    last = samples[-1]
    recent = samples[-int(60 / _PERIOD) :]
    duration = last.seconds - recent[0].seconds
    rate = sum(sample.mattes for sample in recent[1:]) / duration if duration else 0.0
    return (
        f"{last.seconds / 60:.0f} min: {last.memory:.0f} MB, {last.descriptors} descriptors, "
        f"{last.threads} threads, {last.shared:.0f} MB in /dev/shm, {rate:.1f} mattes/s"
    )


def main() -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--size", type=size, default=(480, 640), metavar="WxH")
    parser.add_argument("--rate", type=float, default=30.0, help="of the camera, Hz (30)")
    parser.add_argument("--backend", default="auto")
    parser.add_argument("--output", type=Path, required=True, help="folder for soak.json")
    options = parser.parse_args()
    end_by_signals()
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        samples = soak(options.minutes, *options.size, options.rate, options.backend)
        found = grown(samples)
        text = json.dumps({"grown": found, "samples": [asdict(s) for s in samples]}, indent=2)
        (options.output / "soak.json").write_text(text + "\n", encoding="utf-8")
    except (DartError, OSError, ValueError) as error:
        print(f"soak: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("soak: interrupted, the nodes are stopped", file=sys.stderr)
        return 130
    print(line(samples))
    print("; ".join(found) if found else "flat")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())

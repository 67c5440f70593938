"""Times things side by side, so that what else the machine does hits them all alike."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch.utils.flop_counter import FlopCounterMode

from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.runtime.torch_engine import TorchEngine
from dart_ros.runtime.weights import NetworkWeights

_WARM_UPS = 3


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call.

    Attributes:
        median: median of all rounds.
        p95: 95th percentile.
        least: shortest.
        cpu: median of the processor time of the whole process, all threads together.
    """

    median: float
    p95: float
    least: float
    cpu: float


def time_interleaved(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, Timing]:
    """Calls all in turn, round after round.

    Args:
        calls: what to time, by name.
        rounds: how often each is called, after a few calls that don't count.
    """
    wall: dict[str, list[float]] = {name: [] for name in calls}
    cpu: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + _WARM_UPS):
        for name, call in calls.items():
            start, start_cpu = time.perf_counter(), time.process_time()
            call()
            if turn >= _WARM_UPS:
                wall[name].append(1e3 * (time.perf_counter() - start))
                cpu[name].append(1e3 * (time.process_time() - start_cpu))
    return {
        name: Timing(
            median=float(np.median(times)),
            p95=float(np.percentile(times, 95)),
            least=min(times),
            cpu=float(np.median(cpu[name])),
        )
        for name, times in wall.items()
    }


def multiplications(
    weights: NetworkWeights, background: CapturedBackground, tiles: int | None
) -> float:
    """Multiply-accumulates of the deployed graph for one frame, in millions.

    Args:
        weights: of the network.
        background: a scene.
        tiles: number of refined tiles, None for all.
    """
    engine = TorchEngine(weights, background, tiles)
    with FlopCounterMode(display=False) as counter:
        engine.run(background.plate, background.mean, foreground=False)
    return counter.get_total_flops() / 2e6


def resident_memory() -> float:
    """Memory of this process that lies in RAM, in MB; 0 where the system doesn't tell."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0.0
    return next((int(x.split()[1]) / 1024 for x in lines if x.startswith("VmRSS")), 0.0)

"""``sequence.json``: the description of a recording that is a folder of pictures.

Keys: ``width``, ``height``, ``K`` (nine numbers by rows), ``empty_frames`` (list of
``[first, last]``), ``occupied_frames`` (``[first, last]`` or a list of those) and, if wanted,
``fps`` (30), ``depth_unit`` (metres a unit of the depth pictures, 0.001) and ``noise``:
``{"sensor": …, "seed": 0}``, which adds a sensor's errors to clean pictures when they are read.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dart_ros.errors import RecordingError
from dart_ros.files import read_regular
from dart_ros.session.recording.base import LARGEST_SIDE, check_matrix
from dart_ros.simulation.sensor_noise import SensorNoise
from dart_ros.values import Camera

FILE = "sequence.json"
MILLIMETRE = 0.001

_MOST_FRAMES = 1_000_000
_LARGEST_NUMBER = 1_000_000_000
_MOST_BYTES = 64 << 20
_FASTEST = 1000.0  # frames a second


@dataclass(frozen=True)
class Sequence:
    """What ``sequence.json`` says.

    Attributes:
        camera: of all pictures.
        empty: numbers of the frames that show the empty scene, in order.
        occupied: numbers of the others, in order.
        fps: frames a second.
        depth_unit: metres that a unit of the depth pictures stands for.
        noise: what is added to the pictures, or None.
    """

    camera: Camera
    empty: list[int]
    occupied: list[int]
    fps: float
    depth_unit: float
    noise: SensorNoise | None


def read_sequence(file: Path) -> Sequence:
    """Read a description.

    Raises:
        RecordingError: if it is broken, or says what can't be.
    """
    try:
        content = json.loads(read_regular(file, _MOST_BYTES).decode())
        fx, _, cx, _, fy, cy, _, _, _ = (float(value) for value in content["K"])
        camera = Camera(_side(content["width"]), _side(content["height"]), fx, fy, cx, cy)
        empty = _numbers(content["empty_frames"])
        occupied = _numbers(content["occupied_frames"])
        fps = float(content.get("fps", 30.0))
        unit = _unit(content.get("depth_unit", MILLIMETRE))
        noise = _noise(content.get("noise"))
    except RecordingError as error:
        raise RecordingError(f"{file} {error}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise RecordingError(
            f"{file} can't be used ({type(error).__name__}: {str(error)[:200]}); compare it with "
            "docs/recordings.md."
        ) from error
    except (RecursionError, MemoryError) as error:
        raise RecordingError(
            f"{file} can't be used: its content is nested too deeply or too large; compare it with "
            "docs/recordings.md."
        ) from error
    if not empty and not occupied:
        raise RecordingError(f"{file} names no frames; correct it.")
    if not 0 < fps <= _FASTEST:
        raise RecordingError(
            f"{file} names no frame rate (fps is {fps:g}, allowed is above 0 to {_FASTEST:g}); "
            "correct it."
        )
    check_matrix(fx, fy, cx, cy, f"K in {file}")
    return Sequence(camera, empty, occupied, fps, unit, noise)


def _side(value: Any) -> int:
    if not float(value).is_integer():
        raise ValueError(f"{value!r} is no number of pixels")
    if not 0 < value <= LARGEST_SIDE:
        raise RecordingError(f"names no size (a side of {value!r:.40} pixels); correct it.")
    return int(value)


def _unit(value: Any) -> float:
    # Recordings before this key had a meaning say it in words.
    if isinstance(value, str) and value.lower().startswith(("millimet", "mm")):
        return MILLIMETRE
    unit = float(value)
    if not (math.isfinite(unit) and unit > 0):
        raise ValueError(f"depth_unit {value!r} is no length in metres")
    return unit


def _noise(value: Any) -> SensorNoise | None:
    if value is None:
        return None
    seed = int(value.get("seed", 0))
    if not 0 <= seed < 2**63:
        raise ValueError(f"the seed {seed} isn't between 0 and 2^63")
    return SensorNoise(str(value["sensor"]), seed)


def _numbers(ranges: Any) -> list[int]:
    """Frame numbers of ``[first, last]`` or of a list of those, both ends included, in order."""
    pairs = ranges if not ranges or isinstance(ranges[0], list) else [ranges]
    numbers: set[int] = set()
    for first, last in pairs:
        low, high = int(first), int(last)
        if not 0 <= low <= high + 1 <= _LARGEST_NUMBER:
            raise ValueError(f"[{first!r:.20}, {last!r:.20}] is no range of frame numbers")
        if high - low >= _MOST_FRAMES:
            raise ValueError(f"more than {_MOST_FRAMES} frames from {low} to {high}")
        numbers.update(range(low, high + 1))
    return sorted(numbers)

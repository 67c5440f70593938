"""Damages recordings at random and reads them: each must be read or refused in one line.

    python -m benchmark.fuzz_recordings RECORDING [RECORDING ...] --count 2000 --seed 1

Of each copy one file is damaged: bits flipped, bytes changed, a piece cut out, doubled or cut off.
A process of its own reads the copies, with a limit on its memory; one that takes longer than 30 s
is a hang. Prints the counts as JSON; the exit code is 1 if there was an error of another kind, a
hang or a crash.
"""

from __future__ import annotations

import argparse
import faulthandler
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dart_ros.errors import RecordingError

_SECONDS = 30
_MEMORY = 2 << 30
"""Bytes that reading may take beyond what the process has after its imports."""


def damaged(data: bytes, random: np.random.Generator) -> bytes:
    """The bytes of a file with something wrong in them."""
    content = bytearray(data)
    if not content:
        return random.bytes(int(random.integers(1, 64)))
    kind = random.integers(6)
    at = int(random.integers(len(content)))
    if kind <= 1:
        for _ in range(int(random.integers(1, 9))):
            content[int(random.integers(len(content)))] ^= 1 << int(random.integers(8))
    elif kind == 2:
        length = int(random.integers(1, 17))
        content[at : at + length] = random.bytes(length)
    elif kind == 3:
        # Sizes and counts: what is read as a number becomes huge.
        content[at : at + 8] = b"\xff" * int(random.integers(1, 9))
    elif kind == 4:
        length = int(random.integers(1, 1 + min(4096, len(content))))
        piece = content[at : at + length]
        content[at : at + length] = piece * int(random.integers(2)) * 2
    else:
        del content[at:]
    return bytes(content)


def damage_copy(recording: Path, target: Path, random: np.random.Generator) -> Path:
    """A copy of a recording of which one file is damaged."""
    if recording.is_dir():
        shutil.copytree(recording, target)
        files = sorted(path for path in target.rglob("*") if path.is_file())
        # Descriptions decide about all the others.
        small = [path for path in files if path.suffix in (".json", ".yaml", ".txt")]
        chosen = small if small and random.random() < 0.5 else files
        file = chosen[int(random.integers(len(chosen)))]
    else:
        target.mkdir()
        file = Path(shutil.copy(recording, target / recording.name))
    file.write_bytes(damaged(file.read_bytes(), random))
    return target if recording.is_dir() else file


def read(path: Path) -> str:
    """Read a recording as the commands do; what came of it, in a word."""
    from dart_ros.session.recording import open_recording
    from dart_ros.session.recording.depth_units import implausible_depth
    from dart_ros.session.recording.frames import ReadableFrames

    try:
        recording = open_recording(path, empty_seconds=1.0)
        try:
            implausible_depth(recording)
            frames = ReadableFrames(recording, [(p, 0) for p in range(min(40, len(recording)))])
            for _ in frames:
                pass
            for position in recording.occupied[:40]:
                recording.alpha(position)
        finally:
            recording.close()
    except RecordingError as error:
        return "refused" if "\n" not in str(error) and len(str(error)) < 2000 else "long refusal"
    return "skipped frames" if frames.skipped else "read"


def _child(recordings: Sequence[Path], seed: int, first: int, count: int) -> None:
    import cv2

    cv2.setNumThreads(1)
    read(recordings[0])
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    with tempfile.TemporaryDirectory(prefix="recording_fuzz_") as folder:
        for number in range(first, first + count):
            random = np.random.default_rng((seed, number))
            recording = recordings[int(random.integers(len(recordings)))]
            path = damage_copy(recording, Path(folder) / f"{number}{recording.suffix}", random)
            faulthandler.dump_traceback_later(_SECONDS, exit=True)
            try:
                outcome = read(path)
            except Exception:
                traceback.print_exc()
                outcome = "error"
            faulthandler.cancel_dump_traceback_later()
            print(json.dumps([number, recording.name, outcome]), flush=True)
            shutil.rmtree(Path(folder) / f"{number}{recording.suffix}")


def fuzz(recordings: Sequence[Path], count: int, seed: int) -> Counter[str]:
    """Damage and read so many copies; how often each outcome came.

    A process that dies or hangs counts as a crash, and another one goes on behind that copy.

    Args:
        recordings: whole ones.
        count: number of copies.
        seed: of all that is random.
    """
    outcomes: Counter[str] = Counter()
    done = 0
    while done < count:
        arguments = [*map(str, recordings), "--seed", str(seed), "--count", str(count)]
        child = subprocess.run(
            [sys.executable, "-m", "benchmark.fuzz_recordings", *arguments, "--first", str(done)],
            capture_output=True,
            text=True,
            check=False,
        )
        lines = [json.loads(line) for line in child.stdout.splitlines()]
        outcomes.update(outcome for _, _, outcome in lines)
        done += len(lines)
        wrong = [f"{number} ({name})" for number, name, outcome in lines if outcome == "error"]
        if wrong or child.returncode:
            print(f"errors at {wrong}\n{child.stderr[-6000:]}", file=sys.stderr)
        if child.returncode:
            outcomes["crash or hang"] += 1
            done += 1
    return outcomes


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; the exit code."""
    parser = argparse.ArgumentParser(description="Damage recordings at random and read them.")
    parser.add_argument("recordings", type=Path, nargs="+")
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.first is not None:
        _child(options.recordings, options.seed, options.first, options.count - options.first)
        return 0
    outcomes = fuzz(options.recordings, options.count, options.seed)
    print(json.dumps(dict(outcomes)))
    return int(any(outcomes[bad] for bad in ("error", "crash or hang", "long refusal")))


if __name__ == "__main__":
    sys.exit(main())

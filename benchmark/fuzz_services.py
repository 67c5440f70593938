"""Random calls of a real node's services and actions: ``python -m benchmark.fuzz_services``.

Many callers send valid and senseless requests at once, seeded, for a limited time. Each call must
be answered, with a short printable message; the node must matte afterwards, and its log stay small.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

from sensor_msgs.msg import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "node"))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "ros"))

from robot import NodeProcess, Robot
from service_calls import fuzz

from dart_ros.msg import Status


def main() -> int:
    """Fuzz, and print how many calls were answered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--callers", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    # Closed form compiles for minutes at its first use; small pictures need no compiler.
    os.environ.setdefault("NUMBA_DISABLE_JIT", "1")
    robot = Robot()
    with tempfile.TemporaryDirectory() as folder:
        node = NodeProcess(Path(folder) / "scenes", "threads:=1", "capture_timeout:=2.0")
        try:
            robot.wait_for_state(Status.STATE_NO_SCENE)
            assert robot.capture("room").success
            stills = Path(folder) / "stills"
            stills.mkdir()
            answers = fuzz(robot, options.seed, options.callers, options.seconds, str(stills))
            for name, count in sorted(answers.items()):
                print(f"{count:6d}  {name}")
            alpha = robot.subscribe(Image, "alpha")
            assert robot.capture("room").success
            alpha.next(2)
            print(f"{len(node.log.encode()) / 1e3:.0f} kB of log, the node mattes")
            assert node.stop() == 0, "the node ended badly"
            return 0
        finally:
            if node.process.poll() is None:
                node.process.kill()
            robot.close()


if __name__ == "__main__":
    sys.exit(main())

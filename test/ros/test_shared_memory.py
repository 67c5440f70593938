"""A node in a container with little shared memory, as Docker gives it by default."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from robot import PATIENCE, NodeProcess

pytestmark = pytest.mark.ros
SMALL = "mount -t tmpfs -o size={size}m tmpfs /dev/shm"
DEAD = (
    "head -c 9000000 /dev/zero > /dev/shm/fastrtps_00000000000000ff;"
    "touch -d '1 hour ago' /dev/shm/fastrtps_00000000000000ff_el"
)


def can_mount() -> bool:
    command = ["unshare", "-m", "sh", "-c", SMALL.format(size=1)]
    return (
        shutil.which("unshare") is not None and not subprocess.run(command, check=False).returncode
    )


def wait_for(node: NodeProcess, wanted: Callable[[str], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not wanted(node.log):
        assert time.monotonic() < end and node.process.poll() is None, node.log
        time.sleep(0.1)


@pytest.mark.skipif(not can_mount(), reason="needs the right to mount a tmpfs")
@pytest.mark.parametrize(("size", "over_udp"), [(20, True), (64, False)])
def test_a_node_with_little_shared_memory_says_so(
    tmp_path: Path, size: int, over_udp: bool
) -> None:
    start = f'{SMALL.format(size=size)} && {DEAD} && exec "$@"'
    node = NodeProcess(
        tmp_path, "backend:=torch", prefix=["unshare", "-m", "sh", "-c", start, "sh"]
    )
    try:
        wait_for(node, lambda log: f"MB of {size} MB left" in log)
        log = node.log
        assert "that dead processes left: 1 segments, 9 MB" in log
        assert ("this node sends its images over UDP" in log) == over_udp
        assert "--shm-size=1g" in log
        assert node.stop() == 0
    finally:
        if node.process.poll() is None:
            node.process.kill()

"""Waits for what happens in other threads and processes, however busy the machine is."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PATIENCE = 60.0
"""Seconds; only what fails takes as long."""


def wait_for(
    condition: Callable[[], Any], what: str = "it never happened", timeout: float = PATIENCE
) -> None:
    """Wait until something is the case."""
    end = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.005)


def alive(process: int) -> bool:
    """Whether a process still runs; nobody may be there to wait for one that has ended."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False

"""A ROS domain of its own for a demo, a benchmark or a test."""

from __future__ import annotations

import fcntl
import functools
import os
import random
import socket
import tempfile
from pathlib import Path
from typing import IO

from dart_ros.errors import DartError

# Above 101 the ports of a domain run into those that Linux hands out.
DOMAINS = range(1, 100)


class DomainError(DartError):
    """There is no domain to take."""


@functools.cache
def own_domain() -> int:
    """The ROS domain of this process, the same each time: one that nobody here seems to use.

    A lock keeps other processes that ask from it until this one has ended, also between its nodes.

    Raises:
        DomainError: if all are in use.
    """
    domains = list(DOMAINS)
    random.shuffle(domains)
    for domain in domains:
        lock = _locked(domain)
        if lock is None:
            continue
        if _is_silent(domain):
            _held.append(lock)
            return domain
        lock.close()
    raise DomainError("All ROS domains of this machine are in use; stop some ROS nodes.")


_held: list[IO[bytes]] = []  # closed files unlock


def _locked(domain: int) -> IO[bytes] | None:
    """The locked file of a domain, None if another process has it."""
    path = Path(tempfile.gettempdir()) / f"dart_ros-{os.getuid()}-domain-{domain}.lock"
    try:
        lock = path.open("ab")
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        return None
    return lock


def _is_silent(domain: int) -> bool:
    """Whether no participant listens.

    The first one of domain D does on UDP port 7400 + 250 D + 10 (RTPS 2.3, 9.6.1.1).
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind(("", 7400 + 250 * domain + 10))
        except OSError:
            return False
    return True

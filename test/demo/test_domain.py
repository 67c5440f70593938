"""The ROS domain that a process has for itself."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from dart_ros.demo import domain

TAKE = "from dart_ros.demo.domain import own_domain; print(own_domain(), flush=True); input()"


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """Three domains that no other test takes, locks in a folder of the test's own, and nothing
    remembered."""
    locks = {}
    for number in domain.DOMAINS:
        lock = domain._locked(number)
        if lock is None:
            continue
        if not domain._is_silent(number):
            lock.close()
            continue
        locks[number] = lock
        if len(locks) == 3:
            break
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(domain, "_held", [])
    monkeypatch.setattr(domain, "DOMAINS", list(locks))
    domain.own_domain.cache_clear()
    yield list(locks)
    domain.own_domain.cache_clear()
    for lock in locks.values():
        lock.close()


def listener(number: int) -> socket.socket:
    taken = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    taken.bind(("", 7400 + 250 * number + 10))
    return taken


def test_a_domain_stays_the_same_and_is_not_that_of_another_process(alone: list[int]) -> None:
    narrow = f"from dart_ros.demo import domain; domain.DOMAINS = {alone}; {TAKE}"
    others = [
        subprocess.Popen(
            [sys.executable, "-c", narrow], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    theirs = [int(other.stdout.readline()) for other in others if other.stdout]
    mine = domain.own_domain()
    assert domain.own_domain() == mine
    assert sorted([*theirs, mine]) == alone
    domain.own_domain.cache_clear()
    with pytest.raises(domain.DomainError, match="stop some ROS nodes"):
        domain.own_domain()
    others[0].kill()  # whose lock goes with it
    others[0].wait()
    assert domain.own_domain() == theirs[0]
    others[1].communicate("\n")


def test_a_domain_in_which_somebody_listens_is_not_taken(alone: list[int]) -> None:
    with listener(alone[0]), listener(alone[2]):
        assert domain.own_domain() == alone[1]

"""The shared memory through which Fast DDS sends images: what dead processes left, what is free.

Each process makes a segment, ``fast(rtps|dds)_<16 hexadecimal digits>``, and holds an exclusive
lock on a file of that name with ``_el`` for as long as it lives. One whose lock can be had belongs
to nobody: that is the rule by which the tool ``fastdds shm clean`` goes, too.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import rclpy

FOLDER = Path("/dev/shm")
"""Where Linux keeps shared memory."""

SEGMENT_BYTES = 36 << 20
"""What a process takes at most with the profile config/fastdds.xml."""

_LOCK_NAME = re.compile(r"fast(rtps|dds)_[0-9a-f]{16}_el")
_SETTLED = 5.0  # seconds, for a process that is about to lock the file that it has just made
_MB = 1 << 20


@dataclass(frozen=True)
class Cleaned:
    """What :func:`clean` removed.

    Attributes:
        segments: their number.
        bytes: that they took.
    """

    segments: int = 0
    bytes: int = 0


def clean_at_start(logger: Any) -> None:
    """Do what :func:`clean` does, if the middleware is Fast DDS, and log it."""
    cleaned = clean() if _by_fast_dds() else Cleaned()
    if cleaned.segments:
        logger.info(
            f"removed shared memory of Fast DDS that dead processes left: {cleaned.segments} "
            f"segments, {cleaned.bytes / 1e6:.0f} MB"
        )


def clean(folder: Path = FOLDER) -> Cleaned:
    """Remove the segments of processes that have died.

    Segments of other users, and what can't be looked at, stay. Nothing is raised.

    Args:
        folder: of shared memory.
    """
    segments = size = 0
    for lock in _locks(folder):
        freed = _remove_if_dead(lock)
        if freed is not None:
            segments, size = segments + 1, size + freed
    return Cleaned(segments, size)


def own_segment(folder: Path = FOLDER, needed: int = SEGMENT_BYTES) -> bool:
    """Whether this process has a segment that can hold images.

    Fast DDS makes a small one besides, which it always gets.

    Args:
        folder: of shared memory.
        needed: bytes that a process takes; half of it is large.
    """
    prefix = str(folder)
    with suppress(OSError):
        for descriptor in os.listdir("/proc/self/fd"):
            with suppress(OSError):
                path, _, name = os.readlink(f"/proc/self/fd/{descriptor}").rpartition("/")
                if path == prefix and _LOCK_NAME.fullmatch(name):
                    size = os.lstat(folder / name.removesuffix("_el")).st_size
                    if size >= needed // 2:
                        return True
    return False


def problem(folder: Path = FOLDER, needed: int = SEGMENT_BYTES) -> str:
    """Say what keeps one more process from sending images through shared memory, empty if nothing.

    Args:
        folder: of shared memory.
        needed: bytes that a process takes.
    """
    try:
        there = os.statvfs(folder)
    except OSError as error:
        return f"there is no shared memory ({folder}: {error.strerror})"
    total, free = there.f_blocks * there.f_frsize, there.f_bavail * there.f_frsize
    if free >= needed:
        return ""
    remedy = "give the container more (--shm-size=1g, or --ipc=host)"
    if total >= 4 * needed:
        remedy = f"remove what fills it (ls -l {folder})"
    return (
        f"shared memory ({folder}) has {free // _MB} MB of {total // _MB} MB left, and each "
        f"process that sends images takes {needed // _MB} MB: {remedy}"
    )


def transport_problem(folder: Path = FOLDER, needed: int = SEGMENT_BYTES) -> str:
    """Say why this process or another one can't send images as it should, empty if it can.

    With another middleware than Fast DDS that is always empty.

    Args:
        folder: of shared memory.
        needed: bytes that a process takes.
    """
    found = problem(folder, needed) if _by_fast_dds() else ""
    if not found or own_segment(folder, needed):
        return found
    return f"this node sends its images over UDP, which loses many: {found}"


def _by_fast_dds() -> bool:
    return bool(rclpy.get_rmw_implementation_identifier().startswith("rmw_fastrtps"))


def _locks(folder: Path) -> list[Path]:
    try:
        return [folder / name for name in os.listdir(folder) if _LOCK_NAME.fullmatch(name)]
    except OSError:
        return []


def _remove_if_dead(lock: Path) -> int | None:
    """Remove a segment and its lock unless a process holds it; the bytes that it took, or None."""
    segment = lock.with_name(lock.name.removesuffix("_el"))
    try:
        # Anybody may put anything here: no links, and no waiting for the other end of a pipe.
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(lock, flags)
    except OSError:
        return None
    try:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode) or time.time() - state.st_mtime < _SETTLED:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        size = 0
        with suppress(FileNotFoundError):
            size = os.lstat(segment).st_size
            os.unlink(segment)
        os.unlink(lock)
    except OSError:
        return None
    finally:
        os.close(descriptor)
    return size

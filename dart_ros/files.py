"""The recording that ships, files that are read with care, and files that appear whole or not at
all."""

from __future__ import annotations

import contextlib
import errno
import glob
import os
import secrets
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

DEMO_RECORDING = Path(__file__).resolve().parent / "data" / "demo"
"""The recording that ships."""

_ABANDONED = 3600.0  # seconds after which nobody writes to a temporary file any more
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """Open a regular file for reading; a symbolic link to one will do.

    Nothing else is opened: a named pipe would block for ever, a device may never end.

    Raises:
        OSError: if it can't be opened or is no regular file; ``strerror`` says why.
    """
    # Before opening as well: some devices act when they are opened.
    _check_regular(os.stat(path), path)
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        _check_regular(os.fstat(handle), path)
    except OSError:
        os.close(handle)
        raise
    return os.fdopen(handle, "rb")


def read_regular(path: str | os.PathLike[str], most: int) -> bytes:
    """Read a regular file of at most ``most`` bytes.

    Raises:
        OSError: as :func:`open_regular`, or if the file is longer (a sparse file is as long as it
            says).
    """
    with open_regular(path) as file:
        data = b"" if os.fstat(file.fileno()).st_size > most else file.read(most + 1)
        if os.fstat(file.fileno()).st_size > most or len(data) > most:
            raise OSError(errno.EFBIG, f"it is longer than {most} bytes", os.fspath(path))
    return data


def _check_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    if not stat.S_ISREG(status.st_mode):
        kind = _KINDS.get(stat.S_IFMT(status.st_mode), "something else")
        raise OSError(errno.EINVAL, f"it is {kind}, not a regular file", os.fspath(path))


def refuse_special(path: Path) -> None:
    """OSError if ``path`` is a device, a pipe or a socket, which a rename would destroy.

    Folders are left to the rename, which refuses them itself.
    """
    if path.exists() and not path.is_dir():
        _check_regular(path.stat(), path)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` for a file that takes its place when the block ends.

    After an error what was at ``path`` is as it was, and nothing of the new file is left; what a
    killed process left goes at the next time after an hour. Several processes may do this with the
    same path: the last one wins.

    Raises:
        OSError: if a device, a pipe or a socket is there, or the rename fails.
    """
    refuse_special(path)
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with contextlib.suppress(OSError):
            if time.time() - left.stat().st_mtime > _ABANDONED:
                left.unlink()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise

"""The recording that ships, and files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

DEMO_RECORDING = Path(__file__).resolve().parent / "data" / "demo"
"""The recording that ships."""

_ABANDONED = 3600.0  # seconds after which nobody writes to a temporary file any more


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A name beside ``path`` for a file that takes its place when the block ends.

    After an error what was at ``path`` is as it was, and nothing of the new file is left; what a
    killed process left goes at the next time after an hour. Several processes may do this with the
    same path: the last one wins.
    """
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

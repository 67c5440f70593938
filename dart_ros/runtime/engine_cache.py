"""Built engines on disk: named by what decides them, checked when read, built by one at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from dart_ros.files import read_regular, replacing

MOST_FILES = 120
"""Contents that are kept; an engine takes up to six."""

_LARGEST = 4_000_000_000  # bytes of a content
_LONGEST_SIDECAR = 10_000  # bytes


class EngineCache:
    """A folder of built engines, each beside a JSON file with its size and checksum.

    A folder that can't be written is no error: engines are then built each time. The engines that
    were not used for longest go when there are too many.

    Args:
        directory: the folder; None for ``$XDG_CACHE_HOME/dart_ros`` or ``~/.cache/dart_ros``.

    Attributes:
        directory: the folder.
        notes: what went wrong with the files, for the user.
    """

    def __init__(self, directory: Path | None = None) -> None:
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.directory = directory or home / "dart_ros"
        self.notes: list[str] = []

    def get(self, name: str, build: Callable[[], bytes]) -> bytes:
        """The content named, built and stored if it is missing or broken.

        Args:
            name: file name, which must hold everything that decides the content.
            build: makes the content; while it runs, others that want the same wait.
        """
        found = self.read(name)
        if found is not None:
            return found
        with self._locked(name):
            found = self.read(name)  # another process may have built it meanwhile
            if found is None:
                found = build()
                self.write(name, found)
        return found

    def read(self, name: str) -> bytes | None:
        """The content named, None if it is missing, truncated or altered."""
        path = self.directory / name
        try:
            content = read_regular(path, _LARGEST)
            told = json.loads(read_regular(_sidecar(path), _LONGEST_SIDECAR))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, RecursionError) as error:
            self._note(f"{path} can't be read ({error}) and is made again")
            # Nothing else is replaced by a file, and this folder is the cache's own.
            for place in (path, _sidecar(path)):
                with contextlib.suppress(OSError):
                    place.unlink(missing_ok=True)
            return None
        if not isinstance(told, dict) or told.get("sha256") != _checksum(content):
            self._note(f"{path} is damaged and is made again")
            return None
        with contextlib.suppress(OSError):
            os.utime(path)  # used now
        return content

    def alike(self, name: str) -> list[str]:
        """Names of the other contents that differ in the last part alone, latest used first.

        The parts of a name are parted by ``_``.
        """
        kind, suffix = name.rpartition("_")[0], Path(name).suffix
        dated = []
        for path in self.directory.glob(f"{kind}_*{suffix}"):
            other = path.name
            if other != name and other.rpartition("_")[0] == kind:
                with contextlib.suppress(OSError):
                    dated.append((path.stat().st_mtime, other))
        return [other for _, other in sorted(dated, reverse=True)]

    def has(self, name: str) -> bool:
        """Whether there is a content of this name, be it damaged."""
        path = self.directory / name
        return path.is_file() and _sidecar(path).is_file()

    def keeps(self) -> bool:
        """Whether what is built can be left here for other processes."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError:
            return False
        return os.access(self.directory, os.W_OK)

    def write(self, name: str, content: bytes) -> None:
        """Stores content under a name, whole or not at all."""
        path = self.directory / name
        told = json.dumps({"sha256": _checksum(content), "bytes": len(content)})
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            # The checksum first: a content without it counts as missing.
            _replace(_sidecar(path), told.encode())
            _replace(path, content)
            self._prune()
        except OSError as error:
            self._note(
                f"{path} can't be written ({error.strerror}): the engine is built at each start; "
                "make the folder writable or set XDG_CACHE_HOME"
            )

    def drop(self, name: str) -> None:
        """Forgets a content that turned out to be useless."""
        with contextlib.suppress(OSError):
            (self.directory / name).unlink(missing_ok=True)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _prune(self) -> None:
        """Drops what was not used for longest."""
        told = (path.with_suffix("") for path in self.directory.glob("*.json"))
        dated = sorted((path.stat().st_mtime, path) for path in told if path.is_file())
        for _, path in dated[:-MOST_FILES]:
            for file in (path, _sidecar(path), path.with_name(f".{path.name}.lock")):
                file.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        """Holds the lock of a name; without one where the folder can't be written."""
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            file = (self.directory / f".{name}.lock").open("w")
        except OSError:
            yield
            return
        # Closing gives the lock back, also when the process dies.
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _checksum(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _replace(path: Path, content: bytes) -> None:
    with replacing(path) as temporary:
        temporary.write_bytes(content)

"""The messages of a bag, whatever it is stored in: rosbag2 folder, MCAP, SQLite or ROS 1."""

from __future__ import annotations

import importlib
import shutil
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version
from itertools import takewhile
from pathlib import Path, PurePath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml

from dart_ros.errors import RecordingError
from dart_ros.files import read_regular

if TYPE_CHECKING:
    from rosbags.interfaces import Connection
    from rosbags.rosbag1 import Reader as Ros1Reader
    from rosbags.rosbag2 import Reader as Ros2Reader

STORAGE_ENDINGS = (".mcap", ".db3")
ROS1_ENDING = ".bag"
COMPRESSED_ENDING = ".zstd"
METADATA = "metadata.yaml"

OLDEST_ROSBAGS = (0, 11, 6)
"""Versions before lose the last message of each chunk when one message is asked for."""

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_LARGEST_MESSAGE = 1 << 29
_MOST_METADATA = 16 << 20


class BagFile:
    """An open bag.

    Args:
        path: rosbag2 folder, ``.mcap``, ``.db3``, one of those with ``.zstd`` behind, or a ROS 1
            ``.bag``.

    Attributes:
        path: the same.
        is_ros1: whether messages are serialized as in ROS 1.
        connections: what is in the bag; their position is the source of :meth:`messages`.

    Raises:
        RecordingError: if it can't be read, or ``rosbags`` is missing or too old.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.is_ros1 = path.is_file() and path.suffix == ROS1_ENDING
        self.connections: list[Connection] = []
        self._readers: list[Ros1Reader | Ros2Reader] = []
        self._paths: list[Path] = []
        self._owners: list[int] = []
        self._stack = ExitStack()
        _check_rosbags(path)
        with self.errors():
            from rosbags.typesys import Stores, get_typestore

            # What bags say of these messages may be missing, and types of others broken.
            self._types = get_typestore(Stores.ROS1_NOETIC if self.is_ros1 else Stores.ROS2_HUMBLE)
            try:
                for file in self._files():
                    self._open(file)
            except BaseException:
                self.close()
                raise

    def messages(
        self, sources: Sequence[int], start: int | None = None, stop: int | None = None
    ) -> Iterator[tuple[int, int, bytes]]:
        """Source, time in nanoseconds and content of the messages, file after file, each by time.

        Args:
            sources: positions in :attr:`connections`.
            start: nanoseconds from which on.
            stop: nanoseconds before which.
        """
        for reader, by_id, connections in self._chosen(sources):
            for connection, time, raw in reader.messages(connections, start, stop):
                yield by_id[connection.id], time, self._whole(bytes(raw))

    def as_recorded(self, sources: Sequence[int]) -> Iterator[tuple[int, int, bytes]]:
        """All messages as :meth:`messages` gives them, but in the order in which they were written.

        Times go back in it where the recorder's own clock was set back. ROS 1 bags come by time.

        Args:
            sources: positions in :attr:`connections`.
        """
        for reader, by_id, connections in self._chosen(sources):
            file = self._paths[self._readers.index(reader)]
            if file.suffix == ".db3":
                found = _rows(file, list(by_id))
            else:
                # Not all versions can; by time is right wherever no clock was set back.
                scan = getattr(getattr(reader, "storage", None), "messages_scan", None)
                read = reader.messages if scan is None else scan
                found = ((c.id, time, raw) for c, time, raw in read(connections))
            for number, time, raw in found:
                yield by_id[number], time, self._whole(bytes(raw))

    def _chosen(
        self, sources: Sequence[int]
    ) -> Iterator[tuple[Ros1Reader | Ros2Reader, dict[int, int], list[Connection]]]:
        """Each file with those of the connections that are its own, and their sources by id."""
        for number, reader in enumerate(self._readers):
            chosen = [s for s in sources if self._owners[s] == number]
            if chosen:
                connections = [self.connections[s] for s in chosen]
                yield reader, {self.connections[s].id: s for s in chosen}, connections

    def decode(self, raw: bytes, kind: str) -> Any:
        """A message of type ``kind``."""
        if self.is_ros1:
            return self._types.deserialize_ros1(raw, kind)
        return self._types.deserialize_cdr(raw, kind)

    def close(self) -> None:
        """Close its files."""
        self._stack.close()

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Turn all that damaged bags do to their readers into one RecordingError."""
        try:
            yield
        except RecordingError:
            raise
        except MemoryError as error:
            raise RecordingError(
                f"The bag {self.path} can't be read: it says that a part of it is larger than the "
                f"memory, so it is damaged; {self._remedy()}."
            ) from error
        except Exception as error:
            # struct, sqlite, yaml, zstd, assert: they fail in all ways.
            said = str(error).replace("\n", " ")[:300]
            raise RecordingError(
                f"The bag {self.path} can't be read ({type(error).__name__}: {said}); "
                f"{self._remedy()}."
            ) from error

    def _remedy(self) -> str:
        if self.is_ros1:
            return "check it with `rosbag info`, or repair it with `rosbag reindex`"
        if self.path.suffix == ".mcap" and self.path.is_file():
            new = self.path.with_name(f"{self.path.stem}_recovered.mcap")
            return f"repair it with `mcap recover {self.path} -o {new}`"
        return "check it with `ros2 bag info`, or repair it with `ros2 bag reindex`"

    def _files(self) -> list[Path]:
        """The files of the bag, in order, decompressed where they have to be."""
        if not self.path.is_dir():
            return [self._plain(self.path)]
        named = _named_in(self.path / METADATA)
        missing = [file.name for file in named if not file.is_file()]
        if missing:
            raise RecordingError(
                f"The bag {self.path} lacks {', '.join(missing[:3])}, which its {METADATA} names; "
                "copy it again, or `ros2 bag reindex` it to do without."
            )
        return [self._plain(file) for file in named]

    def _plain(self, file: Path) -> Path:
        if file.suffix != COMPRESSED_ENDING:
            return file
        folder = Path(self._stack.enter_context(TemporaryDirectory(prefix="dart_ros_bag_")))
        target = folder / file.stem
        try:
            with file.open("rb") as packed, target.open("wb") as plain:
                decompressor = _zstd_stream(packed)
                shutil.copyfileobj(decompressor, plain, 1 << 20)
        except OSError as error:
            raise RecordingError(
                f"{file} can't be decompressed into {folder} ({error.strerror or error}); make "
                f"space, set TMPDIR, or decompress it yourself: `zstd -d {file}`."
            ) from error
        return target

    def _open(self, file: Path) -> None:
        reader: Ros1Reader | Ros2Reader
        if self.is_ros1:
            from rosbags.rosbag1 import Reader as Ros1Reader

            reader = Ros1Reader(file)
        else:
            from rosbags.rosbag2 import Reader as Ros2Reader

            reader = Ros2Reader(file)
        reader.open()
        self._stack.callback(reader.close)
        self._owners += [len(self._readers)] * len(reader.connections)
        self.connections += reader.connections
        self._readers.append(reader)
        self._paths.append(file)

    def _whole(self, raw: bytes) -> bytes:
        """A message, decompressed where the bag's recorder compressed each of them."""
        # CDR begins with 0; a ROS 1 message isn't compressed by itself.
        if self.is_ros1 or raw[:4] != _ZSTD_MAGIC:
            return raw
        return _decompressed(raw)


def _check_rosbags(path: Path) -> None:
    try:
        importlib.import_module("rosbags.highlevel")
        installed = version("rosbags")
    except ImportError as error:
        raise RecordingError(
            f"Reading the bag {path} needs rosbags ({error}): pip install rosbags"
        ) from error
    parts = ("".join(takewhile(str.isdigit, part)) for part in installed.split(".")[:3])
    if tuple(int(part or 0) for part in parts) < OLDEST_ROSBAGS:
        oldest = ".".join(map(str, OLDEST_ROSBAGS))
        raise RecordingError(
            f"Reading the bag {path} needs rosbags {oldest} or newer, since {installed} loses "
            f"messages: pip install 'rosbags>={oldest}'"
        )


def _rows(database: Path, topics: list[int]) -> Iterator[tuple[int, int, bytes]]:
    """Topic, time and content of the messages in a SQLite file, in the order of writing."""
    marks = ",".join("?" * len(topics))
    query = (
        f"SELECT topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) ORDER BY id"
    )
    with closing(sqlite3.connect(f"{database.resolve().as_uri()}?immutable=1", uri=True)) as file:
        yield from file.execute(query, topics)


def _named_in(metadata: Path) -> list[Path]:
    """The files that a rosbag2 folder's description names, in order."""
    try:
        content = yaml.safe_load(read_regular(metadata, _MOST_METADATA).decode())
    except RecursionError as error:
        raise ValueError(f"{METADATA} is nested too deeply") from error
    names = content["rosbag2_bagfile_information"]["relative_file_paths"]
    if not isinstance(names, list) or not names:
        raise ValueError(f"{METADATA} names no files")
    # Bags are moved and renamed: only the last part of a path is as it was.
    return [metadata.parent / PurePath(str(name)).name for name in names]


def _zstd_stream(file: Any) -> Any:
    """What reads a zstd file; the module's name depends on Python's and rosbags' versions."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            return importlib.import_module(name).open(file, "rb")
        except ImportError:
            continue
    zstandard = importlib.import_module("zstandard")
    return zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True)


def _decompressed(raw: bytes) -> bytes:
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        whole = module.ZstdDecompressor().decompress(raw, _LARGEST_MESSAGE)
        break
    else:
        zstandard = importlib.import_module("zstandard")
        whole = zstandard.ZstdDecompressor().decompress(raw, max_output_size=_LARGEST_MESSAGE)
    return bytes(whole)

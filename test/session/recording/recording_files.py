"""Writes small recordings for tests: a textured room, and a box that walks through it."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

COLOR = "/camera/camera/color/image_raw"
DEPTH = "/camera/camera/aligned_depth_to_color/image_raw"
INFO = "/camera/camera/color/camera_info"
WIDTH, HEIGHT = 96, 64
MATRIX = [80.0, 0, 48, 0, 80, 32, 0, 0, 1]
START = 1_700_000_000_000_000_000
STEP = 100_000_000
"""Nanoseconds from frame to frame: ten a second."""

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
CAMERA_INFO = "sensor_msgs/msg/CameraInfo"
STORE = get_typestore(Stores.ROS2_HUMBLE)
TYPES = STORE.types


def wall(width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """RGB of the empty room, with details that can be found again."""
    random = np.random.default_rng(0)
    coarse = random.integers(60, 200, (height // 8, width // 8, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_NEAREST)


def picture(number: int, occupied: bool) -> tuple[np.ndarray, np.ndarray]:
    """RGB and millimetres of a frame; the number is in the color's first pixel."""
    color, depth = wall(), np.full((HEIGHT, WIDTH), 3000, np.uint16)
    if occupied:
        place = (slice(10, 60), slice(4 + 2 * (number % 30), 34 + 2 * (number % 30)))
        color[place], depth[place] = (200, 30, 20), 1500
    color[0, 0] = number
    return color, depth


def header(stamp: int) -> Any:
    time = TYPES["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9))
    return TYPES["std_msgs/msg/Header"](time, "camera_color_optical_frame")


def image(stamp: int, pixels: np.ndarray, encoding: str) -> Any:
    height, width = pixels.shape[:2]
    data = np.ascontiguousarray(pixels).reshape(height, -1).view(np.uint8)
    return TYPES[IMAGE](header(stamp), height, width, encoding, 0, data.shape[1], data.reshape(-1))


def compressed(stamp: int, data: bytes, form: str) -> Any:
    return TYPES[COMPRESSED](header(stamp), form, np.frombuffer(data, np.uint8))


def camera_info(stamp: int, width: int = WIDTH, height: int = HEIGHT) -> Any:
    roi = TYPES["sensor_msgs/msg/RegionOfInterest"](0, 0, 0, 0, False)
    return TYPES[CAMERA_INFO](
        header(stamp), height, width, "plumb_bob", np.zeros(5), np.array(MATRIX, float),
        np.eye(3).ravel(), np.zeros(12), 0, 0, roi,
    )  # fmt: skip


Message = tuple[str, int, Any]
"""Topic, time of arrival, content."""


def frames(count: int, empty: int = 10, stamp: Callable[[int], int] | None = None) -> list[Message]:
    """The messages of a recording of ``count`` frames, of which the first are empty.

    Args:
        count: frames.
        empty: of which so many are empty.
        stamp: header's stamp of each frame; the times of arrival always go on.
    """
    messages: list[Message] = []
    for number in range(count):
        now = START + number * STEP
        stamped = stamp(number) if stamp else now
        color, depth = picture(number, number >= empty)
        messages += [
            (INFO, now, camera_info(stamped)),
            (DEPTH, now + 1_000_000, image(stamped, depth, "16UC1")),
            (COLOR, now + 2_000_000, image(stamped, color, "rgb8")),
        ]
    return messages


def write_bag(
    path: Path,
    messages: list[Message],
    storage: StoragePlugin = StoragePlugin.MCAP,
    compression: CompressionMode | None = None,
) -> Path:
    """A rosbag2 folder of messages."""
    writer = Writer(path, version=9, storage_plugin=storage)
    if compression is not None:
        writer.set_compression(compression, CompressionFormat.ZSTD)
    with writer as bag:
        connections: dict[tuple[str, str], Any] = {}
        for topic, time, message in messages:
            kind = message.__msgtype__
            if (topic, kind) not in connections:
                connections[topic, kind] = bag.add_connection(topic, kind, typestore=STORE)
            raw = STORE.serialize_cdr(message, kind)
            bag.write(connections[topic, kind], time, bytes(raw))
    return path


def write_ros1_bag(path: Path, messages: list[Message]) -> Path:
    """A ROS 1 bag of the same messages."""
    from rosbags.rosbag1 import Writer as Ros1Writer

    store = get_typestore(Stores.ROS1_NOETIC)
    with Ros1Writer(path) as bag:
        connections: dict[tuple[str, str], Any] = {}
        for topic, time, message in messages:
            kind = message.__msgtype__
            if (topic, kind) not in connections:
                connections[topic, kind] = bag.add_connection(topic, kind, typestore=store)
            _, *fields = (getattr(message, name) for name in message.__dataclass_fields__)
            stamp = message.header.stamp
            begin = store.types["std_msgs/msg/Header"](0, stamp, message.header.frame_id)
            raw = store.serialize_ros1(store.types[kind](begin, *fields), kind)
            bag.write(connections[topic, kind], time, bytes(raw))
    return path


def storage_file(bag: Path) -> Path:
    """The one file of messages in a rosbag2 folder."""
    (file,) = (path for path in bag.iterdir() if path.name != "metadata.yaml")
    return file


def split_channel(db3: Path, topic: str, first: int) -> None:
    """Give the messages of a topic from the ``first`` one on a second channel of the same name."""
    with sqlite3.connect(db3) as database:
        (old,) = database.execute("SELECT id FROM topics WHERE name = ?", (topic,)).fetchone()
        new = 1 + database.execute("SELECT max(id) FROM topics").fetchone()[0]
        database.execute(
            "INSERT INTO topics SELECT ?, name, type, serialization_format, offered_qos_profiles, "
            "type_description_hash FROM topics WHERE id = ?",
            (new, old),
        )
        rows = database.execute(
            "SELECT id FROM messages WHERE topic_id = ? ORDER BY timestamp", (old,)
        ).fetchall()
        for (row,) in rows[first:]:
            database.execute("UPDATE messages SET topic_id = ? WHERE id = ?", (new, row))


def write_folder(path: Path, count: int, empty: int, **changes: Any) -> Path:
    """A recording that is a folder."""
    path.mkdir()
    content = {
        **{"width": WIDTH, "height": HEIGHT, "K": MATRIX, "fps": 10},
        **{"empty_frames": [[0, empty - 1]], "occupied_frames": [[empty, count - 1]]},
        **changes,
    }
    (path / "sequence.json").write_text(json.dumps(content), encoding="utf-8")
    for number in range(count):
        color, depth = picture(number, number >= empty)
        cv2.imwrite(str(path / f"color_{number:04d}.png"), color[..., ::-1])
        cv2.imwrite(str(path / f"depth_{number:04d}.png"), depth)
    return path


def write_tum(path: Path, count: int, delay: float = 0.004) -> Path:
    """A recording in the layout of TUM's benchmark; depth of 5000 is a metre."""
    (path / "rgb").mkdir(parents=True)
    (path / "depth").mkdir()
    lists: dict[str, list[str]] = {"rgb": ["# color images"], "depth": ["# depth maps"]}
    for number in range(count):
        color, depth = picture(number, number >= 10)
        stamp = 1_305_031_102.175304 + number * 0.1
        for kind, pixels, at in (("rgb", color[..., ::-1], 0.0), ("depth", depth * 5, delay)):
            name = f"{kind}/{stamp + at:.6f}.png"
            cv2.imwrite(str(path / name), pixels)
            lists[kind].append(f"{stamp + at:.6f} {name}")
    for kind, lines in lists.items():
        (path / f"{kind}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path

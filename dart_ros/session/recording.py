"""Recorded RGB-D streams: folders of pictures and ROS 2 bags, read without ROS.

A folder holds ``sequence.json`` and, for each number, ``color_%04d.jpg|png|webp`` and
``depth_%04d.png`` (16 bit millimetres, 0 unknown), and perhaps ``alpha_%04d.png`` (the truth).
The keys of ``sequence.json``: ``width``, ``height``, ``K`` (nine numbers by rows),
``empty_frames`` (list of ``[first, last]``), ``occupied_frames`` (``[first, last]`` or a list of
those) and, if wanted, ``fps`` (30) and ``noise``: ``{"sensor": …, "seed": 0}``, which adds a
sensor's errors to clean pictures when they are read.
"""

from __future__ import annotations

import json
import os
import struct
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import MessageError, RecordingError
from dart_ros.picture_files import decode_file
from dart_ros.session.encodings import (
    color_from_bytes,
    color_from_compressed,
    depth_from_bytes,
)
from dart_ros.session.pairing import pair_recorded
from dart_ros.simulation.sensor_noise import SensorNoise
from dart_ros.values import Camera, Frame, metres_from_sensor

if TYPE_CHECKING:
    from rosbags.interfaces import Connection

COLOR_TOPIC = "/camera/camera/color/image_raw"
DEPTH_TOPIC = "/camera/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO_TOPIC = "/camera/camera/color/camera_info"
MAX_DEPTH = 10.0
"""Range in metres that is assumed where nobody says what the sensor's is."""

_COLOR_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")
_IMAGE, _COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"


class Recording(ABC):
    """A recorded stream of frames, addressed by position from 0 to ``len - 1``.

    Attributes:
        name: short name for tables and titles.
        camera: camera of the frames.
        fps: frames a second at which it was recorded.
        empty: positions of the frames that show the empty scene.
        occupied: positions of the frames with something in front of it.
    """

    name: str
    camera: Camera
    fps: float
    empty: list[int]
    occupied: list[int]

    @abstractmethod
    def __len__(self) -> int:
        """Number of frames."""

    @abstractmethod
    def frame(self, position: int, repeat: int = 0) -> Frame:
        """One frame.

        Args:
            position: 0 to ``len - 1``.
            repeat: where sensor noise is simulated, another number gives other noise; the stamp
                doesn't change. Nothing else depends on it.

        Raises:
            IndexError: if there is no such position.
            RecordingError: if its files or messages can't be read.
        """

    def __getitem__(self, position: int) -> Frame:
        """The same as ``frame(position)``; negative positions don't count from the end."""
        return self.frame(position)

    def number(self, position: int) -> int:
        """Number that the frame was recorded under: frames that follow each other count by one."""
        return position

    def alpha(self, position: int) -> NDArray[np.uint8] | None:
        """True alpha of a frame, ``H×W`` uint8, None where it isn't known.

        Raises:
            RecordingError: if its file can't be read.
        """
        return None

    def close(self) -> None:  # noqa: B027
        """Let go of open files."""

    def _check(self, position: int) -> None:
        if not 0 <= position < len(self):
            raise IndexError(f"{self.name} has the frames 0 to {len(self) - 1}, not {position}")


def first_run(positions: Sequence[int], number: Callable[[int], int]) -> list[int]:
    """The leading part of the positions whose frames follow each other.

    A recording may be empty before and after its people: something can have been moved between.

    Args:
        positions: of frames in a recording.
        number: see :meth:`Recording.number`.
    """
    length = min(1, len(positions))
    while length < len(positions):
        if number(positions[length]) != number(positions[length - 1]) + 1:
            break
        length += 1
    return list(positions[:length])


def open_recording(
    path: str | os.PathLike[str],
    *,
    max_depth: float = MAX_DEPTH,
    color_topic: str = COLOR_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    camera_info_topic: str = CAMERA_INFO_TOPIC,
    empty_seconds: float = 3.0,
) -> Recording:
    """Open a recording folder, a rosbag2 folder or an ``.mcap`` or ``.db3`` file.

    Args:
        path: the folder or file.
        max_depth: range of the sensor in metres; depth beyond it is unknown.
        color_topic: bags only; raw or compressed color images.
        depth_topic: bags only; raw depth images, aligned to color.
        camera_info_topic: bags only.
        empty_seconds: bags only; so many seconds from the start show the empty scene.

    Raises:
        RecordingError: if it is neither, is broken or lacks the topics; the text names the file.
    """
    place = Path(path).expanduser()
    if (place / "sequence.json").is_file():
        return FolderRecording(place, max_depth)
    if (place / "metadata.yaml").is_file() or place.suffix in (".mcap", ".db3"):
        topics = (color_topic, depth_topic, camera_info_topic)
        return BagRecording(place, topics, max_depth, empty_seconds)
    if not place.exists():
        raise RecordingError(f"There is no recording {place}; check the path.")
    raise RecordingError(
        f"{place} is no recording: it is neither a folder with sequence.json or metadata.yaml nor "
        "an .mcap or .db3 file; check the path."
    )


class FolderRecording(Recording):
    """A folder of pictures; see the module's text for its layout.

    Args:
        path: the folder.
        max_depth: range of the sensor in metres.

    Raises:
        RecordingError: if ``sequence.json`` is broken or a picture that it names is missing.
    """

    def __init__(self, path: Path, max_depth: float) -> None:
        self.path = path
        self.name = path.resolve().name
        self._max_depth = max_depth
        file = path / "sequence.json"
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            matrix = [float(value) for value in content["K"]]
            fx, _, cx, _, fy, cy, _, _, _ = matrix
            self.camera = Camera(int(content["width"]), int(content["height"]), fx, fy, cx, cy)
            empty = _numbers(content["empty_frames"])
            occupied = _numbers(content["occupied_frames"])
            self.fps = float(content.get("fps", 30.0))
            noise = content.get("noise")
            self._noise = None
            if noise is not None:
                self._noise = SensorNoise(str(noise["sensor"]), int(noise.get("seed", 0)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise RecordingError(
                f"{file} can't be used ({type(error).__name__}: {error}); compare it with the "
                "description in dart_ros/session/recording.py."
            ) from error
        self._files = sorted(set(empty) | set(occupied))
        if not self._files or self.fps <= 0 or min(self.camera.width, self.camera.height) <= 0:
            raise RecordingError(f"{file} names no frames, no size or no frame rate; correct it.")
        _check_matrix(fx, fy, cx, cy, f"K in {file}")
        self._colors = self._find(self._files)
        places = {number: position for position, number in enumerate(self._files)}
        self.empty = [places[number] for number in sorted(set(empty))]
        self.occupied = [places[number] for number in sorted(set(occupied))]
        # An empty frame may be asked for a hundred times in a row, with other noise each time.
        self._decoded: tuple[int, NDArray[np.uint8], NDArray[np.float32]] | None = None

    def __len__(self) -> int:
        """Number of frames."""
        return len(self._files)

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """See :meth:`Recording.frame`."""
        self._check(position)
        number = self._files[position]
        if self._decoded is None or self._decoded[0] != position:
            self._decoded = (position, *self._decode(number))
        _, color, depth = self._decoded
        if self._noise is not None:
            depth = self._noise.depth(depth, color, (number, repeat))
            depth[depth > self._max_depth] = -1.0
            color = self._noise.color(color, (number, repeat))
        else:
            color, depth = color.copy(), depth.copy()
        return Frame(color, depth, round(position * 1e9 / self.fps), self.camera)

    def number(self, position: int) -> int:
        """See :meth:`Recording.number`."""
        return self._files[position]

    def alpha(self, position: int) -> NDArray[np.uint8] | None:
        """See :meth:`Recording.alpha`."""
        self._check(position)
        file = self.path / f"alpha_{self._files[position]:04d}.png"
        if not file.exists():
            return None
        return self._image(file, cv2.IMREAD_UNCHANGED, np.uint8, 2)

    def _find(self, numbers: list[int]) -> list[Path]:
        """Color files of the numbers; RecordingError if one or its depth is missing."""
        names = set(os.listdir(self.path))
        found = []
        for number in numbers:
            options = [f"color_{number:04d}{ending}" for ending in _COLOR_ENDINGS]
            color = next((name for name in options if name in names), None)
            depth = f"depth_{number:04d}.png"
            if color is None or depth not in names:
                missing = depth if color else options[0]
                raise RecordingError(
                    f"{self.path / missing} is missing, though sequence.json names frame {number}; "
                    "copy the recording again, or correct the ranges in sequence.json."
                )
            found.append(self.path / color)
        return found

    def _decode(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        color = self._image(
            self._colors[bisect_left(self._files, number)], cv2.IMREAD_COLOR, np.uint8, 3
        )
        file = self.path / f"depth_{number:04d}.png"
        depth = self._image(file, cv2.IMREAD_UNCHANGED, np.uint16, 2)
        # Simulated sensors need to know what lies beyond their range.
        reach = 65.0 if self._noise else self._max_depth
        rgb = np.asarray(cv2.cvtColor(color, cv2.COLOR_BGR2RGB), np.uint8)
        return rgb, metres_from_sensor(depth, reach)

    def _image(self, file: Path, flags: int, dtype: type, axes: int) -> NDArray[Any]:
        try:
            image = decode_file(file.read_bytes(), flags)
        except OSError as error:
            raise RecordingError(
                f"{file} can't be read ({error.strerror}); copy the recording again."
            ) from error
        if image is None:
            raise RecordingError(f"{file} is no picture or is cut short; copy the recording again.")
        size = (self.camera.height, self.camera.width)
        if image.dtype != dtype or image.ndim != axes or image.shape[:2] != size:
            raise RecordingError(
                f"{file} is {image.dtype} {image.shape}, but sequence.json promises "
                f"{self.camera.width}x{self.camera.height} of {np.dtype(dtype)} with {axes} axes; "
                "correct one of them."
            )
        return image


def _check_matrix(fx: float, fy: float, cx: float, cy: float, where: str) -> None:
    """RecordingError unless focal lengths and center, in pixels, make a camera."""
    # All zeros is what sensor_msgs prescribes for an uncalibrated camera.
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise RecordingError(
            f"{where} is no usable camera matrix (fx={fx:g}, fy={fy:g}, cx={cx:g}, cy={cy:g}); "
            "calibrate the camera and record again, or correct the numbers."
        )


def _numbers(ranges: Any) -> list[int]:
    """Frame numbers of ``[first, last]`` or of a list of those, both ends included."""
    pairs = ranges if not ranges or isinstance(ranges[0], list) else [ranges]
    return [number for first, last in pairs for number in range(int(first), int(last) + 1)]


class BagRecording(Recording):
    """Color and depth topics of a ROS 2 bag, paired by nearest stamp.

    Args:
        path: rosbag2 folder, ``.mcap`` or ``.db3`` file.
        topics: of color, depth and camera info.
        max_depth: range of the sensor in metres.
        empty_seconds: so many seconds from the start show the empty scene.

    Raises:
        RecordingError: if the bag is broken, lacks a topic or has no pairs, or if the package
            ``rosbags`` is missing.
    """

    def __init__(
        self, path: Path, topics: tuple[str, str, str], max_depth: float, empty_seconds: float
    ) -> None:
        try:
            # Not before: folders of pictures do without it.
            from rosbags.highlevel import AnyReader
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise RecordingError(
                f"Reading the bag {path} needs rosbags ({error}): pip install rosbags"
            ) from error
        self.path = path
        self.name = path.stem
        self._max_depth = max_depth
        with self._errors():
            store = get_typestore(Stores.ROS2_HUMBLE)
            self._reader = AnyReader([path], default_typestore=store)
            self._reader.open()
            try:
                self._read_index(topics)
            except BaseException:
                self.close()
                raise
        stamps = np.array([color[0] for color, _ in self._pairs])
        step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
        self.fps = 1e9 / step if step > 0 else 30.0
        is_empty = stamps - stamps[0] < empty_seconds * 1e9
        self.empty = [int(i) for i in np.flatnonzero(is_empty)]
        self.occupied = [int(i) for i in np.flatnonzero(~is_empty)]

    def __len__(self) -> int:
        """Number of pairs of color and depth."""
        return len(self._pairs)

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """See :meth:`Recording.frame`."""
        self._check(position)
        color_at, depth_at = self._pairs[position]
        with self._errors(f"pair {position}"):
            message = self._message(self._color, color_at)
            if self._color.msgtype == _COMPRESSED:
                color = color_from_compressed(message.data)
            else:
                color = color_from_bytes(
                    message.data,
                    message.height,
                    message.width,
                    message.step,
                    message.encoding,
                    bool(message.is_bigendian),
                )
            frame_id = message.header.frame_id
            message = self._message(self._depth, depth_at)
            depth = depth_from_bytes(
                message.data,
                message.height,
                message.width,
                message.step,
                message.encoding,
                self._max_depth,
                bool(message.is_bigendian),
            )
            size = (self.camera.height, self.camera.width)
            if color.shape[:2] != size or depth.shape != size:
                raise RecordingError(
                    f"{self.path}: in pair {position} color is {color.shape[1]}x{color.shape[0]}, "
                    f"depth {depth.shape[1]}x{depth.shape[0]} and the camera info "
                    f"{size[1]}x{size[0]}; record depth aligned to color."
                )
        return Frame(color, depth, color_at[0], replace(self.camera, frame_id=frame_id))

    def close(self) -> None:
        """Close the bag."""
        if self._reader.stack:
            self._reader.close()

    @contextmanager
    def _errors(self, where: str = "") -> Iterator[None]:
        try:
            yield
        except (RecordingError, MemoryError):
            raise
        except MessageError as error:
            raise RecordingError(f"{self.path}, {where}: {error}") from error
        except Exception as error:
            # A damaged bag makes its readers fail in all ways: struct, sqlite, yaml, zstd, assert.
            remedy = "check it with `ros2 bag info`, or repair it with `ros2 bag reindex`"
            if self.path.suffix == ".mcap" and self.path.is_file():
                new = self.path.with_name(f"{self.path.stem}_recovered.mcap")
                remedy = f"repair it with `mcap recover {self.path} -o {new}`"
            raise RecordingError(
                f"The bag {self.path} can't be read ({type(error).__name__}: {error}); {remedy}."
            ) from error

    def _read_index(self, topics: tuple[str, str, str]) -> None:
        self._color = self._connection(topics[0], (_IMAGE, _COMPRESSED))
        self._depth = self._connection(topics[1], (_IMAGE,), "; depth must be raw")
        self._info = self._connection(topics[2], ("sensor_msgs/msg/CameraInfo",))
        colors, depths = self._stamps(self._color), self._stamps(self._depth)
        self._pairs = pair_recorded(colors, depths)
        if not self._pairs:
            raise RecordingError(
                f"{self.path} holds {len(colors)} color and {len(depths)} depth images, none "
                "within 20 ms of each other; record both at once."
            )
        self.camera = self._read_camera()

    def _connection(self, topic: str, types: tuple[str, ...], rule: str = "") -> Connection:
        """Connection of a topic that has one of the types; ``rule`` is said where none has."""
        fitting = [c for c in self._reader.connections if c.msgtype in types]
        for connection in fitting:
            if connection.topic == topic:
                return connection
        lacks = f"The bag {self.path} has no topic {topic} of {' or '.join(types)}{rule}"
        if fitting:
            there = ", ".join(sorted({f"{c.topic} ({c.msgtype})" for c in fitting}))
            raise RecordingError(f"{lacks}; name one of these topics instead: {there}.")
        raise RecordingError(f"{lacks}; none of its topics is, so record one that is.")

    def _stamps(self, connection: Connection) -> list[tuple[int, int]]:
        """(stamp in the header, time in the bag) of each message, sorted by stamp."""
        found = []
        for _, time, raw in self._reader.messages([connection]):
            # CDR: 4 bytes, of which the second names the byte order, then the header's stamp.
            seconds, nanoseconds = struct.unpack_from("<iI" if raw[1] & 1 else ">iI", raw, 4)
            found.append((seconds * 1_000_000_000 + nanoseconds, time))
        return sorted(found)

    def _message(self, connection: Connection, at: tuple[int, int]) -> Any:
        stamp, time = at
        for _, _, raw in self._reader.messages([connection], time, time + 1):
            message: Any = self._reader.deserialize(raw, connection.msgtype)
            if message.header.stamp.sec * 1_000_000_000 + message.header.stamp.nanosec == stamp:
                return message
        raise RecordingError(
            f"The bag {self.path} has lost a message of {connection.topic}; copy it again."
        )

    def _read_camera(self) -> Camera:
        for _, _, raw in self._reader.messages([self._info]):
            info: Any = self._reader.deserialize(raw, self._info.msgtype)
            fx, _, cx, _, fy, cy, _, _, _ = (float(value) for value in info.k)
            _check_matrix(fx, fy, cx, cy, f"{self._info.topic} in the bag {self.path}")
            return Camera(info.width, info.height, fx, fy, cx, cy, info.header.frame_id)
        raise RecordingError(f"The bag {self.path} has no camera info; record {self._info.topic}.")

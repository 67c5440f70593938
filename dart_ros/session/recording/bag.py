"""Recordings that are bags: color and depth topics, paired by stamps, in the order of arrival."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import FrameError, MessageError, RecordingError
from dart_ros.session.encodings import DEPTH_ENCODINGS
from dart_ros.session.pairing import DEFAULT_SLOP
from dart_ros.session.recording.bag_file import BagFile
from dart_ros.session.recording.bag_messages import (
    CAMERA_INFO,
    COMPRESSED,
    IMAGE,
    camera_of,
    color_of,
    depth_of,
    header_stamp,
    message_stamp,
)
from dart_ros.session.recording.base import (
    LARGEST_SIDE,
    Progress,
    Recording,
    check_matrix,
    rate_of,
    split_by_time,
)
from dart_ros.session.recording.timeline import Arrival, by_arrival, nearest_gap, pair_images
from dart_ros.values import Camera, Frame

COLOR_TOPIC = "/camera/camera/color/image_raw"
DEPTH_TOPIC = "/camera/camera/aligned_depth_to_color/image_raw"
CAMERA_INFO_TOPIC = "/camera/camera/color/camera_info"

_MOST_NAMED = 12


class Topics(NamedTuple):
    """Topics of a bag; raw ones stand for compressed ones where only those were recorded."""

    color: str = COLOR_TOPIC
    depth: str = DEPTH_TOPIC
    camera_info: str = CAMERA_INFO_TOPIC


class _Stream(NamedTuple):
    """One topic of a bag.

    Attributes:
        topic: its name.
        kind: type of its messages.
        sources: positions of its connections; a topic has several where recordings were merged or
            publishers started anew.
    """

    topic: str
    kind: str
    sources: list[int]


class _Role(NamedTuple):
    """What a topic is needed for.

    Attributes:
        option: by which it is chosen.
        kinds: types of message that do.
        transport: ending of the topic where only compressed images were recorded.
        rule: what else is asked of it.
    """

    option: str
    kinds: tuple[str, ...]
    transport: str = ""
    rule: str = ""


_COLOR = _Role("--color-topic", (IMAGE, COMPRESSED), "/compressed")
_DEPTH = _Role(
    "--depth-topic",
    (IMAGE, COMPRESSED),
    "/compressedDepth",
    "depth must be raw or compressedDepth",
)
_INFO = _Role("--camera-info-topic", (CAMERA_INFO,))


class BagRecording(Recording):
    """Color and depth topics of a bag, paired by nearest stamp.

    Args:
        path: rosbag2 folder, ``.mcap``, ``.db3`` or ROS 1 ``.bag`` file.
        topics: of color, depth and camera info.
        max_depth: range of the sensor in metres.
        empty_seconds: so many seconds from the start show the empty scene.
        depth_unit: metres a unit of the depth images; None for what ROS prescribes.
        progress: told how many of the messages have been read while opening.

    Raises:
        RecordingError: if the bag is broken, lacks a topic or has no pairs, or if the package
            ``rosbags`` is missing.
    """

    def __init__(
        self,
        path: Path,
        topics: Topics,
        max_depth: float,
        empty_seconds: float,
        depth_unit: float | None = None,
        progress: Progress | None = None,
    ) -> None:
        self.path = path
        self.name = path.stem
        self.max_depth = max_depth
        self.notes = []
        self._unit = depth_unit
        self._bag = BagFile(path)
        try:
            with self._bag.errors():
                self._read_index(topics, progress)
        except BaseException:
            self.close()
            raise
        self.fps = rate_of([color.stamp for color, _ in self._pairs])
        times = [color.time for color, _ in self._pairs]
        if len(set(times)) == 1:
            times = [color.stamp for color, _ in self._pairs]
        self.empty, self.occupied = split_by_time(times, empty_seconds)

    def __len__(self) -> int:
        """Number of pairs of color and depth."""
        return len(self._pairs)

    def frame(self, position: int, repeat: int = 0) -> Frame:
        """See :meth:`Recording.frame`."""
        self._check(position)
        image = self._pairs[position][0]
        metres = self.metres(position)
        with self._frame_errors(position):
            message = self._message(self._color, image)
            color = color_of(message, self._color.kind)
            self._check_sizes(color, metres)
            camera = replace(self.camera, frame_id=message.header.frame_id)
        return Frame(color, self._in_range(metres), image.stamp, camera)

    def metres(self, position: int) -> NDArray[np.float32]:
        """See :meth:`Recording.metres`."""
        self._check(position)
        with self._frame_errors(position):
            message = self._message(self._depth, self._pairs[position][1])
            return depth_of(message, self._depth.kind, self._unit)

    def close(self) -> None:
        """Close the bag."""
        self._bag.close()

    @contextmanager
    def _frame_errors(self, position: int) -> Iterator[None]:
        where = f"{self.path}, pair {position}"
        try:
            with self._bag.errors():
                yield
        except FrameError:
            raise
        except RecordingError as error:
            # What the reader says of one message isn't true of the whole bag.
            cause = error.__cause__ or error
            if isinstance(cause, MessageError):
                raise FrameError(f"{where}: {cause}") from error
            raise FrameError(f"{where}: {error}") from error

    def _check_sizes(self, color: NDArray[np.uint8], depth: NDArray[np.float32]) -> None:
        size = (self.camera.height, self.camera.width)
        if color.shape[:2] != size or depth.shape != size:
            raise MessageError(
                f"color is {color.shape[1]}x{color.shape[0]}, depth "
                f"{depth.shape[1]}x{depth.shape[0]} and the camera info {size[1]}x{size[0]}; "
                "record depth aligned to color, and keep the camera's resolution."
            )

    def _read_index(self, topics: Topics, progress: Progress | None) -> None:
        self._color = self._stream(_COLOR, topics.color)
        self._depth = self._stream(_DEPTH, topics.depth)
        info = self._stream(_INFO, topics.camera_info)
        colors, depths = self._arrivals(progress)
        self._pairs = pair_images(colors, depths)
        if not self._pairs:
            gap = nearest_gap(colors, depths)
            apart = f" (mostly {gap / 1e6:.0f} ms apart)" if gap is not None else ""
            raise RecordingError(
                f"{self.path} holds {len(colors)} color and {len(depths)} depth images, none "
                f"within {1e3 * DEFAULT_SLOP:.0f} ms of each other{apart}; record both at once, by "
                "one clock."
            )
        self._note_lost(len(colors), len(depths))
        self.camera = self._read_camera(info)

    def _note_lost(self, colors: int, depths: int) -> None:
        lost = min(colors, depths) - len(self._pairs)
        if lost > 0.1 * min(colors, depths):
            self.notes.append(
                f"Of {colors} color and {depths} depth images {len(self._pairs)} pairs could be "
                "made; the others have no partner within "
                f"{1e3 * DEFAULT_SLOP:.0f} ms or three quarters of a frame."
            )

    def _stream(self, role: _Role, topic: str) -> _Stream:
        """The connections of a topic that fits the role, or of its compressed form."""
        fitting = self._fitting(role)
        for name in dict.fromkeys((topic, topic + role.transport)):
            for kind in role.kinds:
                if (name, kind) in fitting:
                    return _Stream(name, kind, fitting[name, kind])
        raise RecordingError(self._no_topic(role, topic, list(fitting)))

    def _fitting(self, role: _Role) -> dict[tuple[str, str], list[int]]:
        """Connections of each topic and type that fit a role."""
        found: dict[tuple[str, str], list[int]] = {}
        for source, connection in enumerate(self._bag.connections):
            if connection.msgtype in role.kinds:
                found.setdefault((connection.topic, connection.msgtype), []).append(source)
        if role is not _DEPTH:
            return found
        return {key: of for key, of in found.items() if key[1] == IMAGE or self._holds_depth(of)}

    def _holds_depth(self, sources: list[int]) -> bool:
        """Whether compressed images are of depth, told by the first that can be read."""
        for _, _, raw in self._bag.messages(sources):
            try:
                form = str(self._bag.decode(raw, COMPRESSED).format)
            except Exception:  # one that is broken is skipped later, as all broken images are
                continue
            return form.partition(";")[0].strip() in DEPTH_ENCODINGS
        return False

    def _no_topic(self, role: _Role, topic: str, fitting: list[tuple[str, str]]) -> str:
        rule = f" ({role.rule})" if role.rule else ""
        lacks = f"The bag {self.path} has no topic {topic} of {' or '.join(role.kinds)}{rule}"
        if fitting:
            names = [f"{name[:200]} ({kind})" for name, kind in sorted(fitting)]
            more = f" and {len(names) - _MOST_NAMED} more" * (len(names) > _MOST_NAMED)
            return (
                f"{lacks}; name one of these topics instead, by {role.option}: "
                f"{', '.join(names[:_MOST_NAMED])}{more}."
            )
        kinds = sorted({c.msgtype[:100] for c in self._bag.connections})[:_MOST_NAMED]
        return (
            f"{lacks}; none of its topics is (they are of {', '.join(kinds) or 'no type at all'}), "
            "so record one that is."
        )

    def _arrivals(self, progress: Progress | None) -> tuple[list[Arrival], list[Arrival]]:
        """Color and depth images in the order of arrival."""
        sources = [*self._color.sources, *self._depth.sources]
        total = sum(self._bag.connections[source].msgcount for source in sources)
        is_depth = set(self._depth.sources)
        streams: tuple[list[Arrival], list[Arrival]] = ([], [])
        twins: Counter[tuple[int, int, int]] = Counter()
        broken = 0
        for order, (source, time, raw) in enumerate(self._bag.as_recorded(sources)):
            if progress is not None:
                progress(order + 1, max(total, order + 1))
            try:
                stamp = header_stamp(raw, self._bag.is_ros1)
            except MessageError:
                broken += 1
                continue
            twin = twins[source, time, stamp]
            twins[source, time, stamp] += 1
            streams[source in is_depth].append(Arrival(stamp, time, order, source, twin))
        if broken:
            self.notes.append(f"{broken} of {total} images are too short to have a header.")
        colors, depths = streams
        return by_arrival(colors), by_arrival(depths)

    def _message(self, stream: _Stream, image: Arrival) -> Any:
        found = [
            self._bag.decode(raw, stream.kind)
            for _, _, raw in self._bag.messages([image.source], image.time, image.time + 1)
        ]
        if not found:
            raise MessageError(f"a message of {stream.topic} is lost; copy the bag again.")
        # Where stamps say nothing, those of the time took their place.
        same = [message for message in found if message_stamp(message) == image.stamp] or found
        return same[min(image.twin, len(same) - 1)]

    def _read_camera(self, stream: _Stream) -> Camera:
        for _, _, raw in self._bag.messages(stream.sources):
            camera = camera_of(self._bag.decode(raw, stream.kind))
            where = f"{stream.topic} in the bag {self.path}"
            check_matrix(camera.fx, camera.fy, camera.cx, camera.cy, where)
            if not (0 < camera.width <= LARGEST_SIDE and 0 < camera.height <= LARGEST_SIDE):
                raise RecordingError(
                    f"{where} says that images are {camera.width}x{camera.height}; record it again."
                )
            return camera
        raise RecordingError(f"The bag {self.path} has no camera info; record {stream.topic}.")

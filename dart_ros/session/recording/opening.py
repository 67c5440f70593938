"""Opens a recording of any kind; what can't be opened is told what helps."""

from __future__ import annotations

import os
from pathlib import Path

from dart_ros.errors import RecordingError
from dart_ros.session.recording.azure_kinect import AzureKinectRecording
from dart_ros.session.recording.bag import (
    CAMERA_INFO_TOPIC,
    COLOR_TOPIC,
    DEPTH_TOPIC,
    BagRecording,
    Topics,
)
from dart_ros.session.recording.bag_file import (
    COMPRESSED_ENDING,
    METADATA,
    ROS1_ENDING,
    STORAGE_ENDINGS,
)
from dart_ros.session.recording.base import MAX_DEPTH, Progress, Recording
from dart_ros.session.recording.folder import FolderRecording
from dart_ros.session.recording.realsense import RealSenseRecording, is_realsense
from dart_ros.session.recording.sequence import FILE
from dart_ros.session.recording.tum import TumRecording, is_tum

_ROS1_UNINDEXED = (".active", ".orig.active")
_KINDS = (
    "a folder with sequence.json, metadata.yaml (rosbag2) or rgb.txt and depth.txt (TUM), or a "
    "file .mcap, .db3, .bag (ROS 1, RealSense) or .mkv (Azure Kinect)"
)


def open_recording(
    path: str | os.PathLike[str],
    *,
    max_depth: float = MAX_DEPTH,
    color_topic: str = COLOR_TOPIC,
    depth_topic: str = DEPTH_TOPIC,
    camera_info_topic: str = CAMERA_INFO_TOPIC,
    empty_seconds: float = 3.0,
    depth_unit: float | None = None,
    progress: Progress | None = None,
) -> Recording:
    """Open a recording; docs/recordings.md lists the kinds.

    Args:
        path: the folder or file.
        max_depth: range of the sensor in metres; depth beyond it is unknown.
        color_topic: bags only; raw or compressed color images.
        depth_topic: bags only; raw or ``compressedDepth`` images, aligned to color.
        camera_info_topic: bags only.
        empty_seconds: all but folders with ``sequence.json``; so many seconds from the start show
            the empty scene.
        depth_unit: metres a unit of the depth images; None for what the kind of recording
            prescribes.
        progress: told how far long work is, where opening takes it.

    Raises:
        RecordingError: if it is none of these kinds, is broken or lacks the topics; the text names
            the file and what to do.
    """
    place = Path(path).expanduser()
    try:
        if not place.exists():
            raise RecordingError(f"There is no recording {place}; check the path.")
        if (place / FILE).is_file():
            return FolderRecording(place, max_depth, depth_unit)
        if place.is_dir() and is_tum(place) and not (place / METADATA).is_file():
            return TumRecording(place, max_depth, empty_seconds, depth_unit)
        if place.is_file() and place.suffix == ".mkv":
            return AzureKinectRecording(place, max_depth, empty_seconds, progress)
        if is_realsense(place):
            return RealSenseRecording(place, max_depth, empty_seconds, progress)
        if _is_bag(place):
            topics = Topics(color_topic, depth_topic, camera_info_topic)
            return BagRecording(place, topics, max_depth, empty_seconds, depth_unit, progress)
        raise RecordingError(_what_helps(place))
    except OSError as error:
        raise RecordingError(
            f"{place} can't be read ({error.strerror or error}); check permissions and disk."
        ) from error


def _is_bag(place: Path) -> bool:
    if place.is_dir():
        return (place / METADATA).is_file()
    plain = place.with_suffix("") if place.suffix == COMPRESSED_ENDING else place
    return place.is_file() and plain.suffix in (*STORAGE_ENDINGS, ROS1_ENDING)


def _what_helps(place: Path) -> str:
    if not place.is_dir():
        if place.name.endswith(_ROS1_UNINDEXED):
            return (
                f"{place} is a ROS 1 bag whose recorder was killed; `rosbag reindex` it and drop "
                "'.active' from its name."
            )
        return f"{place} is no recording, which is {_KINDS}; check the path."
    files = sorted(file for file in place.iterdir() if _is_bag(file) and file.is_file())
    of_ros1 = [file for file in files if file.suffix == ROS1_ENDING]
    if of_ros1:
        return f"{place} is a folder of ROS 1 bags; name the file in it, as {of_ros1[0]}."
    if files:
        return (
            f"{place} has no {METADATA}: its recorder was killed. `ros2 bag reindex {place}` "
            f"writes one; or name the file in it, {files[0]}."
        )
    inner = sorted(folder for folder in place.iterdir() if (folder / METADATA).is_file())
    if inner:
        return f"{place} holds recordings; name one of them, as {inner[0]}."
    return f"{place} is no recording, which is {_KINDS}; check the path."

"""Mattes into files: pictures, a video or a ROS 2 bag, written without ROS.

All of them take the mattes in order and appear under their final name in :meth:`close`, except
pictures, which appear one by one. Left by an error, a video or a bag leaves nothing behind. For
Rerun: :mod:`dart_ros.session.rerun_file`.
"""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import RecordingError
from dart_ros.files import refuse_special, replacing
from dart_ros.session.foreground import cutout
from dart_ros.values import Camera, Frame, Matte

ALPHA_TOPIC, TRIMAP_TOPIC = "/matting_node/alpha", "/matting_node/trimap"
"""Topics of the bag: those of the node."""

_WHOLE_RATES = 65.0  # frames a second above which a video has a whole number of them


class MatteWriter(ABC):
    """Takes mattes and stores them; a context manager that closes itself.

    Raises:
        RecordingError: from any of its methods, if the files can't be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def add(self, position: int, frame: Frame, matte: Matte, latency: float | None = None) -> None:
        """Store one matte.

        Args:
            position: number of the frame in its recording.
            frame: what was matted.
            matte: with its trimap, and for pictures and Rerun with its foreground.
            latency: seconds from the frame to its matte, where they were measured.
        """

    @abstractmethod
    def close(self, complete: bool = True) -> None:
        """Finish the files, or remove them where they are not complete."""

    def __enter__(self) -> MatteWriter:
        """Itself."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; incomplete after an error."""
        self.close(complete=kind is None)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise RecordingError(
                f"The mattes can't be written to {self.path} ({error.strerror or error}); choose "
                "another place or make space."
            ) from error


class PictureWriter(MatteWriter):
    """``{alpha,trimap}_%04d.png`` (gray) and ``foreground_%04d.png`` (RGBA) in a folder.

    Args:
        path: the folder, made if it is missing.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        with self._errors():
            path.mkdir(parents=True, exist_ok=True)

    def add(self, position: int, frame: Frame, matte: Matte, latency: float | None = None) -> None:
        """See :meth:`MatteWriter.add`."""
        pictures = {"alpha": matte.alpha, "trimap": _trimap(matte), "foreground": _cutout(matte)}
        with self._errors():
            for kind, picture in pictures.items():
                _write_png(self.path / f"{kind}_{position:04d}.png", picture)

    def close(self, complete: bool = True) -> None:
        """Nothing to do: each picture is complete."""


class VideoWriter(MatteWriter):
    """A video of color, alpha and trimap side by side.

    Args:
        path: an ``.mp4`` file; one that is there is replaced.
        camera: of the frames.
        fps: frames a second.
    """

    def __init__(self, path: Path, camera: Camera, fps: float) -> None:
        super().__init__(path)
        self._part = path.with_name(f".{path.stem}.part.mp4")
        with self._errors():
            refuse_special(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._part.touch()
        # MPEG-4 wants even sides.
        self._size = (3 * camera.width + camera.width % 2, camera.height + camera.height % 2)
        self._frames = 0
        code = cv2.VideoWriter.fourcc(*"mp4v")
        # OpenCV asks for thousandths of a frame, and MPEG-4 counts a second in 65535 parts at most.
        fps = float(round(fps)) if fps > _WHOLE_RATES else fps
        self._video = cv2.VideoWriter(str(self._part), code, fps, self._size)
        if not self._video.isOpened():
            self._part.unlink(missing_ok=True)
            raise RecordingError(
                f"OpenCV can't write the video {path}; install opencv-python with MPEG-4, or write "
                "pictures instead."
            )

    def add(self, position: int, frame: Frame, matte: Matte, latency: float | None = None) -> None:
        """See :meth:`MatteWriter.add`."""
        grays = [cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR) for gray in (matte.alpha, _trimap(matte))]
        row = np.hstack([frame.color[..., ::-1], *grays])
        width, height = self._size
        padded = np.zeros((height, width, 3), np.uint8)
        padded[: row.shape[0], : row.shape[1]] = row
        self._video.write(padded)
        self._frames += 1

    def close(self, complete: bool = True) -> None:
        """See :meth:`MatteWriter.close`."""
        self._video.release()
        with self._errors():
            try:
                if complete:
                    self._check()
                    refuse_special(self.path)
                    os.replace(self._part, self.path)
            finally:
                self._part.unlink(missing_ok=True)

    def _check(self) -> None:
        # Where the space runs out, OpenCV prints something and goes on.
        readable = count_frames(self._part)
        if readable != self._frames:
            raise RecordingError(
                f"Of the video {self.path} only {readable} of {self._frames} frames could be "
                "written; make space or choose another place."
            )


class BagWriter(MatteWriter):
    """Topics of ``sensor_msgs/Image`` (mono8) with the stamps and frames of the color images.

    Args:
        path: folder of the new bag, which must not be there yet.
    """

    def __init__(self, path: Path) -> None:
        try:
            from rosbags.rosbag2 import StoragePlugin, Writer, WriterError
            from rosbags.typesys import Stores, get_typestore
        except ImportError as error:
            raise RecordingError(
                f"Writing the bag {path} needs rosbags ({error}): pip install rosbags"
            ) from error
        super().__init__(path)
        if path.exists():
            raise RecordingError(f"{path} is there already; name a new folder for the bag.")
        self._part = path.with_name(f".{path.name}.part")
        self._stamp: int | None = None
        self._time = 0
        with self._errors():
            path.parent.mkdir(parents=True, exist_ok=True)
            if self._part.exists():
                shutil.rmtree(self._part)
            self._store = get_typestore(Stores.ROS2_HUMBLE)
            self._bag = Writer(self._part, version=9, storage_plugin=StoragePlugin.MCAP)
            try:
                self._bag.open()
            except WriterError as error:
                raise RecordingError(f"The bag {path} can't be written ({error}).") from error
            self._connections = {
                topic: self._bag.add_connection(
                    topic, "sensor_msgs/msg/Image", typestore=self._store
                )
                for topic in (ALPHA_TOPIC, TRIMAP_TOPIC)
            }

    def add(self, position: int, frame: Frame, matte: Matte, latency: float | None = None) -> None:
        """See :meth:`MatteWriter.add`."""
        time = self._time_of(frame.stamp)
        with self._errors():
            for topic, gray in ((ALPHA_TOPIC, matte.alpha), (TRIMAP_TOPIC, _trimap(matte))):
                message = self._message(gray, frame)
                raw = self._store.serialize_cdr(message, "sensor_msgs/msg/Image")
                self._bag.write(self._connections[topic], time, bytes(raw))

    def close(self, complete: bool = True) -> None:
        """See :meth:`MatteWriter.close`."""
        try:
            with self._errors():
                self._bag.close()
                if complete:
                    self._publish()
        except RecordingError:
            # An incomplete bag is left by an error that says more.
            if complete:
                raise
        finally:
            shutil.rmtree(self._part, ignore_errors=True)

    def _publish(self) -> None:
        # The files inside carry the folder's name, and so does metadata.yaml.
        for file in self._part.glob(f"{self._part.name}*"):
            file.rename(file.with_name(file.name.replace(self._part.name, self.path.name)))
        metadata = self._part / "metadata.yaml"
        text = metadata.read_text(encoding="utf-8")
        metadata.write_text(text.replace(self._part.name, self.path.name), encoding="utf-8")
        os.replace(self._part, self.path)

    def _time_of(self, stamp: int) -> int:
        """Time in the bag: the stamp, unless stamps start over, which would shuffle the mattes."""
        step = stamp - self._stamp if self._stamp is not None else 0
        self._time = max(0, stamp) if self._stamp is None else self._time + max(1, step)
        self._stamp = stamp
        return self._time

    def _message(self, gray: NDArray[np.uint8], frame: Frame) -> Any:
        types = self._store.types
        stamp = types["builtin_interfaces/msg/Time"](*divmod(frame.stamp, 10**9))
        header = types["std_msgs/msg/Header"](stamp, frame.camera.frame_id)
        height, width = gray.shape
        data = np.ascontiguousarray(gray).reshape(-1)
        return types["sensor_msgs/msg/Image"](header, height, width, "mono8", 0, width, data)


def write_cutout(file: Path, matte: Matte) -> None:
    """Write the estimated foreground with its alpha as RGBA PNG, whole or not at all.

    Args:
        file: named ``.png``; one that is there is replaced.
        matte: with its foreground.

    Raises:
        RecordingError: if the file has another name or can't be written.
    """
    if file.suffix.lower() != ".png":
        raise RecordingError(f"{file} is not named .png; a cut-out can only be a PNG.")
    try:
        _write_png(file, _cutout(matte))
    except OSError as error:
        raise RecordingError(
            f"{file} can't be written ({error.strerror or error}); choose another place or make "
            "space."
        ) from error


def count_frames(video: Path) -> int:
    """Number of frames that a video file really decodes to, 0 if it can't be read."""
    reader = cv2.VideoCapture(str(video))
    frames = 0
    while reader.grab():
        frames += 1
    reader.release()
    return frames


def _write_png(file: Path, picture: NDArray[np.uint8]) -> None:
    with replacing(file) as temporary:
        temporary.write_bytes(cv2.imencode(".png", picture)[1].tobytes())


def _cutout(matte: Matte) -> NDArray[np.uint8]:
    """BGRA."""
    return np.asarray(cv2.cvtColor(cutout(matte), cv2.COLOR_RGBA2BGRA), np.uint8)


def _trimap(matte: Matte) -> NDArray[np.uint8]:
    if matte.trimap is None:
        raise ValueError("a matte without trimap can't be stored: ask the Predictor for it")
    return matte.trimap

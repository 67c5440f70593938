"""Mattes into a file for Rerun, which shows pictures, points and figures on one timeline.

The entities are ``camera`` (with its matrix), and below it ``color``, ``depth``, ``alpha``,
``trimap`` and ``cutout``; ``points`` (the foreground's) in the same space; ``latency``. All of a
frame's have the times ``frame`` (its position in the recording) and ``stamp``.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import RecordingError
from dart_ros.files import refuse_special
from dart_ros.session.foreground import cutout
from dart_ros.session.matte_files import MatteWriter
from dart_ros.session.rays import Lens, pixel_rays
from dart_ros.values import Camera, Frame, Matte

_JPEG_QUALITY = 90
_BLOCK = 1 << 20  # bytes


class _PipedFile(threading.Thread):
    """Writes what comes through a pipe into a file.

    Rerun may wait for ever for a file of its own that can't be written; a pipe takes all it says.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(name="rerun-file", daemon=True)
        self._file = path.open("wb", buffering=0)
        self._from, self._to = os.pipe()
        self._error: OSError | None = None
        self.start()

    @property
    def pipe(self) -> str:
        """Name under which another writer opens the pipe."""
        return f"/proc/self/fd/{self._to}"

    def close_pipe(self) -> None:
        """Leave the pipe to the other writer, with whom it ends."""
        os.close(self._to)

    def run(self) -> None:
        """Copy until the writer is gone; after an error only read."""
        while block := os.read(self._from, _BLOCK):
            try:
                while block and self._error is None:
                    block = block[self._file.write(block) :]
            except OSError as error:
                self._error = error
        os.close(self._from)
        self._file.close()

    def check(self) -> None:
        """OSError, if what came could not be written."""
        if self._error is not None:
            raise self._error


class RerunWriter(MatteWriter):
    """Takes mattes with trimap and foreground.

    Args:
        path: an ``.rrd`` file; one that is there is replaced.
        camera: of the frames; uncalibrated, it gives no points.
    """

    def __init__(self, path: Path, camera: Camera) -> None:
        try:
            import rerun
            import rerun.blueprint
        except ImportError as error:
            raise RecordingError(
                f"Writing {path} needs rerun-sdk, 0.41 or newer ({error}): pip install "
                "'rerun-sdk>=0.41'"
            ) from error
        super().__init__(path)
        self._rerun = rerun
        self._part = path.with_name(f".{path.stem}.part.rrd")
        self._rays = pixel_rays(Lens(camera)) if camera.calibrated else None
        self._stream = rerun.RecordingStream("dart_ros")
        with self._errors():
            refuse_special(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = _PipedFile(self._part)
            # Times of writing say nothing about a recording.
            self._stream.set_log_time_enabled(False)
            self._stream.set_log_tick_enabled(False)
            self._stream.save(self._file.pipe, default_blueprint=self._layout())
            self._file.close_pipe()
            if camera.calibrated:
                self._log_camera(camera)

    def add(self, position: int, frame: Frame, matte: Matte, latency: float | None = None) -> None:
        """See :meth:`MatteWriter.add`."""
        if matte.trimap is None or matte.foreground is None:
            raise ValueError("a matte without trimap or foreground: ask the Predictor for them")
        rerun, stream = self._rerun, self._stream
        stream.set_time("frame", sequence=position)
        stream.set_time("stamp", timestamp=np.datetime64(frame.stamp, "ns"))
        millimetres = np.clip(np.rint(frame.depth * 1000), 0, 65535).astype(np.uint16)
        bgra = cv2.cvtColor(cutout(matte), cv2.COLOR_RGBA2BGRA)
        with self._errors():
            stream.log("camera/color", self._photo(frame.color))
            stream.log("camera/depth", rerun.DepthImage(millimetres, meter=1000.0))
            stream.log("camera/alpha", self._png(matte.alpha))
            stream.log("camera/trimap", self._png(matte.trimap))
            stream.log("camera/cutout", self._png(bgra))
            if self._rays is not None:
                stream.log("points", self._points(self._rays, frame, matte))
            if latency is not None:
                stream.log("latency", rerun.Scalars(1e3 * latency))
            # A file that can't be written is told at once.
            stream.flush()
            self._file.check()

    def close(self, complete: bool = True) -> None:
        """See :meth:`MatteWriter.close`."""
        try:
            self._stream.disconnect()
            self._file.join()
            if complete:
                with self._errors():
                    self._file.check()
                    refuse_special(self.path)
                    os.replace(self._part, self.path)
        finally:
            self._part.unlink(missing_ok=True)

    def _layout(self) -> object:
        from rerun import blueprint

        pictures = [
            blueprint.Spatial2DView(origin="/camera", contents=[f"/camera/{name}"], name=name)
            for name in ("color", "depth", "alpha", "trimap", "cutout")
        ]
        points = blueprint.Spatial3DView(origin="/", contents=["/camera", "/points"], name="points")
        latency = blueprint.TimeSeriesView(origin="/latency", name="latency, ms")
        grid = blueprint.Grid(*pictures, points)
        return blueprint.Blueprint(blueprint.Vertical(grid, latency, row_shares=[5, 1]))

    def _log_camera(self, camera: Camera) -> None:
        rerun = self._rerun
        pinhole = rerun.Pinhole(
            resolution=[camera.width, camera.height],
            focal_length=[camera.fx, camera.fy],
            principal_point=[camera.cx, camera.cy],
            camera_xyz=rerun.ViewCoordinates.RDF,
        )
        self._stream.log("camera", pinhole, static=True)
        self._stream.log("/", rerun.ViewCoordinates.RDF, static=True)

    def _photo(self, rgb: NDArray[np.uint8]) -> object:
        parameters = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY]
        data = cv2.imencode(".jpg", rgb[..., ::-1], parameters)[1].tobytes()
        return self._rerun.EncodedImage(contents=data, media_type="image/jpeg")

    def _png(self, pixels: NDArray[Any]) -> object:
        data = cv2.imencode(".png", pixels)[1].tobytes()
        return self._rerun.EncodedImage(contents=data, media_type="image/png")

    def _points(self, rays: NDArray[np.float32], frame: Frame, matte: Matte) -> object:
        """The foreground's (alpha of one half and more), where depth is known."""
        assert matte.foreground is not None
        chosen = np.flatnonzero((matte.alpha >= 128) & (frame.depth > 0))
        z = frame.depth.reshape(-1)[chosen, None]
        places = np.hstack([rays[chosen] * z, z])
        return self._rerun.Points3D(places, colors=matte.foreground.reshape(-1, 3)[chosen])

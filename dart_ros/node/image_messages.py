"""ROS messages into frames, arrays into ROS messages."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2, PointField
from std_msgs.msg import Header

from dart_ros.errors import MessageError
from dart_ros.session.compressed_images import depth_from_compressed
from dart_ros.session.encodings import color_from_bytes, color_from_compressed, depth_from_bytes
from dart_ros.session.rays import Lens, pixel_rays
from dart_ros.values import Camera, Frame

ALIGN_HINT = (
    "switch the alignment on in the camera driver (align_depth.enable:=true for RealSense, "
    "depth_registration:=true for Orbbec; Azure Kinect: subscribe to depth_to_rgb/image_raw)"
)


_LONGEST_FRAME_ID = 256  # characters
_SHOWN = 60  # characters of it that go into a text


@dataclass(frozen=True, eq=False)
class ImagePair:
    """A synchronized pair of messages.

    Attributes:
        color: the color image.
        depth: the depth image.
        info: the newest camera_info when they were paired, None before the first.
        rectified: whether the images are rectified, so that camera_info's P is their camera.
        aligned: whether depth is known to be aligned to color, whatever its frame_id says.
    """

    color: Image | CompressedImage
    depth: Image | CompressedImage
    info: CameraInfo | None
    rectified: bool = False
    aligned: bool = False

    @property
    def depth_encoding(self) -> str:
        """Encoding of depth that the node publishes: as in the source, 16UC1 or 32FC1."""
        depth = self.depth
        encoding = depth.format if isinstance(depth, CompressedImage) else depth.encoding
        return "32FC1" if encoding.startswith("32FC1") else "16UC1"


def stamp_of(message: Any) -> int:
    """Return the header's stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


def frame_name(frame_id: str) -> str:
    """Return a frame_id without the leading slash that ROS 1 allowed."""
    return frame_id.lstrip("/")


def lens_from_info(info: CameraInfo | None, width: int, height: int, rectified: bool) -> Lens:
    """Read camera and distortion of a ``width×height`` image.

    Raises:
        MessageError: if there is no camera_info, the camera isn't calibrated or the info is that
            of another image size.
    """
    if info is None:
        raise MessageError(
            "no camera_info comes: let the driver publish it, or remap color/camera_info to the "
            "topic beside the color image"
        )
    values = info.p if rectified else info.k
    fx, cx, fy, cy = (float(values[i]) for i in ((0, 2, 5, 6) if rectified else (0, 2, 4, 5)))
    # All zeros is what sensor_msgs prescribes for an uncalibrated camera.
    if not (np.isfinite([fx, fy, cx, cy]).all() and fx > 0 and fy > 0):
        raise MessageError(
            f"camera_info has no usable camera matrix (fx={fx:g}, fy={fy:g}): calibrate the "
            "camera, or remap color/camera_info to the topic beside the color image"
        )
    if (info.width, info.height) != (width, height):
        raise MessageError(
            f"camera_info is for {info.width}x{info.height} images, but color is {width}x{height}:"
            " remap color/camera_info to the topic beside the color image"
        )
    name = frame_name(info.header.frame_id[:_LONGEST_FRAME_ID])
    camera = Camera(width, height, fx, fy, cx, cy, name)
    if rectified:
        return Lens(camera)
    # No model has more than 14.
    return Lens(camera, info.distortion_model, tuple(float(value) for value in info.d[:15]))


def frame_from_pair(pair: ImagePair, max_depth: float, aligned: bool = False) -> Frame:
    """Turn a pair of messages into a frame.

    Args:
        pair: color in any of ``session.encodings.COLOR_ENCODINGS``, depth in any of
            ``DEPTH_ENCODINGS``, or either compressed; of one size and one frame_id.
        max_depth: range of the sensor in metres; depth beyond it becomes unknown.
        aligned: whether somebody says that depth is aligned, whatever its frame_id says.

    Returns:
        The frame, with the stamp of color; its camera is not calibrated where camera_info is
        missing or can't be used. Its color may be a view of the message's data.

    Raises:
        MessageError: if the two don't belong to one aligned camera, an encoding is unknown or data
            is missing.
    """
    color, depth = pair.color, pair.depth
    names = [
        _checked_frame(message, what) for message, what in ((color, "color"), (depth, "depth"))
    ]
    # A driver that leaves a frame_id empty says nothing about alignment.
    if not (aligned or pair.aligned) and all(names) and names[0] != names[1]:
        raise MessageError(
            f"color is in frame {names[0][:_SHOWN]!r} but depth in frame {names[1][:_SHOWN]!r}, so "
            f"depth isn't aligned to color: {ALIGN_HINT}; if it is aligned all the same, set the "
            "parameter depth_is_aligned to true"
        )
    rgb, metres = _rgb(color), _metres(depth, max_depth)
    height, width = rgb.shape[:2]
    if metres.shape != (height, width):
        raise MessageError(
            f"color is {width}x{height} but depth is {metres.shape[1]}x{metres.shape[0]}, so depth "
            f"isn't aligned to color: {ALIGN_HINT}"
        )
    try:
        camera = lens_from_info(pair.info, width, height, pair.rectified).camera
    except MessageError:
        camera = Camera.uncalibrated(width, height, names[0])
    return Frame(rgb, metres, stamp_of(color), camera)


def why_no_points(pair: ImagePair, camera: Camera) -> str:
    """Say why ~/points can't be made of a pair, or only without distortion; empty if it can.

    Args:
        pair: the messages.
        camera: of the frame that was made of them.
    """
    try:
        lens = lens_from_info(pair.info, camera.width, camera.height, pair.rectified)
    except MessageError as error:
        return f"~/points can't be computed: {error}"
    if lens.known:
        return ""
    return (
        f"~/points leaves out the distortion of the lens: {len(lens.coefficients)} coefficients of "
        f"the model {lens.model[:_SHOWN]!r} in camera_info are not known"
    )


def _checked_frame(message: Any, what: str) -> str:
    frame_id = str(message.header.frame_id)
    if len(frame_id) > _LONGEST_FRAME_ID:
        raise MessageError(
            f"the frame_id of {what} has {len(frame_id)} characters ({frame_id[:_SHOWN]!r}...): "
            "check the camera driver"
        )
    return frame_name(frame_id)


def _rgb(message: Image | CompressedImage) -> NDArray[np.uint8]:
    if isinstance(message, CompressedImage):
        return color_from_compressed(message.data)
    return color_from_bytes(
        message.data,
        message.height,
        message.width,
        message.step,
        message.encoding,
        bool(message.is_bigendian),
    )


def _metres(message: Image | CompressedImage, max_depth: float) -> NDArray[np.float32]:
    if isinstance(message, CompressedImage):
        return depth_from_compressed(message.data, message.format, max_depth)
    return depth_from_bytes(
        message.data,
        message.height,
        message.width,
        message.step,
        message.encoding,
        max_depth,
        bool(message.is_bigendian),
    )


def _message_data(pixels: NDArray[Any]) -> array[int]:
    # rclpy takes an array('B') as it is; anything else is checked element by element.
    data = array("B")
    data.frombytes(np.ascontiguousarray(pixels).reshape(-1).view(np.uint8).data)
    return data


def image_message(pixels: NDArray[Any], encoding: str, header: Header) -> Image:
    """Make an image message.

    Args:
        pixels: ``H×W`` or ``H×W×C``, of the type that the encoding calls for, native byte order.
        encoding: a ``sensor_msgs`` encoding.
        header: stamp and frame of the source.
    """
    message = Image(header=header, encoding=encoding)
    message.height, message.width = pixels.shape[:2]
    message.step = pixels.itemsize * pixels.size // pixels.shape[0]
    message.data = _message_data(pixels)
    return message


class PointCloudMaker:
    """Makes clouds of the foreground; what depends on the camera alone is computed once."""

    _FIELDS = tuple(
        PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
        for i, name in enumerate(("x", "y", "z", "rgb"))
    )

    def __init__(self) -> None:
        self._lens: Lens | None = None
        self._rays: NDArray[np.float32] = np.empty((0, 2), np.float32)
        self._sees: NDArray[np.bool_] = np.empty(0, bool)

    def message(
        self,
        lens: Lens,
        depth: NDArray[np.float32],
        alpha: NDArray[np.uint8],
        color: NDArray[np.uint8],
        header: Header,
    ) -> PointCloud2:
        """Make an unorganized cloud of the pixels with alpha >= 128 and known depth.

        Args:
            lens: camera and distortion.
            depth: ``H×W`` metres, negative where unknown.
            alpha: ``H×W`` uint8.
            color: ``H×W×3`` uint8 RGB.
            header: stamp and frame of the source.

        Returns:
            A dense cloud: x, y, z in metres in the optical frame and rgb packed into a float.
        """
        if lens != self._lens:
            self._rays = pixel_rays(lens)
            self._sees = np.isfinite(self._rays).all(axis=1).reshape(depth.shape)
            self._lens = lens
        chosen = np.flatnonzero((alpha >= 128) & (depth > 0) & self._sees)
        points = np.empty((chosen.size, 4), np.float32)
        z = depth.reshape(-1)[chosen]
        points[:, :2] = self._rays[chosen] * z[:, None]
        points[:, 2] = z
        rgb = color.reshape(-1, 3)[chosen].astype(np.uint32)
        points[:, 3] = (rgb[:, 0] << 16 | rgb[:, 1] << 8 | rgb[:, 2]).view(np.float32)
        message = PointCloud2(header=header, height=1, width=chosen.size, is_dense=True)
        message.fields = list(self._FIELDS)
        message.point_step = 16
        message.row_step = 16 * chosen.size
        message.data = _message_data(points)
        return message


def depth_image(
    depth: NDArray[np.float32], alpha: NDArray[np.uint8], encoding: str
) -> NDArray[np.uint16] | NDArray[np.float32]:
    """Keep the depth of the foreground (alpha >= 128) alone.

    Args:
        depth: ``H×W`` metres, negative where unknown.
        alpha: ``H×W`` uint8.
        encoding: encoding of the source, which the result keeps.

    Returns:
        ``H×W``; for 32FC1 float32 metres with NaN elsewhere, else uint16 millimetres with 0
        elsewhere (REP 118).
    """
    keep = (alpha >= 128) & (depth > 0)
    if encoding == "32FC1":
        return np.where(keep, depth, np.float32(np.nan))
    millimetres = depth * np.float32(1000.0)
    millimetres += np.float32(0.5)  # the conversion below cuts off: this rounds
    millimetres *= keep
    return np.minimum(millimetres, 65535.0).astype(np.uint16)

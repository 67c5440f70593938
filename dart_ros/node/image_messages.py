"""ROS messages into frames, arrays into ROS messages."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from dart_ros.errors import MessageError
from dart_ros.session.encodings import COLOR_ENCODINGS, color_from_bytes, depth_from_bytes
from dart_ros.values import Camera, Frame

ALIGN_HINT = (
    "switch the alignment on in the camera driver (align_depth.enable:=true for RealSense, "
    "depth_registration:=true for Orbbec; Azure Kinect: subscribe to depth_to_rgb/image_raw)"
)


@dataclass(frozen=True, eq=False)
class ImagePair:
    """A synchronized pair with the camera_info that was newest when it was put together."""

    color: Image
    depth: Image
    info: CameraInfo


def camera_from_info(info: CameraInfo, width: int, height: int) -> Camera:
    """Read the pinhole camera of a ``width×height`` image.

    Raises:
        MessageError: if the camera isn't calibrated or the info is that of another image size.
    """
    # All zeros is what sensor_msgs prescribes for an uncalibrated camera.
    fx, _, cx, _, fy, cy = (float(value) for value in info.k[:6])
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
    return Camera(width, height, fx, fy, cx, cy, info.header.frame_id)


def frame_from_pair(pair: ImagePair, max_depth: float) -> Frame:
    """Turn a pair of messages into a frame.

    Args:
        pair: color in any of ``session.encodings.COLOR_ENCODINGS`` or what cv_bridge converts,
            depth in any of ``DEPTH_ENCODINGS``, of one size and one frame_id.
        max_depth: range of the sensor in metres; depth beyond it becomes unknown.

    Returns:
        The frame, with the stamp of color. Its color may be a view of the message's data.

    Raises:
        MessageError: if the two don't belong to one aligned camera, an encoding is unknown, data
            is missing or the camera matrix is unusable.
    """
    color, depth = pair.color, pair.depth
    if (color.width, color.height) != (depth.width, depth.height):
        raise MessageError(
            f"color is {color.width}x{color.height} but depth is {depth.width}x{depth.height}, so "
            f"depth isn't aligned to color: {ALIGN_HINT}"
        )
    frames = color.header.frame_id, depth.header.frame_id
    # A driver that leaves a frame_id empty says nothing about alignment.
    if all(frames) and frames[0] != frames[1]:
        raise MessageError(
            f"color is in frame '{frames[0]}' but depth in frame '{frames[1]}', so depth isn't "
            f"aligned to color: {ALIGN_HINT}"
        )
    rgb = _rgb(color)
    metres = depth_from_bytes(
        depth.data,
        depth.height,
        depth.width,
        depth.step,
        depth.encoding,
        max_depth,
        bool(depth.is_bigendian),
    )
    stamp = color.header.stamp.sec * 1_000_000_000 + color.header.stamp.nanosec
    return Frame(rgb, metres, stamp, camera_from_info(pair.info, color.width, color.height))


def _rgb(message: Image) -> NDArray[np.uint8]:
    """Convert a color message; encodings that aren't ours are left to cv_bridge where it works."""
    # cv_bridge's compiled part was built for NumPy 1 and takes the process down under NumPy 2.
    if message.encoding not in COLOR_ENCODINGS and np.lib.NumpyVersion(np.__version__) < "2.0.0":
        try:
            from cv_bridge import CvBridge, CvBridgeError
        except ImportError:
            pass  # the conversion below says which encodings are known
        else:
            try:
                return np.asarray(CvBridge().imgmsg_to_cv2(message, "rgb8"), np.uint8)
            except (CvBridgeError, ValueError, TypeError) as error:
                raise MessageError(
                    f"color with encoding '{message.encoding}' can't be converted: {error}"
                ) from error
    return color_from_bytes(
        message.data,
        message.height,
        message.width,
        message.step,
        message.encoding,
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
        self._camera: Camera | None = None
        self._rays: NDArray[np.float32] = np.empty((0, 2), np.float32)

    def message(
        self, frame: Frame, alpha: NDArray[np.uint8], color: NDArray[np.uint8], header: Header
    ) -> PointCloud2:
        """Make an unorganized cloud of the pixels with alpha >= 128 and known depth.

        Args:
            frame: depth ``H×W`` in metres and the camera.
            alpha: ``H×W`` uint8.
            color: ``H×W×3`` uint8 RGB.
            header: stamp and frame of the source.

        Returns:
            A dense cloud: x, y, z in metres in the optical frame and rgb packed into a float.
        """
        if frame.camera != self._camera:
            self._rays = _pixel_rays(frame.camera)
            self._camera = frame.camera
        chosen = np.flatnonzero((alpha >= 128) & (frame.depth > 0))
        points = np.empty((chosen.size, 4), np.float32)
        z = frame.depth.reshape(-1)[chosen]
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


def _pixel_rays(camera: Camera) -> NDArray[np.float32]:
    """x/z and y/z of each pixel, ``(H*W)×2``."""
    x = (np.arange(camera.width, dtype=np.float32) - camera.cx) / camera.fx
    y = (np.arange(camera.height, dtype=np.float32) - camera.cy) / camera.fy
    return np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.float32)


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

"""The output topics: only what has a subscriber is computed and published."""

from __future__ import annotations

import copy
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, Image, PointCloud2

from dart_ros.node.image_messages import (
    ImagePair,
    PointCloudMaker,
    depth_image,
    image_message,
    lens_from_info,
)
from dart_ros.node.parameters import Settings
from dart_ros.session.foreground import cutout
from dart_ros.values import Frame, Matte

_TOPICS: dict[str, Any] = {
    "alpha": Image,
    "trimap": Image,
    "foreground": Image,
    "composite": Image,
    "foreground_depth": Image,
    "points": PointCloud2,
    "camera_info": CameraInfo,
}
COLORED = frozenset({"foreground", "composite", "points"})
"""Outputs that are made of the estimated foreground."""

_KEPT = 5  # messages a publisher keeps for a reliable subscriber that is slow


class Outputs:
    """Publishers of everything that is made from a matte, under the node's own name.

    Args:
        node: the node; the publishers are managed by its lifecycle.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publishers = {
            name: node.create_lifecycle_publisher(
                kind,
                f"~/{name}",
                QoSProfile(depth=_KEPT),
                qos_overriding_options=QoSOverridingOptions.with_default_policies(),
            )
            for name, kind in _TOPICS.items()
        }
        self._points = PointCloudMaker()
        self._backdrop = Backdrop()

    def wanted(self) -> frozenset[str]:
        """Return the names of the outputs that somebody subscribes to."""
        return frozenset(
            name
            for name, publisher in self._publishers.items()
            if publisher.get_subscription_count() > 0
        )

    def publish(
        self,
        wanted: frozenset[str],
        pair: ImagePair,
        frame: Frame,
        matte: Matte,
        settings: Settings,
    ) -> None:
        """Publish the wanted outputs of one frame, with the stamp and frame of its color image.

        Args:
            wanted: names from :meth:`wanted`; ``matte.trimap`` must be there if trimap is.
            pair: the messages that the frame was made from.
            frame: the frame.
            matte: its matte, with its foreground if :data:`COLORED` has any of ``wanted``.
            settings: background of the composite.
        """
        header = pair.color.header
        alpha, foreground = matte.alpha, matte.foreground
        if "alpha" in wanted:
            self._send("alpha", image_message(alpha, "mono8", header))
        if "trimap" in wanted and matte.trimap is not None:
            self._send("trimap", image_message(matte.trimap, "mono8", header))
        if "foreground" in wanted and foreground is not None:
            self._send("foreground", image_message(cutout(matte), "rgba8", header))
        if "composite" in wanted and foreground is not None:
            backdrop = self._backdrop.of_size(alpha.shape[1], alpha.shape[0], settings)
            pixels = blend(foreground, alpha, backdrop)
            self._send("composite", image_message(pixels, "rgb8", header))
        if "foreground_depth" in wanted:
            depth = depth_image(frame.depth, alpha, pair.depth_encoding)
            self._send("foreground_depth", image_message(depth, pair.depth_encoding, header))
        if "points" in wanted and foreground is not None and frame.camera.calibrated:
            height, width = alpha.shape
            lens = lens_from_info(pair.info, width, height, pair.rectified)
            cloud = self._points.message(lens, frame.depth, alpha, foreground, header)
            self._send("points", cloud)
        if "camera_info" in wanted:
            self.publish_camera_info(pair)

    def publish_camera_info(self, pair: ImagePair) -> None:
        """Publish the camera_info of a pair, if it has one, stamped like its color image."""
        if pair.info is None:
            return
        info = copy.copy(pair.info)
        info.header = pair.color.header
        self._send("camera_info", info)

    def destroy(self) -> None:
        """Take the publishers back."""
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def _send(self, name: str, message: Any) -> None:
        publisher = self._publishers.get(name)
        # A sender that takes long may find them taken back.
        if publisher is not None:
            publisher.publish(message)


class Backdrop:
    """Background of the composite, made once for each size and choice."""

    def __init__(self) -> None:
        self._plan: tuple[int, int, tuple[int, int, int]] | None = None
        self._image: NDArray[np.uint8] | None = None
        self._pixels: NDArray[np.uint8] = np.zeros((0, 0, 3), np.uint8)

    def of_size(self, width: int, height: int, settings: Settings) -> NDArray[np.uint8]:
        """Return ``height×width×3`` uint8 RGB: the chosen image, cropped to cover, or color."""
        plan, image = (width, height, settings.composite_color), settings.composite_background
        if plan != self._plan or image is not self._image:
            if image is None:
                self._pixels = np.empty((height, width, 3), np.uint8)
                self._pixels[:] = settings.composite_color
            else:
                self._pixels = cover(image, width, height)
            self._plan, self._image = plan, image
        return self._pixels


def cover(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """Scale an image and crop its middle so that it fills ``width×height`` without distortion.

    Args:
        image: ``h×w×3`` uint8.
        width: pixels of the result.
        height: pixels of the result.
    """
    scale = max(width / image.shape[1], height / image.shape[0])
    size = (max(width, round(image.shape[1] * scale)), max(height, round(image.shape[0] * scale)))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    scaled = cv2.resize(image, size, interpolation=method)
    left, top = (size[0] - width) // 2, (size[1] - height) // 2
    return np.ascontiguousarray(scaled[top : top + height, left : left + width])


def blend(
    foreground: NDArray[np.uint8], alpha: NDArray[np.uint8], backdrop: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """Lay a foreground over a backdrop: ``alpha·F + (1 - alpha)·B``, within one level of 255.

    Args:
        foreground: ``H×W×3`` uint8, not premultiplied.
        alpha: ``H×W`` uint8.
        backdrop: ``H×W×3`` uint8.

    Returns:
        ``H×W×3`` uint8.
    """
    weight = cv2.merge([alpha, alpha, alpha])
    lit = cv2.multiply(foreground, weight, scale=1 / 255)
    rest = cv2.multiply(backdrop, cv2.bitwise_not(weight), scale=1 / 255)
    return np.asarray(cv2.add(lit, rest), np.uint8)

"""The output topics: only what has a subscriber is computed and published."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rclpy.lifecycle import LifecycleNode
from rclpy.qos import QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import CameraInfo, CompressedImage, Image, PointCloud2
from std_msgs.msg import Header

from dart_ros.node.compositor import Compositor
from dart_ros.node.compression import compressed_message
from dart_ros.node.context import NodeContext
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
    "input/compressed": CompressedImage,
    "alpha/compressed": CompressedImage,
    "trimap/compressed": CompressedImage,
    "foreground/compressed": CompressedImage,
    "composite/compressed": CompressedImage,
}
COLORED = frozenset(
    {"foreground", "foreground/compressed", "composite", "composite/compressed", "points"}
)
"""Outputs that are made of the estimated foreground."""

TRIMAPS = frozenset({"trimap", "trimap/compressed"})
"""Outputs that are made of the trimap."""

OF_THE_SOURCE = frozenset({"camera_info", "input/compressed"})
"""Outputs that need no matte."""


_KEPT = 5  # messages a publisher keeps for a reliable subscriber that is slow


class Outputs:
    """Publishers of everything that is made from a matte, under the node's own name.

    Args:
        node: the node; the publishers are managed by its lifecycle.
        context: of the node; is told if a backdrop can't be shown.
    """

    def __init__(self, node: LifecycleNode, context: NodeContext) -> None:
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
        self._compositor = Compositor(
            lambda reason: context.post(lambda: context.problems.report(reason))
        )

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
            settings: the composite's parameters, and the quality of JPEG.
        """
        header, alpha = pair.color.header, matte.alpha
        images: dict[str, tuple[Callable[[], NDArray[np.uint8]], str]] = {
            "alpha": (lambda: alpha, "mono8"),
        }
        if matte.trimap is not None:
            trimap = matte.trimap
            images["trimap"] = (lambda: trimap, "mono8")
        if matte.foreground is not None:
            images["foreground"] = (lambda: cutout(matte), "rgba8")
            images["composite"] = (
                lambda: self._compositor.composite(frame, matte, settings),
                "rgb8",
            )
        for name, (make, encoding) in images.items():
            self._publish_image(name, make, encoding, header, wanted, settings)
        if "foreground_depth" in wanted:
            depth = depth_image(frame.depth, alpha, pair.depth_encoding)
            self._send("foreground_depth", image_message(depth, pair.depth_encoding, header))
        if "points" in wanted and matte.foreground is not None and frame.camera.calibrated:
            height, width = alpha.shape
            lens = lens_from_info(pair.info, width, height, pair.rectified)
            cloud = self._points.message(lens, frame.depth, alpha, matte.foreground, header)
            self._send("points", cloud)
        self.publish_source(wanted, pair, frame, settings)

    def publish_source(
        self, wanted: frozenset[str], pair: ImagePair, frame: Frame, settings: Settings
    ) -> None:
        """Publish the wanted outputs that need no matte, see :data:`OF_THE_SOURCE`."""
        if "camera_info" in wanted and pair.info is not None:
            info = copy.copy(pair.info)
            info.header = pair.color.header
            self._send("camera_info", info)
        self._publish_image(
            "input", lambda: frame.color, "rgb8", pair.color.header, wanted, settings
        )

    def _publish_image(
        self,
        name: str,
        make: Callable[[], NDArray[np.uint8]],
        encoding: str,
        header: Header,
        wanted: frozenset[str],
        settings: Settings,
    ) -> None:
        """Publish an image raw and compressed, as far as either is wanted; made once for both."""
        compressed = f"{name}/compressed"
        if not {name, compressed} & wanted:
            return
        pixels = make()
        if name in wanted:
            self._send(name, image_message(pixels, encoding, header))
        if compressed in wanted:
            quality = settings.jpeg_quality
            self._send(compressed, compressed_message(pixels, encoding, header, quality))

    def destroy(self) -> None:
        """Take the publishers back."""
        self._compositor.close()
        for publisher in self._publishers.values():
            self._node.destroy_lifecycle_publisher(publisher)
        self._publishers = {}

    def _send(self, name: str, message: Any) -> None:
        publisher = self._publishers.get(name)
        # A sender that takes long may find them taken back.
        if publisher is not None:
            publisher.publish(message)

"""The topic that shows what a capture saw move."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.qos_overriding_options import QoSOverridingOptions
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dart_ros.node.image_messages import image_message


class CapturePictures:
    """Publishes ``~/capture_picture``, latched.

    Args:
        node: owner of the publisher.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(
            Image,
            "~/capture_picture",
            QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL),
            qos_overriding_options=QoSOverridingOptions.with_default_policies(),
        )

    def show(self, picture: NDArray[np.uint8]) -> None:
        """Publish what moved in a capture that was refused, or what is restless in one that wasn't;
        from any thread.

        Args:
            picture: ``H×W×3`` uint8 RGB.
        """
        header = Header(stamp=self._node.get_clock().now().to_msg())
        self._publisher.publish(image_message(picture, "rgb8", header))

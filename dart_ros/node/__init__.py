"""Everything that touches rclpy: the matting node and the nodes around it."""

"""Real-time background matting for RGB-D cameras on ROS 2.

The package's layers, top to bottom; imports go down only (docs/architecture.md tells more):

* :mod:`dart_ros.cli`, :mod:`dart_ros.demo`, :mod:`dart_ros.operator_page`,
  :mod:`dart_ros.virtual_camera`, :mod:`dart_ros.launching`: what people start,
* :mod:`dart_ros.node`: everything that touches rclpy,
* :mod:`dart_ros.evaluation`: accuracy beside other methods,
* :mod:`dart_ros.session`: scenes, recordings, background capture, frame in and matte out,
* :mod:`dart_ros.runtime`, :mod:`dart_ros.postmatting`: engines,
* :mod:`dart_ros.fitting`, :mod:`dart_ros.simulation`, :mod:`dart_ros.export`: with torch,
* :mod:`dart_ros.method`: the method itself, free of files and of ROS.

What a robot runs, down to the engines, imports no torch.
"""

from __future__ import annotations

import pkgutil

# The generated message modules (dart_ros.msg, dart_ros.srv) are installed in another folder.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"

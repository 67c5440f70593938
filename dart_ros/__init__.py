"""Real-time background matting for RGB-D cameras on ROS 2.

The package's floors, top to bottom; imports go down only:

* :mod:`dart_ros.node` and :mod:`dart_ros.cli`: everything that touches rclpy or a terminal,
* :mod:`dart_ros.session`: scenes, recordings, background capture, frame in and matte out,
* :mod:`dart_ros.fitting`, :mod:`dart_ros.runtime`, :mod:`dart_ros.evaluation`,
* :mod:`dart_ros.method`: the method itself, free of files and of ROS,

with :mod:`dart_ros.values` and :mod:`dart_ros.errors` under all of them.
"""

from __future__ import annotations

import pkgutil

# The generated message modules (dart_ros.msg, dart_ros.srv) are installed in another folder.
__path__ = pkgutil.extend_path(__path__, __name__)

__version__ = "0.1.0"

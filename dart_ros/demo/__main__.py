"""``python -m dart_ros.demo``: see :mod:`dart_ros.demo.harness`."""

import sys

from dart_ros.demo.harness import main

if __name__ == "__main__":
    sys.exit(main())

#!/bin/bash
# Runs a command in the environment of ROS, of what came by pip, and of this package.
set -e
source "/opt/ros/$ROS_DISTRO/setup.bash"
source /workspace/venv/bin/activate
source /workspace/install/local_setup.bash
exec "$@"

# Source this (bash) to use what scripts/workspace.sh has set up:  . scripts/environment.sh
# A Fast DDS profile that is already set is kept.
# shellcheck shell=bash disable=SC1091
unset PYTHONPATH AMENT_PREFIX_PATH CMAKE_PREFIX_PATH COLCON_PREFIX_PATH
dart_ros_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
. "$dart_ros_root/.venv/bin/activate"
export AMENT_PREFIX_PATH=$VIRTUAL_ENV
. "$dart_ros_root/install/setup.bash"

# The only middleware that is installed there, whatever a robot's shell has chosen.
export RMW_IMPLEMENTATION=rmw_fastrtps_cpp
# Jazzy's Fast DDS reads this name; later ones warn of it.
profile=${FASTRTPS_DEFAULT_PROFILES_FILE:-${FASTDDS_DEFAULT_PROFILES_FILE:-$dart_ros_root/config/fastdds.xml}}
export FASTRTPS_DEFAULT_PROFILES_FILE=$profile
# Robots on the same network neither hear the demo and the tests nor disturb them.
export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}
unset dart_ros_root profile

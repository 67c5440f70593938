"""What the launch files share; only :mod:`dart_ros.launching.description` needs ``launch``."""

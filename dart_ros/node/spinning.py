"""The executor's loop, which survives the faults of callbacks."""

from __future__ import annotations

import traceback
from collections.abc import Callable

import rclpy
from rclpy.executors import Executor

from dart_ros.node.problems import Problems

_LAST_SPINS = 50


def spin(executor: Executor, problems: Problems, wanted: Callable[[], bool]) -> bool:
    """Spin while ``wanted`` returns true; a timer of the node must wake the executor to see that.

    Returns:
        Whether it ended as wanted; False if rclpy itself raised.
    """
    while rclpy.ok() and wanted():
        try:
            executor.spin_once(timeout_sec=1.0)
        except Exception as error:
            if not _raised_in_callback(error):
                rclpy.logging.get_logger("matting_node").fatal(traceback.format_exc())
                return False
            problems.report_fault(error)
    return True


def deliver(executor: Executor) -> None:
    """Spin for what is to be sent already: the result of a goal takes two tasks of the executor,
    behind all that is ready."""
    for _ in range(_LAST_SPINS):
        executor.spin_once(timeout_sec=0)


def _raised_in_callback(error: Exception) -> bool:
    """Whether a callback of this package raised; after what rclpy itself raises it can be deaf."""
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
    modules = (frame.f_globals.get("__name__", "") for frame in frames)
    return any(name == "__main__" or name.startswith("dart_ros") for name in modules)

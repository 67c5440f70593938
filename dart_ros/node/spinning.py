"""Start of the node, and the executor's loop, which survives the faults of callbacks."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable, Sequence
from typing import TypeVar

import rclpy
from rclpy.exceptions import NameValidationException, ParameterException
from rclpy.executors import Executor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dart_ros.node.log import LONGEST
from dart_ros.node.problems import Problems
from dart_ros.printable import printable

NodeType = TypeVar("NodeType", bound=Node)

_LAST_SPINS = 50


def start(args: Sequence[str] | None, make: Callable[[], NodeType]) -> NodeType | None:
    """Initialize rclpy, without its signal handlers, and make a node.

    Returns:
        The node, or None if it can't start; stderr or the log tells why.
    """
    try:
        rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    except Exception as error:
        # rclpy's own classes have no public names: RCLError, UnknownROSArgsError and others.
        print(f"matting_node can't start: {_why_no_start(str(error))}", file=sys.stderr)
        rclpy.try_shutdown()
        return None
    try:
        return make()
    except (ParameterException, NameValidationException) as error:
        rclpy.logging.get_logger("matting_node").fatal(printable(str(error), LONGEST))
        rclpy.try_shutdown()
        return None


def _why_no_start(why: str) -> str:
    told = printable(why, LONGEST)
    if "logging" in why or "log file" in why or "log director" in why:
        return f"{told}; set ROS_LOG_DIR to a folder that it may write to, or HOME to its home"
    return told


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

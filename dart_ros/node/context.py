"""What the parts of the node share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dart_ros.node.log import NodeLog
from dart_ros.node.parameters import Settings
from dart_ros.node.problems import Problems

INACTIVE = "the node is not active: activate it first"
"""Why a request is refused."""


@dataclass(frozen=True)
class NodeContext:
    """Given to each part of the node.

    Attributes:
        name: fully qualified name of the node.
        log: the node's log.
        settings: returns the settings in force; from any thread.
        post: runs a callable in the executor's thread; from any thread.
        now: returns the ROS time in nanoseconds; from any thread.
        active: whether the node is active.
        problems: failed requests and faults, for log and status.
    """

    name: str
    log: NodeLog
    settings: Callable[[], Settings]
    post: Callable[[Callable[[], None]], None]
    now: Callable[[], int]
    active: Callable[[], bool]
    problems: Problems

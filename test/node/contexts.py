"""A node's context for tests of its parts."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dart_ros.node.context import NodeContext
from dart_ros.node.log import NodeLog
from dart_ros.node.parameters import Settings
from dart_ros.node.problems import Problems


def context_of(logger: Any, **changes: Any) -> NodeContext:
    """A context that logs to ``logger`` and has the defaults, or what ``changes`` say."""
    log = NodeLog(logger)
    made = NodeContext(
        name="/matting_node",
        log=log,
        settings=Settings.defaults,
        post=lambda _: None,
        now=lambda: 0,
        active=lambda: True,
        problems=Problems(log),
    )
    return replace(made, **changes)

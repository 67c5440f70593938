"""Lifecycle transitions that aren't possible are refused."""

from __future__ import annotations

from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode

from dart_ros.node.log import NodeLog
from dart_ros.printable import printable

_LONGEST_LABEL = 80  # characters


def refuse_wrong_transitions(node: LifecycleNode, log: NodeLog) -> None:
    """Answer a request for an impossible transition with ``success`` false.

    rclpy raises out of its own code instead and never answers (Humble to Kilted, rclpy 3 to 9). It
    has no public access to the service: the private names are the same in all of them.
    """
    service = node._service_change_state
    change = service.callback

    def changed(request: ChangeState.Request, response: ChangeState.Response) -> Any:
        label = printable(request.transition.label, _LONGEST_LABEL)
        try:
            # rcl logs a label that it doesn't know as it is.
            if label == request.transition.label:
                return change(request, response)
        except rclpy_implementation.RCLError:
            pass
        asked = label or request.transition.id
        state = node._state_machine.current_state[1]
        log.error(f"transition '{asked}' is refused: the node is {state}")
        response.success = False
        return response

    service.callback = changed

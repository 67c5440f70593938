"""Lifecycle transitions that aren't possible are refused."""

from __future__ import annotations

from typing import Any

from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode

from dart_ros.node.log import NodeLog
from dart_ros.printable import printable

_LONGEST_LABEL = 80  # characters


def refuse_wrong_transitions(node: LifecycleNode, log: NodeLog) -> None:
    """Answer a request for an impossible transition with ``success`` false, and log it.

    rclpy of Humble and Jazzy raises out of its own code instead and never answers, that of Kilted
    logs nothing that helps. It has no public access to the service: the private names are the same
    in all of them (rclpy 3 to 9).
    """
    service, machine = node._service_change_state, node._state_machine
    change = service.callback

    def changed(request: ChangeState.Request, response: ChangeState.Response) -> Any:
        # By its label, else by its number; rcl logs a label that it doesn't know as it is.
        asked = request.transition.label or request.transition.id
        if any(asked in possible[:2] for possible in machine.available_transitions):
            return change(request, response)
        shown = printable(str(asked), _LONGEST_LABEL)
        log.error(f"transition '{shown}' is refused: the node is {machine.current_state[1]}")
        response.success = False
        return response

    service.callback = changed

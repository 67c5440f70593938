"""Actions whose goals end later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.action import ActionServer, CancelResponse
from rclpy.node import Node

from dart_ros.node.context import NodeContext
from dart_ros.node.deferred_service import CALLS
from dart_ros.node.log import LONGEST
from dart_ros.printable import printable

_RESULT_TIMEOUT = 60  # seconds for which a result is kept for the client to ask for it


class Goal:
    """A goal that runs; for the executor's thread.

    Attributes:
        request: the goal that the client sent.
    """

    def __init__(self, server: ActionServer, handle: Any) -> None:
        self.request = handle.request
        self._server = server
        self._handle = handle
        self._ended = self._sent = False
        self._feedback: Any = None
        self._give_feedback: Callable[[], Any] = lambda: None
        self._cancel: Callable[[], bool] = lambda: False

    @property
    def sent(self) -> bool:
        """Whether the executor has sent the result."""
        return self._sent

    def follow(self, feedback: Callable[[], Any], cancel: Callable[[], bool]) -> None:
        """Have a goal that isn't done at once followed.

        Args:
            feedback: returns the feedback message of this moment.
            cancel: starts to cancel the work, unless that is too late; returns whether it did. The
                goal still has to :meth:`end`.
        """
        self._give_feedback, self._cancel = feedback, cancel

    def end(self, result: Any, success: bool) -> None:
        """Send the result, once (what comes later is ignored).

        The goal succeeds, or is cancelled if the client asked for that, else aborted.
        """
        if self._ended:
            return
        self._ended = True
        result.message = printable(result.message, LONGEST)

        def finish(handle: Any) -> Any:
            if success:
                handle.succeed()
            elif handle.is_cancel_requested:
                handle.canceled()
            else:
                handle.abort()
            self._sent = True
            return result

        self._server.notify_execute(self._handle, finish)

    def publish_feedback(self) -> None:
        """Publish the feedback if it has changed."""
        if self._ended:
            return
        feedback = self._give_feedback()
        if feedback != self._feedback:
            self._feedback = feedback
            self._handle.publish_feedback(feedback)

    def cancel(self) -> bool:
        """Start to cancel the work; whether that is still possible."""
        return not self._ended and self._cancel()


class _Server(ActionServer):
    """An action server that marks an accepted goal as executing and runs nothing by itself.

    rclpy's way, an execute callback that takes as long as the goal, needs threads or a coroutine,
    and its executors keep stepping a coroutine that waits (Humble to Kilted, rclpy 3 to 9).
    ``notify_execute`` is public in all of them.
    """

    def notify_execute(
        self, goal_handle: Any, execute_callback: Callable[[Any], Any] | None
    ) -> None:
        if execute_callback is not None:
            super().notify_execute(goal_handle, execute_callback)


class DeferredAction:
    """An action whose callback returns at once and whose goals end when there is a result.

    Args:
        node: owner of the action.
        context: of the node.
        action_type: action type.
        name: action name.
        start: called with each goal; it ends it, now or later, or has it followed.
    """

    def __init__(
        self,
        node: Node,
        context: NodeContext,
        action_type: Any,
        name: str,
        start: Callable[[Goal], None],
    ) -> None:
        self._context = context
        self._type = action_type
        self._start = start
        self._open: dict[bytes, Goal] = {}
        self._server = _Server(
            node,
            action_type,
            name,
            execute_callback=lambda _: action_type.Result(),  # never called, see _Server
            handle_accepted_callback=self._accepted,
            cancel_callback=self._cancel_asked,
            goal_service_qos_profile=CALLS,
            result_service_qos_profile=CALLS,
            cancel_service_qos_profile=CALLS,
            result_timeout=_RESULT_TIMEOUT,
        )

    @property
    def pending(self) -> int:
        """How many goals wait for their result."""
        self._forget()
        return len(self._open)

    def update(self) -> None:
        """Publish the feedback of the goals that run."""
        self._forget()
        for goal in self._open.values():
            goal.publish_feedback()

    def abort_open(self, reason: str) -> None:
        """End all goals that still run."""
        for goal in self._open.values():
            goal.end(self._type.Result(message=reason), success=False)

    def _forget(self) -> None:
        self._open = {key: goal for key, goal in self._open.items() if not goal.sent}

    def _accepted(self, handle: Any) -> None:
        goal = Goal(self._server, handle)
        self._open[bytes(handle.goal_id.uuid)] = goal
        handle.execute()
        try:
            self._start(goal)
        except Exception as error:
            # The client gets an answer in any case.
            reason = self._context.problems.report_error(error)
            goal.end(self._type.Result(message=reason), success=False)

    def _cancel_asked(self, handle: Any) -> CancelResponse:
        goal = self._open.get(bytes(handle.goal_id.uuid))
        # rclpy marks the goal as cancelled after this, so it must not end in here.
        if goal is None or not goal.cancel():
            return CancelResponse.REJECT
        return CancelResponse.ACCEPT

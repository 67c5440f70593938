"""Services that answer later."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.qos import QoSProfile

from dart_ros.node.context import NodeContext
from dart_ros.node.log import LONGEST
from dart_ros.printable import printable

CALLS = QoSProfile(depth=1000)
"""Of services and their clients, as of rclpy's own for parameters. With the default of 10 requests
are lost that come while the executor is busy, and answers, of which a client gets all clients'."""


class Reply:
    """The answer that a client of a :class:`DeferredService` waits for.

    Attributes:
        response: the message to fill in before :meth:`send`.
    """

    def __init__(self, send: Callable[[Any, Any], None], response: Any) -> None:
        self.response = response
        self._send = send
        self._header: Any = None
        self._ready = False
        self._sent = False

    @property
    def sent(self) -> bool:
        """Whether the client has its answer."""
        return self._sent

    def send(self) -> None:
        """Send the response; in the executor's thread, once (what comes later is ignored)."""
        if self._sent:
            return
        self.response.message = printable(self.response.message, LONGEST)
        self._ready = True
        if self._header is not None:
            self._sent = True
            self._send(self.response, self._header)

    def answer(self, success: bool, message: str, **fields: Any) -> None:
        """Send a response with these fields; see :meth:`send`."""
        for name, value in {"success": success, "message": message, **fields}.items():
            setattr(self.response, name, value)
        self.send()

    def refuse(self, message: str) -> None:
        """Send a response with ``success`` false and the reason."""
        self.answer(False, message)

    def _address(self, header: Any) -> None:
        self._header = header
        if self._ready:
            self.send()


class DeferredService:
    """A service whose callback returns at once and whose answer follows when there is one.

    rclpy offers a coroutine for that, but its executors keep stepping a coroutine that waits and
    so occupy a core for as long as it does. Here the executor's own call of ``send_response``,
    right after the callback, only notes the header of the request; :meth:`Reply.send` answers.
    Executors of Humble, Jazzy and Kilted (rclpy 3 to 9) all call ``service.send_response``.

    Args:
        node: owner of the service.
        context: of the node.
        srv_type: service type.
        name: service name.
        callback: called with the request and the reply to fill in and send, now or later.
    """

    def __init__(
        self,
        node: Node,
        context: NodeContext,
        srv_type: Any,
        name: str,
        callback: Callable[[Any, Reply], None],
    ) -> None:
        self._callback = callback
        self._context = context
        self._replies: dict[int, Reply] = {}
        self._open: list[Reply] = []
        service = node.create_service(srv_type, name, self._called, qos_profile=CALLS)
        self._send_response = service.send_response
        service.send_response = self._answered

    def refuse_open(self, reason: str) -> None:
        """Answer all who still wait; in the executor's thread."""
        for reply in self._open:
            reply.refuse(reason)

    def _called(self, request: Any, response: Any) -> Any:
        reply = Reply(self._send_now, response)
        self._replies[id(response)] = reply
        self._open = [earlier for earlier in self._open if not earlier.sent] + [reply]
        try:
            self._callback(request, reply)
        except Exception as error:
            # The client gets an answer in any case.
            reply.refuse(self._context.problems.report_error(error))
        return response

    def _send_now(self, response: Any, header: Any) -> None:
        try:
            self._send_response(response, header)
        except rclpy_implementation.RCLError as error:
            # A client that no longer waits is no reason to end.
            self._context.log.warning(f"a response could not be sent: {error}")

    def _answered(self, response: Any, header: Any) -> None:
        self._replies.pop(id(response))._address(header)

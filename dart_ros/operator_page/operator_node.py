"""The node ``operator_node``: serves the operator's page for all matting nodes that it finds."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import rclpy
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from dart_ros.node.callback_queue import CallbackQueue
from dart_ros.operator_page.access import Access
from dart_ros.operator_page.matting_client import MattingClient

_LOOK = 1.0  # seconds between two looks which matting nodes are there
_STATUS_TYPE = "dart_ros/msg/Status"
_STATUS_TOPIC = "/status"


class OperatorNode(Node):
    """Finds matting nodes by their status topics.

    Args:
        loop: the server's event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__("operator_node")
        self.declare_parameter("host", "127.0.0.1")
        self.declare_parameter("port", 8099)
        self.declare_parameter("token", "")
        self.declare_parameter("backdrops_dir", "~/.ros/dart_ros/backdrops")
        self._loop = loop
        self._queue = CallbackQueue(self)
        self._clients_by_name: dict[str, MattingClient] = {}
        self.create_timer(_LOOK, self._find)
        self._find()

    def matting_nodes(self) -> dict[str, MattingClient]:
        """The matting nodes that are there now, by name; from any thread."""
        return self._clients_by_name

    def _find(self) -> None:
        names = {
            topic.removesuffix(_STATUS_TOPIC)
            for topic, types in self.get_topic_names_and_types()
            if _STATUS_TYPE in types
            and topic.endswith(_STATUS_TOPIC)
            and self.count_publishers(topic)
        }
        known = self._clients_by_name
        if names == known.keys():
            return
        for name in known.keys() - names:
            self.get_logger().info(f"{name} is gone")
            known[name].destroy()
        # Replaced as a whole, because the server's thread reads it.
        self._clients_by_name = {
            name: known.get(name) or MattingClient(self, name, self._queue.post, self._loop)
            for name in names
        }
        for name in names - known.keys():
            self.get_logger().info(f"found {name}")


async def _serve(node: OperatorNode, stopping: asyncio.Event) -> None:
    try:
        from aiohttp import web

        from dart_ros.operator_page.server import make_app
    except ImportError as error:
        raise ValueError(
            f"the operator's page needs aiohttp ({error}): apt install python3-aiohttp, or pip "
            "install aiohttp"
        ) from error
    host = str(node.get_parameter("host").value)
    port = int(node.get_parameter("port").value or 0)
    access = Access(host, str(node.get_parameter("token").value))
    backdrops = Path(str(node.get_parameter("backdrops_dir").value)).expanduser()
    # Live pictures end when the server does, not when their viewers go.
    runner = web.AppRunner(make_app(node.matting_nodes, access, backdrops), shutdown_timeout=1.0)
    await runner.setup()
    try:
        try:
            await web.TCPSite(runner, host, port).start()
        except OSError as error:
            raise ValueError(
                f"the page can't be served on {host}:{port} ({error.strerror or error}): set the "
                "parameters host and port"
            ) from error
        shown = f"[{host}]" if ":" in host else host
        node.get_logger().info(
            f"the operator's page is at http://{shown}:{runner.addresses[0][1]}/"
            + (" and asks for the token" if access.asks else "")
        )
        await stopping.wait()
    finally:
        await runner.cleanup()


async def _run() -> int:
    """Serve the page until SIGINT or SIGTERM; the exit status."""
    loop = asyncio.get_running_loop()
    try:
        node = OperatorNode(loop)
    except ParameterException as error:
        rclpy.logging.get_logger("operator_node").fatal(str(error))
        return 1
    executor = SingleThreadedExecutor()
    executor.add_node(node)

    def spin() -> None:
        with contextlib.suppress(ExternalShutdownException):
            executor.spin()

    thread = threading.Thread(target=spin, name="rclpy", daemon=True)
    thread.start()
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    failed = 0
    try:
        await _serve(node, stopping)
    except ValueError as error:
        node.get_logger().fatal(str(error))
        failed = 1
    # Who presses Ctrl-C under `ros2 launch` sends two.
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.remove_signal_handler(number)
        signal.signal(number, signal.SIG_IGN)
    executor.shutdown(timeout_sec=2.0)
    thread.join(2.0)
    return failed


def main(args: Sequence[str] | None = None) -> int:
    """Serve the page until SIGINT or SIGTERM.

    Returns:
        0 after a clean end, 1 if a parameter is refused or the page can't be served.
    """
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    try:
        # Ends what still waits for a viewer that has gone.
        return asyncio.run(_run())
    finally:
        rclpy.try_shutdown()


if __name__ == "__main__":
    sys.exit(main())

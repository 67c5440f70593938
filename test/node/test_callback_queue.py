"""Callables of other threads, in a real executor."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from waiting import PATIENCE

from dart_ros.demo.domain import own_domain
from dart_ros.node.callback_queue import CallbackQueue


@pytest.fixture
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain())
    made = rclpy.create_node("queue", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


@pytest.fixture
def executor(node: Node) -> Iterator[SingleThreadedExecutor]:
    made = SingleThreadedExecutor(context=node.context)
    made.add_node(node)
    yield made
    made.shutdown()


def test_callbacks_run_in_order_in_the_executors_thread(
    node: Node, executor: SingleThreadedExecutor
) -> None:
    queue = CallbackQueue(node)
    ran: list[tuple[int, int]] = []

    def post(number: int) -> None:
        queue.post(lambda: ran.append((number, threading.get_ident())))

    poster = threading.Thread(target=lambda: [post(i) for i in range(50)])
    poster.start()
    end = time.monotonic() + PATIENCE
    while len(ran) < 50:
        assert time.monotonic() < end
        executor.spin_once(timeout_sec=0.05)
    poster.join()
    assert ran == [(i, threading.get_ident()) for i in range(50)]


def test_a_callback_that_raises_does_not_hold_up_the_rest(
    node: Node, executor: SingleThreadedExecutor
) -> None:
    queue, ran = CallbackQueue(node), list[int]()

    def fault() -> None:
        raise ZeroDivisionError

    for callback in (lambda: ran.append(1), fault, lambda: ran.append(2)):
        queue.post(callback)
    end = time.monotonic() + PATIENCE
    with pytest.raises(ZeroDivisionError):
        while time.monotonic() < end:
            executor.spin_once(timeout_sec=0.05)
    assert ran == [1]
    while ran != [1, 2]:
        assert time.monotonic() < end
        executor.spin_once(timeout_sec=0.05)


def test_a_post_after_the_nodes_end_is_dropped(node: Node) -> None:
    queue = CallbackQueue(node)
    node.destroy_node()
    queue.post(pytest.fail)

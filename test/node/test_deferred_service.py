"""Services that answer later, with a real client in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

import rclpy
from contexts import context_of
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from std_srvs.srv import Trigger
from waiting import PATIENCE

from dart_ros.demo.domain import own_domain
from dart_ros.node.deferred_service import CALLS, DeferredService, Reply


@pytest.fixture
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain())
    made = rclpy.create_node("deferred", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


@pytest.fixture
def spin(node: Node) -> Iterator[Callable[[Callable[[], bool]], None]]:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def until(done: Callable[[], bool]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, "it never happened"
            executor.spin_once(timeout_sec=0.05)

    yield until
    executor.shutdown()


def call(node: Node, spin: Callable[[Callable[[], bool]], None]) -> Any:
    """A request that is on its way; its future."""
    client = node.create_client(Trigger, "~/wait")
    spin(client.service_is_ready)
    return client.call_async(Trigger.Request())


def test_an_answer_at_once_and_one_that_follows(
    node: Node, spin: Callable[[Callable[[], bool]], None]
) -> None:
    replies: list[Reply] = []

    def requested(_: Any, reply: Reply) -> None:
        replies.append(reply)
        if len(replies) == 1:
            reply.response.success = True
            reply.send()

    DeferredService(node, context_of(node.get_logger()), Trigger, "~/wait", requested)
    first = call(node, spin)
    spin(first.done)
    assert first.result().success
    # One after the other: requests of two clients may overtake each other.
    second = call(node, spin)
    spin(lambda: len(replies) == 2)
    third = call(node, spin)
    spin(lambda: len(replies) == 3)
    assert not second.done() and not third.done()
    replies[2].refuse("not now")
    replies[2].refuse("what comes later is ignored")
    spin(third.done)
    assert (third.result().success, third.result().message) == (False, "not now")
    assert not second.done()


def test_no_call_is_lost_that_comes_while_the_executor_is_busy(
    node: Node, spin: Callable[[Callable[[], bool]], None]
) -> None:
    DeferredService(
        node,
        context_of(node.get_logger()),
        Trigger,
        "~/wait",
        lambda _, reply: reply.answer(True, "done"),
    )
    client = node.create_client(Trigger, "~/wait", qos_profile=CALLS)
    spin(client.service_is_ready)
    futures = [client.call_async(Trigger.Request()) for _ in range(60)]
    time.sleep(0.5)  # the middleware's threads take them, nobody spins
    spin(lambda: all(future.done() for future in futures))
    assert all(future.result().success for future in futures)


def test_a_callback_that_raises_answers_with_the_fault(
    node: Node, spin: Callable[[Callable[[], bool]], None]
) -> None:
    def requested(_: Any, reply: Reply) -> None:
        raise ZeroDivisionError("what nobody thought of")

    DeferredService(node, context_of(node.get_logger()), Trigger, "~/wait", requested)
    for _ in range(2):
        answer = call(node, spin)
        spin(answer.done)
        assert not answer.result().success
        assert "internal error" in answer.result().message
        assert "what nobody thought of" in answer.result().message


def test_who_still_waits_is_refused_at_the_end(
    node: Node, spin: Callable[[Callable[[], bool]], None]
) -> None:
    replies: list[Reply] = []
    service = DeferredService(
        node,
        context_of(node.get_logger()),
        Trigger,
        "~/wait",
        lambda _, reply: replies.append(reply),
    )
    answered = call(node, spin)
    spin(lambda: len(replies) == 1)
    waiting = call(node, spin)
    spin(lambda: len(replies) == 2)
    replies[0].response.success = True
    replies[0].send()
    service.refuse_open("all is over")
    spin(lambda: bool(answered.done() and waiting.done()))
    assert answered.result().success
    assert not waiting.result().success and waiting.result().message == "all is over"

"""Actions that end later, with a real client in the same process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("dart_ros.action", reason="needs the built interfaces (make build)")

import rclpy
from action_msgs.msg import GoalStatus
from contexts import context_of
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from waiting import PATIENCE

from dart_ros.action import FitScene
from dart_ros.demo.domain import own_domain
from dart_ros.node.deferred_action import DeferredAction, Goal

Spin = Callable[[Callable[[], Any]], None]


@pytest.fixture
def node() -> Iterator[Node]:
    context = rclpy.Context()
    rclpy.init(context=context, domain_id=own_domain())
    made = rclpy.create_node("deferred", context=context)
    yield made
    made.destroy_node()
    context.try_shutdown()


@pytest.fixture
def spin(node: Node) -> Iterator[Spin]:
    executor = SingleThreadedExecutor(context=node.context)
    executor.add_node(node)

    def until(done: Callable[[], Any]) -> None:
        end = time.monotonic() + PATIENCE
        while not done():
            assert time.monotonic() < end, "it never happened"
            executor.spin_once(timeout_sec=0.05)

    yield until
    executor.shutdown()


class Server:
    """The action under test, whose goals end when the test says so, and a client of it."""

    def __init__(self, node: Node, spin: Spin) -> None:
        self.goals: list[Goal] = []
        self.feedback: list[FitScene.Feedback] = []
        context = context_of(node.get_logger())
        self.action = DeferredAction(node, context, FitScene, "~/fit", self.start)
        self._client = ActionClient(node, FitScene, "~/fit")
        self._spin = spin
        spin(self._client.server_is_ready)

    def start(self, goal: Goal) -> None:
        if goal.request.scene == "broken":
            raise ZeroDivisionError("what nobody thought of")
        self.goals.append(goal)

    def send(self, scene: str = "room") -> Any:
        """Send a goal, wait until it is accepted, ask for the result; (handle, its future)."""
        sent = self._client.send_goal_async(
            FitScene.Goal(scene=scene), lambda m: self.feedback.append(m.feedback)
        )
        self._spin(sent.done)
        assert sent.result().accepted
        return sent.result(), sent.result().get_result_async()

    def result(self, future: Any) -> tuple[int, str]:
        """Status and message of a goal that ends."""
        self._spin(future.done)
        return future.result().status, future.result().result.message


@pytest.fixture
def server(node: Node, spin: Spin) -> Server:
    return Server(node, spin)


def test_goals_end_in_any_order(server: Server) -> None:
    futures = [server.send()[1] for _ in range(3)]
    assert server.action.pending == 3
    server.goals[2].end(FitScene.Result(message="first"), success=True)
    server.goals[2].end(FitScene.Result(message="what comes later is ignored"), success=False)
    assert server.result(futures[2]) == (GoalStatus.STATUS_SUCCEEDED, "first")
    assert not futures[0].done() and not futures[1].done()
    server.goals[0].end(FitScene.Result(message="no"), success=False)
    assert server.result(futures[0]) == (GoalStatus.STATUS_ABORTED, "no")
    assert server.action.pending == 1
    server.action.abort_open("all is over")
    assert server.result(futures[1]) == (GoalStatus.STATUS_ABORTED, "all is over")


def test_feedback_comes_when_it_changes(server: Server, spin: Spin) -> None:
    now = FitScene.Feedback()
    _, future = server.send()
    server.goals[0].follow(lambda: FitScene.Feedback(progress=now.progress), lambda: True)
    for now.progress in (0.0, 0.25, 0.25, 0.5, 0.5):
        server.action.update()
    spin(lambda: len(server.feedback) == 3)
    server.goals[0].end(FitScene.Result(), success=True)
    server.result(future)
    server.action.update()
    assert [message.progress for message in server.feedback] == [0.0, 0.25, 0.5]


def test_a_goal_is_cancelled_when_its_work_has_ended(server: Server, spin: Spin) -> None:
    handle, future = server.send()
    asked: list[bool] = []
    server.goals[0].follow(FitScene.Feedback, lambda: asked.append(True) or True)
    cancelled = handle.cancel_goal_async()
    spin(cancelled.done)
    assert len(cancelled.result().goals_canceling) == 1 and asked == [True]
    assert not future.done()
    server.goals[0].end(FitScene.Result(message="cancelled"), success=False)
    assert server.result(future) == (GoalStatus.STATUS_CANCELED, "cancelled")


def test_work_that_ends_well_in_spite_of_the_cancel_succeeds(server: Server, spin: Spin) -> None:
    handle, future = server.send()
    server.goals[0].follow(FitScene.Feedback, lambda: True)
    cancelled = handle.cancel_goal_async()
    spin(cancelled.done)
    server.goals[0].end(FitScene.Result(message="just in time"), success=True)
    assert server.result(future) == (GoalStatus.STATUS_SUCCEEDED, "just in time")


def test_a_cancel_that_comes_too_late_is_refused(server: Server, spin: Spin) -> None:
    handle, future = server.send()
    server.goals[0].follow(FitScene.Feedback, lambda: False)
    cancelled = handle.cancel_goal_async()
    spin(cancelled.done)
    assert not cancelled.result().goals_canceling
    server.goals[0].end(FitScene.Result(message="done"), success=True)
    assert server.result(future) == (GoalStatus.STATUS_SUCCEEDED, "done")


def test_a_start_that_raises_aborts_with_the_fault(server: Server) -> None:
    status, message = server.result(server.send("broken")[1])
    assert status == GoalStatus.STATUS_ABORTED
    assert "internal error" in message and "what nobody thought of" in message


def test_a_goal_that_runs_costs_no_processor(server: Server, spin: Spin) -> None:
    server.send()

    def spent() -> float:
        """Seconds of the processor in half a second."""
        end, before = time.monotonic() + 0.5, time.thread_time()
        spin(lambda: time.monotonic() > end)
        return time.thread_time() - before

    # Garbage of other tests may be collected in one of them.
    assert any(spent() < 0.1 for _ in range(3))

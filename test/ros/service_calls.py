"""Random calls of the node's services and actions, valid and not, from many callers at once."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

from action_msgs.srv import CancelGoal
from geometry_msgs.msg import Point32, Polygon
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import DescribeParameters, GetParameters, SetParameters
from rclpy.action import ActionClient
from robot import NODE, PATIENCE, Robot, parameter_request
from std_srvs.srv import Trigger

from dart_ros import action
from dart_ros.node.deferred_service import CALLS
from dart_ros.srv import (
    Absorb,
    CaptureBackground,
    DeleteScene,
    ListScenes,
    LoadScene,
    RenameScene,
    SetMask,
    TakeStill,
)

NAMES = (
    *("room", "room", "lab", "nowhere", "", ".", "..", "../x", "a/b", "a\nb", "\x1b[31m", "-rf"),
    *("x" * 64, "x" * 65, "y" * 100_000, "é", "\U0001f600", "room\t", "CON", "%s%n", "'; DROP"),
)
FILES = (
    *("", "x.jpg", "/no/where.png", "~nobody/x.png", "/dev/full", "/dev/null.png", "/", "."),
    *("n" * 5000 + ".png", "z" * 500_000, "a\nb.png", "\x1b[2J.png"),
)
MASKS = ("", "/no/where.png", "~nobody/x.png", "/dev/zero", "/dev/full", "/", "m" * 5000, "a\nb")
TRIGGERS = ("cancel_fit", "cancel_capture", "capture", "undo_absorb", "restore_scene")
ACTIONS = {
    "capture_background": action.CaptureBackground,
    "fit_scene": action.FitScene,
    "take_still": action.TakeStill,
}
SERVICES = {
    "capture_background": CaptureBackground,
    "load_scene": LoadScene,
    "list_scenes": ListScenes,
    "take_still": TakeStill,
    "absorb": Absorb,
    "set_mask": SetMask,
    "rename_scene": RenameScene,
    "delete_scene": DeleteScene,
    "set_parameters": SetParameters,
    "get_state": GetState,
    "get_parameters": GetParameters,
    "describe_parameters": DescribeParameters,
    **dict.fromkeys(TRIGGERS, Trigger),
    **{f"{name}/_action/cancel_goal": CancelGoal for name in ACTIONS},
}
CORNERS = (-1.0, 0.0, 40.0, 119.0, 160.0, 1e9, 1e38, float("nan"), float("inf"))
NUMBERS = (0, 1, 2, 10, 12, 10_000, 10_001, 2**32 - 1)
SECONDS = (0.0, -1.0, 1.0, 1e6, 1e30, float("nan"), float("inf"), float("-inf"))
VALUES = (
    True,
    0,
    3,
    -5,
    2**40,
    0.5,
    -1.0,
    float("nan"),
    "",
    "torch",
    "magic",
    "x" * 10_000,
    [1, 2],
)
PARAMETERS = (
    *("max_depth", "sync_slop", "capture_frames", "composite_color", "composite_image"),
    *("post_matting", "threads", "refine_fraction", "scene", "no_such_parameter", "stills_dir"),
)


class Caller:
    """Makes random calls and notes those that wait for an answer.

    Args:
        robot: whose node calls.
        seed: of the calls.
        stills: folder into which stills may go.
    """

    def __init__(self, robot: Robot, seed: int, stills: str) -> None:
        self._robot = robot
        self._random = random.Random(seed)
        self._files = (*FILES, f"{stills}/a.png")
        self._waiting: list[tuple[str, float, Any]] = []
        self._actions = {
            name: ActionClient(
                robot.node,
                kind,
                f"{NODE}/{name}",
                goal_service_qos_profile=CALLS,
                result_service_qos_profile=CALLS,
                cancel_service_qos_profile=CALLS,
            )
            for name, kind in ACTIONS.items()
        }
        self._clients = {
            name: robot.create_client(kind, f"{NODE}/{name}") for name, kind in SERVICES.items()
        }
        self.answers: Counter[str] = Counter()
        self.long: list[str] = []

    def call(self) -> None:
        """Make one call, which is answered some time."""
        kinds: tuple[Callable[[], None], ...] = (
            *(self._capture, self._load, self._list, self._still, self._trigger, self._set),
            *(self._goal, self._cancel, self._ask, self._absorb, self._mask, self._name),
        )
        self._random.choice(kinds)()

    def collect(self, patience: float) -> None:
        """Take the answers that have come; AssertionError if one is later than ``patience``."""
        now, waiting = time.monotonic(), []
        for name, since, future in self._waiting:
            if future.done():
                self._answered(name, future.result())
            else:
                assert now - since < patience, f"{name} has no answer after {patience} s"
                waiting.append((name, since, future))
        self._waiting = waiting

    @property
    def waiting(self) -> int:
        """Calls without an answer."""
        return len(self._waiting)

    def wait_for_node(self) -> None:
        """Wait until the clients have found the node, and it them."""
        for client in self._clients.values():
            assert client.wait_for_service(PATIENCE)
        for client in self._actions.values():
            assert client.wait_for_server(PATIENCE)
        self._robot.meet()

    def close(self) -> None:
        """Drop the clients."""
        for client in self._actions.values():
            client.destroy()
        for client in self._clients.values():
            self._robot.node.destroy_client(client)

    def _answered(self, name: str, answer: Any) -> None:
        self.answers[name] += 1
        if name.startswith("goal "):
            if answer.accepted:
                result = self._robot.in_executor(answer.get_result_async)
                self._waiting.append((f"result of {name}", time.monotonic(), result))
            return
        told = getattr(answer, "result", answer)
        message = getattr(told, "message", "")
        if len(message) > 1200 or not message.isprintable():
            self.long.append(f"{name}: {message[:200]}")

    def _send(self, name: str, request: Any) -> None:
        self._waiting.append((name, time.monotonic(), self._clients[name].call_async(request)))

    def _pick(self, values: Any) -> Any:
        return self._random.choice(values)

    def _capture(self) -> None:
        request = CaptureBackground.Request(
            scene=self._pick(NAMES),
            frames=self._pick(NUMBERS[:5]) or 12,
            fit=self._random.random() < 0.05,
            fit_seconds=self._pick(SECONDS),
        )
        self._send("capture_background", request)

    def _load(self) -> None:
        self._send("load_scene", LoadScene.Request(scene=self._pick(NAMES)))

    def _list(self) -> None:
        request = ListScenes.Request(thumbnails=self._random.random() < 0.3)
        self._send("list_scenes", request)

    def _still(self) -> None:
        images = self._random.random() < 0.3
        request = TakeStill.Request(file=self._pick(self._files), images=images)
        self._send("take_still", request)

    def _trigger(self) -> None:
        self._send(self._pick(TRIGGERS), Trigger.Request())

    def _absorb(self) -> None:
        sides = {side: self._pick(NUMBERS) for side in ("x", "y", "width", "height")}
        request = Absorb.Request(persons_size=self._random.random() < 0.5, **sides)
        self._send("absorb", request)

    def _mask(self) -> None:
        request = SetMask.Request(file=self._pick(MASKS))
        if not request.file or self._random.random() < 0.1:
            request.background, request.foreground = self._polygons(), self._polygons()
        self._send("set_mask", request)

    def _polygons(self) -> list[Polygon]:
        corners = [
            [
                Point32(x=self._pick(CORNERS), y=self._pick(CORNERS))
                for _ in range(self._pick((0, 1, 2, 3, 4, 200)))
            ]
            for _ in range(self._random.randrange(3))
        ]
        return [Polygon(points=points) for points in corners]

    def _name(self) -> None:
        """Rename or delete a scene."""
        scene, name = self._pick(NAMES), self._pick(NAMES)
        if self._random.random() < 0.5:
            request = RenameScene.Request(scene=scene, name=name)
            self._send("rename_scene", request)
        else:
            self._send("delete_scene", DeleteScene.Request(scene=scene))

    def _set(self) -> None:
        name, value = self._pick(PARAMETERS), self._pick(VALUES)
        self._send("set_parameters", parameter_request(name, value))

    def _ask(self) -> None:
        names = [self._pick(PARAMETERS)]
        kinds = (
            ("get_state", GetState.Request()),
            ("get_parameters", GetParameters.Request(names=names)),
            ("describe_parameters", DescribeParameters.Request(names=names)),
        )
        self._send(*self._pick(kinds))

    def _goal(self) -> None:
        name = self._pick(tuple(self._actions))
        goals = {
            "capture_background": lambda: action.CaptureBackground.Goal(
                scene=self._pick(NAMES), frames=self._pick(NUMBERS[:5]) or 12
            ),
            "fit_scene": lambda: action.FitScene.Goal(
                scene=self._pick(NAMES), seconds=self._pick(SECONDS)
            ),
            "take_still": lambda: action.TakeStill.Goal(
                file=self._pick(self._files), images=self._random.random() < 0.3
            ),
        }
        goal, client = goals[name](), self._actions[name]
        sent = self._robot.in_executor(lambda: client.send_goal_async(goal))
        self._waiting.append((f"goal {name}", time.monotonic(), sent))

    def _cancel(self) -> None:
        """Cancel all goals of an action."""
        name = self._pick(tuple(self._actions))
        self._send(f"{name}/_action/cancel_goal", CancelGoal.Request())


def fuzz(robot: Robot, seed: int, callers: int, seconds: float, stills: str) -> Counter[str]:
    """Have so many callers make calls for a time, and wait for all answers.

    Returns:
        Answers by their call.

    Raises:
        AssertionError: if an answer doesn't come, or is too long or not printable.
    """
    made = [Caller(robot, seed * 1000 + i, stills) for i in range(callers)]
    try:
        for caller in made:
            caller.wait_for_node()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for caller in made:
                if caller.waiting < 3:
                    caller.call()
                caller.collect(patience=120.0)
            time.sleep(0.02)
        while any(caller.waiting for caller in made):
            # A fit could go on for minutes.
            for name in ("cancel_fit", "cancel_capture"):
                robot.call(Trigger, name, Trigger.Request())
            for caller in made:
                caller.collect(patience=120.0)
            if time.monotonic() > end + 15:
                # Post-matting can take minutes; a node that rests answers all that wait.
                end += 15
                for transition in (
                    Transition.TRANSITION_DEACTIVATE,
                    Transition.TRANSITION_ACTIVATE,
                ):
                    request = ChangeState.Request(transition=Transition(id=transition))
                    assert robot.call(ChangeState, "change_state", request).success
            time.sleep(0.5)
        told = sum((caller.answers for caller in made), Counter[str]())
        assert not [text for caller in made for text in caller.long]
        return told
    finally:
        for caller in made:
            caller.close()

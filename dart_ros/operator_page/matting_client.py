"""A matting node reached over ROS: requests wait in asyncio, all of rclpy stays in its thread."""

from __future__ import annotations

import asyncio
import base64
import math
import time
from collections.abc import AsyncIterator, Callable
from typing import Any

import cv2
import numpy as np
from action_msgs.msg import GoalStatus
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import SetParametersAtomically
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import Trigger

from dart_ros.action import CaptureBackground, FitScene, TakeStill
from dart_ros.msg import Status
from dart_ros.node.deferred_service import CALLS
from dart_ros.operator_page.node import Answer, Picture
from dart_ros.srv import Absorb, DeleteScene, ListScenes, LoadScene, RenameScene

TOPICS = {
    "input": "input",
    "alpha": "alpha",
    "cutout": "foreground",
    "composite": "composite",
    "trimap": "trimap",
}
"""Of each view, the node's output that is shown."""

_SERVICES = {
    "list_scenes": ListScenes,
    "load_scene": LoadScene,
    "rename_scene": RenameScene,
    "delete_scene": DeleteScene,
    "absorb": Absorb,
    "undo_absorb": Trigger,
    "cancel_capture": Trigger,
    "cancel_fit": Trigger,
    "set_parameters_atomically": SetParametersAtomically,
}
_ACTIONS = {
    "capture_background": CaptureBackground,
    "fit_scene": FitScene,
    "take_still": TakeStill,
}
_PATIENCE = 10.0  # seconds for an answer to what is done at once
_LONG = 300.0  # seconds for a scene to load, a capture or a still
_STRONGEST = 1.0  # of the blur
_SHOWN = "~/capture_picture shows where."  # words of a refusal that has a picture
_PICTURE_PATIENCE = 2.0  # seconds for that picture to come
_QUIET = 3.0  # seconds without a picture after which a viewer is looked after


class MattingClient:
    """One matting node.

    Its methods are for the server's event loop; what they ask of rclpy is posted to rclpy's thread.

    Args:
        node: node of this process that owns subscriptions and clients.
        name: fully qualified name of the matting node.
        post: runs a callable in rclpy's thread.
        loop: the server's event loop.
    """

    def __init__(
        self,
        node: Node,
        name: str,
        post: Callable[[Callable[[], None]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.name = name
        self._node, self._post, self._loop = node, post, loop
        self._status: Status | None = None
        self._told = 0.0
        self._destroyed = False
        self._clients = {
            service: node.create_client(kind, f"{name}/{service}", qos_profile=CALLS)
            for service, kind in _SERVICES.items()
        }
        self._actions = {
            action: ActionClient(
                node,
                kind,
                f"{name}/{action}",
                goal_service_qos_profile=CALLS,
                result_service_qos_profile=CALLS,
                cancel_service_qos_profile=CALLS,
            )
            for action, kind in _ACTIONS.items()
        }
        self._views: dict[str, _View] = {}
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._shown: Image | None = None  # where something moved in a capture
        self._subscriptions = [
            node.create_subscription(Status, f"{name}/status", self._on_status, latched),
            node.create_subscription(
                Image, f"{name}/capture_picture", self._on_capture_picture, latched
            ),
        ]

    def destroy(self) -> None:
        """Take everything back; in rclpy's thread."""
        self._destroyed = True
        for subscription in self._subscriptions:
            self._node.destroy_subscription(subscription)
        for client in self._clients.values():
            self._node.destroy_client(client)
        for action in self._actions.values():
            action.destroy()
        for view in self._views.values():
            view.close()

    # -- state -------------------------------------------------------------------------------

    def _on_status(self, message: Status) -> None:
        self._status, self._told = message, time.monotonic()

    def _on_capture_picture(self, message: Image) -> None:
        self._shown = message

    def status(self) -> dict[str, Any]:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        status = self._status
        if status is None:
            return {}
        # In whole seconds, so that a node that is silent doesn't make an event each time.
        age = 1000 * int(time.monotonic() - self._told)
        return {
            "age_ms": age,
            "state": int(status.state),
            "reason": status.reason.replace(_SHOWN, "").strip(),
            "scene": status.scene,
            "scene_id": status.scene_id,
            "activity": status.activity,
            "progress": _finite(status.progress),
            "fitting": bool(status.fitting),
            "frame_rate": _finite(status.frame_rate),
            "latency": _finite(status.latency),
            "frames_dropped": int(status.frames_dropped),
            "backend": status.backend,
            "moved": [
                {
                    "kind": thing.kind,
                    "box": [thing.x, thing.y, thing.width, thing.height],
                    "area": round(_finite(thing.area), 2),
                    "persons_size": thing.persons_size,
                }
                for thing in status.moved
            ],
        }

    # -- pictures ----------------------------------------------------------------------------

    async def watch(self, view: str) -> AsyncIterator[Picture | None]:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        shown = self._views.get(view)
        if shown is None:
            topic = f"{self.name}/{TOPICS[view]}/compressed"
            shown = self._views[view] = _View(self._node, topic, self._post, self._loop)
        number = 0
        with shown:
            while True:
                try:
                    number, picture = await asyncio.wait_for(shown.after(number), _QUIET)
                except asyncio.TimeoutError:
                    yield None
                else:
                    yield picture

    # -- requests ----------------------------------------------------------------------------

    async def capture(self, scene: str, fit: bool) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        goal = CaptureBackground.Goal(scene=scene, fit=fit)
        before = self._shown
        answer, _ = await self._achieve("capture_background", goal)
        if answer.success or _SHOWN not in answer.message:
            return answer
        # The picture comes by a topic, maybe after the result.
        end = time.monotonic() + _PICTURE_PATIENCE
        while self._shown is before and time.monotonic() < end:
            await asyncio.sleep(0.05)
        if self._shown is None or self._shown is before:
            return answer
        return Answer(False, answer.message.replace(_SHOWN, "").strip(), _jpeg(self._shown))

    async def cancel_capture(self) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        return _answer(await self._call("cancel_capture", Trigger.Request()))

    async def fit(self, scene: str) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        answer, _ = await self._achieve("fit_scene", FitScene.Goal(scene=scene))
        return answer

    async def cancel_fit(self) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        return _answer(await self._call("cancel_fit", Trigger.Request()))

    async def scenes(self) -> list[dict[str, Any]]:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        request = ListScenes.Request(thumbnails=True)
        response = await self._call("list_scenes", request)
        if isinstance(response, Answer):
            return []
        return [
            {
                "name": scene.name,
                "width": scene.width,
                "height": scene.height,
                "captured_at": _iso(scene.captured_at),
                "fitted": scene.fitted,
                "loaded": scene.loaded,
                "problem": scene.problem,
                "thumbnail": _data_url(scene.thumbnail),
            }
            for scene in response.scenes
        ]

    async def load(self, scene: str) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        request = LoadScene.Request(scene=scene)
        return _answer(await self._call("load_scene", request, _LONG))

    async def rename(self, scene: str, name: str) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        request = RenameScene.Request(scene=scene, name=name)
        return _answer(await self._call("rename_scene", request))

    async def delete(self, scene: str) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        request = DeleteScene.Request(scene=scene)
        return _answer(await self._call("delete_scene", request))

    async def absorb(self, region: tuple[int, int, int, int]) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        x, y, width, height = region
        request = Absorb.Request(x=x, y=y, width=width, height=height)
        return _answer(await self._call("absorb", request))

    async def undo_absorb(self) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        return _answer(await self._call("undo_absorb", Trigger.Request()))

    async def set_backdrop(self, backdrop: dict[str, Any]) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        try:
            parameters = backdrop_parameters(backdrop)
        except ValueError as error:
            return Answer(False, str(error))
        request = SetParametersAtomically.Request(parameters=parameters)
        response = await self._call("set_parameters_atomically", request)
        if isinstance(response, Answer):
            return response
        return Answer(response.result.successful, response.result.reason)

    async def still(self) -> Answer:
        """See :class:`dart_ros.operator_page.node.MattingNode`."""
        answer, result = await self._achieve("take_still", TakeStill.Goal(images=True))
        if not answer.success:
            return answer
        image = result.foreground
        pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 4)
        png = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGBA2BGRA))[1].tobytes()
        return Answer(True, answer.message, png)

    async def _achieve(self, name: str, goal: Any) -> tuple[Answer, Any]:
        """Send a goal; what became of it, and its result (None if it has none)."""
        done: asyncio.Future[tuple[Answer, Any]] = self._loop.create_future()

        def settle(answer: Answer, result: Any = None) -> None:
            def now() -> None:
                if not done.done():
                    done.set_result((answer, result))

            self._loop.call_soon_threadsafe(now)

        def accepted(future: Any) -> None:
            handle = future.result()
            if not handle.accepted:
                settle(Answer(False, "the node refuses the request"))
                return
            handle.get_result_async().add_done_callback(ended)

        def ended(future: Any) -> None:
            response = future.result()
            success = response.status == GoalStatus.STATUS_SUCCEEDED
            settle(Answer(success, response.result.message), response.result)

        def ask() -> None:
            client = self._actions[name]
            if client.server_is_ready():
                client.send_goal_async(goal).add_done_callback(accepted)
            else:
                settle(Answer(False, f"{self.name} offers no {name} now: try again"))

        self._post(ask)
        # A node that was killed says nothing any more, and may be back under its name.
        end = time.monotonic() + _LONG
        while time.monotonic() < end and not self._destroyed:
            await asyncio.wait({done}, timeout=1.0)
            if done.done():
                return done.result()
        return Answer(False, f"{self.name} does not answer any more"), None

    async def _call(self, name: str, request: Any, patience: float = _PATIENCE) -> Any:
        """The response of a service, or an :class:`Answer` that says why there is none."""
        done: asyncio.Future[Any] = self._loop.create_future()

        def settle(result: Any) -> None:
            if not done.done():
                done.set_result(result)

        def answered(future: Any) -> None:
            error = future.exception()
            result = future.result() if error is None else Answer(False, f"{name}: {error}")
            self._loop.call_soon_threadsafe(settle, result)

        def ask() -> None:
            self._clients[name].call_async(request).add_done_callback(answered)

        self._post(ask)
        try:
            return await asyncio.wait_for(done, patience)
        except asyncio.TimeoutError:
            return Answer(False, f"{self.name} has not answered for {patience:.0f} s")


class _View:
    """The latest picture of a topic, subscribed to while somebody looks."""

    def __init__(
        self,
        node: Node,
        topic: str,
        post: Callable[[Callable[[], None]], None],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._node, self._topic, self._post, self._loop = node, topic, post, loop
        self._viewers = 0
        self._number = 0
        self._latest = Picture("", b"")
        self._changed = asyncio.Event()
        self._subscription: Any = None

    def __enter__(self) -> None:
        self._viewers += 1
        self._post(self._match)

    def __exit__(self, *_: object) -> None:
        self._viewers -= 1
        self._post(self._match)

    async def after(self, number: int) -> tuple[int, Picture]:
        """The latest picture that is newer than a number, with its own number."""
        while self._number <= number:
            changed = self._changed
            await changed.wait()
        return self._number, self._latest

    def close(self) -> None:
        """Take the subscription back; in rclpy's thread."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def _match(self) -> None:
        if self._viewers and self._subscription is None:
            latest = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
            self._subscription = self._node.create_subscription(
                CompressedImage, self._topic, self._received, latest
            )
        elif not self._viewers:
            self.close()

    def _received(self, message: CompressedImage) -> None:
        data = bytes(message.data)
        kind = "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"
        self._loop.call_soon_threadsafe(self._show, Picture(kind, data))

    def _show(self, picture: Picture) -> None:
        self._latest, self._number = picture, self._number + 1
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()


def backdrop_parameters(backdrop: dict[str, Any]) -> list[Parameter]:
    """Parameters of the matting node for a backdrop that the page asks for.

    Args:
        backdrop: ``kind`` is color (with ``color``, three integers), picture (with ``file``), blur
            (with ``strength``, 0 to 1) or none.

    Raises:
        ValueError: if it is none of these.
    """
    kind = backdrop.get("kind")
    color, file, blur = [0, 0, 0], "", 0.0
    if kind == "color":
        color = backdrop.get("color", [])
        if not (
            isinstance(color, list)
            and len(color) == 3
            and all(isinstance(part, int) and 0 <= part <= 255 for part in color)
        ):
            raise ValueError("a color is three integers from 0 to 255")
    elif kind == "picture" and isinstance(backdrop.get("file"), str):
        file = backdrop["file"]
    elif kind == "blur":
        strength = backdrop.get("strength")
        if not isinstance(strength, int | float) or not 0 < strength <= _STRONGEST:
            raise ValueError("the strength of the blur is above 0 and at most 1")
        blur = float(strength)
    elif kind != "none":
        raise ValueError("a backdrop is a color, a picture, blur or none")
    values: dict[str, ParameterValue] = {
        "composite_image": ParameterValue(type=ParameterType.PARAMETER_STRING, string_value=file),
        "composite_blur": ParameterValue(type=ParameterType.PARAMETER_DOUBLE, double_value=blur),
    }
    if kind in ("color", "none"):
        values["composite_color"] = ParameterValue(
            type=ParameterType.PARAMETER_INTEGER_ARRAY, integer_array_value=color
        )
    return [Parameter(name=name, value=value) for name, value in values.items()]


def _answer(response: Any) -> Answer:
    if isinstance(response, Answer):
        return response
    return Answer(response.success, response.message)


def _jpeg(image: Image) -> bytes:
    """An rgb8 image as JPEG."""
    pixels = np.frombuffer(image.data, np.uint8).reshape(image.height, image.width, 3)
    return cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()


def _finite(value: float) -> float:
    """JSON has no NaN."""
    return value if math.isfinite(value) else 0.0


def _iso(stamp: Any) -> str:
    """A builtin_interfaces/Time as ISO 8601, empty for none."""
    if not stamp.sec:
        return ""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(stamp.sec))


def _data_url(image: CompressedImage) -> str:
    data = bytes(image.data)
    return f"data:image/jpeg;base64,{base64.b64encode(data).decode()}" if data else ""

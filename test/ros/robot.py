"""A camera and a client for the real node, which runs as a process of its own over real DDS."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import rclpy
from numpy.typing import NDArray
from rcl_interfaces.msg import Parameter, ParameterType, ParameterValue
from rcl_interfaces.srv import GetParameters, SetParameters
from rclpy.action import ActionClient
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.task import Future
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from waiting import PATIENCE, wait_for

from dart_ros.demo.domain import own_domain
from dart_ros.msg import Status
from dart_ros.node.deferred_service import CALLS
from dart_ros.node.image_messages import stamp_of
from dart_ros.srv import CaptureBackground

WIDTH, HEIGHT = 160, 120
FRAME_ID = "camera_color_optical_frame"
REPOSITORY = Path(__file__).resolve().parents[2]
NODE = "/matting_node"
DOMAIN = own_domain()


@dataclass(frozen=True, eq=False)
class View:
    """What the camera sends; each field may be broken by a test."""

    color: NDArray[np.uint8]  # H×W×C
    depth: NDArray[Any]  # H×W
    color_encoding: str = "rgb8"
    depth_encoding: str = "16UC1"
    color_frame: str = FRAME_ID
    depth_frame: str = FRAME_ID
    info_matrix: tuple[float, ...] = (120.0, 0.0, 79.5, 0.0, 120.0, 59.5, 0.0, 0.0, 1.0)
    color_bytes: int | None = None  # cut the data off here
    depth_bytes: int | None = None
    depth_delay: float = 0.0  # seconds that the stamp of depth lies behind
    silent: frozenset[str] = frozenset()


def empty_view(width: int = WIDTH, height: int = HEIGHT) -> View:
    """Return a textured wall 3 m away, with 16 bit depth."""
    y, x = np.mgrid[0:height, 0:width]
    texture = 110 + 40 * np.sin(x / 9.0) * np.cos(y / 7.0)
    color = np.stack([texture, texture * 0.8, texture * 0.6], axis=-1).astype(np.uint8)
    return View(color, np.full((height, width), 3000, np.uint16))


def occupied_view(width: int = WIDTH, height: int = HEIGHT) -> View:
    """Return the same wall with a block in front of it, 1.2 m away; see :func:`block`."""
    view = empty_view(width, height)
    color, depth = view.color.copy(), view.depth.copy()
    color[block(width, height)] = (40, 60, 200)
    depth[block(width, height)] = 1200
    return replace(view, color=color, depth=depth)


def block(width: int = WIDTH, height: int = HEIGHT) -> tuple[slice, slice]:
    """Rows and columns of the thing in the occupied view."""
    return slice(height // 4, height), slice(3 * width // 8, 5 * width // 8)


class NodeProcess:
    """`matting_node` as users start it, or after ``fault``: Python that changes its modules."""

    def __init__(
        self,
        scenes_dir: Path,
        *parameters: str,
        namespace: str = "/",
        fault: str = "",
        remaps: Sequence[str] = (),
        prefix: Sequence[str] = (),
    ) -> None:
        self._folder = tempfile.TemporaryDirectory()  # goes with this object
        self.log_path = Path(self._folder.name) / "node.log"
        self._log = open(self.log_path, "wb")  # noqa: SIM115
        arguments = ["--ros-args", "-r", f"__ns:={namespace}", "-p", f"scenes_dir:={scenes_dir}"]
        for parameter in parameters:
            arguments += ["-p", parameter]
        for remap in remaps:
            arguments += ["-r", remap]
        environment = {
            **os.environ,
            "ROS_DOMAIN_ID": str(DOMAIN),
            "ROS_LOG_DIR": self._folder.name,
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": f"{REPOSITORY}:{os.environ.get('PYTHONPATH', '')}",
        }
        program = ["-m", "dart_ros.node.matting_node"]
        if fault:
            run = (
                "import sys\nfrom dart_ros.node import matting_node\nsys.exit(matting_node.main())"
            )
            program = ["-c", f"{fault}\n{run}"]
        self.process = subprocess.Popen(
            [*prefix, sys.executable, *program, *arguments],
            cwd=self._folder.name,  # a file without a folder lands there, not in the checkout
            env=environment,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )

    @property
    def log(self) -> str:
        """What the node printed so far."""
        return self.log_path.read_text(errors="replace")

    def stop(self, how: signal.Signals = signal.SIGINT) -> int:
        """End the node and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(how)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self._log.close()


@dataclass
class Robot:
    """Publishes a view at a steady rate, listens to the node and calls its services."""

    view: View = field(default_factory=empty_view)
    views: list[View] = field(default_factory=list)  # sent once each, before `view`
    statuses: list[Status] = field(default_factory=list)
    rate: float = 30.0  # Hz

    def __post_init__(self) -> None:
        self.context = rclpy.Context()
        rclpy.init(context=self.context, domain_id=DOMAIN)
        self.node = rclpy.create_node("robot", context=self.context)
        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        self._color = self.node.create_publisher(Image, "color/image_raw", qos)
        self._depth = self.node.create_publisher(Image, "depth/image_raw", qos)
        self._info = self.node.create_publisher(CameraInfo, "color/camera_info", qos)
        # None is lost while this process waits for the processor.
        latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self.node.create_subscription(Status, f"{NODE}/status", self.statuses.append, latched)
        self._clients: dict[str, Any] = {}
        self._action_clients: dict[str, ActionClient] = {}
        self._met: set[tuple[str, frozenset[bytes]]] = set()
        self._stamps: set[int] = set()
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.node)
        self._running = True
        self._threads = [threading.Thread(target=run) for run in (self._spin, self._stream)]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Stop to publish and leave."""
        self._running = False
        for thread in self._threads:
            thread.join()
        self._executor.shutdown()
        for client in self._action_clients.values():
            client.destroy()
        self.node.destroy_node()
        self.context.try_shutdown()

    def subscribe(self, kind: Any, name: str) -> Listener:
        """Listen to an output of the node, until the listener is closed."""
        return self.listen(kind, f"{NODE}/{name}")

    def listen(self, kind: Any, topic: str) -> Listener:
        """Listen to any topic, until the listener is closed."""
        return Listener(self.node, kind, topic)

    def was_published(self, stamp: Any) -> bool:
        """Whether a color image with this stamp was sent."""
        return stamp.sec * 1_000_000_000 + stamp.nanosec in self._stamps

    def show(self, view: View, node: str = NODE) -> None:
        """Have the camera send a view from now on, and wait until a node has come to it.

        Frames of the view before may be under way until then.
        """
        self.view = view
        changed = time.time_ns()
        listener = self.listen(CompressedImage, f"{node}/input/compressed")
        try:
            # The first one may have been begun before, and stamped after.
            wait_for(lambda: sum(stamp_of(m) > changed for m in listener.messages) > 1, "the view")
        finally:
            listener.close()

    def meet(self, node: str = NODE) -> None:
        """Wait until a node has found all that is in this one: DDS loses what it sends before that.

        It finds them in their order, so once it answers a new client it knows the older ones.
        """
        client = self.node.create_client(GetParameters, f"{node}/get_parameters", qos_profile=CALLS)
        assert client.wait_for_service(PATIENCE), f"no {node}"
        asked = []
        end = time.monotonic() + PATIENCE
        while not any(future.done() for future in asked):
            assert time.monotonic() < end, f"{node} does not find this node"
            asked.append(client.call_async(GetParameters.Request()))
            with contextlib.suppress(AssertionError):
                wait_for(asked[-1].done, "an answer", 1.0)
        self.node.destroy_client(client)

    def _meet_once(self, node: str, name: str) -> None:
        """Do so for a new client, and for a node that was started since."""
        publishers = self.node.get_publishers_info_by_topic(f"{node}/status")
        met = name, frozenset(bytes(one.endpoint_gid) for one in publishers)
        if not publishers or met not in self._met:
            self.meet(node)
            self._met.add(met)

    def create_client(self, kind: Any, name: str) -> Any:
        """Make a client of a service by its full name.

        It gets the answers to all clients of the service: a shallow queue loses some.
        """
        return self.node.create_client(kind, name, qos_profile=CALLS)

    def action_client(self, kind: Any, name: str, node: str = NODE) -> ActionClient:
        """The client of an action of a node, the same for all goals."""
        full = f"{node}/{name}"
        if full not in self._action_clients:
            self._action_clients[full] = ActionClient(self.node, kind, full)
        client = self._action_clients[full]
        assert client.wait_for_server(PATIENCE), f"no action {full}"
        self._meet_once(node, f"action {name}")
        return client

    def begin(self, kind: Any, name: str, request: Any, node: str = NODE) -> Callable[[float], Any]:
        """Call a service of a node; returns a function that waits for the response."""
        full = f"{node}/{name}"
        if full not in self._clients:
            self._clients[full] = self.create_client(kind, full)
        client = self._clients[full]
        assert client.wait_for_service(PATIENCE), f"no service {full}"
        self._meet_once(node, name)
        answered = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: answered.set())

        def wait(timeout: float) -> Any:
            assert answered.wait(timeout), f"{name} did not answer in {timeout} s"
            return future.result()

        return wait

    def in_executor(self, send: Callable[[], Any]) -> Any:
        """Send a request of an action in the executor's thread; returns the future of its answer.

        rclpy's action client notes a request after it has sent it, without a lock: in any other
        thread an answer that is quicker than that is thrown away.
        """
        answered: Any = Future()

        def start() -> None:
            send().add_done_callback(lambda future: answered.set_result(future.result()))

        self._executor.create_task(start)
        return answered

    def forget(self, name: str) -> None:
        """Drop the client of a service, whatever it waits for."""
        self.node.destroy_client(self._clients.pop(f"{NODE}/{name}"))
        self._met = {met for met in self._met if met[0] != name}

    def call(
        self, kind: Any, name: str, request: Any, timeout: float = PATIENCE, node: str = NODE
    ) -> Any:
        """Call a service of a node and return its response."""
        return self.begin(kind, name, request, node)(timeout)

    def capture(self, scene: str, frames: int = 12, **more: Any) -> Any:
        """Capture the background and return the response."""
        request = CaptureBackground.Request(scene=scene, frames=frames, **more)
        return self.call(CaptureBackground, "capture_background", request)

    def set_parameter(self, name: str, value: Any) -> Any:
        """Set a parameter of the node and return the SetParametersResult."""
        return self.call(SetParameters, "set_parameters", parameter_request(name, value)).results[0]

    def wait_for(
        self,
        wanted: Callable[[Status], bool],
        timeout: float = PATIENCE,
        what: str = "",
        since: int | None = None,
    ) -> Status:
        """Wait for a status and return it.

        It is one that the node made after this call, or after ``since``, by ``time.time_ns()``:
        what passes soon may be over when the call comes.
        """
        seen = len(self.statuses) if since is None else 0
        oldest = time.time_ns() if since is None else since
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            for status in self.statuses[seen:]:
                if stamp_of(status) >= oldest and wanted(status):
                    return status
            time.sleep(0.02)
        last = self.statuses[-1] if self.statuses else None
        raise AssertionError(f"no status {what}; the last one: {last}")

    def wait_for_active(self) -> Status:
        """Wait until the node has started."""
        return self.wait_for(lambda s: s.state != Status.STATE_INACTIVE, what="of an active node")

    def wait_for_state(
        self, state: int, reason: str = "", timeout: float = PATIENCE, since: int | None = None
    ) -> Status:
        """Wait for a status with this state, and a reason that holds these words."""
        return self.wait_for(
            lambda s: s.state == state and reason in s.reason,
            timeout,
            f"with state {state} and reason '{reason}'",
            since,
        )

    def _spin(self) -> None:
        while self._running:
            self._executor.spin_once(timeout_sec=0.1)

    def _stream(self) -> None:
        due = time.monotonic()
        while self._running:
            views = self.views  # a test may put another list there
            self._publish(views.pop(0) if views else self.view)
            due = max(due + 1 / self.rate, time.monotonic())
            time.sleep(max(0.0, due - time.monotonic()))

    def _publish(self, view: View) -> None:
        now = self.node.get_clock().now().nanoseconds
        self._stamps.add(now)
        color = image(view.color, view.color_encoding, view.color_frame, now, view.color_bytes)
        late = now - round(view.depth_delay * 1e9)
        depth = image(view.depth, view.depth_encoding, view.depth_frame, late, view.depth_bytes)
        info = CameraInfo(header=color.header, width=color.width, height=color.height)
        info.k = list(view.info_matrix)
        for name, publisher, message in (
            ("info", self._info, info),
            ("color", self._color, color),
            ("depth", self._depth, depth),
        ):
            if name not in view.silent:
                publisher.publish(message)


def parameter_request(name: str, value: Any) -> SetParameters.Request:
    """Make the request that sets a parameter."""
    kinds: dict[type, tuple[int, str]] = {
        bool: (ParameterType.PARAMETER_BOOL, "bool_value"),
        int: (ParameterType.PARAMETER_INTEGER, "integer_value"),
        float: (ParameterType.PARAMETER_DOUBLE, "double_value"),
        str: (ParameterType.PARAMETER_STRING, "string_value"),
        list: (ParameterType.PARAMETER_INTEGER_ARRAY, "integer_array_value"),
    }
    number, attribute = kinds[type(value)]
    message = ParameterValue(type=number, **{attribute: value})
    return SetParameters.Request(parameters=[Parameter(name=name, value=message)])


class Listener:
    """Messages of one topic, as they come."""

    def __init__(self, node: Any, kind: Any, topic: str) -> None:
        self.messages: list[Any] = []
        self._node = node
        self._subscription = node.create_subscription(kind, topic, self.messages.append, 10)

    def next(self, count: int = 1, timeout: float = PATIENCE) -> list[Any]:
        """Wait for so many messages that come after this call."""
        seen = len(self.messages)
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if len(self.messages) >= seen + count:
                return self.messages[seen : seen + count]
            time.sleep(0.01)
        raise AssertionError(f"{len(self.messages) - seen} of {count} messages in {timeout} s")

    def close(self) -> None:
        """Stop to listen."""
        self._node.destroy_subscription(self._subscription)


def image(
    pixels: NDArray[Any], encoding: str, frame_id: str, stamp: int, cut: int | None = None
) -> Image:
    """Make an image message, its data cut off after some bytes if asked for."""
    message = Image(encoding=encoding, height=pixels.shape[0], width=pixels.shape[1])
    message.step = pixels.nbytes // pixels.shape[0]
    message.header.frame_id = frame_id
    message.header.stamp.sec, message.header.stamp.nanosec = divmod(stamp, 1_000_000_000)
    message.data = array("B", pixels.tobytes()[:cut])
    return message


def pixels_of(message: Image) -> NDArray[np.uint8]:
    """Return the H×W×C bytes of an 8 bit image message."""
    return np.frombuffer(message.data, np.uint8).reshape(message.height, message.width, -1)


def start_fit(robot: Robot, node: NodeProcess, scene: str, seconds: float) -> int:
    """Capture and fit; return the process id of the fit."""
    answer = robot.capture(scene, fit=True, fit_seconds=seconds)
    assert answer.success and "fitting" in answer.message
    robot.wait_for(lambda s: s.fitting, what="of a fit")
    (pid,) = children(node.process.pid)
    return pid


def children(pid: int) -> list[int]:
    """Processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread may end meanwhile
            found += map(int, task.read_text().split())
    return found


def halted_child(pid: int) -> int:
    """Halt the program that a process has started, until it gets SIGCONT, and return its number."""

    found: list[int] = []

    def started() -> bool:
        # Until it runs its own program it is a copy, for which the process waits.
        found[:] = [it for it in children(pid) if command_of(it) not in ("", command_of(pid))]
        return bool(found)

    wait_for(started, "a child")
    (child,) = found
    os.kill(child, signal.SIGSTOP)
    return child


def command_of(pid: int) -> str:
    """The command line of a process, empty for one that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return ""

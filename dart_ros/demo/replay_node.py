"""A camera made of a recording: publishes its frames at their rate under RealSense's topic names.

The scene is shown empty first; the foreground enters when the service ``~/occupied`` says so, or
after the parameter ``empty_seconds``. Color and aligned depth share one stamp, the time of
publishing. All pictures are made ready ahead of time, so that publishing costs little.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import rclpy
from rcl_interfaces.msg import ParameterDescriptor
from rclpy.clock import Clock
from rclpy.clock_type import ClockType
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rclpy.qos_overriding_options import QoSOverridingOptions
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import CameraInfo, Image
from std_srvs.srv import SetBool, Trigger

from dart_ros.demo.playback import Key, PictureQueue, Playlist, noisy_keys
from dart_ros.errors import DartError, RecordingError
from dart_ros.files import DEMO_RECORDING
from dart_ros.session import recording as bags
from dart_ros.session.recording import Recording, first_run, open_recording
from dart_ros.session.recording.depth_units import implausible_depth
from dart_ros.values import Camera

# RealSense's names without the leading slash: so a namespace goes before them.
COLOR_TOPIC = bags.COLOR_TOPIC.lstrip("/")
COLOR_INFO_TOPIC = bags.CAMERA_INFO_TOPIC.lstrip("/")
DEPTH_TOPIC = bags.DEPTH_TOPIC.lstrip("/")
DEPTH_INFO_TOPIC = "camera/camera/aligned_depth_to_color/camera_info"

_KEPT_BYTES = 1 << 30
_PROGRESS_PERIOD = 5.0  # seconds between two lines of progress
# Draws of simulated sensor noise on the empty scene, two seconds of them at 30 Hz.
_NOISE_DRAWS = 60


class ReplayNode(Node):
    """The camera; its parameters are described where they are declared.

    Args:
        stopping: set when the process is asked to end, which the preparation looks at.

    Raises:
        RecordingError: if the recording can't be opened or read.
        KeyboardInterrupt: if the process is asked to end meanwhile.
    """

    def __init__(self, stopping: threading.Event) -> None:
        super().__init__("replay_node")
        self._stopping = stopping
        # Some bags may only be read by the thread that opened them.
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="recording")
        self._recording = recording = self._open_recording()
        self._published = 0
        self._late = 0
        self._shows_occupied = False
        self._publishing = True
        self._frame_id = self._text("frame_id", "Optical frame of both images.")
        loop = self._flag("loop", "Play the occupied part there and back for ever, or once.")
        empty_seconds = self._number(
            "empty_seconds", 0.0, 3600.0, "Show the scene empty so long; 0 is until ~/occupied."
        )
        rate = self._number("rate", 0.0, 240.0, "Frames a second; 0 is the recording's own rate.")
        self._rate = rate or recording.fps
        self._camera = recording.camera

        empty = first_run(recording.empty, recording.number)
        draws = _NOISE_DRAWS if recording.simulates_noise else len(empty)
        empty_keys = noisy_keys(empty, draws)
        occupied_keys = [(index, 0) for index in recording.occupied]
        if not empty_keys and not occupied_keys:
            raise RecordingError(f"{recording.name} holds no frames; choose another recording.")
        self._occupied_frames = len(occupied_keys)
        self._shows_occupied = not empty_keys
        self._pictures = PictureQueue(
            recording, Playlist(empty_keys, occupied_keys, loop), _KEPT_BYTES, self._reader
        )
        self._prepare([*empty_keys, *occupied_keys])

        qos = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
        overridable = QoSOverridingOptions.with_default_policies()
        self._color_publisher = self.create_publisher(
            Image, COLOR_TOPIC, qos, qos_overriding_options=overridable
        )
        self._depth_publisher = self.create_publisher(
            Image, DEPTH_TOPIC, qos, qos_overriding_options=overridable
        )
        self._info_publishers = [
            self.create_publisher(CameraInfo, topic, qos, qos_overriding_options=overridable)
            for topic in (COLOR_INFO_TOPIC, DEPTH_INFO_TOPIC)
        ]
        self._color = _image(self._camera, "rgb8", 3)
        self._depth = _image(self._camera, "16UC1", 2)
        self._info = _camera_info(self._camera)
        for message in (self._color, self._depth, self._info):
            message.header.frame_id = self._frame_id

        self.create_service(SetBool, "~/occupied", self._on_occupied)
        self.create_service(SetBool, "~/publish", self._on_publish)
        self.create_service(Trigger, "~/report", self._on_report)
        # Periods run on the steady clock; a simulated or corrected clock must not stall a camera.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(1.0 / self._rate, self._on_tick, clock=steady)
        if empty_seconds > 0.0 and empty_keys and occupied_keys:
            self._entering = self.create_timer(empty_seconds, self._on_empty_over, clock=steady)
        self.get_logger().info(
            f"publishing {recording.name}, {self._camera.width}x{self._camera.height} at "
            f"{self._rate:g} Hz: {len(empty)} empty and {len(occupied_keys)} occupied frames"
        )

    @property
    def published(self) -> int:
        """Color and depth pairs published so far."""
        return self._published

    def close(self) -> None:
        """Say what was published and close the recording."""
        self._reader.submit(self._recording.close).result()
        self._reader.shutdown()
        self.get_logger().info(f"published {self._published} pairs, {self._late} ticks too late")
        broken = len(self._pictures.broken)
        if broken:
            self.get_logger().warning(f"skipped {broken} frames that can't be read")

    def _open_recording(self) -> Recording:
        path = self._text("recording", "Recording: folder or file.", str(DEMO_RECORDING))
        color = self._text("color_topic", "Color topic of a bag.", bags.COLOR_TOPIC)
        depth = self._text("depth_topic", "Depth topic of a bag.", bags.DEPTH_TOPIC)
        info = self._text("info_topic", "Camera info topic of a bag.", bags.CAMERA_INFO_TOPIC)
        seconds = self._number(
            "bag_empty_seconds",
            0.0,
            3600.0,
            "The first seconds of a bag show the empty scene.",
            3.0,
        )

        unit = self._number(
            "depth_unit",
            0.0,
            1.0,
            "Metres a unit of the recording's depth images; 0: as its kind prescribes.",
        )

        def opened() -> tuple[Recording, str | None]:
            recording = open_recording(
                path,
                color_topic=color,
                depth_topic=depth,
                camera_info_topic=info,
                empty_seconds=seconds,
                depth_unit=unit or None,
            )
            return recording, implausible_depth(recording)

        opening = self._reader.submit(opened)
        while not wait([opening], timeout=0.2).done:
            self._go_on()
        recording, odd = opening.result()
        for note in [*recording.notes, *([odd] if odd else [])]:
            self.get_logger().warning(note)
        return recording

    def _text(
        self, name: str, description: str, default: str = "camera_color_optical_frame"
    ) -> str:
        # A name may look like a number.
        descriptor = ParameterDescriptor(
            description=description, read_only=True, dynamic_typing=True
        )
        return str(self.declare_parameter(name, default, descriptor).value)

    def _flag(self, name: str, description: str) -> bool:
        descriptor = ParameterDescriptor(description=description, read_only=True)
        return bool(self.declare_parameter(name, True, descriptor).value)

    def _number(
        self, name: str, low: float, high: float, description: str, default: float = 0.0
    ) -> float:
        # A whole number will do as well, so its type is checked here.
        descriptor = ParameterDescriptor(
            description=f"{description} {low:g} to {high:g}.", read_only=True, dynamic_typing=True
        )
        value = self.declare_parameter(name, default, descriptor).value
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise RecordingError(f"{name} is {value!r:.40}; give it a number.")
        if not low <= value <= high:
            raise RecordingError(f"{name} is {value:g}; give it a number from {low:g} to {high:g}.")
        return float(value)

    def _prepare(self, keys: list[Key]) -> None:
        told = time.monotonic()
        self.get_logger().info(f"preparing {len(keys)} pictures")

        def progress(done: int, total: int) -> None:
            nonlocal told
            self._go_on()
            if time.monotonic() - told >= _PROGRESS_PERIOD:
                told = time.monotonic()
                self.get_logger().info(f"prepared {done} of {total} pictures")

        ready = self._pictures.prepare(keys, progress)
        broken = self._pictures.broken
        if broken:
            self.get_logger().warning(
                f"skipping {len(broken)} frames that can't be read, the first: "
                f"{next(iter(broken.values()))}"
            )
        if not ready:
            raise RecordingError(
                f"None of the {len(keys)} frames of {self._recording.name} can be played; "
                "choose another recording."
            )
        if ready + len(broken) < len(keys):
            self.get_logger().info(
                f"{ready} of {len(keys)} pictures fit into memory, the others are read as they come"
            )

    def _go_on(self) -> None:
        if self._stopping.is_set():
            raise KeyboardInterrupt

    def _on_tick(self) -> None:
        if not self._publishing:
            return
        played = self._pictures.next()
        if played is None:
            self._late += 1
            return
        picture, occupied = played
        if self._shows_occupied and not occupied:
            self.get_logger().info("the foreground has left, the scene is empty again")
        self._shows_occupied = occupied
        stamp = self.get_clock().now().to_msg()
        self._color.data, self._depth.data = picture.color, picture.depth
        for message in (self._color, self._depth, self._info):
            message.header.stamp = stamp
        for publisher in self._info_publishers:
            publisher.publish(self._info)
        self._depth_publisher.publish(self._depth)
        self._color_publisher.publish(self._color)
        self._published += 1

    def _on_empty_over(self) -> None:
        self._entering.cancel()
        self._show(True)

    def _show(self, occupied: bool) -> str | None:
        try:
            self._pictures.show(occupied)
        except ValueError as error:
            return str(error)
        part = "the foreground enters" if occupied else "the scene is empty"
        self.get_logger().info(part)
        return None

    def _on_occupied(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        problem = self._show(request.data)
        response.success = problem is None
        response.message = problem or ""
        return response

    def _on_publish(self, request: SetBool.Request, response: SetBool.Response) -> SetBool.Response:
        self._publishing = request.data
        response.success = True
        response.message = f"{self._published} pairs published so far"
        return response

    def _on_report(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success = True
        response.message = json.dumps(
            {
                "published": self._published,
                "late": self._late,
                "rate": self._rate,
                "width": self._camera.width,
                "height": self._camera.height,
                "occupied_frames": self._occupied_frames,
            }
        )
        return response


def _image(camera: Camera, encoding: str, pixel_bytes: int) -> Image:
    return Image(
        width=camera.width,
        height=camera.height,
        encoding=encoding,
        is_bigendian=int(sys.byteorder == "big"),
        step=camera.width * pixel_bytes,
    )


def _camera_info(camera: Camera) -> CameraInfo:
    matrix = [camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0]
    return CameraInfo(
        width=camera.width,
        height=camera.height,
        distortion_model="plumb_bob",
        d=[0.0] * 5,
        k=matrix,
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[*matrix[:3], 0.0, *matrix[3:6], 0.0, *matrix[6:], 0.0],
    )


def main() -> int:
    """Run the camera until it is interrupted; returns the exit status."""
    # Handlers of our own: rclpy's would take the context away before the last words are said.
    # They raise nothing: where Python drops an object an exception is printed and forgotten.
    stopping = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopping.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    node = None
    try:
        node = ReplayNode(stopping)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while not stopping.is_set():
            executor.spin_once(timeout_sec=0.1)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (DartError, ParameterException) as error:
        print(f"replay_node: {error}", file=sys.stderr)
        return 1
    finally:
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The demo: a replayed camera and the matting node, each in its own process, over real DDS.

It captures the background while the scene is empty, fits the network to it if asked, lets the
foreground enter, measures the speed with alpha and trimap subscribed to, then records all outputs
and leaves a contact sheet, a video and the figures in a folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from dart_ros.commands.options import MAX_DEPTH, positive
from dart_ros.demo.domain import own_domain
from dart_ros.demo.pictures import (
    Shot,
    contact_sheet,
    gradient,
    save_png,
    write_video,
)
from dart_ros.demo.recorder import (
    MATTE_TOPICS,
    Pending,
    Recorder,
    Track,
    camera_figures,
    pixels_of,
)
from dart_ros.demo.replay_node import COLOR_INFO_TOPIC, COLOR_TOPIC, DEPTH_TOPIC
from dart_ros.errors import DartError
from dart_ros.files import DEMO_RECORDING
from dart_ros.launching.values import fastdds_variables
from dart_ros.msg import Status
from dart_ros.session.scene_store import SceneStore
from dart_ros.srv import CaptureBackground

SCENE = "demo"

_START_SECONDS = 180.0
# The node itself gives up when no frames come; a loaded machine only takes longer.
_CAPTURE_SECONDS = 300.0
_ANSWER_SECONDS = 10.0
_SHEET_ROWS = 8
_PICTURE_SECONDS = 8.0
_KEPT_BYTES = 3 << 29
_SHOWN_LOG_LINES = 15
_WRITTEN = ("contact_sheet.png", "matte.mp4", "matte.avi", "summary.json")
_PATIENCE = ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0))  # seconds after each signal


class DemoError(DartError):
    """The demo can't go on."""


def end_by_signals() -> None:
    """Let Ctrl-C, an ended job and a closed terminal leave all contexts, which stop the nodes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))


class Child:
    """A node in a process of its own, with its output in a log file.

    Args:
        name: what it is called in messages.
        command: program and arguments.
        log: file that takes what the process prints.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        self.log = log
        with open(log, "wb") as output:
            # A session of its own: Ctrl-C is for the demo, which then ends its nodes in order.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    def check(self) -> None:
        """Raise DemoError with the last lines of the log if the process has ended."""
        code = self._process.poll()
        if code is not None:
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            tail = "\n".join(f"    {line}" for line in lines[-_SHOWN_LOG_LINES:])
            raise DemoError(
                f"The {self.name} ended with status {code}; see {self.log}, which ends with:\n"
                f"{tail}"
            )

    def cpu_seconds(self) -> float:
        """Processor time used so far; 0 where the system doesn't tell (only Linux does)."""
        try:
            stat = Path(f"/proc/{self._process.pid}/stat").read_text(encoding="ascii")
        except OSError:
            return 0.0
        # The name in parentheses may hold spaces; user and system time are fields 14 and 15.
        fields = stat.rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def peak_memory(self) -> float:
        """Most memory that it has had in RAM so far, in MB; 0 where the system doesn't tell."""
        try:
            lines = Path(f"/proc/{self._process.pid}/status").read_text(encoding="ascii")
        except OSError:
            return 0.0
        found = (line.split()[1] for line in lines.splitlines() if line.startswith("VmHWM"))
        return int(next(found, "0")) / 1024

    def stop(self) -> None:
        """End the process as Ctrl-C would, harder if it doesn't listen."""
        try:
            for number, patience in _PATIENCE:
                if self._process.poll() is not None:
                    return
                self._process.send_signal(number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self._process.wait(patience)
        finally:
            # Also where a second Ctrl-C cuts the patience short.
            if self._process.poll() is None:
                self._process.kill()
                self._process.wait()
            self._process.wait()


@dataclass(frozen=True)
class Counts:
    """Pairs counted while the camera pauses.

    Attributes:
        published: by the camera.
        received: by the matting node, synchronized.
        matted: by the matting node.
        dropped: replaced by newer ones while they waited in the matting node.
    """

    published: int
    received: int
    matted: int
    dropped: int


@dataclass(frozen=True)
class Latency:
    """Milliseconds from the source stamp to the arrival of alpha in the demo's process."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True)
class Phase:
    """Figures of one recording.

    Attributes:
        topics: what was subscribed to.
        seconds: how long the camera played.
        published: pairs that the camera published.
        received: of these, pairs that the matting node received.
        matted: pairs for which it published a matte.
        dropped: pairs that were replaced while they waited.
        lost: published but not received.
        mattes_per_second: rate at which alpha arrived.
        latency_ms: end to end.
        cpu_percent: of one core, for each process.
    """

    topics: tuple[str, ...]
    seconds: float
    published: int
    received: int
    matted: int
    dropped: int
    lost: int
    mattes_per_second: float
    latency_ms: Latency
    cpu_percent: Mapping[str, float]


def phase_figures(
    topics: Sequence[str],
    seconds: float,
    before: Counts,
    after: Counts,
    alpha: Track,
    cpu_seconds: Mapping[str, float],
) -> Phase:
    """Put the figures of a recording together.

    Raises:
        DemoError: if fewer than two mattes arrived.
    """
    if len(alpha.arrivals) < 2:
        raise DemoError(
            f"Only {len(alpha.arrivals)} mattes arrived in {seconds:.0f} s while the node reports "
            f"{after.matted - before.matted}; see the node's log."
        )
    late = (np.array(alpha.arrivals) - np.array(alpha.stamps)) / 1e6
    span = (alpha.arrivals[-1] - alpha.arrivals[0]) / 1e9
    published = after.published - before.published
    received = after.received - before.received
    return Phase(
        topics=tuple(topics),
        seconds=round(seconds, 2),
        published=published,
        received=received,
        matted=after.matted - before.matted,
        dropped=after.dropped - before.dropped,
        lost=published - received,
        mattes_per_second=round((len(alpha.arrivals) - 1) / span, 2),
        latency_ms=Latency(*(round(float(v), 1) for v in np.percentile(late, (50, 95, 99)))),
        cpu_percent={name: round(100.0 * t / seconds, 1) for name, t in cpu_seconds.items()},
    )


class Demo:
    """One run of the demo.

    Args:
        recorder: the demo's own node.
        camera: process of the replayed camera.
        node: process of the matting node.
    """

    def __init__(self, recorder: Recorder, camera: Child, node: Child) -> None:
        self._recorder = recorder
        self._camera = camera
        self._node = node

    def wait_for_stream(self) -> None:
        """Wait until the camera publishes and the matting node receives its pairs."""
        with _bar("starting camera and node") as bar:
            self._wait(self._recorder.camera_ready, _START_SECONDS, "the camera to start")
            bar.update(40)
            self._wait(self._recorder.matting_ready, _START_SECONDS, "the matting node to start")
            bar.update(40)
            self._wait(self._receives, _START_SECONDS, "the matting node to receive images")
            bar.update(20)

    def capture(self, fit_seconds: float | None) -> tuple[CaptureBackground.Response, float]:
        """Capture the background; a fit of so many seconds follows unless None.

        Returns:
            The answer of the service and the seconds it took.

        Raises:
            DemoError: if the matting node refuses.
        """
        request = CaptureBackground.Request(
            scene=SCENE, fit=fit_seconds is not None, fit_seconds=fit_seconds or 0.0
        )
        began = time.monotonic()
        with _bar("capturing the background") as bar:
            pending = self._recorder.start_capture(request)

            def captured() -> bool:
                status = self._recorder.status(began)
                if status is not None and status.state == Status.STATE_CAPTURING:
                    _advance(bar, status)
                return pending.done()

            self._wait(captured, _CAPTURE_SECONDS, "the background to be captured")
            bar.update(bar.total - bar.n)
        answer: CaptureBackground.Response = pending.result()
        if not answer.success:
            raise DemoError(f"The matting node refused to capture: {answer.message}")
        return answer, time.monotonic() - began

    def wait_for_fit(self, fit_seconds: float) -> tuple[float, str]:
        """Follow the fit to its end; returns the seconds it took and its last words."""
        began = time.monotonic()
        words = ""
        seen = False
        with _bar("fitting to the scene") as bar:

            def fitted() -> bool:
                nonlocal seen, words
                status = self._recorder.status(began)
                if status is None:
                    return False
                if status.fitting:
                    seen = True
                    words = status.activity.removeprefix("fitting: ")
                    _advance(bar, status)
                    return False
                # The fit starts after the answer: its end is only its end once it was seen.
                return seen or time.monotonic() - began > _ANSWER_SECONDS

            self._wait(fitted, 2.0 * fit_seconds + 240.0, "the fit to end")
            bar.update(bar.total - bar.n)
        status = self._recorder.status(began)
        if status is not None and "fit of" in status.reason:
            raise DemoError(f"{status.reason}. See {self._node.log}.")
        return time.monotonic() - began, words

    def wait_for_mattes(self) -> str:
        """Wait until mattes are computed; returns the engine in use."""
        backend = ""

        def matting() -> bool:
            nonlocal backend
            status = self._recorder.status()
            if status is None or status.state != Status.STATE_MATTING:
                return False
            backend = status.backend
            # An improved scene is swapped in while its predecessor is still in use.
            return not status.activity.startswith("loading")

        self._wait(matting, _START_SECONDS, "the matting node to load the scene")
        return backend

    def counts(self) -> Counts:
        """Pause the camera, let what is on its way arrive, and count."""
        self._ask(self._recorder.publish(False))
        # The status comes once a second: one that is newer than this has counted everything.
        settled = time.monotonic() + 1.0
        self._wait(
            lambda: self._recorder.status(settled) is not None,
            _ANSWER_SECONDS,
            "a status of the matting node",
        )
        status = self._recorder.status(settled)
        assert status is not None
        figures = self.figures()
        return Counts(
            published=figures["published"],
            received=status.frames_received,
            matted=status.frames_matted,
            dropped=status.frames_dropped,
        )

    def figures(self) -> dict[str, Any]:
        """The camera's figures."""
        return camera_figures(self._ask(self._recorder.report()))

    def resume(self) -> None:
        """Let the camera go on."""
        self._ask(self._recorder.publish(True))

    def record(
        self, what: str, keep: Mapping[str, bool], seconds: float
    ) -> tuple[Phase, Counts, dict[str, Track]]:
        """Play the occupied scene from its start and record.

        Args:
            what: words for the progress bar.
            keep: topics to subscribe to; True keeps their messages.
            seconds: how long.

        Returns:
            The figures, the counts at the end, and what was received by topic.
        """
        self._recorder.subscribe(keep)
        self.resume()
        # The first mattes after a change of subscribers are not typical.
        self._sleep(1.5)
        before = self.counts()
        self._recorder.take()
        self._ask(self._recorder.show_occupied())
        cpu = self._cpu()
        began = time.monotonic()
        self.resume()
        with _bar(what) as bar:
            while (gone := time.monotonic() - began) < seconds:
                self._sleep(min(0.25, seconds - gone))
                bar.update(min(100.0, 100.0 * (time.monotonic() - began) / seconds) - bar.n)
        self._ask(self._recorder.publish(False))
        seconds = time.monotonic() - began
        cpu = {name: used - cpu[name] for name, used in self._cpu().items()}
        after = self.counts()
        tracks = self._recorder.take()
        self._recorder.unsubscribe()
        phase = phase_figures(tuple(keep), seconds, before, after, tracks["alpha"], cpu)
        return phase, after, tracks

    def _cpu(self) -> dict[str, float]:
        return {
            "camera": self._camera.cpu_seconds(),
            "matting_node": self._node.cpu_seconds(),
            "demo": time.process_time(),
        }

    def _receives(self) -> bool:
        status = self._recorder.status()
        return status is not None and status.frames_received > 0

    def _ask(self, pending: Pending) -> Any:
        self._wait(pending.done, _ANSWER_SECONDS, "the camera's answer")
        answer = pending.result()
        if not answer.success:
            raise DemoError(f"The camera refused: {answer.message}.")
        return answer

    def _sleep(self, seconds: float) -> None:
        time.sleep(seconds)
        self._camera.check()
        self._node.check()

    def _wait(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        end = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > end:
                status = self._recorder.status()
                reason = status.reason if status is not None and status.reason else "nothing"
                raise DemoError(
                    f"Waited {timeout:.0f} s for {what}; the matting node says: {reason}. See "
                    f"{self._node.log} and {self._camera.log}."
                )
            self._sleep(0.05)


def _advance(bar: tqdm[Any], status: Status) -> None:
    bar.update(min(100.0, 100.0 * status.progress) - bar.n)
    bar.set_postfix_str(status.activity[:70], refresh=False)


def _bar(what: str) -> tqdm[Any]:
    return tqdm(
        total=100.0,
        desc=f"{what:<26}",
        bar_format="{desc} {percentage:3.0f}% |{bar:28}| {elapsed}{postfix}",
        file=sys.stderr,
    )


def fastdds_profile() -> Path | None:
    """The Fast DDS profile for image streams, installed or in the source tree; None if gone."""
    places = [Path(__file__).resolve().parents[2]]
    for prefix in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep):
        places.append(Path(prefix) / "share" / "dart_ros")
    for place in places:
        profile = place / "config" / "fastdds.xml"
        if profile.is_file():
            return profile
    return None


def set_environment(logs: Path) -> None:
    """Give this process and its children a ROS world of their own on this machine."""
    os.environ["ROS_DOMAIN_ID"] = str(own_domain())
    os.environ["ROS_LOG_DIR"] = str(logs / "ros")
    # Humble knows only the older name; newer ones warn about it.
    if os.environ.get("ROS_DISTRO") == "humble":
        os.environ["ROS_LOCALHOST_ONLY"] = "1"
    else:
        os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    profile = fastdds_profile()
    if profile is not None:
        for name in fastdds_variables(os.environ.get("ROS_DISTRO")):
            os.environ.setdefault(name, str(profile))


def ros_arguments(remaps: Mapping[str, str], parameters: Mapping[str, str | float]) -> list[str]:
    """Arguments that remap names and set parameters of a node."""
    arguments = ["--ros-args"]
    for name, target in remaps.items():
        arguments += ["-r", f"{name}:={target}"]
    for name, value in parameters.items():
        # Values are read as YAML, of which JSON is a part.
        arguments += ["-p", f"{name}:={json.dumps(value)}"]
    return arguments


@contextlib.contextmanager
def running_camera(parameters: Mapping[str, str | float], logs: Path) -> Iterator[Child]:
    """The camera, started, and ended when the context is left.

    Args:
        parameters: of :mod:`dart_ros.demo.replay_node`.
        logs: folder of its log.
    """
    with _running("camera", "demo.replay_node", ros_arguments({}, parameters), logs) as child:
        yield child


@contextlib.contextmanager
def running_matting_node(
    backend: str, max_depth: float, logs: Path, scenes: Path
) -> Iterator[Child]:
    """The matting node, started, and ended when the context is left.

    Args:
        backend: its parameter.
        max_depth: its parameter, in metres.
        logs: folder of its log.
        scenes: folder of its scenes, with the composite's background.
    """
    remaps = {
        "color/image_raw": f"/{COLOR_TOPIC}",
        "color/camera_info": f"/{COLOR_INFO_TOPIC}",
        "depth/image_raw": f"/{DEPTH_TOPIC}",
    }
    parameters: dict[str, str | float] = {
        "scenes_dir": str(scenes),
        "backend": backend,
        "max_depth": max_depth,
        "composite_image": str(scenes / "background.png"),
    }
    arguments = ros_arguments(remaps, parameters)
    with _running("matting node", "node.matting_node", arguments, logs) as child:
        yield child


@contextlib.contextmanager
def _running(name: str, module: str, arguments: list[str], logs: Path) -> Iterator[Child]:
    command = [sys.executable, "-m", f"dart_ros.{module}", *arguments]
    child = Child(name, command, logs / f"{module.rpartition('.')[2]}.log")
    try:
        yield child
    finally:
        child.stop()


def common_stamps(tracks: Mapping[str, Track]) -> list[int]:
    """Stamps, in order, under which every picture was received and kept."""
    wanted = ("color", "depth", "alpha", "trimap", "composite")
    stamps = set.intersection(*(set(tracks[name].messages) for name in wanted))
    if not stamps:
        got = ", ".join(f"{name} {len(tracks[name].stamps)}" for name in wanted)
        raise DemoError(f"No frame arrived on all topics under one stamp (received: {got}).")
    return sorted(stamps)


def spread(stamps: Sequence[int], end: int, count: int) -> list[int]:
    """At most ``count`` of the sorted ``stamps``, evenly spread over time.

    They are all up to ``end`` if there are enough.
    """
    early = [stamp for stamp in stamps if stamp <= end]
    times = np.array(early if len(early) >= count else stamps, np.int64)
    wanted = np.linspace(times[0], times[-1], count)
    return sorted({int(times[np.argmin(np.abs(times - moment))]) for moment in wanted})


def shot(tracks: Mapping[str, Track], stamp: int) -> Shot:
    """Decode what was received under one stamp."""
    pixels = {
        name: pixels_of(tracks[name].messages[stamp])
        for name in ("color", "depth", "alpha", "trimap", "composite")
    }
    return Shot(seconds=(stamp - tracks["color"].stamps[0]) / 1e9, **pixels)


def make_pictures(
    output: Path, tracks: Mapping[str, Track], pass_seconds: float, rate: float
) -> tuple[dict[str, str], float]:
    """Write the contact sheet and the video.

    Args:
        output: folder.
        tracks: what was received by topic.
        pass_seconds: time in which each occupied frame is shown once; the sheet is taken of it.
        rate: mattes a second.

    Returns:
        The files by kind, and the mean share of the foreground over the sheet, 0 to 1.
    """
    stamps = common_stamps(tracks)
    end = tracks["color"].stamps[0] + int(pass_seconds * 1e9)
    rows = [shot(tracks, stamp) for stamp in spread(stamps, end, _SHEET_ROWS)]
    sheet = output / "contact_sheet.png"
    save_png(sheet, contact_sheet(rows))
    with _bar("writing the video") as bar:

        def shots() -> Iterator[Shot]:
            for stamp in stamps:
                yield shot(tracks, stamp)
                bar.update(min(100.0 / len(stamps), bar.total - bar.n))

        video = write_video(output, shots, rate)
    share = float(np.mean([row.alpha.mean() / 255.0 for row in rows]))
    return {"contact_sheet": str(sheet), "video": str(video)}, share


def fit_figures(scenes: Path, seconds: float, words: str) -> dict[str, Any]:
    """What the fit did, from the scene that it wrote.

    Raises:
        SceneError: if the scene can't be read.
    """
    scene = SceneStore(scenes).load(SCENE)
    return {
        **(scene.fit or {}),
        # With the start of its process, which the fit itself doesn't see.
        "seconds": round(seconds, 1),
        "improved": scene.weights is not None,
        "last_words": words,
    }


def _camera_parameters(options: argparse.Namespace) -> dict[str, str | float]:
    return {
        "recording": str(options.source),
        "rate": options.rate,
        "color_topic": options.color_topic,
        "depth_topic": options.depth_topic,
        "info_topic": options.info_topic,
        "bag_empty_seconds": options.empty_seconds,
        "depth_unit": options.depth_unit,
    }


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Run the demo and return its summary.

    Raises:
        DartError: if anything fails; the text says what.
    """
    output = Path(options.output)
    logs = output / "logs"
    for old in _WRITTEN:
        (output / old).unlink(missing_ok=True)
    logs.mkdir(parents=True, exist_ok=True)
    set_environment(logs)
    with contextlib.ExitStack() as stack:
        scenes = Path(stack.enter_context(tempfile.TemporaryDirectory(dir=output)))
        save_png(scenes / "background.png", gradient(640, 480))
        recorder = stack.enter_context(contextlib.closing(Recorder(_KEPT_BYTES)))
        camera = stack.enter_context(running_camera(_camera_parameters(options), logs))
        node = stack.enter_context(
            running_matting_node(options.backend, options.max_depth, logs, scenes.resolve())
        )
        demo = Demo(recorder, camera, node)

        demo.wait_for_stream()
        start = demo.counts()
        demo.resume()
        answer, capture_seconds = demo.capture(options.fit_seconds if options.fit else None)
        fit = None
        if options.fit:
            fit = fit_figures(scenes, *demo.wait_for_fit(options.fit_seconds))
        backend = demo.wait_for_mattes()
        speed, _, _ = demo.record(
            "measuring the speed", {"alpha": False, "trimap": False}, options.seconds
        )
        keep = {"color": True, "depth": True, **{name: True for name in MATTE_TOPICS}}
        keep["foreground"] = False
        pictures, end, tracks = demo.record(
            "recording pictures", keep, min(options.seconds, _PICTURE_SECONDS)
        )
        figures = demo.figures()
    files, share = make_pictures(
        output,
        tracks,
        figures["occupied_frames"] / figures["rate"],
        pictures.mattes_per_second,
    )
    summary = {
        "source": str(options.source),
        "width": figures["width"],
        "height": figures["height"],
        "camera_rate": figures["rate"],
        "backend": backend,
        "cpu_count": len(os.sched_getaffinity(0)),
        "capture": {
            "seconds": round(capture_seconds, 2),
            "frames": answer.frames_used,
            "known_depth_share": round(answer.known_depth_share, 4),
        },
        "fit": fit,
        "speed": asdict(speed),
        "pictures": asdict(pictures),
        "whole_run": {
            "published": end.published - start.published,
            "received": end.received - start.received,
            "lost": end.published - start.published - end.received + start.received,
        },
        "foreground_share": round(share, 4),
        "files": files,
    }
    (output / "summary.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return summary


def table(summary: Mapping[str, Any]) -> str:
    """The summary for people."""
    speed, pictures = summary["speed"], summary["pictures"]
    rows = [("", "alpha + trimap", "all outputs")]
    for key, label in (
        ("published", "pairs published"),
        ("received", "pairs received"),
        ("matted", "mattes"),
        ("dropped", "replaced while waiting"),
        ("lost", "lost on the way"),
        ("mattes_per_second", "mattes a second"),
    ):
        rows.append((label, f"{speed[key]}", f"{pictures[key]}"))
    for key in ("p50", "p95", "p99"):
        label = f"latency {key}, ms"
        rows.append((label, f"{speed['latency_ms'][key]}", f"{pictures['latency_ms'][key]}"))
    for key in speed["cpu_percent"]:
        label = f"CPU of {key}, % of a core"
        rows.append((label, f"{speed['cpu_percent'][key]}", f"{pictures['cpu_percent'][key]}"))
    lines = [f"{label:<32}{first:>16}{second:>16}" for label, first, second in rows]
    capture, fit = summary["capture"], summary["fit"]
    lines.append(
        f"capture: {capture['seconds']} s, {capture['frames']} frames, depth known in "
        f"{100 * capture['known_depth_share']:.1f} % of the pixels"
    )
    if fit is None:
        lines.append("fit: none, generic weights")
    else:
        words = "improved the scene" if fit["improved"] else "brought nothing better"
        lines.append(f"fit: {fit['seconds']} s, {words}; {fit['last_words']}")
    lines.append(
        f"{summary['width']}x{summary['height']} at {summary['camera_rate']:g} Hz, engine "
        f"{summary['backend']}, {summary['cpu_count']} CPUs"
    )
    return "\n".join(lines)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse the command line; exits with status 2 and the reason if it is wrong."""
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--source", default="", help="recording, see docs/recordings.md (default: shipped)"
    )
    parser.add_argument("--output", default="demo_output", help="folder for what is written")
    parser.add_argument(
        "--seconds", type=float, default=12.0, help="length of the measurement (default: 12)"
    )
    parser.add_argument(
        "--fit", action=argparse.BooleanOptionalAction, default=True, help="fit to the scene"
    )
    parser.add_argument(
        "--fit-seconds", type=float, default=40.0, help="length of the fit (default: 40)"
    )
    parser.add_argument("--rate", type=float, default=0.0, help="Hz (default: the recording's)")
    parser.add_argument("--backend", default="auto", help="engine (default: auto)")
    parser.add_argument(
        "--max-depth",
        type=positive,
        default=MAX_DEPTH,
        help=f"sensor's range in metres (default: {MAX_DEPTH:g})",
    )
    parser.add_argument(
        "--depth-unit",
        type=float,
        default=0.0,
        help="metres a unit of its depth images (default: as its kind prescribes)",
    )
    parser.add_argument("--color-topic", default=f"/{COLOR_TOPIC}", help="for bags")
    parser.add_argument("--depth-topic", default=f"/{DEPTH_TOPIC}", help="for bags")
    parser.add_argument("--info-topic", default=f"/{COLOR_INFO_TOPIC}", help="for bags")
    parser.add_argument(
        "--empty-seconds",
        type=float,
        default=3.0,
        help="for bags: the scene is empty in their first seconds (default: 3)",
    )
    options = parser.parse_args(arguments)
    source = Path(options.source) if options.source else DEMO_RECORDING
    if not source.exists():
        parser.error(f"there is no {source}; name a recording folder or a bag with --source")
    if options.seconds < 2.0:
        parser.error("--seconds must be at least 2")
    options.source = source.resolve()
    return options


def main() -> int:
    """Run the demo; returns the exit status."""
    options = parse()
    end_by_signals()
    began = time.monotonic()
    try:
        summary = run(options)
    except (DartError, OSError) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("demo: interrupted, the nodes are stopped", file=sys.stderr)
        return 130
    print(table(summary))
    for kind, file in summary["files"].items():
        print(f"{kind.replace('_', ' ')}: {file}")
    print(f"figures: {Path(options.output) / 'summary.json'} ({time.monotonic() - began:.0f} s)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

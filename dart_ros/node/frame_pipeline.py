"""The way of a frame: a pair of messages, its matte, the outputs.

The worker's thread has the engine matte the latest pair, or feeds it to a capture. The sender's
thread steadies and publishes the matte while the worker is at the next pair.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from dart_ros.node.background_learning import BackgroundLearning
from dart_ros.node.capture import Capture
from dart_ros.node.context import NodeContext
from dart_ros.node.frame_log import FrameLog
from dart_ros.node.image_messages import ImagePair, frame_from_pair, why_no_points
from dart_ros.node.motion_watch import MotionWatch
from dart_ros.node.outputs import COLORED, OF_THE_SOURCE, TRIMAPS, Outputs
from dart_ros.node.scene_loader import Loaded, SceneLoader, check_size
from dart_ros.node.still import Still, Stills
from dart_ros.node.worker import LatestWorker, OrderedWorker
from dart_ros.session.scene_camera import why_another_camera
from dart_ros.values import Frame, Matte

_SHOWN_ALWAYS = frozenset({"input/compressed"})  # without a scene too, to set up the view
_IDLE_PERIOD = 1.0  # seconds between two looks for faults at frames that nobody needs


@dataclass(frozen=True, eq=False)
class _Sent:
    """A frame for the sender."""

    wanted: frozenset[str]
    pair: ImagePair
    frame: Frame
    finish: Callable[[], Matte] | None = None  # None where the source is wanted alone
    still: Still | None = None  # that waits for this matte


class FramePipeline:
    """Takes pairs while it runs. Its methods are for the executor's thread.

    Args:
        context: of the node.
        scenes: has the scene in use.
        capture: takes the frames while one runs.
        stills: each takes one frame.
        learning: learns from some of the mattes.
    """

    def __init__(
        self,
        context: NodeContext,
        scenes: SceneLoader,
        capture: Capture,
        stills: Stills,
        learning: BackgroundLearning,
    ) -> None:
        self._start = partial(_Run, context, scenes, capture, stills, learning)
        self._log = FrameLog()
        self._run: _Run | None = None
        self._left: list[_Run] = []  # that were at a frame when they had to end

    @property
    def log(self) -> FrameLog:
        """What became of the frames since :meth:`start`."""
        return self._log

    @property
    def dropped(self) -> int:
        """Pairs that a newer one replaced while they waited for the worker."""
        return self._run.worker.replaced if self._run is not None else 0

    @property
    def idle(self) -> bool:
        """Whether nobody subscribes to an output."""
        return self._run is not None and not self._run.outputs.wanted()

    def start(self, outputs: Outputs) -> None:
        """Take pairs from now on, and publish by ``outputs``."""
        self._log = FrameLog()
        self._run = self._start(self._log, outputs)

    def put(self, pair: ImagePair) -> None:
        """Take a pair; one that still waits is dropped."""
        if self._run is not None:
            self._run.worker.put(pair)

    def stop(self, timeout: float) -> None:
        """Take no more pairs; the threads have ``timeout`` seconds to end."""
        if self._run is not None and not self._run.stop(timeout):
            self._left.append(self._run)
        self._run = None

    def ended(self, timeout: float) -> bool:
        """Whether all threads have ended, within ``timeout`` seconds for each activation.

        One engine must never serve two threads, so a node whose engine hangs can't start again.
        """
        self._left = [run for run in self._left if not run.stop(timeout)]
        return not self._left


class _Run:
    """The threads from one activation to its end."""

    def __init__(
        self,
        context: NodeContext,
        scenes: SceneLoader,
        capture: Capture,
        stills: Stills,
        learning: BackgroundLearning,
        log: FrameLog,
        outputs: Outputs,
    ) -> None:
        self.outputs = outputs
        self._context = context
        self._scenes = scenes
        self._capture = capture
        self._stills = stills
        self._learning = learning
        self._log = log
        self._next_idle_look = 0.0
        self._motion = MotionWatch(context, self._doubt, self._motion_failed)
        self._sender = OrderedWorker(self._send, self._failed, "sending")
        self.worker = LatestWorker(self._process, self._failed, "matting")

    def stop(self, timeout: float) -> bool:
        """End the threads; whether they have ended within ``timeout`` seconds."""
        end = time.monotonic() + timeout
        threads = (self.worker, self._sender, self._motion)
        return all([thread.stop(max(0.0, end - time.monotonic())) for thread in threads])

    # ---- in the worker's thread ------------------------------------------------------------

    def _process(self, pair: ImagePair) -> None:
        capture, loaded, still = self._capture.session, self._scenes.loaded, self._stills.waiting
        wanted = self.outputs.wanted()
        shown = wanted & _SHOWN_ALWAYS
        idle = loaded is None or not (wanted or still)
        if capture is None and idle and not shown and not self._look_anyway():
            return
        settings = self._context.settings()
        frame = frame_from_pair(pair, settings.max_depth, settings.depth_is_aligned)
        if "points" in wanted and (reason := why_no_points(pair, frame.camera)):
            self._doubt(reason)
        if capture is not None:
            self._capture.feed(capture, frame)
        elif loaded is not None:
            check_size(frame.camera.width, frame.camera.height, loaded.scene)
            if wanted or still:
                self._sender.put(self._infer(loaded, wanted, still, pair, frame))
        if shown and (capture is not None or loaded is None):
            self._sender.put(_Sent(shown, pair, frame))
        if not (frame.depth > 0).any():
            self._doubt(
                "depth is unknown in the whole image, so mattes come from color alone: check the "
                "depth sensor (range, max_depth, emitter, covered lens)"
            )
        elif loaded is not None and capture is None:
            if other := why_another_camera(loaded.scene, frame.camera):
                self._doubt(other)
            self._motion.offer(frame.color, loaded)
        # Of a frame that the sender has, only the sender can tell.
        if loaded is None or capture is not None or idle:
            self._log.usable()

    def _look_anyway(self) -> bool:
        """Whether to look at a frame that nobody needs, so that the status tells its faults."""
        now = time.monotonic()
        if now < self._next_idle_look:
            return False
        self._next_idle_look = now + _IDLE_PERIOD
        return True

    def _infer(
        self,
        loaded: Loaded,
        wanted: frozenset[str],
        still: Still | None,
        pair: ImagePair,
        frame: Frame,
    ) -> _Sent:
        """Have the engine matte a frame, if anybody wants that."""
        if wanted <= OF_THE_SOURCE and still is None:
            return _Sent(wanted, pair, frame)
        predictor = loaded.predictor
        inferred = predictor.infer(frame, bool(COLORED & wanted) or still is not None)
        trimap = bool(TRIMAPS & wanted) or still is not None

        def finish() -> Matte:
            matte = predictor.finish(inferred, trimap)
            if not self._motion.astray:
                self._learning.offer(inferred.frame, matte.alpha, loaded)
            return matte

        return _Sent(wanted, pair, inferred.frame, finish, still)

    # ---- in the sender's thread ------------------------------------------------------------

    def _send(self, sent: _Sent) -> None:
        settings = self._context.settings()
        if sent.finish is None:
            self.outputs.publish_source(sent.wanted, sent.pair, sent.frame, settings)
        else:
            matte = sent.finish()
            # The worker may have seen it wait at the next frame too.
            if sent.still is not None and not sent.still.taken:
                self._stills.take(sent.still, sent.pair.color.header, sent.frame, matte)
            self.outputs.publish(sent.wanted, sent.pair, sent.frame, matte, settings)
            latency = (self._context.now() - sent.frame.stamp) * 1e-9
            self._log.matted(time.monotonic(), latency)
        self._log.usable()

    # ---- in any of the threads -------------------------------------------------------------

    def _doubt(self, reason: str) -> None:
        self._log.doubtful(time.monotonic(), reason)

    def _failed(self, error: Exception) -> None:
        self._log.failed(time.monotonic(), self._context.problems.describe(error))

    def _motion_failed(self, error: Exception) -> None:
        self._doubt(self._context.problems.describe(error))

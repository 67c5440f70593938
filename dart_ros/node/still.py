"""Stills: one frame matted, its outline solved anew by post-matting in a process of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dart_ros.node.capture import Capture
from dart_ros.node.context import NodeContext
from dart_ros.node.image_messages import image_message
from dart_ros.node.scene_loader import SceneLoader
from dart_ros.node.worker import JobThread
from dart_ros.postmatting import PostMatting
from dart_ros.postmatting.process import PostMattingProcess
from dart_ros.session.foreground import cutout, with_alpha
from dart_ros.session.matte_files import write_cutout
from dart_ros.values import Frame, Matte


@dataclass(frozen=True)
class StillOutcome:
    """How a still ended.

    Attributes:
        success: whether it was taken.
        message: what was done, or why not and what to do.
        images: ``alpha``, ``trimap`` and ``foreground``; empty if a file was written.
    """

    success: bool
    message: str
    images: dict[str, Image] = field(default_factory=dict)


class Still:
    """A still that was asked for.

    Args:
        file: the PNG to write, empty for images in the outcome.
        on_end: called with the outcome, once, in the executor's thread.
    """

    def __init__(self, file: str, on_end: Callable[[StillOutcome], None]) -> None:
        self.on_end = on_end
        self._file = file
        self._since = time.monotonic()
        self._given_up = False
        self._taken: tuple[Header, Frame, Matte] | None = None

    def take(self, header: Header, frame: Frame, matte: Matte) -> None:
        """Note the frame and its matte, with trimap and foreground; in the worker thread."""
        self._taken = header, frame, matte

    def give_up(self) -> None:
        """See to it that no file is written any more."""
        self._given_up = True

    @property
    def taken(self) -> bool:
        """Whether it has its frame."""
        return self._taken is not None

    def waiting_for(self) -> float:
        """Return the seconds for which the still waits for a frame."""
        return 0.0 if self.taken else time.monotonic() - self._since

    def finish(self, post_matting: PostMatting) -> StillOutcome:
        """Solve the outline anew, and write the file if there is to be one; takes seconds.

        Raises:
            PostMattingError: if the method fails.
            RecordingError: if the file can't be written.
        """
        if self._taken is None:
            raise ValueError("a still that has no frame yet can't be finished")
        header, frame, matte = self._taken
        trimap = matte.trimap
        if trimap is None or matte.foreground is None:
            raise ValueError("a still needs trimap and foreground: ask the predictor for them")
        matte = with_alpha(matte, post_matting.refine(frame.color, trimap))
        if self._file and not self._given_up:
            path = Path(self._file).expanduser()
            write_cutout(path, matte)
            return StillOutcome(True, f"the cut-out was written to {path}")
        images = {
            "alpha": image_message(matte.alpha, "mono8", header),
            "trimap": image_message(trimap, "mono8", header),
            "foreground": image_message(cutout(matte), "rgba8", header),
        }
        return StillOutcome(True, "the still is in the response", images)


class Stills:
    """Takes one still at a time. Its methods are for the executor's thread but :meth:`take`.

    Args:
        context: of the node.
        scenes: has the scene in use.
        capture: while one runs, no still is taken.
    """

    def __init__(self, context: NodeContext, scenes: SceneLoader, capture: Capture) -> None:
        self._context = context
        self._scenes = scenes
        self._capture = capture
        self._still: Still | None = None
        self._jobs = JobThread(context.post, "stills")
        self._post_matting: PostMattingProcess | None = None

    @property
    def running(self) -> bool:
        """Whether a still is being taken."""
        return self._still is not None

    @property
    def waiting(self) -> Still | None:
        """The still that waits for a frame; from any thread."""
        still = self._still
        return None if still is None or still.taken else still

    def start(self, file: str, on_end: Callable[[StillOutcome], None]) -> None:
        """Take a still of the next frame.

        Args:
            file: the PNG to write, empty for images in the outcome.
            on_end: called with the outcome, at once if the still is refused.
        """
        refused = ""
        if self._capture.busy:
            refused = "a background is being captured: wait until it is done"
        elif self._scenes.loaded is None:
            refused = "there is no background yet: capture one or load a scene first"
        elif self._still is not None:
            refused = "a still is already being taken: wait until it is done"
        if refused:
            self._context.problems.report(refused)
            on_end(StillOutcome(False, refused))
        else:
            self._still = Still(file, on_end)

    def take(self, still: Still, header: Header, frame: Frame, matte: Matte) -> None:
        """Give a still its frame; in the worker's thread."""
        still.take(header, frame, matte)
        self._context.post(lambda: self._taken(still))

    def give_up(self, reason: str) -> None:
        """End the still that is being taken, and its process."""
        if self._still is not None:
            self._fail(self._still, reason)
        if self._post_matting is not None:
            self._post_matting.kill()

    def give_up_if_silent(self, why: Callable[[], str]) -> None:
        """Do so if no usable frame has come for the parameter capture_timeout.

        Args:
            why: says in words why no usable frame comes, empty if nothing is wrong with them.
        """
        still = self._still
        if still is None or still.waiting_for() <= self._context.settings().capture_timeout:
            return
        waited = f"no usable frame in {still.waiting_for():.1f} s (capture_timeout)"
        reason = why() or "the engine is still at an earlier one"
        if self._capture.session is not None:
            reason = "a background is being captured"
        self._fail(still, f"{waited}: {reason}")

    def stop(self, timeout: float) -> bool:
        """End the thread; whether it has ended within ``timeout`` seconds."""
        return self._jobs.stop(timeout)

    def _taken(self, still: Still) -> None:
        if self._still is not still:
            return
        settings = self._context.settings()
        post_matting = PostMattingProcess(settings.post_matting, settings.post_matting_weights)
        self._post_matting = post_matting

        def finished(outcome: StillOutcome) -> None:
            if self._still is still:
                self._context.logger.info(f"take_still: {outcome.message}")
                self._still = None
                still.on_end(outcome)

        def failed(error: Exception) -> None:
            self._fail(still, self._context.problems.describe(error))

        self._jobs.submit(lambda: still.finish(post_matting), finished, failed)

    def _fail(self, still: Still, reason: str) -> None:
        if self._still is still:
            self._still = None
            still.give_up()
            self._context.problems.report(reason)
            still.on_end(StillOutcome(False, reason))

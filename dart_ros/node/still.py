"""Stills: one frame matted, its outline solved anew by post-matting in a process of its own."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dart_ros.errors import DartError, PostMattingError, RecordingError
from dart_ros.node.capture import Capture
from dart_ros.node.context import NodeContext
from dart_ros.node.image_messages import image_message
from dart_ros.node.scene_loader import SceneLoader
from dart_ros.node.worker import JobThread
from dart_ros.postmatting import PostMatting
from dart_ros.postmatting.process import PostMattingProcess
from dart_ros.printable import printable
from dart_ros.session.foreground import cutout, with_alpha
from dart_ros.session.matte_files import write_cutout
from dart_ros.values import Frame, Matte

_LONGEST_PATH = 4095  # characters; Linux counts bytes


@dataclass(frozen=True)
class StillOutcome:
    """How a still ended.

    Attributes:
        success: whether it was taken.
        message: what was done, or why not and what to do.
        file: the file that was written, empty if none was.
        images: ``alpha``, ``trimap`` and ``foreground``, if they were asked for.
        cancelled: whether it was cancelled.
    """

    success: bool
    message: str
    file: str = ""
    images: dict[str, Image] = field(default_factory=dict)
    cancelled: bool = False


class Still:
    """A still that was asked for.

    Args:
        file: the PNG to write, None for none.
        images: whether the outcome has the images.
        on_end: called with the outcome, once, in the executor's thread.
    """

    def __init__(
        self, file: Path | None, images: bool, on_end: Callable[[StillOutcome], None]
    ) -> None:
        self.on_end = on_end
        self._file = file
        self._images = images
        self._since = time.monotonic()
        self._given_up = False
        self._taken: tuple[Header, Frame, Matte] | None = None

    def take(self, header: Header, frame: Frame, matte: Matte) -> None:
        """Note the frame and its matte, with trimap and foreground; in the sender's thread."""
        self._taken = header, frame, matte

    def give_up(self) -> None:
        """See to it that no file is written any more."""
        self._given_up = True

    @property
    def taken(self) -> bool:
        """Whether it has its frame."""
        return self._taken is not None

    @property
    def activity(self) -> str:
        """What goes on in words."""
        return "taking a still: " + (
            "solving its outline anew" if self.taken else "waiting for a frame"
        )

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
        told, file = [], ""
        if self._file is not None and not self._given_up:
            _make_folder(self._file.parent)
            write_cutout(self._file, matte)
            file = printable(str(self._file), _LONGEST_PATH)
            told.append(f"the cut-out was written to {file}")
        if not self._images:
            return StillOutcome(True, " ".join(told), file)
        told.append("the images are in the response")
        images = {
            "alpha": image_message(matte.alpha, "mono8", header),
            "trimap": image_message(trimap, "mono8", header),
            "foreground": image_message(cutout(matte), "rgba8", header),
        }
        return StillOutcome(True, "; ".join(told), file, images)


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

    def start(
        self, file: str, images: bool, on_end: Callable[[StillOutcome], None]
    ) -> Still | None:
        """Take a still of the next frame.

        Args:
            file: the PNG to write; empty for a new one in the parameter stills_dir, or for none if
                there are to be ``images``.
            images: whether the outcome is to have the images.
            on_end: called with the outcome, at once if the still is refused.

        Returns:
            The still, None if it is refused.
        """
        try:
            self._capture.check_idle()
            loaded = self._scenes.in_use()
            if self._still is not None:
                raise PostMattingError("a still is already being taken: wait until it is done")
            path = None
            if file:
                path = checked_file(file)
            elif not images:
                path = _new_file(self._context.settings().stills_dir, loaded.scene.name)
        except DartError as error:
            self._context.problems.report(str(error))
            on_end(StillOutcome(False, str(error)))
            return None
        self._still = Still(path, images, on_end)
        return self._still

    def cancel(self, still: Still) -> bool:
        """Start to cancel a still; whether it is being taken."""
        if self._still is not still:
            return False
        self._context.post(lambda: self._cancelled(still))
        return True

    def take(self, still: Still, header: Header, frame: Frame, matte: Matte) -> None:
        """Give a still its frame; in the sender's thread."""
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
                self._context.log.info(f"take_still: {outcome.message}")
                self._still = None
                still.on_end(outcome)

        def failed(error: Exception) -> None:
            self._fail(still, self._context.problems.describe(error))

        self._jobs.submit(lambda: still.finish(post_matting), finished, failed)

    def _cancelled(self, still: Still) -> None:
        if self._still is still:
            self._still = None
            still.give_up()
            if self._post_matting is not None:
                self._post_matting.kill()
            self._context.log.info("the still was cancelled")
            still.on_end(StillOutcome(False, "the still was cancelled", cancelled=True))

    def _fail(self, still: Still, reason: str) -> None:
        if self._still is still:
            self._still = None
            still.give_up()
            self._context.problems.report(reason)
            still.on_end(StillOutcome(False, reason))


def checked_file(name: str) -> Path:
    """The file of a still that somebody named, checked before anything is computed.

    Raises:
        RecordingError: if it can't be written there; the text is short, whatever the name.
    """
    shown = printable(name, 120)
    if len(name) > _LONGEST_PATH:
        raise RecordingError(
            f"the file name is of {len(name)} characters ('{shown}'): name one of up to "
            f"{_LONGEST_PATH}"
        )
    if not name.isprintable():
        raise RecordingError(f"the file name '{shown}' has control characters: name another")
    try:
        path = Path(name).expanduser().absolute()
        if path.suffix.lower() != ".png":
            raise RecordingError(
                f"'{shown}' is not named .png: a cut-out can only be a PNG, for it has alpha"
            )
        if not path.parent.is_dir():
            raise RecordingError(
                f"'{shown}' can't be written: there is no folder '{printable(str(path.parent))}' "
                "on the node's machine; make it or name another"
            )
        if path.exists() and not path.is_file():
            raise RecordingError(f"'{shown}' is no regular file: name another")
        if not os.access(path.parent, os.W_OK):
            raise RecordingError(
                f"'{shown}' can't be written: the node may not write into its folder; change its "
                "permissions or name another"
            )
    except (OSError, RuntimeError, ValueError) as error:
        # No such user, a name too long for the file system, no permission to look.
        why = error.strerror if isinstance(error, OSError) else error
        raise RecordingError(f"'{shown}' can't be had ({why}): name another file") from error
    return path


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordingError(
            f"the folder {printable(str(folder))} can't be made ({error.strerror}): choose another "
            "by the parameter stills_dir"
        ) from error


def _new_file(folder: str, scene: str) -> Path:
    stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S_%fZ")
    try:
        return Path(folder).expanduser() / f"{scene}-{stamp}.png"
    except RuntimeError as error:
        raise RecordingError(f"stills_dir '{printable(folder)}' can't be had: {error}") from error

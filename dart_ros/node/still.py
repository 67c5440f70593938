"""One run of ~/take_still: from the next frame to its answer."""

from __future__ import annotations

import time
from pathlib import Path
from typing import NamedTuple

from sensor_msgs.msg import Image
from std_msgs.msg import Header

from dart_ros.node.deferred_service import Reply
from dart_ros.node.image_messages import image_message
from dart_ros.postmatting import PostMatting
from dart_ros.session.foreground import cutout, with_alpha
from dart_ros.session.matte_files import write_cutout
from dart_ros.values import Frame, Matte


class Finished(NamedTuple):
    """A still that is done: what to tell, and the images for the response, by field."""

    message: str
    images: dict[str, Image]


class Still:
    """A still that was asked for.

    Args:
        reply: who waits for it.
        file: the PNG to write, empty for images in the answer.
    """

    def __init__(self, reply: Reply, file: str) -> None:
        self.reply = reply
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

    def finish(self, post_matting: PostMatting) -> Finished:
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
            return Finished(f"the cut-out was written to {path}", {})
        images = {
            "alpha": image_message(matte.alpha, "mono8", header),
            "trimap": image_message(trimap, "mono8", header),
            "foreground": image_message(cutout(matte), "rgba8", header),
        }
        return Finished("the still is in the response", images)

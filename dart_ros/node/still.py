"""One run of ~/take_still: from the next frame to its answer."""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path

import cv2
from std_msgs.msg import Header

from dart_ros.node.deferred_service import Reply
from dart_ros.node.image_messages import image_message
from dart_ros.postmatting import PostMatting
from dart_ros.session.matte_files import write_cutout
from dart_ros.values import Frame, Matte


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
        self._taken: tuple[Header, Frame, Matte] | None = None

    def take(self, header: Header, frame: Frame, matte: Matte) -> None:
        """Note the frame and its matte, with trimap and foreground; in the worker thread."""
        # An engine may use its buffers again.
        copies = {name: image.copy() for name, image in vars(matte).items() if image is not None}
        self._taken = header, frame, replace(matte, **copies)

    @property
    def taken(self) -> bool:
        """Whether it has its frame."""
        return self._taken is not None

    def waiting_for(self) -> float:
        """Return the seconds for which the still waits for a frame."""
        return 0.0 if self.taken else time.monotonic() - self._since

    def finish(self, post_matting: PostMatting) -> str:
        """Solve the outline anew and fill in the response; takes seconds.

        Returns:
            What was done, in words.

        Raises:
            PostMattingError: if the method fails.
            RecordingError: if the file can't be written.
        """
        if self._taken is None:
            raise ValueError("a still that has no frame yet can't be finished")
        header, frame, matte = self._taken
        trimap, foreground = matte.trimap, matte.foreground
        if trimap is None or foreground is None:
            raise ValueError("a still needs trimap and foreground: ask the matter for them")
        matte = replace(matte, alpha=post_matting.refine(frame.color, trimap))
        if self._file:
            path = Path(self._file).expanduser()
            write_cutout(path, matte)
            return f"the cut-out was written to {path}"
        response = self.reply.response
        rgba = cv2.cvtColor(foreground, cv2.COLOR_RGB2RGBA)
        rgba[..., 3] = matte.alpha
        response.alpha = image_message(matte.alpha, "mono8", header)
        response.trimap = image_message(trimap, "mono8", header)
        response.foreground = image_message(rgba, "rgba8", header)
        return "the still is in the response"

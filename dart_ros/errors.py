"""The errors that the package raises on purpose: one class for each layer.

Each message is one sentence that says what is wrong and what to do about it. Anything else that
gets out of the package is a bug.
"""

from __future__ import annotations


class DartError(Exception):
    """Base of all errors raised on purpose; its text is fit to be shown to the user."""


class SceneError(DartError):
    """A scene can't be written, found, read or trusted."""


class CaptureError(DartError):
    """The background can't be captured from the frames that were given."""


class RecordingError(DartError):
    """A recording or a bag can't be read."""


class FrameError(RecordingError):
    """One frame of a recording can't be read; the others may be."""


class EngineError(DartError):
    """No inference engine could be built, or the one built failed."""


class FitError(DartError):
    """Fitting the network to a scene failed."""


class EvaluationError(DartError):
    """A method can't be evaluated on the data that was given."""


class PostMattingError(DartError):
    """A method of post-matting can't be had, or failed on a frame."""


class MessageError(DartError):
    """An image is malformed: unknown encoding, truncated data, sizes that don't match."""


class SinkError(DartError):
    """A video device or pipe can't be written to."""

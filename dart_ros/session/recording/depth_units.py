"""Whether a recording's depth is in the unit that it is taken to be in."""

from __future__ import annotations

import numpy as np

from dart_ros.errors import FrameError
from dart_ros.session.recording.base import Recording

_LOOKS = 8
"""Frames that are looked at, spread over the recording."""

_BEYOND_SHARE = 0.5
"""Of the known depth, beyond the sensor's range; sensors in metres have a few per cent there."""

_NEAR, _FAR, _NOTHING_NEARER = 0.15, 5.0, 2.5
"""Metres: rooms have a median depth between the first two, unless all of it is farther than the
third; sensors don't measure below the first."""


def implausible_depth(recording: Recording) -> str | None:
    """What is odd about the distances in a recording, None if they are those of a room.

    Args:
        recording: an open recording; some of its frames are read.
    """
    known = []
    for position in np.unique(np.linspace(0, len(recording) - 1, _LOOKS).round().astype(int)):
        try:
            metres = recording.metres(int(position))[::4, ::4]
        except FrameError:
            continue
        known.append(metres[metres > 0])
    depth = np.concatenate(known) if known else np.zeros(0, np.float32)
    if not depth.size:
        return "Depth is unknown in all of the pixels: check the depth topic and the recording."
    median = float(np.median(depth))
    beyond = float((depth > recording.max_depth).mean())
    nearest = float(np.quantile(depth, 0.02))
    remedy = (
        "if its unit isn't the one that was taken, name it as metres by --depth-unit (0.0001 for "
        "0.1 mm, 0.00025 for 0.25 mm, 0.0002 for TUM's)"
    )
    if beyond > _BEYOND_SHARE:
        return (
            f"{beyond:.0%} of the depth lies beyond the sensor's range of {recording.max_depth:g} "
            f"m and is not used (the median is {median:.3g} m): {remedy}, else raise --max-depth."
        )
    if median < _NEAR:
        return (
            f"Half of the depth is nearer than {median:.3g} m, which no sensor measures: {remedy}."
        )
    if median > _FAR and nearest > _NOTHING_NEARER:
        return (
            f"The median depth is {median:.3g} m and nearly nothing is nearer than {nearest:.2g} "
            f"m, which is unusual for a room: {remedy}."
        )
    return None

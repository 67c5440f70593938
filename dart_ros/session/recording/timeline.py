"""Which color and depth images of a bag belong together, and in which order they came.

The order is that of arrival: stamps start over when a clock is set back or a bag is played in a
loop. Between two such resets pairs are made by stamps.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np

from dart_ros.session.pairing import pair_recorded

# A stamp so many periods behind the one before it is a reset; less is a message that was late.
_LATE_PERIODS = 2.5
# Nanoseconds by which times go back where a clock was set back; threads that write do so by less.
_TIME_RESET = 500_000_000
# More resets than this share of the messages are no resets: two cameras are on one topic.
_MOST_RESETS = 0.2


class Arrival(NamedTuple):
    """One image in a bag.

    Attributes:
        stamp: nanoseconds in its header.
        time: nanoseconds at which it was recorded.
        order: number of the message among all that were read.
        source: number of the connection that it came on.
        twin: how many images before it have the same source, time and stamp.
    """

    stamp: int
    time: int
    order: int
    source: int
    twin: int = 0


def by_arrival(images: Sequence[Arrival]) -> list[Arrival]:
    """Images of one stream in the order in which they came.

    That is by time, as files may have been sorted otherwise; but where the recorder's own clock was
    set back, it is the order of writing.

    Args:
        images: in the order in which they were written.
    """
    steps = np.diff([image.time for image in images])
    resets = int((steps < -_TIME_RESET).sum())
    if 0 < resets <= _MOST_RESETS * len(images):
        return list(images)
    return sorted(images, key=lambda image: image.time)


def pair_images(
    colors: Sequence[Arrival], depths: Sequence[Arrival]
) -> list[tuple[Arrival, Arrival]]:
    """Pairs of color and depth that are nearest in time, each image used once.

    Args:
        colors: color images in the order of arrival.
        depths: depth images in the order of arrival.

    Returns:
        (color, depth) of each pair; by stamp between two resets of the clock, and by arrival over
        them.
    """
    if _stamps_say_nothing(colors) or _stamps_say_nothing(depths):
        colors = [image._replace(stamp=image.time) for image in colors]
        depths = [image._replace(stamp=image.time) for image in depths]
    color_epochs, depth_epochs = _epochs(colors), _epochs(depths)
    partners = _partners(color_epochs, depth_epochs)
    pairs = []
    for number, epoch in enumerate(color_epochs):
        together = [
            d for d, partner in zip(depth_epochs, partners, strict=True) if partner == number
        ]
        ours, theirs = _unique(epoch), _unique([image for other in together for image in other])
        pairs += pair_recorded(ours, theirs)
    return pairs


def nearest_gap(colors: Sequence[Arrival], depths: Sequence[Arrival]) -> int | None:
    """Median over the color images of the nanoseconds to the nearest depth image, None for none."""
    if not colors or not depths:
        return None
    stamps = np.sort([d.stamp for d in depths])
    wanted = np.array([c.stamp for c in colors])
    after = np.searchsorted(stamps, wanted)
    gaps = [np.abs(wanted - stamps[np.clip(after - back, 0, len(stamps) - 1)]) for back in (0, 1)]
    return int(np.median(np.minimum(*gaps)))


def _stamps_say_nothing(images: Sequence[Arrival]) -> bool:
    """Whether a driver gives all its images one stamp, mostly 0."""
    return len(images) > 2 and len({image.stamp for image in images}) == 1


def _epochs(images: Sequence[Arrival]) -> list[list[Arrival]]:
    """The images of one stream, parted where its stamps start over."""
    if not images:
        return []
    steps = np.diff([image.stamp for image in images])
    forward = steps[steps > 0]
    late = _LATE_PERIODS * float(np.median(forward)) if forward.size else 0.0
    resets = np.flatnonzero(steps < -late) + 1
    if len(resets) > _MOST_RESETS * len(images):
        resets = resets[:0]
    edges = [0, *resets.tolist(), len(images)]
    return [list(images[a:b]) for a, b in pairwise(edges)]


def _partners(colors: list[list[Arrival]], depths: list[list[Arrival]]) -> list[int]:
    """For each epoch of depth, the number of the epoch of color that it belongs to."""
    if len(colors) == len(depths):
        return list(range(len(depths)))
    if not colors:
        return [-1] * len(depths)
    # One stream alone started over: what came at the same time belongs together.
    return [
        max(range(len(colors)), key=lambda number: _overlap(colors[number], epoch))
        for epoch in depths
    ]


def _overlap(a: list[Arrival], b: list[Arrival]) -> int:
    return min(a[-1].time, b[-1].time) - max(a[0].time, b[0].time)


def _unique(images: list[Arrival]) -> list[Arrival]:
    """By stamp; of one image that was recorded on two connections only the first is kept."""
    kept = []
    for _, same in groupby(sorted(images), key=lambda image: image.stamp):
        twins = list(same)
        kept += [twin for twin in twins if twin.source == twins[0].source]
    return kept

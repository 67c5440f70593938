"""Pairs color and depth images by their stamps."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Any

from rclpy.duration import Duration

try:
    import message_filters
except ImportError:
    message_filters = None

#: A stamp this far (nanoseconds) behind the one before it means that time was set back, as when a
#: bag starts over; messages that are merely late come within less.
_TIME_JUMP = 1_000_000_000
#: Stamps do not advance if, of so many messages on one side, more than this share has a stamp not
#: newer than the one before; when a bag starts over it is a single message.
_LOOK_BACK, _STUCK_SHARE = 20, 0.15

#: Stamps of a pair differ by less than this share of the period of the faster side, which is the
#: median of so many steps at most and is told from so many at least.
_REACH_SHARE, _STEPS, _FEWEST_STEPS = 0.75, 15, 3

COLOR, DEPTH = 0, 1


def stamp_of(message: Any) -> int:
    """Return the header's stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


class _Reach:
    """How far the stamps of a pair may be apart: less than the slop, and less than three quarters
    of the period of the faster side once that is known, for a partner a whole frame away belongs
    to another image."""

    def __init__(self, slop: float) -> None:
        self._slop = float(round(slop * 1e9))  # 0.013 s is a little more than 13 ms as it is
        self._latest: list[int | None] = [None, None]
        self._steps = (deque[int](maxlen=_STEPS), deque[int](maxlen=_STEPS))

    def after(self, side: int, stamp: int) -> float:
        """Nanoseconds, once a message of a side with this stamp has come."""
        latest = self._latest[side]
        if latest is None or stamp > latest:
            self._latest[side] = stamp
            if latest is not None:
                self._steps[side].append(stamp - latest)
        known = [median(steps) for steps in self._steps if len(steps) >= _FEWEST_STEPS]
        return min([self._slop, *(_REACH_SHARE * period for period in known)])


class ApproximatePairs:
    """Stand-in for ``message_filters.ApproximateTimeSynchronizer`` with two inputs.

    A message is paired with the nearest one of the other input whose stamp is within reach. Both
    are used up. What finds no partner waits, ``queue_size`` messages at most on each side, the
    oldest stamps going first. A second message with the same stamp on the same side replaces the
    first.

    Args:
        slop: seconds; stamps must differ by less.
        queue_size: messages kept on each side.
        on_pair: called with (color, depth).
    """

    def __init__(self, slop: float, queue_size: int, on_pair: Callable[[Any, Any], None]) -> None:
        self._reach = _Reach(slop)
        self._queue_size = queue_size
        self._on_pair = on_pair
        self._queues: tuple[dict[int, Any], dict[int, Any]] = ({}, {})

    def add(self, side: int, message: Any) -> None:
        """Take a message of :data:`COLOR` or :data:`DEPTH`."""
        mine, others = self._queues[side], self._queues[1 - side]
        stamp = stamp_of(message)
        reach = self._reach.after(side, stamp)
        mine[stamp] = message
        while len(mine) > self._queue_size:
            del mine[min(mine)]
        if stamp not in mine or not others:
            return
        nearest = min(others, key=lambda other: abs(other - stamp))
        if abs(nearest - stamp) < reach:
            pair = (mine.pop(stamp), others.pop(nearest))
            self._on_pair(pair[side], pair[1 - side])

    def waiting(self, side: int) -> int:
        """Return how many messages of one side wait for a partner."""
        return len(self._queues[side])


class _MessageFiltersPairs:
    """The same interface over the real ``message_filters``."""

    def __init__(self, slop: float, queue_size: int, on_pair: Callable[[Any, Any], None]) -> None:
        self._reach = _Reach(slop)
        self._inputs = (message_filters.SimpleFilter(), message_filters.SimpleFilter())
        self._synchronizer = message_filters.ApproximateTimeSynchronizer(
            self._inputs, queue_size, slop
        )
        self._synchronizer.registerCallback(on_pair)

    def add(self, side: int, message: Any) -> None:
        reach = self._reach.after(side, stamp_of(message))
        self._synchronizer.slop = Duration(nanoseconds=round(reach))
        self._inputs[side].signalMessage(message)


@dataclass(frozen=True)
class Gap:
    """What the latest stamps of color and depth tell when no pairs come of them.

    Attributes:
        seconds: between the latest color and depth stamps, >= 0.
        stuck: for color and depth, whether stamps keep standing still or going back.
    """

    seconds: float
    stuck: tuple[bool, bool] = (False, False)


class PairSynchronizer:
    """Pairs color and depth and hands the pairs on in the order of time.

    Uses ``message_filters`` where it is installed and :class:`ApproximatePairs` elsewhere. Two
    things are added to either: a pair older than the one before it is dropped, and when stamps
    jump back (a bag that starts over) everything that waits is forgotten, since messages of the
    old time would push out all of the new.

    Args:
        slop: seconds by which the stamps of a pair may differ, > 0.
        on_pair: called with (color, depth). It must not raise: the synchronizer of
            ``message_filters`` would stay locked for good.
        queue_size: messages kept on each side while they wait for a partner.
    """

    def __init__(
        self, slop: float, on_pair: Callable[[Any, Any], None], queue_size: int = 10
    ) -> None:
        self._slop = slop
        self._queue_size = queue_size
        self._on_pair = on_pair
        self._latest: list[int | None] = [None, None]
        self._steps = (deque[bool](maxlen=_LOOK_BACK), deque[bool](maxlen=_LOOK_BACK))
        self._forget()

    def add(self, side: int, message: Any) -> None:
        """Take a message of :data:`COLOR` or :data:`DEPTH`."""
        stamp = stamp_of(message)
        latest = self._latest[side]
        if latest is not None:
            self._steps[side].append(stamp > latest)
            if stamp < latest - _TIME_JUMP:
                self._forget()
        self._latest[side] = stamp
        self._pairs.add(side, message)

    @property
    def gap(self) -> Gap | None:
        """What the latest stamps tell, None before both color and depth have come."""
        color, depth = self._latest
        if color is None or depth is None:
            return None
        stuck = [steps.count(False) > _STUCK_SHARE * len(steps) for steps in self._steps]
        return Gap(abs(color - depth) * 1e-9, (stuck[COLOR], stuck[DEPTH]))

    def _forget(self) -> None:
        self._last_pair: int | None = None
        implementation = ApproximatePairs if message_filters is None else _MessageFiltersPairs
        self._pairs = implementation(self._slop, self._queue_size, self._paired)

    def _paired(self, color: Any, depth: Any) -> None:
        stamp = stamp_of(color)
        if self._last_pair is not None and stamp <= self._last_pair:
            return
        self._last_pair = stamp
        self._on_pair(color, depth)

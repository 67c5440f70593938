"""Which depth image belongs to which color image: by stamps, as they come or from a recording.

Stamps are integers in nanoseconds. A partner a whole frame away belongs to another image, so the
stamps of a pair differ by less than three quarters of the period of the faster stream, however wide
the slop is. Both ways of pairing keep to that: :class:`Pairing` decides at once, for a live node;
:func:`pair_recorded` knows all images, and finds the best pairs of a recording.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any, Generic, TypeVar

COLOR, DEPTH = 0, 1
"""The two sides."""

DEFAULT_SLOP = 0.02
"""Seconds by which the stamps of a pair may differ."""

DEFAULT_WAIT = 1.0
"""Seconds for which an image waits for its partner."""

MOST_BYTES = 256 << 20
"""Bytes of images, of both sides together, that may wait."""

_REACH_SHARE = 0.75
# An image half-way between two of the other side goes with the one before or the one after, but not
# by turns, which loses images: up to this share of a period as the last did, else up to this.
_STAY, _CHANGE = 0.65, 0.35
# The period is the median of so many steps at most and is told from so many at least.
_STEPS, _FEWEST_STEPS = 15, 2
# So many images may wait on each side even if they are older than the wait: cameras can be slow.
_FEWEST_WAITING, _MOST_WAITING = 10, 2000
# Time was set back, as when a bag starts over, once so many images in a row are not newer than one
# before them. Fewer are merely late.
_BEHIND = 3
# Stamps do not advance if, of so many images on one side, more than this share has a stamp not
# newer than the one before; when a bag starts over it is a single image.
_LOOK_BACK, _STUCK_SHARE = 20, 0.15

Item = TypeVar("Item")
Stamped = TypeVar("Stamped", bound=tuple[Any, ...])


@dataclass(frozen=True)
class Gap:
    """What the latest stamps of color and depth tell when no pairs come of them.

    Attributes:
        seconds: by which color's newest stamp is ahead of depth's, the offset of the clocks taken
            off; negative where depth is ahead.
        stuck: for color and depth, whether stamps keep standing still or going back.
        late: for color and depth, whether its images come when their partners no longer wait.
        full: whether images were dropped because :data:`MOST_BYTES` were waiting.
    """

    seconds: float
    stuck: tuple[bool, bool] = (False, False)
    late: tuple[bool, bool] = (False, False)
    full: bool = False


class _Side(Generic[Item]):
    """The images of one side that wait, and what its stamps tell."""

    def __init__(self) -> None:
        self.stamps: list[int] = []  # sorted
        self.items: dict[int, tuple[Item, int]] = {}  # image and bytes, by stamp
        self.bytes = 0
        self.newest: int | None = None
        self.previous: int | None = None  # stamp, in the order of arrival
        self.floor: int | None = None  # stamp of the last pair
        self.held: int | None = None  # up to this stamp images wait for the other side's time
        self.dropped: int | None = None  # newest stamp of those that waited in vain
        self.late = False
        self.behind: list[tuple[int, Item, int]] = []
        self.steps = deque[int](maxlen=_STEPS)
        self.advances = deque[bool](maxlen=_LOOK_BACK)

    @property
    def period(self) -> float | None:
        """Nanoseconds from one image to the next, None while unknown."""
        return median(self.steps) if len(self.steps) >= _FEWEST_STEPS else None

    @property
    def stuck(self) -> bool:
        return self.advances.count(False) > _STUCK_SHARE * len(self.advances)

    def holds(self, stamp: int) -> bool:
        return self.held is not None and stamp <= self.held

    def put(self, stamp: int, item: Item, size: int) -> None:
        if stamp in self.items:
            self.bytes -= self.items[stamp][1]
        else:
            insort(self.stamps, stamp)
        self.items[stamp] = item, size
        self.bytes += size

    def take(self, stamp: int) -> Item:
        """Remove an image and all older ones, and return it."""
        item = self.items[stamp][0]
        self.floor = stamp
        self.behind = [one for one in self.behind if one[1] is not item]
        while self.stamps and self.stamps[0] <= stamp:
            self.drop_oldest()
        return item

    def drop_oldest(self) -> int:
        stamp = self.stamps.pop(0)
        self.bytes -= self.items.pop(stamp)[1]
        return stamp

    def wasted(self) -> None:
        """Drop the oldest, which has waited in vain."""
        stamp = self.drop_oldest()
        self.dropped = stamp if self.dropped is None else max(self.dropped, stamp)

    def nearest(self, stamp: float) -> int | None:
        """The stamp of the image that is nearest in time; the older one of two."""
        at = bisect_left(self.stamps, stamp)
        around = self.stamps[max(0, at - 1) : at + 1]
        return min(around, key=lambda one: abs(one - stamp), default=None)


class Pairing(Generic[Item]):
    """Pairs images as they come, and hands the pairs on in the order of time.

    An image is paired with the nearest one of the other side within reach. That happens at once,
    but for one whose other neighbor, which has still to come, should be nearer. Of images that
    come twice under one stamp the second counts. Images older than the last pair are of no use.

    When a side's stamps go back and stay behind (a bag starts over, a clock is set), what came
    before is forgotten, and the pairs go on from there, once the other side's stamps have gone back
    too or its images of the time before can't be under way any more.

    Args:
        slop: seconds by which the stamps of a pair may differ, > 0.
        offset: seconds by which the clock of color is ahead of that of depth: depth's stamps are
            read as later by so much.
        wait: seconds, in stamps, for which an image waits for its partner, which may come that
            much later; 10 images wait in any case, and never more than :data:`MOST_BYTES`.
    """

    def __init__(
        self, slop: float = DEFAULT_SLOP, offset: float = 0.0, wait: float = DEFAULT_WAIT
    ) -> None:
        self._slop = float(round(slop * 1e9))  # 0.013 s is a little more than 13 ms as it is
        self._offset = round(offset * 1e9)
        self._wait = round(wait * 1e9)
        self._sides: list[_Side[Item]] = [_Side(), _Side()]
        self._open: tuple[int, int] | None = None  # a pair that a nearer partner may yet undo
        self._full = False
        self._early: int | None = None  # side of the earlier image of the last pair
        self._waited = (deque[int](maxlen=_STEPS), deque[int](maxlen=_STEPS))

    def add(self, side: int, stamp: int, item: Item, size: int = 0) -> list[tuple[Item, Item]]:
        """Take an image.

        Args:
            side: :data:`COLOR` or :data:`DEPTH`.
            stamp: nanoseconds.
            item: what the pairs are to hold of it.
            size: bytes that it takes.

        Returns:
            The pairs (color, depth) that come of it: none or one, or several where the stamps
            have gone back.
        """
        if side == DEPTH:
            stamp += self._offset
        mine = self._sides[side]
        if mine.previous is not None:
            mine.advances.append(stamp > mine.previous)
        self._note_lateness(side, stamp)
        went_back = mine.previous is not None and stamp < mine.previous
        mine.previous = stamp
        if mine.newest is None or stamp > mine.newest:
            if mine.newest is not None:
                mine.steps.append(stamp - mine.newest)
            mine.newest = stamp
            mine.behind = []
        elif mine.behind or went_back:
            mine.behind.append((stamp, item, size))
            if len(mine.behind) >= _BEHIND:
                return self._start_over(side)
        return self._insert(side, stamp, item, size)

    def waiting(self, side: int) -> int:
        """Return how many images of one side wait for a partner."""
        return len(self._sides[side].stamps)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the images that wait."""
        return sum(side.bytes for side in self._sides)

    @property
    def waited(self) -> tuple[float, float]:
        """Seconds, in stamps, that the color and depth of a pair waited lately (median)."""
        color, depth = (median(times) * 1e-9 if times else 0.0 for times in self._waited)
        return color, depth

    @property
    def gap(self) -> Gap | None:
        """What the latest stamps tell, None before both color and depth have come."""
        color, depth = self._sides
        if color.previous is None or depth.previous is None:
            return None
        return Gap(
            (color.previous - depth.previous) * 1e-9,
            (color.stuck, depth.stuck),
            (color.late, depth.late),
            self._full,
        )

    def _start_over(self, side: int) -> list[tuple[Item, Item]]:
        """Forget the time before a side's stamps went back; returns the pairs made since."""
        before, mine = self._sides[side], _Side[Item]()
        self._sides[side] = mine
        mine.advances, mine.previous = before.advances, before.previous
        self._open = None
        stamps = [stamp for stamp, _, _ in before.behind]
        other = self._sides[1 - side]
        if other.held is None and before.newest is not None:
            mine.held = min(before.newest, stamps[0] + self._wait)
        other.held = None
        mine.newest = max(stamps)
        pairs = []
        for stamp, item, size in before.behind:
            pairs += self._insert(side, stamp, item, size)
        return pairs

    def _insert(self, side: int, stamp: int, item: Item, size: int) -> list[tuple[Item, Item]]:
        mine = self._sides[side]
        if mine.floor is not None and stamp <= mine.floor:
            return []
        mine.put(stamp, item, size)
        pairs = []
        while (pair := self._decide(side, stamp)) is not None:
            for times, one, at in zip(self._waited, self._sides, pair, strict=True):
                ahead = at if one.newest is None else one.newest
                if ahead - at <= self._wait:  # else one stamp was odd
                    times.append(ahead - at)
            color, depth = (one.take(at) for one, at in zip(self._sides, pair, strict=True))
            pairs.append((color, depth))
            self._open, self._full, self._early = None, False, _earlier(pair)
            for one in self._sides:
                one.late, one.dropped = False, None
        self._limit(side)
        return pairs

    def _decide(self, side: int, stamp: int) -> tuple[int, int] | None:
        """The stamps of the pair to be made now that an image has come, None for none."""
        mine, other = self._sides[side], self._sides[1 - side]
        found = []
        if self._open is not None and all(
            at in one.items for one, at in zip(self._sides, self._open, strict=True)
        ):
            found.append(self._open)
        if stamp in mine.items and not mine.holds(stamp):
            at = other.nearest(stamp)
            if at is not None and abs(at - stamp) < self._reach() and not other.holds(at):
                found.append((stamp, at) if side == COLOR else (at, stamp))
        if not found:
            return None
        best = min(found, key=lambda pair: (abs(pair[0] - pair[1]), min(pair)))
        if self._is_final(best):
            return best
        self._open = best
        return None

    def _is_final(self, pair: tuple[int, int]) -> bool:
        """Whether no nearer partner is to be expected for the later image of a pair."""
        early = _earlier(pair)
        period = self._sides[early].period
        share = 0.5 if self._early is None else _STAY if early == self._early else _CHANGE
        if period is None or abs(pair[COLOR] - pair[DEPTH]) <= share * period:
            return True
        return any(
            one.newest is not None and one.newest > at
            for one, at in zip(self._sides, pair, strict=True)
        )

    def _reach(self) -> float:
        """Nanoseconds by which the stamps of a pair must differ less."""
        return _reach(self._slop, *(side.period for side in self._sides))

    def _limit(self, side: int) -> None:
        mine = self._sides[side]
        while len(mine.stamps) > _FEWEST_WAITING and (
            mine.stamps[0] < mine.stamps[-1] - self._wait or len(mine.stamps) > _MOST_WAITING
        ):
            mine.wasted()
        while self.waiting_bytes > MOST_BYTES:
            large = max(self._sides, key=lambda one: one.bytes if len(one.stamps) > 1 else -1)
            if len(large.stamps) < 2:
                break
            large.wasted()
            self._full = True

    def _note_lateness(self, side: int, stamp: int) -> None:
        """Note whether the partner of an image has waited in vain."""
        dropped = self._sides[1 - side].dropped
        self._sides[side].late = dropped is not None and stamp <= dropped + self._reach()


def pair_recorded(
    colors: Sequence[Stamped], depths: Sequence[Stamped], slop: float = DEFAULT_SLOP
) -> list[tuple[Stamped, Stamped]]:
    """Pair all images of a recording, each used once.

    Of all ways to pair images that are neighbors in time, the one with the smallest sum of
    differences is taken; an image without a partner counts half of the reach.

    Args:
        colors: tuples that begin with a stamp and can be compared, sorted.
        depths: the same of depth.
        slop: seconds by which the stamps of a pair may differ.

    Returns:
        (color, depth) of each pair, in the order of time.
    """
    reach = _reach(slop * 1e9, _period(colors), _period(depths))
    line = sorted([(image, COLOR) for image in colors] + [(image, DEPTH) for image in depths])
    costs = [0.0]
    paired = [False]
    for i, (image, side) in enumerate(line):
        costs.append(costs[i] + reach / 2)
        paired.append(False)
        before, other = line[i - 1]
        if i and other != side and image[0] - before[0] <= reach:
            together = costs[i - 1] + image[0] - before[0]
            paired[-1] = together <= costs[-1]
            costs[-1] = min(together, costs[-1])
    pairs = []
    end = len(line)
    while end:
        if paired[end]:
            color, depth = sorted(line[end - 2 : end], key=lambda one: one[1])
            pairs.append((color[0], depth[0]))
        end -= 2 if paired[end] else 1
    return pairs[::-1]


def _earlier(pair: tuple[int, int]) -> int:
    return COLOR if pair[COLOR] < pair[DEPTH] else DEPTH


def _period(images: Sequence[tuple[Any, ...]]) -> float | None:
    steps = [b[0] - a[0] for a, b in pairwise(images)]
    return median(steps) if steps else None


def _reach(slop: float, *periods: float | None) -> float:
    return min([slop, *(_REACH_SHARE * period for period in periods if period)])

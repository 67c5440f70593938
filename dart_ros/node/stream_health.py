"""What arrives on the three input topics, how often, and in words why no pairs come of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from dart_ros.node.synchronizer import Gap

WINDOW = 1.0
"""Seconds over which rates are counted."""

COLOR, DEPTH, INFO = "color", "depth", "camera_info"


class EventRate:
    """Events a second over the last :data:`WINDOW` seconds."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()
        self.last: float | None = None

    def count(self, now: float) -> None:
        """Note an event; ``now`` is in seconds of a steady clock."""
        self.last = now
        self._times.append(now)
        self._forget(now)

    def rate(self, now: float) -> float:
        """Return the events a second, in Hz."""
        self._forget(now)
        return len(self._times) / WINDOW

    def _forget(self, now: float) -> None:
        while self._times and self._times[0] <= now - WINDOW:
            self._times.popleft()


class StreamHealth:
    """Rates of color, depth, camera_info and of the pairs made of them."""

    def __init__(self) -> None:
        self.topics = {COLOR: EventRate(), DEPTH: EventRate(), INFO: EventRate()}
        self.pairs = EventRate()

    def silent_for(self, now: float, since: float) -> float:
        """Return the seconds since the last pair, or since ``since`` if none has come after."""
        last = self.pairs.last
        return now - (since if last is None else max(last, since))

    def rates_text(self, now: float) -> str:
        """Return for example ``color 30 Hz, depth 0 Hz, camera_info 30 Hz``."""
        return ", ".join(f"{name} {rate.rate(now):.0f} Hz" for name, rate in self.topics.items())

    def why_no_pairs(
        self,
        now: float,
        topics: Mapping[str, str],
        publishers: Mapping[str, int],
        gap: Gap | None,
        slop: float,
    ) -> str:
        """Say in words why no pairs come.

        Args:
            now: seconds of a steady clock.
            topics: full topic name of each input.
            publishers: how many publishers each input has.
            gap: what the newest color and depth stamps tell, if both have come.
            slop: seconds by which the stamps of a pair may differ.
        """
        rates = self.rates_text(now)
        silent = [name for name, rate in self.topics.items() if rate.rate(now) == 0]
        orphans = [name for name in silent if publishers[name] == 0]
        mute = [name for name in silent if publishers[name] > 0]
        if not silent:
            return f"{rates}, but {_why_unpaired(topics, publishers, gap, slop)}"
        advice = []
        if orphans:
            names = ", ".join(topics[name] for name in orphans)
            advice.append(f"nobody publishes {names}")
            if len(orphans) == len(self.topics):
                advice.append("is the camera driver running, are the topics remapped?")
            elif DEPTH in orphans:
                advice.append("is align_depth on, is the topic remapped?")
            else:
                advice.append("is the topic remapped?")
        if mute:
            names = ", ".join(topics[name] for name in mute)
            advice.append(
                f"{names} has a publisher but nothing arrives: has the camera stopped, or do the "
                "QoS settings not match (ros2 topic info -v)?"
            )
        return f"{rates}: {'; '.join(advice)}"


def _why_unpaired(
    topics: Mapping[str, str], publishers: Mapping[str, int], gap: Gap | None, slop: float
) -> str:
    """Say why no pairs come of color and depth that both arrive."""
    sides = () if gap is None else zip((COLOR, DEPTH), gap.stuck, strict=True)
    stuck = [name for name, is_stuck in sides if is_stuck]
    if not stuck:
        apart = "" if gap is None else f" ({gap.seconds * 1e3:.0f} ms apart)"
        return (
            f"no color stamp is within {slop * 1e3:.0f} ms of a depth stamp{apart}: "
            "let the camera synchronize the two, or raise sync_slop (of which three quarters of a "
            "frame's time count at most)"
        )
    words = f"the stamps of {', '.join(topics[name] for name in stuck)} do not advance"
    crowds = [
        f"{publishers[name]} publishers on {topics[name]}" for name in stuck if publishers[name] > 1
    ]
    if crowds:
        return f"{words}, with {', '.join(crowds)}: stop all but one"
    return f"{words}: does the driver set header.stamp, is /clock published?"

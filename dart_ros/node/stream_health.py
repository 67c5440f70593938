"""What arrives on the input topics, how often, and in words why no pairs come of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dart_ros.session.pairing import MOST_BYTES, Gap

WINDOW = 1.0
"""Seconds over which rates are counted."""

COLOR, DEPTH, INFO, RGBD = "color", "depth", "camera_info", "rgbd"

_DRIVER = "is the camera driver running, are the topics remapped?"
_HINTS = {
    COLOR: "is the topic remapped?",
    DEPTH: "is align_depth on, is the topic remapped?",
    RGBD: "is enable_rgbd on, with enable_sync and align_depth; is the topic remapped?",
}
# Message types that another setting of a parameter reads.
_TRANSPORTS = {
    (COLOR, "sensor_msgs/msg/CompressedImage"): "set image_transport to compressed",
    (COLOR, "sensor_msgs/msg/Image"): "set image_transport to raw",
    (DEPTH, "sensor_msgs/msg/CompressedImage"): "set depth_image_transport to compressedDepth",
    (DEPTH, "sensor_msgs/msg/Image"): "set depth_image_transport to raw",
}
_SHOWN = 80  # characters of a type that somebody else named


@dataclass(frozen=True)
class Publisher:
    """A publisher of an input topic.

    Attributes:
        kind: its message type, such as ``sensor_msgs/msg/Image``.
        qos_problem: why its QoS doesn't match that of the subscription, empty if it does.
    """

    kind: str
    qos_problem: str = ""


@dataclass(frozen=True)
class InputTopic:
    """An input topic as the ROS graph shows it.

    Attributes:
        topic: full name.
        kind: message type that is subscribed to.
        publishers: of any type.
    """

    topic: str
    kind: str
    publishers: Sequence[Publisher] = ()

    @property
    def crowded(self) -> str:
        """Tell that more than one publisher sends what is read here; empty if not."""
        count = sum(one.kind == self.kind for one in self.publishers)
        return f"{count} publishers on {self.topic}" if count > 1 else ""


@dataclass(frozen=True)
class PairingLimits:
    """Parameters that pairs depend on.

    Attributes:
        slop: seconds by which stamps may differ, sync_slop.
        wait: seconds for which an image waits, sync_wait.
        offset: seconds by which color's clock is taken to be ahead, depth_time_offset.
    """

    slop: float
    wait: float
    offset: float = 0.0


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
    """Rates of the input topics and of the pairs made of them.

    Args:
        images: the topics without which there are no pairs: color and depth, or rgbd alone.
    """

    def __init__(self, images: Sequence[str] = (COLOR, DEPTH)) -> None:
        names = (RGBD,) if RGBD in images else (*images, INFO)
        self.topics = {name: EventRate() for name in names}
        self.pairs = EventRate()
        self._images = tuple(images)

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
        inputs: Mapping[str, InputTopic],
        gap: Gap | None,
        limits: PairingLimits,
        transport_problem: str = "",
    ) -> str:
        """Say in words why no pairs come.

        Args:
            now: seconds of a steady clock.
            inputs: each input, by its name here.
            gap: what the newest color and depth stamps tell, if both have come.
            limits: parameters that pairs depend on.
            transport_problem: what may keep images from arriving at all, such as shared memory
                that is full; empty if nothing.
        """
        rates = self.rates_text(now)
        silent = [name for name in self._images if self.topics[name].rate(now) == 0]
        if not silent:
            return f"{rates}, but {_why_unpaired(inputs, gap, limits)}"
        orphans = [name for name in silent if not inputs[name].publishers]
        advice = []
        if orphans:
            topics = ", ".join(inputs[name].topic for name in orphans)
            advice.append(f"nobody publishes {topics}")
            alone = len(orphans) == len(self._images) and RGBD not in orphans
            advice.append(_DRIVER if alone else _HINTS[orphans[-1]])
        quiet = []
        for name in silent:
            if name not in orphans:
                reason = _why_mute(name, inputs[name])
                if reason:
                    advice.append(reason)
                else:
                    quiet.append(inputs[name].topic)
        if quiet:
            advice.append(
                f"{', '.join(quiet)} has a publisher but nothing arrives, though type and QoS "
                f"match: {transport_problem or 'has the camera stopped?'}"
            )
        return f"{rates}: {'; '.join(advice)}"


def _why_mute(name: str, given: InputTopic) -> str:
    """Say why none of a topic's publishers can be heard; empty if one could."""
    fitting = [one for one in given.publishers if one.kind == given.kind]
    if not fitting:
        kind = given.publishers[0].kind
        remedy = _TRANSPORTS.get((name, kind))
        hint = f"{remedy}, or remap the topic" if remedy else "remap the topic"
        return f"{given.topic} carries {kind[:_SHOWN]!r}, not {given.kind}: {hint}"
    problem = fitting[0].qos_problem
    if problem and all(one.qos_problem for one in fitting):
        return (
            f"the QoS of the publisher of {given.topic} doesn't match ({problem}): change it there "
            "or here (parameters qos_overrides)"
        )
    return ""


def _why_unpaired(inputs: Mapping[str, InputTopic], gap: Gap | None, limits: PairingLimits) -> str:
    """Say why no pairs come of color and depth that both arrive."""
    if gap is None:
        return "they have only begun to come"
    sides = (COLOR, DEPTH)
    stuck = [name for name, is_stuck in zip(sides, gap.stuck, strict=True) if is_stuck]
    if stuck:
        words = f"the stamps of {', '.join(inputs[name].topic for name in stuck)} do not advance"
        crowds = [inputs[name].crowded for name in stuck if inputs[name].crowded]
        if crowds:
            return f"{words}, with {', '.join(crowds)}: stop all but one"
        return f"{words}: does the driver set header.stamp, is /clock published?"
    apart, offset = f"{abs(gap.seconds):.3g} s", f"{gap.seconds + limits.offset:.3g}"
    if any(gap.late):
        late, early = (DEPTH, COLOR) if gap.late[1] else (COLOR, DEPTH)
        if gap.full:
            return (
                f"{late} comes {apart} after its {early}, and more than "
                f"{MOST_BYTES >> 20} MB of images would have to wait: shorten the delay of {late}, "
                "or have the camera publish smaller or compressed images"
            )
        return (
            f"the stamps of {late} are {apart} behind those of {early}, and images wait "
            f"{limits.wait:g} s: raise sync_wait if {late} comes so late, or set "
            f"depth_time_offset to {offset} if the clocks differ"
        )
    return (
        f"no color stamp is within {limits.slop * 1e3:.0f} ms of a depth stamp "
        f"({abs(gap.seconds) * 1e3:.0f} ms apart): let the camera synchronize the two, set "
        f"depth_time_offset (about {offset}) if their clocks differ, or raise sync_slop "
        "(of which three quarters of a frame's time count at most)"
    )

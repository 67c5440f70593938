"""Pairs color and depth images by their stamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dart_ros.session.pairing import COLOR, DEPTH, Gap, Pairing

__all__ = ["COLOR", "DEPTH", "Gap", "PairSynchronizer", "stamp_of"]


def stamp_of(message: Any) -> int:
    """Return the header's stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return int(stamp.sec) * 1_000_000_000 + int(stamp.nanosec)


class PairSynchronizer:
    """Hands pairs of messages to a callback; see :class:`dart_ros.session.pairing.Pairing`."""

    def __init__(self, slop: float, on_pair: Callable[[Any, Any], None]) -> None:
        self._pairing: Pairing[Any] = Pairing(slop)
        self._on_pair = on_pair

    def add(self, side: int, message: Any) -> None:
        """Take a message of :data:`COLOR` or :data:`DEPTH`."""
        for pair in self._pairing.add(side, stamp_of(message), message, len(message.data)):
            self._on_pair(*pair)

    @property
    def gap(self) -> Gap | None:
        """What the latest stamps tell, None before both color and depth have come."""
        return self._pairing.gap

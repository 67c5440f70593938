"""What the page's server asks of a matting node, whatever carries it out."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Protocol

VIEWS = ("input", "alpha", "cutout", "composite", "trimap")
"""Pictures that the page shows."""


@dataclass(frozen=True)
class Answer:
    """What a node says to a request.

    Attributes:
        success: whether it was done.
        message: what was done, or why not and what to do.
        picture: JPEG or PNG that shows it, empty for none.
    """

    success: bool
    message: str
    picture: bytes = field(default=b"", repr=False)


@dataclass(frozen=True)
class Picture:
    """One encoded picture of a live view."""

    kind: str  # image/jpeg or image/png
    data: bytes


class MattingNode(Protocol):
    """A matting node as the page sees it."""

    name: str

    def status(self) -> dict[str, Any]:
        """The latest status as JSON values; empty if none came yet."""
        ...

    def watch(self, view: str) -> AsyncIterator[Picture | None]:
        """The pictures of a view; those that come too fast are skipped. None: none for long."""
        ...

    async def capture(self, scene: str, fit: bool) -> Answer:
        """Capture the background; answers when it is done."""
        ...

    async def cancel_capture(self) -> Answer:
        """End a running capture."""
        ...

    async def fit(self, scene: str) -> Answer:
        """Start to fit the network to the scene in use."""
        ...

    async def cancel_fit(self) -> Answer:
        """End a running fit."""
        ...

    async def scenes(self) -> list[dict[str, Any]]:
        """The stored scenes as JSON values, with a data URL of their thumbnail."""
        ...

    async def load(self, scene: str) -> Answer:
        """Use a stored scene."""
        ...

    async def rename(self, scene: str, name: str) -> Answer:
        """Rename a stored scene."""
        ...

    async def delete(self, scene: str) -> Answer:
        """Delete a stored scene."""
        ...

    async def absorb(self, region: tuple[int, int, int, int]) -> Answer:
        """Make what was put down or taken away in a region part of the background.

        Args:
            region: left, top, width and height in pixels.
        """
        ...

    async def undo_absorb(self) -> Answer:
        """Take the last absorption back."""
        ...

    async def set_backdrop(self, backdrop: dict[str, Any]) -> Answer:
        """Set parameters of the composite's background."""
        ...

    async def still(self) -> Answer:
        """Take a still; its PNG is the answer's picture."""
        ...

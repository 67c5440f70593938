"""Text from outside, made fit for a log, a terminal and a ROS string."""

from __future__ import annotations


def printable(text: str, most: int = 200) -> str:
    """Escape what doesn't print (control characters, lone surrogates) and clip the rest.

    Args:
        text: any string, such as the name of a file that isn't UTF-8.
        most: longest result in characters, at least 4.

    Returns:
        A string of at most ``most`` printable characters, which encodes as UTF-8; ``...`` at its
        end if something was cut.
    """
    # Each character gives at least one, so the tail of a long text needn't be looked at.
    head = text[: most + 1]
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    return safe if len(safe) <= most else safe[: most - 3] + "..."

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from dart_ros.printable import printable


@given(st.text(st.characters()), st.integers(4, 50))
def test_it_prints_encodes_and_is_short(text: str, most: int) -> None:
    shown = printable(text, most)
    assert shown.isprintable() and len(shown) <= most and shown.encode() is not None
    if text.isprintable() and len(text) <= most:
        assert shown == text


def test_escapes_and_clips() -> None:
    assert printable("a\n\x1b[2J\udcff") == r"a\n\x1b[2J\udcff"
    assert printable("x" * 10**7, 10) == "xxxxxxx..."

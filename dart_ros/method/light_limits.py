"""Which colors and depths tell of a frame's light; engines without torch use them as well."""

from __future__ import annotations

DEVIATIONS = 2.0
"""Standard deviations within which a depth counts as the background's."""

DARKEST = 0.06
BRIGHTEST = 0.95
"""Colors that tell of light: darker ones are noise, brighter ones may be cut off."""

MOST_GAIN = 3.0
"""A gain lies between this and its inverse."""

KNEE = 0.95
"""Colors above this may be cut off, the more the brighter they are."""

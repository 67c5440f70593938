"""Numbers of the method's equations that engines without torch use as well."""

from __future__ import annotations

ZETA = 0.001
"""Density per metre that makes an unknown depth give the prior (paper: zeta)."""

LOWER_THRESHOLD = 0.25
UPPER_THRESHOLD = 0.8
"""Of the trimap (Eq. 13)."""

TRIMAP_BLUR_SIGMA = 1.5
"""Blur before the thresholds of the trimap, in pixels of the full image."""

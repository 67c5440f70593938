"""The least deviation of background depth (Eq. 4) that the network is trained with.

The statistics of a captured scene are :mod:`dart_ros.session.background_depth`'s.
"""

from __future__ import annotations

STD_FLOOR = 0.01
"""Smallest relative standard deviation: quantised sensors repeat a value and would give 0, and
their depth drifts by more than it flickers."""

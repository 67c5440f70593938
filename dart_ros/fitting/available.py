"""Whether this machine can fit and train, told without importing torch."""

from __future__ import annotations

import importlib.util

from dart_ros.errors import FitError


def check() -> None:
    """Raises FitError where torch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise FitError(
            "a fit needs torch, which is not installed (pip install torch); until then mattes are "
            "made with the generic weights"
        )

"""Post-matting of stills: a slower method that solves the trimap's unknown part anew."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import PostMattingError

NAMES = ("closed-form", "vitmatte")
"""Names for :func:`create_post_matting`."""


class PostMatting(Protocol):
    """From color and a trimap to alpha."""

    def refine(self, color: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Alpha of a frame, 0 and 255 where the trimap is, anything where it is unknown.

        Args:
            color: ``H×W×3`` uint8 RGB.
            trimap: ``H×W`` uint8: 0 background, 128 unknown, 255 foreground.

        Returns:
            ``H×W`` uint8.

        Raises:
            PostMattingError: if the method fails on this frame.
        """


def create_post_matting(name: str, weights: Path | None = None) -> PostMatting:
    """Post-matting by its name.

    Args:
        name: one of :data:`NAMES`.
        weights: folder of the weights of ViTMatte; closed form has none.

    Raises:
        PostMattingError: if there is no such method, its library isn't installed, or its weights
            are missing or can't be read.
    """
    if name == "closed-form":
        from dart_ros.postmatting.closed_form import ClosedForm

        return ClosedForm()
    if name == "vitmatte":
        from dart_ros.postmatting.vitmatte import VitMatte

        return VitMatte(weights)
    raise PostMattingError(f"There is no post-matting '{name}'; take {' or '.join(NAMES)}.")

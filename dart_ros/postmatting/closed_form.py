"""Closed-form matting (Levin et al., PAMI 2008), solved by the library pymatting."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dart_ros.errors import PostMattingError

MARGIN = 32
"""Pixels around the unknown part that are solved with it; its equations reach 2 pixels far."""

MOST_UNKNOWN = 0.5
"""Share of the trimap up to which it is solved: far from what is known the solver hardly converges,
and a frame that is unknown everywhere takes minutes."""


class ClosedForm:
    """See :class:`dart_ros.postmatting.PostMatting`. Takes seconds a frame.

    The first use after an installation takes a minute or more: pymatting compiles and keeps it.

    Raises:
        PostMattingError: if pymatting isn't installed.
    """

    def __init__(self) -> None:
        try:
            from pymatting import estimate_alpha_cf
        except ImportError as error:
            raise PostMattingError(
                f"Closed-form matting needs pymatting ({error}); run: pip install pymatting"
            ) from error
        self._solve = estimate_alpha_cf

    def refine(self, color: NDArray[np.uint8], trimap: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """See :meth:`dart_ros.postmatting.PostMatting.refine`.

        Where the trimap has no foreground, what is unknown is background, and the other way round.
        """
        unknown = trimap == 128
        alpha = np.where(unknown, 0, trimap).astype(np.uint8)
        if not unknown.any() or not (trimap == 255).any():
            return alpha
        if not (trimap == 0).any():
            return np.full_like(trimap, 255)
        if unknown.mean() > MOST_UNKNOWN:
            raise PostMattingError(
                f"The trimap is unknown in {unknown.mean():.0%} of a frame, and closed form solves "
                f"{MOST_UNKNOWN:.0%} at most; use the alpha without it, or capture the background "
                "again."
            )
        part = _around(unknown)
        if not {0, 255} <= set(np.unique(trimap[part]).tolist()):
            part = (slice(None), slice(None))
        known = np.where(unknown, 0.5, trimap / 255.0)
        try:
            solved = self._solve(color[part] / 255.0, known[part])
        except ValueError as error:
            raise PostMattingError(
                f"Closed-form matting failed on a frame ({error}); use the alpha without it."
            ) from error
        alpha[part] = np.where(unknown[part], np.rint(255 * np.clip(solved, 0, 1)), trimap[part])
        return alpha


def _around(mask: NDArray[np.bool_]) -> tuple[slice, slice]:
    """The box around what is set, with a margin."""
    spans = [np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0)]
    rows, columns = (
        slice(max(0, int(span[0]) - MARGIN), int(span[-1]) + MARGIN + 1) for span in spans
    )
    return rows, columns

"""The metrics of the matting literature, in float64, over whole images.

SAD, MSE, Grad and Conn follow Rhemann et al., "A Perceptually Motivated Online Benchmark for Image
Matting" (CVPR 2009), as the MATLAB evaluation of Background Matting V2 (Lin et al., CVPR 2021)
computes them, in the scaling that papers print. dtSSD is that of Erofeev et al., "Perceptually
Motivated Benchmark for Video Matting" (BMVC 2015), as Robust Video Matting (Lin et al., WACV 2022)
computes it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from dart_ros.errors import EvaluationError

_GRAD_SIGMA = 1.4
_GRAD_CUT = 1e-2
_CONN_STEP = 0.1
_CONN_TOLERANCE = 0.15


@dataclass(frozen=True)
class Scores:
    """Scores of one matte or the mean of several; less is better.

    Attributes:
        sad: sum of absolute differences / 1000.
        mse: mean squared difference x 1000.
        grad: gradient error / 1000.
        conn: connectivity error / 1000.
        false_foreground: share of the image, 0 to 1, that is background in truth (alpha 0) and got
            an alpha of one half or more.
    """

    sad: float
    mse: float
    grad: float
    conn: float
    false_foreground: float


def score(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> Scores:
    """All scores of one matte.

    Args:
        alpha: ``H×W`` uint8, the estimate.
        truth: ``H×W`` uint8.

    Raises:
        EvaluationError: if the sizes differ or the arrays aren't ``H×W`` uint8.
    """
    _check(alpha, truth)
    a, t = alpha / 255.0, truth / 255.0
    return Scores(
        sad=sad(a, t),
        mse=mse(a, t),
        grad=gradient_error(a, t),
        conn=connectivity_error(a, t),
        false_foreground=float(((truth == 0) & (alpha >= 128)).mean()),
    )


def flicker(
    alpha: NDArray[np.uint8],
    alpha_before: NDArray[np.uint8],
    truth: NDArray[np.uint8],
    truth_before: NDArray[np.uint8],
) -> float:
    """dtSSD of two consecutive frames x 100: how far alpha changes otherwise than the truth does.

    The root of the mean over pixels of ``((a(t) - a(t-1)) - (g(t) - g(t-1)))²``, alpha in [0, 1].
    All arguments are ``H×W`` uint8.

    Raises:
        EvaluationError: if the sizes differ or the arrays aren't ``H×W`` uint8.
    """
    for other in (alpha_before, truth, truth_before):
        _check(alpha, other)
    a, b, g, h = (x / 255.0 for x in (alpha, alpha_before, truth, truth_before))
    return 100.0 * float(np.sqrt(np.square((a - b) - (g - h)).mean()))


def mean_scores(scores: list[Scores]) -> Scores:
    """Mean of each score over several mattes; EvaluationError if there are none."""
    if not scores:
        raise EvaluationError("There is nothing to average; evaluate at least one frame.")
    names = list(Scores.__dataclass_fields__)
    return Scores(**{name: float(np.mean([getattr(s, name) for s in scores])) for name in names})


def sad(alpha: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Sum of absolute differences / 1000; ``H×W`` arrays of 0 to 1."""
    return float(np.abs(alpha - truth).sum()) / 1000.0


def mse(alpha: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Mean squared difference x 1000; ``H×W`` arrays of 0 to 1."""
    return float(np.square(alpha - truth).mean()) * 1000.0


def gradient_error(alpha: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Sum of squared differences of the gradients' lengths / 1000.

    Each matte is stretched to reach from 0 to 1 first (MATLAB's ``mat2gray``), as the reference
    does; one of a single value stays as it is. Gradients are taken with first derivatives of a
    Gaussian of 1.4 pixels, cut where it falls below 0.01 and scaled to unit energy; borders are
    replicated. ``H×W`` arrays of 0 to 1.
    """
    difference = _gradient(_stretched(alpha)) - _gradient(_stretched(truth))
    return float(np.square(difference).sum()) / 1000.0


def connectivity_error(alpha: NDArray[np.float64], truth: NDArray[np.float64]) -> float:
    """Connectivity error / 1000; ``H×W`` arrays of 0 to 1.

    For each pixel the highest threshold (in steps of 0.1) is sought at which it still belongs to
    the largest 4-connected region where both mattes reach the threshold. What alpha exceeds it by
    counts from 0.15 on.
    """
    level = np.full(alpha.shape, -1.0)
    steps = round(1.0 / _CONN_STEP)
    for step in range(1, steps + 1):
        threshold = step * _CONN_STEP
        # A step computed as 0.1 x 3 exceeds 0.3 by one bit.
        both = np.minimum(alpha, truth) >= threshold - 1e-12
        labels, count = ndimage.label(both)
        inside = np.zeros(alpha.shape, bool)
        if count:
            sizes = np.bincount(labels.ravel())
            inside = labels == 1 + int(np.argmax(sizes[1:]))
        level[(level < 0) & ~inside] = threshold - _CONN_STEP
    level[level < 0] = 1.0
    difference = _connectedness(alpha, level) - _connectedness(truth, level)
    return float(np.abs(difference).sum()) / 1000.0


def _check(alpha: NDArray[np.uint8], truth: NDArray[np.uint8]) -> None:
    same_shape = alpha.shape == truth.shape and alpha.ndim == 2
    if not same_shape or alpha.dtype != np.uint8 or truth.dtype != np.uint8:
        raise EvaluationError(
            f"An estimate of {alpha.dtype} {alpha.shape} can't be compared with a truth of "
            f"{truth.dtype} {truth.shape}; both must be uint8 of the same height and width."
        )


def _stretched(matte: NDArray[np.float64]) -> NDArray[np.float64]:
    low, high = float(matte.min()), float(matte.max())
    return (matte - low) / (high - low) if high > low else matte


def _connectedness(matte: NDArray[np.float64], level: NDArray[np.float64]) -> NDArray[np.float64]:
    excess = matte - level
    return 1.0 - excess * (excess >= _CONN_TOLERANCE)


def _gradient(matte: NDArray[np.float64]) -> NDArray[np.float64]:
    sigma = _GRAD_SIGMA
    peak = np.sqrt(2.0 * np.pi) * sigma
    half = int(np.ceil(sigma * np.sqrt(-2.0 * np.log(peak * _GRAD_CUT))))
    x = np.arange(-half, half + 1, dtype=np.float64)
    gauss = np.exp(-(x**2) / (2.0 * sigma**2)) / peak
    slope = -x * gauss / sigma**2
    # The 2-D kernel is the outer product of the two, so its energy is the product of theirs.
    gauss /= np.sqrt(np.square(gauss).sum())
    slope /= np.sqrt(np.square(slope).sum())

    def along(axis: int) -> Any:
        smooth = ndimage.correlate1d(matte, gauss, axis=1 - axis, mode="nearest")
        return ndimage.correlate1d(smooth, slope, axis=axis, mode="nearest")

    return np.hypot(along(0), along(1))

"""Training on pairs of frames: what stands still in a picture shall stand still in the matte."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from dart_ros.fitting.losses import matting_loss, steadiness_loss
from dart_ros.method.network import MattingOutput
from dart_ros.simulation.frames import Batch

STEADINESS = 2.0
"""Weight of the change where nothing has changed but noise."""


def paired_loss(
    matte: Callable[[Batch], MattingOutput],
    loss: Callable[[MattingOutput, Batch], Tensor],
    batch: Batch,
) -> Tensor:
    """The loss of pairs of frames, a scalar.

    Args:
        matte: the network.
        loss: of a batch of single frames.
        batch: with previous frames.
    """
    first = earlier(batch)
    now, before = matte(batch), matte(first)
    total = loss(now, batch) + matting_loss(before, first, foreground=False)
    return total + STEADINESS * steadiness_loss(now.alpha, before.alpha, batch)


def earlier(batch: Batch) -> Batch:
    """The previous frames of a batch as a batch, whose ``foreground`` is not the true one."""
    previous = batch.previous
    assert previous is not None
    return Batch(
        previous.color,
        previous.depth,
        batch.background,
        previous.alpha,
        previous.color,
        previous.weight,
    )

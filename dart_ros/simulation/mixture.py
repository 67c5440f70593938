"""Training frames of several kinds, mixed: composed ones and real ones."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from dart_ros.simulation.composition import Composer
from dart_ros.simulation.frames import Batch
from dart_ros.simulation.recorded import RecordedFrames, join_batches

_SALT = 0x5EA1


class Mixture:
    """Composed frames, and real ones among them.

    Args:
        composer: makes the composed frames.
        recorded: makes the real ones; None for none.
        share: of the frames that are real, 0 to 1.
    """

    def __init__(
        self, composer: Composer, recorded: RecordedFrames | None = None, share: float = 0.0
    ) -> None:
        self._composer, self._recorded = composer, recorded
        self._share = share
        self._generator = torch.Generator()

    def frames(self, seeds: Sequence[int]) -> Batch:
        """A frame for each seed, which alone decides it; 32 bits each."""
        if self._recorded is None:
            return self._composer.frames(seeds)
        return join_batches([self._frame(seed) for seed in seeds])

    def _frame(self, seed: int) -> Batch:
        assert self._recorded is not None
        # Of its own: the first number of a frame's seed decides what is in the frame, too.
        self._generator.manual_seed(seed ^ _SALT)
        if float(torch.rand((), generator=self._generator)) >= self._share:
            return self._composer.frames([seed])
        return self._recorded.frames([seed]).to(self._composer.device)

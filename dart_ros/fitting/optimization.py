"""One step of training: mixed precision on a GPU, and batches that fit into its memory."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from dart_ros.errors import FitError
from dart_ros.fitting.run import Rates
from dart_ros.fitting.sequences import paired_loss
from dart_ros.method.geometry import tile_count
from dart_ros.method.network import MattingNetwork, MattingOutput
from dart_ros.simulation.frames import Batch

Loss = Callable[[MattingOutput, Batch], Tensor]

_LONGEST_GRADIENT = 1.0


@contextlib.contextmanager
def memory_told() -> Iterator[None]:
    """A GPU whose memory is full, where halving the batch doesn't help, ends in a FitError."""
    try:
        yield
    except torch.cuda.OutOfMemoryError as error:
        raise FitError(
            "the GPU's memory is full: end what else uses it, or set CUDA_VISIBLE_DEVICES= to go "
            "on with the CPU"
        ) from error


def keep_norms(network: nn.Module) -> None:
    """Batch norm keeps its statistics while all else trains: a few small batches would spoil them.

    Args:
        network: in training mode; ``train()`` undoes this.
    """
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def parameter_groups(network: MattingNetwork, rates: Rates) -> list[dict[str, Any]]:
    """What is trained of a network, each part with its rate, for an optimizer."""
    base = network.base
    parts: Mapping[str, nn.Module] = {
        "encoder": base.encoder,
        "aspp": base.aspp,
        "decoder": base.decoder,
        "refiner": network.refiner,
    }
    groups = []
    for name, part in parts.items():
        parameters = [parameter for parameter in part.parameters() if parameter.requires_grad]
        if parameters:
            groups.append({"params": parameters, "lr": getattr(rates, name)})
    return groups


class Stepper:
    """Takes steps of an optimizer.

    Where a GPU's memory is too small for a batch, the batch goes through in halves, quarters and
    so on, whose gradients add up to the batch's.

    Args:
        network: what is trained, a matting network, maybe wrapped to be trained by several
            processes.
        optimizer: of its parameters, with its highest rates.
        loss: a mean over the frames of a batch.
        reduction: of the base network's input, None for what the frames' size asks for.
        alone: False where other processes wait for this one's gradients: out of memory is an
            error then.

    Attributes:
        network: what is trained, as it is called.
        optimizer: what takes the steps.
        parts: parts in which a batch goes through the network.
        scaler: keeps the gradients of half precision in range on a GPU.
    """

    def __init__(
        self,
        network: nn.Module,
        optimizer: torch.optim.Optimizer,
        loss: Loss,
        reduction: int | None = None,
        alone: bool = True,
    ) -> None:
        self.parts = 1
        self.network = network
        self.optimizer = optimizer
        self._rates = [group["lr"] for group in optimizer.param_groups]
        self._loss = loss
        self._reduction = reduction
        self._alone = alone
        self._parameters = [p for group in optimizer.param_groups for p in group["params"]]
        self._kind = self._parameters[0].device.type
        self.scaler = torch.amp.GradScaler("cuda", enabled=self._kind == "cuda")

    def set_rates(self, step: int, share: float, warm_up: int, last: float = 0.0) -> None:
        """The learning rates of a step: they rise in ``warm_up`` steps, then follow half a cosine.

        ``share`` of the training is done, in [0, 1]; ``last`` is the share of the highest rates
        that is left at the end.
        """
        cosine = last + (1 - last) * 0.5 * (1 + math.cos(math.pi * share))
        factor = min(1.0, (step + 1) / warm_up) * cosine
        for group, rate in zip(self.optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * factor

    def step(self, batch: Batch) -> float:
        """One step; returns the loss.

        Raises:
            FitError: if the GPU's memory is too small for a single frame.
        """
        while True:
            try:
                loss = self._gradients(batch)
                break
            except torch.cuda.OutOfMemoryError as error:
                if not self._alone or self.parts >= len(batch.color):
                    raise FitError(
                        f"the GPU's memory is too small for {len(batch.color) // self.parts} "
                        "frames at a time: end what else uses it, or give a smaller batch or size"
                    ) from error
                self.parts = min(2 * self.parts, len(batch.color))
            # Outside of the handler, which holds on to what was computed.
            torch.cuda.empty_cache()
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self._parameters, _LONGEST_GRADIENT)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return loss

    def _gradients(self, batch: Batch) -> float:
        self.optimizer.zero_grad(set_to_none=True)
        total, count = 0.0, len(batch.color)
        for part in _split(batch, self.parts):
            with self._precision():
                if part.previous is None:
                    loss = self._loss(self._matted(part), part)
                else:
                    loss = paired_loss(self._matted, self._loss, part)
                loss = loss * (len(part.color) / count)
            self.scaler.scale(loss).backward()
            total += loss.item()
        return total

    def _matted(self, batch: Batch) -> MattingOutput:
        color = batch.color.contiguous(memory_format=torch.channels_last)
        tiles = tile_count(*color.shape[-2:])
        output: MattingOutput = self.network(
            color, batch.depth, batch.background, tiles, self._reduction
        )
        return output

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        if self._kind == "cuda":
            return torch.autocast("cuda", dtype=torch.float16)
        if _computes_bfloat16():
            return torch.autocast("cpu", dtype=torch.bfloat16)
        return contextlib.nullcontext()


def _computes_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16, which is faster then; others emulate it slowly."""
    asked = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return asked is not None and bool(asked())


def _split(batch: Batch, parts: int) -> Iterator[Batch]:
    size = -(-len(batch.color) // parts)
    for first in range(0, len(batch.color), size):
        cut = slice(first, first + size)
        yield batch.map(lambda image, cut=cut: image[cut])  # type: ignore[misc]

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dart_ros.errors import FitError
from dart_ros.fitting import optimization as module
from dart_ros.fitting.losses import matting_loss
from dart_ros.fitting.optimization import Stepper, memory_told
from dart_ros.method.network import Background, MattingNetwork, MattingOutput
from dart_ros.simulation.backgrounds import invent_room
from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.frames import Batch


class SmallMemory(MattingNetwork):
    """As on a GPU whose memory holds so many frames."""

    most = 1

    def forward(
        self,
        color: Tensor,
        depth: Tensor,
        background: Background,
        tiles: int | None = None,
        reduction: int | None = None,
    ) -> MattingOutput:
        if len(color) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(color, depth, background, tiles, reduction)


@pytest.fixture(scope="module")
def batch(library: Path) -> Batch:
    composer = Composer(load_foregrounds(library), [invent_room(1, 96, 128)], (64, 96), seed=5)
    return composer.batch(3)


def test_steps_learn_a_batch_by_heart(batch: Batch) -> None:
    torch.manual_seed(0)
    network = MattingNetwork().train()
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-3)
    stepper = Stepper(network, optimizer, matting_loss)
    losses = [stepper.step(batch) for _ in range(25)]
    assert all(loss == loss for loss in losses)
    assert losses[-1] < 0.6 * losses[0]


def test_out_of_memory_halves_the_batch_and_the_gradient_stays(
    batch: Batch, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_computes_bfloat16", lambda: False)
    gradients = []
    for kind in (MattingNetwork, SmallMemory):
        torch.manual_seed(0)
        network = kind().eval()  # batch norm in training would see other batches
        optimizer = torch.optim.SGD(network.parameters(), lr=0.0)
        stepper = Stepper(network, optimizer, matting_loss)
        loss = stepper.step(batch)
        gradients.append((loss, [p.grad for p in network.parameters() if p.grad is not None]))
    assert stepper.parts == 3
    (whole_loss, whole), (parts_loss, parts) = gradients
    assert parts_loss == pytest.approx(whole_loss, rel=1e-4)
    for one, other in zip(whole, parts, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5)


def test_a_cpu_that_computes_bfloat16_does(batch: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    kinds: list[tuple[torch.dtype, torch.dtype]] = []

    def loss(output: MattingOutput, batch: Batch) -> Tensor:
        kinds.append((output.coarse_alpha.dtype, batch.color.dtype))
        return matting_loss(output, batch)

    losses = []
    for mixed in (False, True):
        monkeypatch.setattr(module, "_computes_bfloat16", lambda mixed=mixed: mixed)
        torch.manual_seed(0)
        network = MattingNetwork().eval()
        optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
        losses.append(Stepper(network, optimizer, loss).step(batch))
        assert all(p.dtype == torch.float32 and p.isfinite().all() for p in network.parameters())
    assert kinds == [(torch.float32, torch.float32), (torch.bfloat16, torch.float32)]
    assert losses[1] == pytest.approx(losses[0], rel=0.02) and losses[1] != losses[0]


def test_a_full_memory_is_told() -> None:
    with pytest.raises(FitError, match="CUDA_VISIBLE_DEVICES"), memory_told():
        raise torch.cuda.OutOfMemoryError("CUDA out of memory")


def test_too_little_memory_for_a_frame_is_an_error(batch: Batch) -> None:
    network = SmallMemory()
    network.most = 0
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    with pytest.raises(FitError, match="smaller batch or size"):
        Stepper(network, optimizer, matting_loss).step(batch)
    network.most = 1
    with pytest.raises(FitError, match="smaller batch or size"):
        Stepper(network, optimizer, matting_loss, alone=False).step(batch)

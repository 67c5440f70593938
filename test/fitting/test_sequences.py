from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from dart_ros.fitting.losses import matting_loss, steadiness_loss
from dart_ros.fitting.optimization import Stepper
from dart_ros.fitting.sequences import STEADINESS, earlier, paired_loss
from dart_ros.method.network import MattingNetwork, MattingOutput
from dart_ros.simulation.backgrounds import invent_room
from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.frames import Batch


@pytest.fixture
def pairs(library: Path) -> Batch:
    return Composer(
        load_foregrounds(library), [invent_room(1, 96, 128)], (32, 48), seed=1, pairs=True
    ).batch(2)


def test_both_frames_and_the_change_between_them_count(pairs: Batch) -> None:
    torch.manual_seed(0)
    network = MattingNetwork().eval()
    seen: list[Tensor] = []

    def matte(batch: Batch) -> MattingOutput:
        seen.append(batch.color)
        output: MattingOutput = network(batch.color, batch.depth, batch.background)
        return output

    assert pairs.previous is not None
    loss = float(paired_loss(matte, matting_loss, pairs).detach())
    assert [color.data_ptr() for color in seen] == [
        pairs.color.data_ptr(),
        pairs.previous.color.data_ptr(),
    ]
    now, before = matte(pairs), matte(earlier(pairs))
    expected = matting_loss(now, pairs) + matting_loss(before, earlier(pairs), foreground=False)
    expected = expected + STEADINESS * steadiness_loss(now.alpha, before.alpha, pairs)
    assert loss == pytest.approx(float(expected), rel=1e-5)


def test_steps_learn_from_pairs(pairs: Batch) -> None:
    torch.manual_seed(0)
    network = MattingNetwork()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    stepper = Stepper(network, optimizer, matting_loss)
    losses = [stepper.step(pairs) for _ in range(40)]
    assert min(losses[-15:]) < 0.8 * losses[0]

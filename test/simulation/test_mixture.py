from __future__ import annotations

from pathlib import Path

import pytest
import torch
from recorded_example import SIZE, scene

from dart_ros.simulation.composition import Composer
from dart_ros.simulation.foregrounds import load_foregrounds
from dart_ros.simulation.mixture import Mixture
from dart_ros.simulation.recorded import RecordedFrames


@pytest.fixture(scope="module")
def composer(library: Path) -> Composer:
    return Composer(load_foregrounds(library), [scene().background], SIZE)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_the_share_of_real_frames(composer: Composer, share: float) -> None:
    mixture = Mixture(composer, RecordedFrames([scene()], SIZE), share)
    batch = mixture.frames(range(60))
    # Real frames alone have pixels without a label.
    real = (batch.weight == 0).flatten(1).any(dim=1)
    assert abs(float(real.float().mean()) - share) < 0.17


def test_a_seed_alone_decides_a_frame(composer: Composer) -> None:
    mixture = Mixture(composer, RecordedFrames([scene()], SIZE), 0.5)
    first, again = mixture.frames(range(8)), mixture.frames([6, 2])
    assert torch.equal(first.color[[6, 2]], again.color)
    assert torch.equal(first.alpha[[6, 2]], again.alpha)


def test_without_recordings_all_are_composed(composer: Composer) -> None:
    assert (Mixture(composer).frames(range(3)).weight == 1).all()

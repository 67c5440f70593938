from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from recorded_example import SIZE, WALL, scene

from dart_ros.simulation.depth_labels import FOREGROUND, UNLABELLED
from dart_ros.simulation.frames import Batch
from dart_ros.simulation.recorded import (
    UNCHANGED,
    RecordedChances,
    RecordedFrames,
    join_batches,
)

NEVER = replace(UNCHANGED, still=0.0)


def tensors(batch: Batch) -> list[torch.Tensor]:
    found = [batch.color, batch.depth, *batch.background, batch.alpha, batch.foreground]
    return [*found, batch.weight, *(batch.previous or ())]


def chances(**changed: float) -> RecordedChances:
    return replace(NEVER, **changed)


def frames(count: int = 8, size: tuple[int, int] = SIZE, **options: Any) -> Batch:
    return RecordedFrames([options.pop("scene", scene())], size, **options).frames(range(count))


def test_a_seed_alone_decides_a_frame() -> None:
    source = RecordedFrames([scene(), scene(2)], SIZE, pairs=True)
    first, again = source.frames([3, 4, 5]), source.frames([5, 3])
    for a, b in zip(tensors(first), tensors(again), strict=True):
        assert torch.equal(a[2], b[0]) and torch.equal(a[0], b[1])


def test_a_frame_is_what_the_recording_has() -> None:
    batch = frames(chances=NEVER)
    for color, depth, alpha, weight in zip(
        batch.color, batch.depth[:, 0], batch.alpha[:, 0], batch.weight[:, 0], strict=True
    ):
        number = round((float(color[0, 30, 30]) * 255 - 150) / 20)
        recorded = scene()
        assert torch.allclose(color, recorded.color[number].float() / 255)
        expected = recorded.depth[number].float() / 1000
        assert torch.allclose(depth, torch.where(expected > 0, expected, -1.0))
        assert torch.equal(alpha, (recorded.labels[number] == FOREGROUND).float())
        assert torch.equal(weight, (recorded.labels[number] != UNLABELLED).float())
    assert len({float(color[0, 30, 30]) for color in batch.color}) > 1
    assert torch.equal(batch.foreground, batch.color)
    plate, mean, std, known, _ = (image[0] for image in batch.background)
    assert torch.allclose(plate, torch.full_like(plate, 100 / 255))
    assert (known[0, :4] == 0).all() and (known[0, 4:] == 1).all()
    # Eq. 4 where nothing is known, with the sensor's own range.
    assert (mean[0, :4] == 8).all() and torch.allclose(std[0, :4], torch.tensor(0.08))
    assert (mean[0, 4:] == WALL).all()


@pytest.mark.parametrize("size", [SIZE, (96, 128), (32, 64), (80, 48)])
def test_all_images_of_a_window_show_the_same_part(size: tuple[int, int]) -> None:
    batch = frames(12, size, chances=chances(window=1.0, mirror=0.5))
    assert batch.color.shape == (12, 3, *size)
    sides = set()
    for image, alpha, depth, weight in zip(
        batch.color, batch.alpha[:, 0], batch.depth[:, 0], batch.weight[:, 0], strict=True
    ):
        labelled = alpha > 0
        assert bool(labelled.any())
        assert (image[0][labelled] > 0.57).all() and (depth[labelled] == 1).all()
        beside = (weight > 0) & ~labelled
        if bool(beside.any()):
            assert (image[0][beside] < 0.4).all()
            sides.add(
                bool(
                    torch.nonzero(beside)[:, 1].float().mean()
                    > torch.nonzero(labelled)[:, 1].float().mean()
                )
            )
    assert len(sides) == 2 or size[1] == 48


def test_pairs_are_frames_that_follow_each_other() -> None:
    batch = frames(20, pairs=True, chances=NEVER)
    assert batch.previous is not None
    now, before = (image[:, 0, 30, 30] * 255 for image in (batch.color, batch.previous.color))
    steps = (now - before).round()
    first = now.round() < 155
    assert (steps[~first] == 20).all()
    assert (steps[first].abs() <= 6).all()  # the first frame has none before it: noise alone
    assert bool(first.any()) and bool((~first).any())


def test_somebody_who_stands_still_has_new_noise_in_each_frame() -> None:
    batch = frames(10, pairs=True, chances=chances(still=1.0))
    assert batch.previous is not None
    change = (batch.color - batch.previous.color).abs() * 255
    assert float(change.max()) <= 6.01 and (change.mean(dim=(1, 2, 3)) > 1).all()
    wall = batch.depth[..., 10:, 50:] - batch.previous.depth[..., 10:, 50:]
    person = batch.depth[..., 20:, 25:35] - batch.previous.depth[..., 20:, 25:35]
    assert 0.005 < float(wall.std()) < 0.02
    # Noise grows with the square of the distance.
    assert 0 < float(person.std()) < 0.3 * float(wall.std())
    assert torch.equal(batch.alpha, batch.previous.alpha)


def test_without_empty_frames_there_is_no_noise() -> None:
    batch = frames(4, pairs=True, scene=scene(samples=False), chances=chances(still=1.0))
    assert batch.previous is not None and torch.equal(batch.color, batch.previous.color)


@pytest.mark.parametrize("kind", ["dark_lost", "parts_lost", "people_lost"])
def test_depth_is_lost_where_there_is_no_background_label(kind: str) -> None:
    batch = frames(20, chances=chances(**{kind: 1.0}))
    plain = frames(20, chances=NEVER)
    lost = (plain.depth > 0) & (batch.depth <= 0)
    background = (batch.weight > 0) & (batch.alpha == 0)
    person = batch.alpha > 0
    assert not bool((lost & background).any())
    assert torch.equal(batch.alpha, plain.alpha) and torch.equal(batch.weight, plain.weight)
    share = float(lost[person].float().mean())
    assert share == 1 if kind == "people_lost" else share < 1
    if kind == "parts_lost":
        assert 0.02 < share < 0.6


def test_depth_is_lost_altogether_at_times() -> None:
    batch = frames(2, chances=chances(all_lost=1.0))
    assert (batch.depth <= 0).all() and bool((batch.background.known > 0).any())


def test_light_changes_the_frame_and_not_the_plate() -> None:
    batch = frames(30, chances=chances(light=1.0))
    wall = batch.color[..., 20, 60].mean(dim=1) * 255
    assert float(wall.std()) > 10
    assert torch.equal(batch.foreground, batch.color)
    assert (batch.background.plate == batch.background.plate[0]).all()


def test_exposure_steps_change_one_frame_of_a_pair() -> None:
    batch = frames(30, pairs=True, scene=scene(1, samples=False), chances=chances(step=1.0))
    assert batch.previous is not None
    ratio = batch.previous.color[..., 20, 60] / batch.color[..., 20, 60]
    assert 0.02 < float(ratio.mean(dim=1).std()) < 0.3


def test_columns_that_the_sensor_never_sees_hold_a_guess() -> None:
    recorded = scene(blind=4)
    recorded.depth[:, 20:, :20] = 1000  # somebody reaches into the blind side
    recorded.depth[:, :, :4] = 0
    batch = frames(4, scene=recorded, chances=NEVER)
    assert (batch.depth[:, 0, 20:, :4] == -2).all()  # 1 m as a guess
    assert (batch.depth[:, 0, 10:20, :4] == -4).all()


def test_larger_pictures_are_cropped() -> None:
    batch = frames(6, (32, 32), chances=NEVER)
    recorded = scene()
    for image in batch.color:
        number = round((float(image[0].max()) * 255 - 150) / 20)
        whole = recorded.color[number].float() / 255
        windows = whole.unfold(1, 32, 1).unfold(2, 32, 1).movedim(0, 2)
        assert bool((windows - image).abs().amax(dim=(2, 3, 4)).lt(1e-6).any())


def test_a_part_of_a_scene_begins_anew() -> None:
    part = scene(5).part(slice(2, 4))
    assert len(part.color) == 2 and part.follows.tolist() == [False, True]
    assert torch.equal(part.color, scene(5).color[2:4])


def test_scenes_without_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one occupied frame"):
        RecordedFrames([], SIZE)
    empty = scene()
    with pytest.raises(ValueError, match="at least one occupied frame"):
        RecordedFrames([replace(empty, color=empty.color[:0])], SIZE)


def test_the_digest_tells_scenes_apart() -> None:
    assert scene().digest() == scene().digest()
    other = scene()
    other.labels[0, 0, 0] = FOREGROUND
    assert other.digest() != scene().digest()


def test_joined_batches_keep_their_order() -> None:
    source = RecordedFrames([scene()], SIZE, pairs=True)
    whole = source.frames([1, 2, 3])
    parts = join_batches([source.frames([1]), source.frames([2, 3])])
    for a, b in zip(tensors(whole), tensors(parts), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("restless", [None, "left"])
def test_frames_tell_where_the_scene_was_restless(restless: str | None) -> None:
    places = torch.zeros(SIZE, dtype=torch.bool)
    places[:, :32] = True
    recorded = scene()
    background = replace(recorded.background, restless=places if restless else None)
    maker = RecordedFrames([replace(recorded, background=background)], SIZE, chances=UNCHANGED)
    found = maker.frames([0, 1]).background.restless
    wanted = places if restless else torch.zeros_like(places)
    assert torch.equal(found > 0, wanted.expand_as(found))
    assert (replace(recorded, background=background).digest() == recorded.digest()) == (
        restless is None
    )

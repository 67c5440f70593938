from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import ndimage

from dart_ros.simulation.background import (
    BackgroundChances,
    with_restless_place,
    with_screen,
)
from dart_ros.simulation.camera import CameraChances, toned
from dart_ros.simulation.composition import Chances, Composer
from dart_ros.simulation.foregrounds import Foreground, load_foregrounds
from dart_ros.simulation.frames import Batch, RgbdBackground
from dart_ros.simulation.images import steepness
from dart_ros.simulation.placement import PlacementChances

WALL = 3.0
SIZE = (96, 128)
SEEDS = st.integers(0, 10**6)
# A seed can't be shrunk to anything simpler.
FEW = settings(max_examples=10, deadline=None, phases=[Phase.explicit, Phase.generate])

# What is close before the camera reaches in by 14 pixels, and depth sees past it.
AWAY_FROM_BORDERS = np.pad(np.ones((SIZE[0] - 32, SIZE[1] - 32), bool), 16)


@pytest.fixture(scope="module")
def foregrounds(library: Path) -> list[Foreground]:
    return load_foregrounds(library)


def wall(captured: bool = False, hole: bool = False) -> RgbdBackground:
    """A grey wall at 3 m with darker blots; ``hole``: no depth in its upper left."""
    random = np.random.default_rng(0)
    grey = 150 + 40 * ndimage.gaussian_filter(random.normal(0, 4, SIZE), 4)
    color = torch.from_numpy(grey.clip(90, 210)).to(torch.uint8)[None].repeat(3, 1, 1)
    depth = torch.full(SIZE, WALL)
    if hole:
        depth[:30, :40] = -1
    std = torch.full(SIZE, 0.05) if captured else None
    return RgbdBackground(color, depth, 110.0, std)


def compose(
    foregrounds: list[Foreground], seed: int, count: int = 2, captured: bool = True
) -> Batch:
    return Composer(foregrounds, [wall(captured, hole=True)], seed=seed).batch(count)


def tensors(batch: Batch) -> list[torch.Tensor]:
    return [batch.color, batch.depth, *batch.background, batch.alpha, batch.foreground]


def inside(mask: np.ndarray, margin: int) -> np.ndarray:
    return ndimage.binary_erosion(mask, np.ones((3, 3)), margin, border_value=1)


def test_the_same_seed_gives_the_same_batches(foregrounds: list[Foreground]) -> None:
    torch.manual_seed(1)
    first = Composer(foregrounds, [wall()], SIZE, seed=7)
    found = [first.batch(2), first.batch(1)]
    torch.manual_seed(2)
    second = Composer(foregrounds, [wall()], SIZE, seed=7)
    for batch in found:
        again = second.batch(len(batch.alpha))
        assert all(map(torch.equal, tensors(batch), tensors(again)))
    assert not torch.equal(found[0].color[0], found[0].color[1])
    other = Composer(foregrounds, [wall()], SIZE, seed=8).batch(2)
    assert not torch.equal(other.color, found[0].color)


@FEW
@given(SEEDS, st.booleans(), st.sampled_from([None, SIZE, (64, 144), (120, 80)]))
def test_ranges_and_shapes(
    foregrounds: list[Foreground], seed: int, captured: bool, size: tuple[int, int] | None
) -> None:
    background = wall(captured, hole=True)
    batch = Composer(foregrounds, [background], size, max_depth=4.0, seed=seed).batch(2)
    height, width = size or SIZE
    channels = [3, 1, 3, 1, 1, 1, 1, 1, 3]
    for image, count in zip(tensors(batch), channels, strict=True):
        assert image.shape == (2, count, height, width)
        assert image.dtype == torch.float32
        assert bool(image.isfinite().all())
    for image in (batch.color, batch.background.plate, batch.alpha, batch.foreground):
        assert float(image.min()) >= 0 and float(image.max()) <= 1 + 1e-6
    depth, mean, std, known, restless = (x.numpy() for x in (batch.depth, *batch.background[1:]))
    metres = np.where(depth > 0, depth, -1 - depth)  # guesses among them
    assert ((depth == -1) | ((metres > 0.2) & (metres < 4))).all()
    assert np.isin(known, (0, 1)).all() and np.isin(restless, (0, 1)).all()
    assert (std >= 0.01 * mean * (1 - 1e-6)).all()
    # Eq. 4 where the background's depth was never known.
    assert (mean[known == 0] == 4).all()
    np.testing.assert_allclose(std[known == 0], 0.04, rtol=1e-6)


@FEW
@given(SEEDS)
def test_crops_of_a_captured_scene_are_windows_of_it(
    foregrounds: list[Foreground], seed: int
) -> None:
    places = torch.arange(SIZE[0] * SIZE[1]).view(SIZE) / (SIZE[0] * SIZE[1])
    scene = RgbdBackground(wall().color, WALL + places, 110.0, 0.05 + places)
    for mean, std in zip(
        *Composer(foregrounds, [scene], (64, 80), seed=seed).batch(3).background[1:3], strict=True
    ):
        first = round(float(mean[0, 0, 0] - WALL) * places.numel())
        top, left = divmod(first, SIZE[1])
        window = slice(top, top + 64), slice(left, left + 80)
        np.testing.assert_allclose(mean[0], WALL + places[window], rtol=1e-6)
        np.testing.assert_allclose(std[0], 0.05 + places[window], rtol=1e-6)


@FEW
@given(SEEDS)
def test_a_captured_background_keeps_its_own_depth(
    foregrounds: list[Foreground], seed: int
) -> None:
    background = compose(foregrounds, seed).background
    hole = np.zeros(SIZE, bool)
    hole[:30, :40] = True
    for mean, std, known in zip(*(x[:, 0].numpy() for x in background[1:4]), strict=True):
        assert np.array_equal(known == 0, hole)
        np.testing.assert_allclose(mean[~hole], WALL)
        np.testing.assert_allclose(std[~hole], 0.05)


@FEW
@given(SEEDS, st.booleans())
def test_no_foreground_where_alpha_is_zero(
    foregrounds: list[Foreground], seed: int, captured: bool
) -> None:
    chances = Chances(background=BackgroundChances(screen=0.0, restless=0.0))
    place = wall(captured, hole=True)
    batch = Composer(foregrounds, [place], seed=seed, chances=chances).batch(2)
    for color, plate, alpha in zip(
        batch.color.numpy(), batch.background.plate.numpy(), batch.alpha[:, 0].numpy(), strict=True
    ):
        empty = inside(alpha == 0, 2)  # the camera may blur by a pixel
        # Light tints grey and JPEG smears color, to 0.16 in 500 seeds; the people are all green.
        green = color[1] - (color[0] + color[2]) / 2
        green = ndimage.uniform_filter(green, 3)
        assert not empty.any() or np.abs(green[empty]).max() < 0.25
        # Nothing gets lighter than light and a glint make it.
        grey, before = (ndimage.uniform_filter(x.mean(axis=0), 3) for x in (color, plate))
        assert (grey[empty] < 1.6 * before[empty] + 0.55).all()


@FEW
@given(SEEDS, st.booleans())
def test_where_alpha_is_one_the_frame_is_the_foreground(
    foregrounds: list[Foreground], seed: int, captured: bool
) -> None:
    batch = compose(foregrounds, seed, captured=captured)
    difference = (batch.color - batch.foreground).abs().numpy()
    for image, alpha in zip(difference, batch.alpha[:, 0].numpy(), strict=True):
        full = inside(alpha > 0.999, 2)
        if full.any():
            # Fine stripes and prints lose more to JPEG than plain clothes.
            assert image[:, full].mean() < 0.08
            # JPEG smears a light wall or stripe into dark clothes, to 0.52 in some thousand seeds.
            assert image[:, full].max() < 0.65


@FEW
@given(SEEDS, st.booleans())
def test_people_are_before_the_wall_and_the_wall_is_where_it_was(
    foregrounds: list[Foreground], seed: int, captured: bool
) -> None:
    batch = compose(foregrounds, seed, captured=captured)
    # The sensor's noise has a deviation of 0.5 % of the squared depth at most, its drift is 5 %.
    noise = 8 * 0.004 * WALL**2 + 0.05 * WALL
    images = (x[:, 0].numpy() for x in (batch.depth, batch.alpha, batch.background.known))
    for depth, alpha, known in zip(*images, strict=True):
        seen = depth > 0
        # Depth may lie 10 pixels beside the color, with outlines 4 pixels wider or ragged by 2.
        person, empty = inside(alpha > 0.999, 13) & seen, inside(alpha == 0, 17) & seen
        # What stands before the wall is seen by luck, and not by the capture; its edges are
        # measured near or far, 4 pixels beside it at most.
        # Depth of who is hidden by a ledge at the border lies up to 14 pixels farther in.
        empty &= np.pad(np.ones((SIZE[0] - 60, SIZE[1] - 60), bool), 30) & inside(known > 0, 5)
        assert (depth[person] < WALL + 0.03 + noise).all()
        assert (np.abs(depth[empty] - WALL) < noise).all()


def test_over_many_frames_there_is_everything(foregrounds: list[Foreground]) -> None:
    """Nobody, somebody, soft edges, lost depth, people well before the wall: all occur."""
    batch = compose(foregrounds, 0, count=60)
    alpha, depth = batch.alpha[:, 0].numpy(), batch.depth[:, 0].numpy()
    people = (alpha > 0.5).mean(axis=(1, 2))
    assert (people == 0).any() and (people > 0.05).mean() > 0.3
    assert ((alpha > 0.1) & (alpha < 0.9)).any()
    lost = (depth < 0).mean(axis=(1, 2))
    assert (lost == 1).any() and (lost < 0.3).any()
    person = (alpha > 0.999) & (depth > 0)
    assert (depth[person] < WALL - 0.3).mean() > 0.5
    green = batch.color[:, 1] - (batch.color[:, 0] + batch.color[:, 2]) / 2
    assert float(green[torch.from_numpy(alpha > 0.999)].mean()) > 0.2


def test_depth_of_the_nearest_lies_far_beside_their_color_at_times(
    foregrounds: list[Foreground],
) -> None:
    batch = compose(foregrounds, 4, count=200)
    found = 0
    for depth, alpha in zip(batch.depth[:, 0].numpy(), batch.alpha[:, 0].numpy(), strict=True):
        beside = inside(alpha == 0, 5) & AWAY_FROM_BORDERS
        found += bool(((depth > 0) & (depth < WALL - 0.6) & beside).sum() > 5)
    assert 4 <= found <= 60, found


def test_some_borders_have_no_depth_or_something_close_to_the_camera(
    foregrounds: list[Foreground],
) -> None:
    # Where walls bleach out, they look like a bright thing at the border.
    chances = Chances(camera=CameraChances(bleached=0.0, bleached_at_ledge=0.0))
    batch = Composer(foregrounds, [wall()], seed=4, chances=chances).batch(250)
    known, depth, alpha = (x[:, 0] for x in (batch.background.known, batch.depth, batch.alpha))
    plate, color = batch.background.plate.mean(1), batch.color.mean(1)
    lost, bright, dark = [0, 0, 0, 0], 0, 0
    for number, side in enumerate(
        ((..., 0, slice(None)), (..., -1, slice(None)), (..., 0), (..., -1))
    ):
        for k in range(250):
            if bool((known[k][side] == 0).all()):
                lost[number] += 1
                assert bool((depth[k][side] < 0).all())
            # Somewhere along a line the wall is darker than 0.97; a frame's noise stays below 0.1.
            line = plate[k][side]
            if float(line.max()) < 0.12 or float(line.min()) > 0.97:
                bright += float(line.min()) > 0.5
                dark += float(line.min()) < 0.5
                assert float(alpha[k][side].max()) < 0.5
                assert float((color[k][side] - line).abs().mean()) < 0.1
    assert all(lost) and sum(lost[2:]) > sum(lost[:2])
    assert bright >= 2 and dark >= 2, (bright, dark)


def test_people_stand_across_borders_without_depth_and_before_dark_things(
    foregrounds: list[Foreground],
) -> None:
    batch = Composer(foregrounds, [wall()], seed=5).batch(150)
    known, alpha = (x[:, 0] for x in (batch.background.known, batch.alpha))
    plate, color = batch.background.plate.mean(1), batch.color.mean(1)
    lost = (known == 0).all(1, keepdim=True).expand_as(known)
    across = ((alpha > 0.9) & lost).flatten(1).sum(1)
    assert int((across > 50).sum()) >= 5
    # Neither color nor depth tells them there.
    alike = (alpha > 0.9) & lost & (plate < 0.25) & ((color - plate).abs() < 0.1)
    assert int((alike.flatten(1).sum(1) > 20).sum()) >= 1


def test_parts_of_people_look_like_the_wall_behind_them(foregrounds: list[Foreground]) -> None:
    color = torch.tensor([200, 110, 60], dtype=torch.uint8)[:, None, None].expand(3, *SIZE)
    red_wall = replace(wall(), color=color.contiguous())
    batch = Composer(foregrounds, [red_wall], seed=6).batch(150)
    alike = (batch.color - batch.background.plate).abs().amax(1) < 0.12
    solid = batch.alpha[:, 0] > 0.95
    people = solid.flatten(1).sum(1)
    share = (alike & solid).flatten(1).sum(1)[people > 100] / people[people > 100]
    # Whole people in the wall's color are others.
    parts = int(((share > 0.1) & (share < 0.8)).sum())
    assert 25 <= parts <= 60, parts


def test_what_is_bright_is_cut_off_in_some_frames_and_never_at_the_scene(
    foregrounds: list[Foreground],
) -> None:
    def bleached(captured: bool) -> list[float]:
        """Of each frame with a white place in the plate: how much of that is white in it too."""
        batch = compose(foregrounds, 8, count=150, captured=captured)
        background = torch.from_numpy(AWAY_FROM_BORDERS) & (batch.alpha[:, 0] == 0)
        white = (batch.background.plate.amin(1) == 1) & background
        both = white & (batch.color.amin(1) == 1)
        return [float(b.sum() / w.sum()) for w, b in zip(white, both, strict=True) if w.sum() > 50]

    found = bleached(captured=False)
    assert 20 <= len(found) <= 55, len(found)
    # Whoever walks in makes the camera expose otherwise, so it is not always the same places.
    assert sum(share > 0.8 for share in found) >= 3, found
    assert not bleached(captured=True)


@pytest.mark.parametrize(("columns", "seen"), [(6, False), (12, False), (20, True)])
def test_what_the_sensor_never_sees_at_the_sides_of_a_captured_scene_stays_unseen(
    foregrounds: list[Foreground], columns: int, seen: bool
) -> None:
    """Unless it is so wide that it is the distance, before which people are seen."""
    scene = wall(captured=True)
    for cut in (slice(columns), slice(-columns, None)):
        depth = scene.depth.clone()
        depth[:, cut] = -1
        depth[40, cut] = WALL  # by accident
        batch = Composer(foregrounds, [replace(scene, depth=depth)], seed=4).batch(20)
        people = (batch.alpha[:, 0] > 0.99)[..., cut]
        people[:, 36:45] = False
        found = ((batch.depth[:, 0] > 0)[..., cut] & people).any(0).any(0)
        assert int(people.sum()) > 100
        assert bool(found.all() if seen else not found.any())


def test_depth_is_continued_into_what_the_sensor_does_not_see(
    foregrounds: list[Foreground],
) -> None:
    """Most of what is guessed to stand far before the wall is somebody."""
    scene = wall(captured=True)
    depth = scene.depth.clone()
    depth[:, :10] = -1
    batch = Composer(foregrounds, [replace(scene, depth=depth)], seed=4).batch(200)
    strip = (slice(None), 0, slice(None), slice(10))
    assert not (batch.depth[strip] > 0).any()
    guess = -1 - batch.depth[strip]
    before = (guess > 0) & (guess < WALL - 0.5)
    assert int(before.sum()) > 500
    assert float(batch.alpha[strip][before].mean()) > 0.7
    assert float(batch.alpha[strip][guess > WALL - 0.3].mean()) < 0.2
    assert not (batch.depth[..., 20:] < -1).any()


def test_people_stand_before_the_frames_that_a_sensor_took(foregrounds: list[Foreground]) -> None:
    """What is behind them has the noise and the holes of one of these, and no others."""
    random = torch.Generator().manual_seed(0)
    scene = wall(captured=True)
    grain = torch.randint(-30, 31, (3, 1, *SIZE), generator=random)
    colors = (scene.color + grain).clamp(0, 255).to(torch.uint8)
    holes = torch.rand(3, *SIZE, generator=random) < 0.3
    depths = torch.where(holes, -1.0, WALL - 0.2 * torch.rand(3, *SIZE, generator=random))
    scene = replace(scene, samples=(colors, depths))
    batch = Composer(foregrounds, [scene], seed=5).batch(60)
    behind = (batch.alpha == 0)[:, 0].numpy()
    found = set()
    errors, alike = [], []
    for frame in range(60):
        where = inside(behind[frame], 14)
        depth = batch.depth[frame, 0].numpy()[where]
        if where.mean() < 0.3 or not (depth > 0).any():
            continue  # somebody very near, or depth was lost altogether
        same = [float(((depth > 0) != holes[n].numpy()[where]).mean()) for n in range(3)]
        sample = int(np.argmax(same))
        found.add(sample)
        assert same[sample] > 0.8
        known = depth > 0
        errors.append(np.std(depth[known] - depths[sample].numpy()[where][known]))
        light = batch.color[frame].mean(0).numpy() - batch.background.plate[frame].mean(0).numpy()
        grey = light - ndimage.gaussian_filter(light, 3)
        noise = (grain[sample, 0].numpy() / 255).astype(float)
        alike.append(np.corrcoef(grey[where], noise[where])[0, 1])
    assert found == {0, 1, 2}
    assert np.median(errors) < 0.03 and np.median(alike) > 0.7


def test_a_hole_at_the_edge_of_a_crop_is_no_blind_side(foregrounds: list[Foreground]) -> None:
    scene = wall(captured=True)
    depth = scene.depth.clone()
    depth[:, 40:90] = -1
    composer = Composer(foregrounds, [replace(scene, depth=depth)], (96, 64), seed=4)
    batch = composer.batch(40)
    unseen = (batch.background.known[:, 0] == 0).all(1)
    at_edge = unseen[:, 0] | unseen[:, -1]
    assert int(at_edge.sum()) > 5
    edges = torch.stack([batch.depth[:, 0, :, 0], batch.depth[:, 0, :, -1]], -1)
    people = torch.stack([batch.alpha[:, 0, :, 0], batch.alpha[:, 0, :, -1]], -1) > 0.99
    hole = torch.stack([unseen[:, 0], unseen[:, -1]], -1)[:, None]
    assert bool(((edges > 0) & people & hole).any())


def floor_and_wall() -> RgbdBackground:
    """A level camera 1.2 m above a grey floor, before a wall at 3 m."""
    height, width, focal = 240, 320, 275.0
    rows = np.arange(height) + 0.5 - height / 2
    depth = np.minimum(3.0, focal * 1.2 / np.maximum(rows, 1e-3))[:, None].repeat(width, 1)
    color = torch.full((3, height, width), 150, dtype=torch.uint8)
    std = torch.full((height, width), 0.01)
    return RgbdBackground(color, torch.from_numpy(depth).float(), focal, std)


def test_people_stand_on_the_floor_with_shadows_under_their_soles(
    foregrounds: list[Foreground],
) -> None:
    scene = floor_and_wall()
    composer = Composer(foregrounds[:1], [scene], seed=0)
    darkness, gaps = [], []
    for _ in range(60):
        batch = composer.batch(1)
        alpha = batch.alpha[0, 0].numpy() > 0.02
        _, count = ndimage.label(alpha)
        rows, columns = np.nonzero(alpha)
        if count != 1 or rows.max() > 230 or columns.min() < 3 or columns.max() > 316:
            continue
        column = int(columns[rows == rows.max()].mean())
        person = batch.depth[0, 0].numpy()[rows.max() - 20 : rows.max() - 5, column]
        if (person > 0).any():
            gaps.append(np.median(person[person > 0]) / float(scene.depth[rows.max(), column]) - 1)
        below = slice(rows.max() + 1, rows.max() + 4), slice(column - 2, column + 3)
        ratio = batch.color[0].mean(dim=0) / batch.background.plate[0].mean(dim=0)
        darkness.append(float(ratio[below].mean() / ratio[torch.from_numpy(~alpha)].median()))
    assert len(darkness) > 6
    assert np.mean(np.abs(gaps) < 0.05) > 0.5
    assert np.mean(np.array(darkness) < 0.75) > 0.2


def test_without_a_foreground_or_a_background_there_is_nothing_to_compose(
    foregrounds: list[Foreground],
) -> None:
    for some_foregrounds, some_walls in (([], [wall()]), (foregrounds, [])):
        with pytest.raises(ValueError, match="at least one foreground and one background"):
            Composer(some_foregrounds, some_walls)


def test_objects_alone_will_do(foregrounds: list[Foreground]) -> None:
    batch = Composer(foregrounds[2:], [wall()], seed=3).batch(8)
    assert float(batch.alpha.max()) > 0.9


@pytest.mark.parametrize("zoom", [1, 2])
def teststeepness_is_the_tangent_of_the_angle_of_sight(zoom: int) -> None:
    # A floor 1.5 m below the camera, 60 rows and more below its middle: z = 1.5 f / row.
    focal = 100.0
    rows = np.arange(60, 120)
    depth = np.repeat(1.5 * focal / rows[:, None], 8, axis=1)
    seen = torch.from_numpy(depth.repeat(zoom, 0).repeat(zoom, 1)[None]).float()
    found = steepness(seen, zoom * focal)[0, 4 * zoom : -4 * zoom, 4].numpy()
    # The floor faces up: dz/dv = -z²/(1.5 f), times f/z is z/1.5.
    expected = depth[4:-4, 4].repeat(zoom) / 1.5
    assert np.abs(found / expected - 1).max() < 0.1
    assert float(steepness(torch.full((1, 20, 20), 2.0), focal).abs().max()) == 0


def test_the_empty_scenes_depth_does_not_depend_on_who_is_there(
    foregrounds: list[Foreground],
) -> None:
    """Not even where what is dark loses its depth."""

    def blackened(level: torch.Tensor) -> torch.Tensor:
        return torch.cat([torch.zeros_like(level[:3]), level[3:]])

    dark = [replace(s, levels=tuple(map(blackened, s.levels))) for s in foregrounds]
    light, black = (Composer(people, [wall()], seed=6).batch(60) for people in (foregrounds, dark))
    assert torch.equal(light.alpha, black.alpha) and not torch.equal(light.color, black.color)
    for one, other in zip(light.background[1:], black.background[1:], strict=True):
        assert torch.equal(one, other)


def pairs(foregrounds: list[Foreground], count: int = 60, **options: bool) -> Batch:
    composer = Composer(foregrounds, [wall(**options)], seed=3, pairs=True)
    batch = composer.frames(range(count))
    assert batch.previous is not None
    return batch


def test_a_frame_is_the_same_with_and_without_the_one_before(foregrounds: list[Foreground]) -> None:
    both = Composer(foregrounds, [wall()], SIZE, pairs=True).frames([5, 6])
    alone = Composer(foregrounds, [wall()], SIZE).frames([6])
    assert alone.previous is None
    assert all(torch.equal(a[1:], b) for a, b in zip(tensors(both), tensors(alone), strict=True))
    again = Composer(foregrounds, [wall()], SIZE, pairs=True).frames([6])
    assert both.previous is not None and again.previous is not None
    assert all(torch.equal(a[1:], b) for a, b in zip(both.previous, again.previous, strict=True))


def test_people_of_a_pair_stand_still_sway_or_walk(foregrounds: list[Foreground]) -> None:
    batch = pairs(foregrounds)
    assert batch.previous is not None
    change = (batch.alpha - batch.previous.alpha).abs().flatten(1).mean(dim=1)
    somebody = batch.alpha.flatten(1).mean(dim=1) > 0.02
    still = change == 0
    assert 0.15 < float(still[somebody].float().mean()) < 0.7
    moved = change[somebody & ~still]
    assert float(moved.min()) < 0.01 < float(moved.max())


def test_noise_is_another_in_each_frame_of_a_pair(foregrounds: list[Foreground]) -> None:
    batch = pairs(foregrounds, 40)
    assert batch.previous is not None
    still = (batch.alpha == batch.previous.alpha).flatten(1).all(dim=1)
    assert int(still.sum()) > 5
    both = (batch.depth > 0) & (batch.previous.depth > 0)
    changed = ((batch.depth - batch.previous.depth).abs() > 1e-4) & both
    for number in torch.nonzero(still)[:, 0].tolist():
        assert not torch.equal(batch.color[number], batch.previous.color[number])
        if int(both[number].sum()) > 1000:
            # A sensor's steps may be larger than its noise.
            assert int(changed[number].sum()) > 0.05 * int(both[number].sum())
        difference = batch.depth[number] - batch.previous.depth[number]
        assert float(difference[both[number]].abs().median() if both[number].any() else 0) < 0.2


def test_frames_of_a_pair_show_the_same_place_in_the_same_light(
    foregrounds: list[Foreground],
) -> None:
    batch = pairs(foregrounds, 60)
    assert batch.previous is not None
    ratios = []
    for number in range(60):
        empty = (batch.alpha[number, 0] == 0) & (batch.previous.alpha[number, 0] == 0)
        now, before = (image[number].mean(dim=0) for image in (batch.color, batch.previous.color))
        usable = empty & (now > 0.2) & (now < 0.8) & (before > 0.2) & (before < 0.8)
        if int(usable.sum()) > 3000:
            ratios.append(float((now[usable] / before[usable]).median()))
    steps = np.abs(np.log(ratios))
    # Shadows go with people; exposure steps now and then.
    assert np.median(steps) < 0.01 and 0.03 < steps.max() < 0.4


def test_frames_of_a_pair_have_one_plate(foregrounds: list[Foreground]) -> None:
    composer = Composer(foregrounds, [wall()], SIZE)
    for seed in range(40):
        _, _, plate, mean, std, known, *_ = composer._moment(seed, 0, seed)
        _, _, *before = composer._moment(seed, -1, seed)
        for a, b in zip((plate, mean, std, known), before[:4], strict=True):
            assert torch.equal(a, b), seed


def test_people_jump_at_times(foregrounds: list[Foreground]) -> None:
    chances = Chances(placement=PlacementChances(cut=1.0))
    batch = Composer(foregrounds, [wall()], seed=3, pairs=True, chances=chances).frames(range(12))
    assert batch.previous is not None
    assert (batch.alpha - batch.previous.alpha).abs().mean() > 0.1
    corner = np.s_[..., :8, :8]
    assert (batch.color[corner] - batch.previous.color[corner]).abs().median() < 0.1


def test_a_captured_scenes_own_frames_follow_each_other(foregrounds: list[Foreground]) -> None:
    scene = wall(captured=True)
    colors = torch.stack([(scene.color.float() * gain).byte() for gain in (0.5, 0.7, 0.9)])
    depths = torch.stack([scene.depth + offset for offset in (0.0, 0.01, 0.02)])
    scene = replace(scene, samples=(colors, depths))
    batch = Composer(foregrounds, [scene], pairs=True).frames(range(12))
    assert batch.previous is not None
    empty = (batch.alpha == 0) & (batch.previous.alpha == 0)
    steps = (batch.depth - batch.previous.depth)[empty & (batch.depth > 0)].numpy()
    near = steps[np.abs(steps) < 0.05]
    assert np.median(np.abs(near)) > 0.003


def test_a_good_share_of_people_has_no_depth_at_all(foregrounds: list[Foreground]) -> None:
    batch = compose(foregrounds, 0, count=150, captured=False)
    lost = []
    for alpha, depth in zip(batch.alpha[:, 0], batch.depth[:, 0], strict=True):
        inner = alpha.numpy() > 0.999
        if inner.sum() > 300 and bool((depth > 0).any()):
            lost.append(float((depth.numpy()[inner] <= 0).mean()))
    shares = np.array(lost)
    assert 0.08 < (shares > 0.9).mean() < 0.5
    assert (shares < 0.2).mean() > 0.3


def test_parts_of_clothes_have_the_walls_color(foregrounds: list[Foreground]) -> None:
    batch = compose(foregrounds, 1, count=150, captured=False)
    inner = (batch.alpha > 0.999).numpy()[:, 0]
    difference = (batch.color - batch.background.plate).abs().amax(dim=1).numpy()
    alike = [(d[i] < 0.1).mean() for d, i in zip(difference, inner, strict=True) if i.sum() > 300]
    assert 0.1 < np.mean(np.array(alike) > 0.15) < 0.8


def test_somebody_may_fill_the_picture(foregrounds: list[Foreground]) -> None:
    tall = max(s.size[0] for s in foregrounds if "bottom" in s.cut)
    batch = compose(foregrounds, 2, count=150, captured=False)
    shares = batch.alpha.flatten(1).mean(dim=1)
    assert tall < SIZE[0] and float((shares > 0.35).float().mean()) > 0.05


def test_screens_show_something_else(foregrounds: list[Foreground]) -> None:
    composer = Composer(foregrounds, [wall()], SIZE)
    color, still = torch.full((3, *SIZE), 0.5), torch.zeros(1, *SIZE)
    for played in (False, True):
        composer._dice.begin("screen")
        chances = BackgroundChances(screen_was_off=0.0, screen_played=float(played))
        plate, live, restless = with_screen(composer._dice, chances, color, color, still)
        changed = (plate != live).any(dim=0)
        assert 0.005 < float(changed.float().mean()) < 0.5
        assert torch.equal(plate[:, ~changed], color[:, ~changed])
        assert torch.equal(live[:, ~changed], color[:, ~changed])
        assert bool(restless[0, changed].all()) == played
        assert restless[0].sum() <= 1.1 * played * changed.sum()
    assert not still.any(), "what was there before is left as it was"


def test_restless_places_move_in_the_frame_or_keep_still(foregrounds: list[Foreground]) -> None:
    composer = Composer(foregrounds, [wall()], SIZE)
    live, still = torch.rand(3, *SIZE), torch.zeros(1, *SIZE)
    for moves in (False, True):
        composer._dice.begin("restless")
        chances = BackgroundChances(restless_still=float(not moves))
        moved, restless = with_restless_place(composer._dice, chances, live, still)
        assert 0.005 < float(restless.mean()) < 0.5
        inside = restless[0] > 0
        assert torch.equal(moved[:, ~inside], live[:, ~inside])
        assert torch.equal(moved, live) != moves


def test_frames_tell_where_their_scene_was_restless(foregrounds: list[Foreground]) -> None:
    calm = Chances(background=BackgroundChances(screen=0.0, restless=0.0))
    always = Chances(background=BackgroundChances(screen=0.0, restless=1.0))
    for chances, wanted in ((calm, False), (always, True)):
        batch = Composer(foregrounds, [wall()], SIZE, seed=4, chances=chances).batch(4)
        assert bool(batch.background.restless.any()) == wanted


def test_limbs_in_motion_are_soft_and_the_rest_is_not(foregrounds: list[Foreground]) -> None:
    shares = []
    for often in (0.0, 1.0):
        chances = Chances(placement=PlacementChances(motion_blur=0.0, limbs_in_motion=often))
        alpha = Composer(foregrounds, [wall()], SIZE, seed=6, chances=chances).batch(12).alpha
        soft = ((alpha > 0.05) & (alpha < 0.95)).flatten(1).sum(dim=1)
        shares.append(soft / (alpha > 0.5).flatten(1).sum(dim=1).clamp(min=1))
        assert alpha.min() >= 0 and alpha.max() <= 1 + 1e-6
    assert shares[1].median() > 1.5 * shares[0].median()
    assert shares[1].median() < 0.6, "bodies stay solid"


@FEW
@given(SEEDS)
def test_a_tone_curve_keeps_the_order_of_colors(foregrounds: list[Foreground], seed: int) -> None:
    composer = Composer(foregrounds, [wall()], SIZE)
    composer._dice.start(seed, 0, seed)
    composer._dice.begin("tone")
    ramp = torch.linspace(0, 1, 100)
    curve = toned(composer._dice, ramp)
    assert bool((curve.diff() >= 0).all()) and float(curve[0]) == 0
    assert 0.5 < float(curve[-1]) <= 1


def test_soft_outlines_stay_soft(foregrounds: list[Foreground]) -> None:
    """Hair whose alpha never reaches a half is there, unless it is sharpened away."""
    levels = tuple(
        torch.where(level > 0, level // 3, 0).to(torch.uint8) for level in foregrounds[0].levels
    )
    faint = replace(foregrounds[0], levels=levels)

    def seen(foreground: Foreground) -> list[float]:
        # Magnified, as outlines have to be to be sharpened.
        place = replace(wall(), focal=700.0)
        batch = Composer([foreground], [place], SIZE).frames(range(40))
        return batch.alpha.flatten(1).amax(dim=1).tolist()

    soft, sharp = seen(replace(faint, soft=True)), seen(faint)
    assert np.mean([value == 0 for value in sharp]) > np.mean([value == 0 for value in soft]) + 0.2

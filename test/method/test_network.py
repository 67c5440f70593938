from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from dart_ros.method.config import NetworkConfig
from dart_ros.method.geometry import MOST_TILES, base_reduction, tile_count
from dart_ros.method.network import Background, MattingNetwork, reduced_color, reduced_depth
from dart_ros.method.posterior import guessed_background


def frame(
    height: int, width: int, batch: int = 1, seed: int = 0
) -> tuple[Tensor, Tensor, Background]:
    """A box before a wall in a textured room, with holes in its depth."""
    generator = torch.Generator().manual_seed(seed)
    plate = torch.rand(batch, 3, height, width, generator=generator)
    mean = 3 + torch.linspace(0, 1, width).expand(batch, 1, height, width).clone()
    known = (torch.rand(batch, 1, height, width, generator=generator) > 0.1).float()
    mean = torch.where(known > 0, mean, 5.46)
    color, depth = plate.clone(), mean.clone()
    box = (..., slice(height // 4, height), slice(width // 3, 2 * width // 3))
    color[box] = torch.rand(color[box].shape, generator=generator)
    depth[box] = 1.5
    depth[torch.rand(depth.shape, generator=generator) < 0.2] = -1
    return color, depth, Background(plate, mean, 0.01 * mean, known, torch.zeros_like(known))


def seeded(config: NetworkConfig | None = None) -> MattingNetwork:
    torch.manual_seed(2)
    network = MattingNetwork(config)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.uniform_(-0.1, 0.1)
            module.running_var.uniform_(0.3, 1.5)
    return network.eval()


@pytest.fixture(scope="module")
def network() -> MattingNetwork:
    return seeded()


@pytest.fixture(scope="module")
def all_lit() -> MattingNetwork:
    """Where the frame is the plate it counts as shadow, which :func:`frame` is but for the box."""
    return seeded(NetworkConfig(depth_in_shadow=False))


@pytest.mark.parametrize(
    ("height", "width"),
    [(480, 640), (480, 848), (720, 1280), (61, 97), (97, 61), (16, 16), (17, 15), (1, 1)],
)
@pytest.mark.parametrize("tiles", [1, None])
@torch.inference_mode()
def test_any_size_works(
    network: MattingNetwork, height: int, width: int, tiles: int | None
) -> None:
    output = network(*frame(height, width), tiles=tiles)
    assert output.alpha.shape == (1, 1, height, width)
    assert output.foreground.shape == (1, 3, height, width)
    small = (4 * -(-height // 16), 4 * -(-width // 16))
    if height * width > 600_000:
        small = (8 * -(-height // 48), 8 * -(-width // 48))
    for image in output[2:]:
        assert image.shape[-2:] == small
    for name, image in output._asdict().items():
        assert bool(image.isfinite().all()), name
        if name != "coarse_residual":
            assert float(image.min()) >= 0 and float(image.max()) <= 1 + 1e-6, name


@pytest.mark.parametrize("tiles", [5, None])
@torch.inference_mode()
def test_padding_repeats_the_right_and_bottom_edge(
    network: MattingNetwork, tiles: int | None
) -> None:
    color, depth, background = frame(61, 97, batch=2)

    def by_hand(image: Tensor) -> Tensor:
        padding = ((0, 0), (0, 0), (0, 3), (0, 15))
        return torch.from_numpy(np.pad(image.numpy(), padding, mode="edge"))

    padded = network(
        by_hand(color), by_hand(depth), Background(*map(by_hand, background)), tiles=tiles
    )
    found = network(color, depth, background, tiles=tiles)
    assert torch.equal(found.alpha, padded.alpha[..., :61, :97])
    assert torch.equal(found.foreground, padded.foreground[..., :61, :97])
    assert torch.equal(found.coarse_alpha, padded.coarse_alpha)


@torch.inference_mode()
def test_images_of_a_batch_do_not_mix(network: MattingNetwork) -> None:
    frames = [frame(48, 64, seed=seed) for seed in range(3)]
    color, depth = (torch.cat([f[i] for f in frames]) for i in range(2))
    background = Background(
        *(torch.cat(parts) for parts in zip(*(f[2] for f in frames), strict=True))
    )
    together = network(color, depth, background, tiles=4)
    for index, alone in enumerate(frames):
        one = network(*alone, tiles=4)
        for name in ("alpha", "foreground", "error"):
            expected, found = getattr(one, name)[0], getattr(together, name)[index]
            np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-5)


@torch.inference_mode()
def test_the_tiles_with_the_largest_error_are_refined_and_no_others(
    all_lit: MattingNetwork,
) -> None:
    scene = frame(64, 96)
    full, some = all_lit(*scene), all_lit(*scene, tiles=6)
    error = some.error[0, 0].numpy()
    worst = error.reshape(4, 4, 6, 4).max(axis=(1, 3))
    chosen = worst >= np.sort(worst.ravel())[-6]
    assert chosen.sum() == 6
    coarse = np.concatenate([some.coarse_alpha[0].numpy(), some.coarse_residual[0].numpy()])
    upsampled = np.stack([cv2.resize(c, (96, 64), interpolation=cv2.INTER_LINEAR) for c in coarse])
    mask = chosen.repeat(16, 0).repeat(16, 1)
    alpha = np.where(mask, full.alpha[0, 0].numpy(), upsampled[0].clip(0, 1))
    np.testing.assert_allclose(some.alpha[0, 0].numpy(), alpha, atol=1e-5)
    color = (scene[0][0].numpy() + upsampled[1:]).clip(0, 1)
    color = np.where(mask, full.foreground[0].numpy(), color)
    np.testing.assert_allclose(some.foreground[0].numpy(), color, atol=1e-5)
    # Else the test would see no difference between refined and upsampled.
    assert np.abs(full.alpha[0, 0].numpy() - upsampled[0])[mask].mean() > 1e-3


@torch.inference_mode()
def test_all_tiles_or_more_are_all(network: MattingNetwork) -> None:
    scene = frame(32, 48)
    expected = network(*scene)
    for tiles in (6, 7, 1000):
        assert torch.equal(network(*scene, tiles=tiles).alpha, expected.alpha)


@torch.inference_mode()
def test_error_joins_depth_and_color(all_lit: MattingNetwork) -> None:
    output = all_lit(*frame(48, 48))
    disagreement = np.abs(output.posterior.numpy() - output.coarse_alpha.numpy())
    expected = 0.05 * disagreement + 0.95 * output.color_error.numpy()
    np.testing.assert_allclose(output.error.numpy(), expected, atol=1e-6)


@torch.inference_mode()
def test_what_the_base_network_sees(network: MattingNetwork) -> None:
    color, depth, background = frame(64, 80)
    seen: list[Tensor] = []
    handle = network.base.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    output = network(color, depth, background)
    handle.remove()
    found = seen[0][0].numpy()
    assert found.shape == (11, 16, 20)

    def middle(image: np.ndarray) -> np.ndarray:
        blocks = image.reshape(-1, 16, 4, 20, 4)
        return blocks[:, :, 1:3, :, 1:3].mean(axis=(2, 4))

    np.testing.assert_allclose(found[:3], middle(color.numpy()), atol=1e-6)
    np.testing.assert_allclose(found[3:6], middle(background.plate.numpy()), atol=1e-6)
    assert np.array_equal(found[6], output.posterior[0, 0].numpy())
    behind = guessed_background(background.mean, background.known)
    live, behind, plate_known = (
        x.numpy()[0, 0, 2::4, 2::4] for x in (depth, behind, background.known)
    )
    before = np.where(live > 0, behind - live, 0)
    np.testing.assert_allclose(found[7], (10 * before).clip(-1, 1), atol=1e-5)
    np.testing.assert_allclose(found[8], before.clip(-1, 1), atol=1e-6)
    assert np.array_equal(found[9], live > 0)
    assert np.array_equal(found[10], plate_known)


@torch.inference_mode()
def test_a_base_of_colors_alone_does_not_see_depth() -> None:
    color, depth, background = frame(48, 64)
    other = torch.where(depth > 0, 0.5 * depth, 2.0)
    base_with, base_without = seeded(), seeded(NetworkConfig(depth_in_base=False))
    near, far = (base_without(color, d, background) for d in (depth, other))
    for name in ("coarse_alpha", "coarse_residual", "color_error"):
        assert torch.equal(getattr(near, name), getattr(far, name)), name
    # Depth still ranks the tiles and enters the refiner.
    assert not torch.equal(near.error, far.error)
    assert not torch.equal(near.alpha, far.alpha)
    near, far = (base_with(color, d, background) for d in (depth, other))
    assert not torch.equal(near.coarse_alpha, far.coarse_alpha)


@torch.inference_mode()
def test_without_its_uses_depth_changes_nothing() -> None:
    color, depth, background = frame(48, 64)
    other = torch.where(depth > 0, 0.5 * depth, 2.0)
    plain = seeded(NetworkConfig("mobilenetv2", *[False] * 5))
    near, far = (plain(color, d, background, tiles=3) for d in (depth, other))
    assert torch.equal(near.error, near.color_error)
    assert torch.equal(near.alpha, far.alpha)
    assert torch.equal(near.foreground, far.foreground)


@pytest.mark.parametrize("reduction", [4, 6])
@torch.inference_mode()
def test_shadows_are_taken_out_of_alpha_and_need_no_refinement(
    network: MattingNetwork, all_lit: MattingNetwork, reduction: int
) -> None:
    """A box stands before the wall, its shadow falls on the other half of it."""
    color, depth, background = frame(96, 144)
    plate = 0.3 + 0.6 * background.plate
    shadow, box = (..., slice(None), slice(96, 144)), (..., slice(24, 96), slice(48, 96))
    color = plate.clone()
    color[box] = torch.rand(color[box].shape, generator=torch.Generator().manual_seed(1))
    color[shadow] = 0.7 * plate[shadow]
    depth = background.mean.clone()
    depth[box] = 1.5
    depth[..., :48] = -1
    deviation = 0.01 * depth.abs()
    scene = color, depth, background._replace(plate=plate, std=deviation)
    found, before = (n(*scene, reduction=reduction) for n in (network, all_lit))
    assert not found.alpha[..., 104:].any() and before.alpha[..., 104:].any()
    assert torch.equal(found.alpha[..., :92], before.alpha[..., :92])
    assert torch.equal(found.foreground, before.foreground)
    small = 104 // reduction + 1
    assert not found.error[..., small:].any() and before.error[..., small:].any()
    assert torch.equal(found.error[..., : 88 // reduction], before.error[..., : 88 // reduction])
    assert torch.equal(found.coarse_alpha, before.coarse_alpha)


@torch.inference_mode()
def test_a_thin_limb_is_no_shadow(network: MattingNetwork) -> None:
    """A gray sleeve a metre before a white wall, too thin for the map of the posterior."""
    column = slice(64, 72)
    plate, mean = torch.full((1, 3, 96, 144), 0.8), torch.full((1, 1, 96, 144), 3.0)
    color, depth = plate.clone(), mean.clone()
    color[..., column], depth[..., column] = 0.45, 2.0
    known = torch.ones_like(mean)
    background = Background(plate, mean, 0.03 * known, known, torch.zeros_like(mean))
    output = network(color, depth, background)
    assert output.posterior[..., 17].max() < 0.2
    # Untrained, alpha is near 1/2 wherever it may be.
    assert output.alpha[..., column].min() > 0.3
    assert not output.alpha[..., :64].any() and not output.alpha[..., 72:].any()


@torch.inference_mode()
def test_nothing_is_half_in_shadow(network: MattingNetwork, all_lit: MattingNetwork) -> None:
    """At a sixth of the size as well: alpha is as it would be, or 0."""
    color, depth, background = frame(96, 144)
    found, before = (n(color, depth, background, reduction=6).alpha for n in (network, all_lit))
    kept = found > 0
    assert 0.05 < kept.float().mean() < 0.95
    assert torch.equal(found[kept], before[kept])


@torch.inference_mode()
def test_unknown_depth_everywhere_gives_the_prior_and_a_matte(network: MattingNetwork) -> None:
    color, depth, background = frame(32, 32)
    output = network(color, torch.full_like(depth, -1), background)
    np.testing.assert_allclose(output.posterior.numpy(), 0.5, atol=1e-6)
    assert bool(output.alpha.isfinite().all())


def test_small_sizes_by_hand() -> None:
    image = torch.arange(32.0).view(1, 1, 4, 8)
    # Rows 1 and 2, columns 1 and 2 (then 5 and 6): (9 + 10 + 17 + 18) / 4.
    assert reduced_color(image, 4).tolist() == [[[[13.5, 17.5]]]]
    assert reduced_depth(image, 4).tolist() == [[[[18.0, 22.0]]]]
    image = torch.arange(36.0).view(1, 1, 6, 6) ** 2
    middle = [(6 * row + column) ** 2 for row in range(1, 5) for column in range(1, 5)]
    assert reduced_color(image, 6).item() == sum(middle) / 16
    assert reduced_depth(image, 6).item() == 21**2


@pytest.mark.parametrize(
    ("height", "width", "reduction"),
    [(480, 640, 4), (480, 848, 4), (600, 1023, 4), (600, 1024, 6), (720, 1280, 6), (1280, 720, 6)],
)
def test_large_images_are_reduced_more(height: int, width: int, reduction: int) -> None:
    assert base_reduction(height, width) == reduction


@torch.inference_mode()
def test_a_crop_of_a_large_image_is_matted_as_there(network: MattingNetwork) -> None:
    """The middle of a crop, whose edges are far, is what it is in the whole; not at a quarter."""
    whole = frame(624, 1152)
    window = (..., slice(0, 480), slice(0, 960))
    color, depth, background = whole
    crop = color[window], depth[window], Background(*(x[window] for x in background))
    expected, found = network(*whole).coarse_alpha, network(*crop, reduction=6).coarse_alpha
    assert found.shape[-2:] == (80, 160)
    middle = (..., slice(34, 46), slice(70, 90))
    difference = (found[middle] - expected[middle]).abs().mean()
    pixels = (..., slice(204, 276), slice(420, 540))
    other = network(*whole).alpha[pixels] - network(*crop, reduction=4).alpha[pixels]
    assert difference < 0.2 * other.abs().mean()


@torch.inference_mode()
def test_the_refiner_reads_large_images_maps_at_a_quarter(all_lit: MattingNetwork) -> None:
    """Bilinear, as OpenCV does it; what is not refined is upsampled from there."""
    scene = frame(96, 144)
    some, full = all_lit(*scene, tiles=13, reduction=6), all_lit(*scene, reduction=6)
    coarse, error = some.coarse_alpha[0, 0].numpy(), some.error[0, 0].numpy()
    assert coarse.shape == error.shape == (16, 24)
    larger = [cv2.resize(x, (36, 24), interpolation=cv2.INTER_LINEAR) for x in (coarse, error)]
    worst = larger[1].reshape(6, 4, 9, 4).max(axis=(1, 3))
    chosen = worst >= np.sort(worst.ravel())[-13]
    upsampled = cv2.resize(larger[0], (144, 96), interpolation=cv2.INTER_LINEAR).clip(0, 1)
    mask = chosen.repeat(16, 0).repeat(16, 1)
    expected = np.where(mask, full.alpha[0, 0].numpy(), upsampled)
    np.testing.assert_allclose(some.alpha[0, 0].numpy(), expected, atol=1e-5)


def test_reduced_color_is_opencvs_bilinear() -> None:
    image = np.random.default_rng(0).random((24, 36)).astype(np.float32)
    expected = cv2.resize(image, (9, 6), interpolation=cv2.INTER_LINEAR)
    found = reduced_color(torch.from_numpy(image)[None, None], 4)[0, 0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize(
    ("height", "width", "share", "tiles"),
    [
        (480, 640, 0.25, 300),  # 30 x 40 tiles
        (720, 1280, 0.25, 520),  # 45 x 80 / 4, over the root of 3
        (240, 320, 0.25, 75),  # 15 x 20
        (61, 97, 0.25, 7),  # 4 x 7
        (61, 97, 1.0, None),
        (16, 16, 0.01, 1),
        (1080, 1920, 0.25, 785),  # 68 x 120 / 4, over the root of 6.75
        (1080, 1920, 0.5, MOST_TILES),  # would be 1570
        (1080, 1920, 1.0, None),
    ],
)
def test_number_of_tiles(height: int, width: int, share: float, tiles: int | None) -> None:
    assert tile_count(height, width, share) == tiles


@pytest.mark.parametrize("share", [0.0, -0.1, 1.01, float("nan")])
def test_share_out_of_range(share: float) -> None:
    with pytest.raises(ValueError, match=r"in \(0, 1\]"):
        tile_count(480, 640, share)

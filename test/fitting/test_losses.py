from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from scipy import ndimage
from torch import Tensor

from dart_ros.fitting.losses import (
    FRACTIONAL,
    PYRAMID,
    alpha_loss,
    matting_loss,
    steadiness_loss,
)
from dart_ros.method.network import Background, MattingOutput
from dart_ros.simulation.frames import Batch, Previous


def blocks(image: np.ndarray) -> np.ndarray:
    """Mean of each 4x4."""
    *rest, height, width = image.shape
    return image.reshape(*rest, height // 4, 4, width // 4, 4).mean(axis=(-3, -1))


def truth(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def rand(channels: int) -> Tensor:
        return torch.rand(2, channels, 16, 32, generator=generator)

    alpha = rand(1)
    alpha[..., :12] = 0
    alpha[..., 24:] = 1
    depth = 1 + rand(1)
    background = Background(rand(3), depth, depth, torch.ones_like(depth), torch.zeros_like(depth))
    return Batch(rand(3), depth, background, alpha, rand(3), torch.ones_like(alpha))


def perfect(batch: Batch) -> MattingOutput:
    color, alpha, foreground = (
        x.numpy().astype(np.float64) for x in (batch.color, batch.alpha, batch.foreground)
    )
    coarse_alpha = blocks(alpha)
    coarse = blocks(foreground * alpha) / np.maximum(coarse_alpha, 1e-3)
    residual = coarse - blocks(color)
    quarter = torch.from_numpy(coarse_alpha).float()
    return MattingOutput(
        alpha=batch.alpha.clone(),
        foreground=batch.foreground.clone(),
        coarse_alpha=quarter,
        coarse_residual=torch.from_numpy(residual).float(),
        color_error=torch.zeros_like(quarter),
        error=torch.rand_like(quarter),
        posterior=torch.rand_like(quarter),
    )


def pyramid(difference: np.ndarray) -> float:
    """The bands of a Laplacian pyramid written out."""
    total = 0.0
    for level in range(4):
        if min(difference.shape) < 2:
            break
        rows, columns = (side // 2 * 2 for side in difference.shape)
        small = difference[:rows, :columns].reshape(rows // 2, 2, columns // 2, 2).mean((1, 3))
        size = difference.shape[::-1]
        smooth = cv2.resize(small.astype(np.float64), size, interpolation=cv2.INTER_LINEAR)
        total += 2**level * float(np.abs(difference - smooth).mean())
        difference = small
    return total


def test_a_perfect_matte_loses_nothing() -> None:
    assert float(matting_loss(perfect(truth()), truth())) == pytest.approx(0, abs=1e-6)


def test_foreground_color_does_not_matter_where_there_is_none() -> None:
    batch = truth()
    output = perfect(batch)
    output.foreground[..., :12] = 1 - output.foreground[..., :12]
    output.coarse_residual[..., :3] += 0.5
    assert float(matting_loss(output, batch)) == pytest.approx(0, abs=1e-6)


def test_one_wrong_pixel_of_alpha_by_hand() -> None:
    alpha = torch.zeros(1, 1, 5, 5)
    wrong = alpha.clone()
    wrong[0, 0, 2, 2] = 0.5
    # |A|: 0.5 / 25. Each Sobel map: 0.5 (1 + 2 + 1 + 1 + 2 + 1) / 4 = 1, two maps over 50.
    plain = 0.02 + 2 / 50
    bands = pyramid((wrong - alpha)[0, 0].numpy())
    loss = float(alpha_loss(wrong, alpha, torch.ones_like(alpha)))
    assert loss == pytest.approx(plain + PYRAMID * bands, rel=1e-5)


def test_soft_pixels_count_more_than_solid_ones() -> None:
    weight = torch.ones(1, 1, 16, 16)
    losses = [
        float(alpha_loss(value + 0.01 * weight, value * weight, weight)) for value in (0.0, 0.5)
    ]
    # A constant has no gradients but at the border, and no bands.
    assert losses[1] - losses[0] == pytest.approx(0.01 * FRACTIONAL, rel=1e-4)


def pairs() -> Batch:
    batch = truth()
    return batch._replace(
        previous=Previous(batch.color.clone(), batch.depth, batch.alpha.clone(), batch.weight)
    )


def test_steadiness_is_the_mean_change_where_nothing_moves() -> None:
    batch = pairs()
    alpha = batch.alpha * 0.5
    assert float(steadiness_loss(alpha, alpha, batch)) == 0
    assert float(steadiness_loss(alpha + 0.1, alpha, batch)) == pytest.approx(0.1)


def test_what_moves_need_not_be_steady() -> None:
    batch = pairs()
    assert batch.previous is not None
    alpha, before = batch.alpha, batch.alpha.clone()
    before[..., 16:] += 0.3
    recolored = batch.previous.color.clone()
    recolored[..., 13:] = 1 - recolored[..., 13:].round()
    moved = batch._replace(
        color=batch.color.round(), previous=batch.previous._replace(color=batch.color.round())
    )
    assert float(steadiness_loss(alpha, before, moved)) > 0.1
    moved = batch._replace(previous=batch.previous._replace(color=recolored))
    assert float(steadiness_loss(alpha, before, moved)) == pytest.approx(0, abs=1e-6)


def test_a_truth_that_changes_need_not_be_steady_where_it_is_known() -> None:
    batch = pairs()
    assert batch.previous is not None
    other = batch.previous.alpha.clone()
    other[..., 24:] = 0
    changed = batch._replace(previous=batch.previous._replace(alpha=other))
    assert float(steadiness_loss(batch.alpha, other, changed)) == 0
    unknown = batch.weight.clone()
    unknown[..., 24:] = 0
    changed = changed._replace(weight=unknown)
    assert float(steadiness_loss(batch.alpha, other, changed)) > 0.1


def test_what_is_not_known_does_not_count() -> None:
    batch = truth()
    output = perfect(batch)
    unknown = (slice(None), slice(None), slice(4, 8), slice(16, 20))
    # One block of the coarse maps, and what is around it.
    output.alpha[unknown] = 1 - output.alpha[unknown]
    output.foreground[unknown] = 1 - output.foreground[unknown]
    output.coarse_alpha[..., 1, 4] = 1 - output.coarse_alpha[..., 1, 4]
    output.color_error[..., 1, 4] = 0.7
    assert float(matting_loss(output, batch)) > 0.05
    weight = batch.weight.clone()
    weight[unknown] = 0
    assert float(matting_loss(output, batch._replace(weight=weight))) == pytest.approx(0, abs=1e-6)


def test_weights_scale_the_loss() -> None:
    batch = truth()
    output = perfect(batch)._replace(color_error=torch.full((2, 1, 4, 8), 0.3))
    twice = batch._replace(weight=2 * batch.weight)
    assert float(matting_loss(output, twice)) == pytest.approx(0.18, abs=1e-6)


def test_error_map_learns_the_coarse_alphas_error_by_hand() -> None:
    batch = truth()
    output = perfect(batch)._replace(color_error=torch.full((2, 1, 4, 8), 0.3))
    assert float(matting_loss(output, batch)) == pytest.approx(0.09, abs=1e-6)


def test_equals_the_sum_written_out_in_numpy() -> None:
    batch = truth()
    ideal, generator = perfect(batch), torch.Generator().manual_seed(9)
    output = MattingOutput(
        *(
            (image + 0.2 * torch.randn(image.shape, generator=generator)).clamp(-1, 1)
            for image in ideal
        )
    )
    found, target = (
        {name: image.numpy().astype(np.float64) for name, image in values._asdict().items()}
        for values in (output, ideal)
    )

    def alpha_part(a: np.ndarray, b: np.ndarray) -> float:
        kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
        slopes = [
            np.abs(ndimage.correlate(x - y, k, mode="constant")).mean()
            for x, y in zip(a[:, 0], b[:, 0], strict=True)
            for k in (kernel, kernel.T)
        ]
        soft = (b > 0.02) & (b < 0.98)
        difference = (a - b) * (1 + FRACTIONAL * soft)
        bands = np.mean([pyramid(image) for image in difference[:, 0]])
        return float(np.abs(difference).mean() + np.mean(slopes) + PYRAMID * bands)

    fine = alpha_part(found["alpha"], target["alpha"])
    seen = target["alpha"] > 0.01
    fine += (np.abs(found["foreground"] - target["foreground"]) * seen).mean()
    coarse = alpha_part(found["coarse_alpha"], target["coarse_alpha"])
    seen = target["coarse_alpha"] > 0.01
    coarse += (np.abs(found["coarse_residual"] - target["coarse_residual"]) * seen).mean()
    wrong = np.abs(found["coarse_alpha"] - target["coarse_alpha"])
    error = ((found["color_error"] - wrong) ** 2).mean()
    loss = float(matting_loss(output, batch))
    assert loss == pytest.approx(fine + coarse + error, rel=1e-5)


def test_the_error_map_does_not_teach_the_coarse_alpha() -> None:
    batch = truth()
    output = perfect(batch)
    coarse = (output.coarse_alpha * 0.5).requires_grad_()
    only_alpha = alpha_loss(coarse, output.coarse_alpha, torch.ones_like(coarse))
    expected = torch.autograd.grad(only_alpha, coarse)[0]
    loss = matting_loss(output._replace(coarse_alpha=coarse), batch)
    assert torch.allclose(torch.autograd.grad(loss, coarse)[0], expected)

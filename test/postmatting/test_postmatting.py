"""Post-matting on a soft edge whose alpha is known, and with a small random ViTMatte."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from dart_ros.errors import PostMattingError
from dart_ros.postmatting import create_post_matting


def edge() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Red over blue with a ramp of alpha: color, trimap, and the ramp."""
    alpha = np.tile(np.clip((np.arange(60) - 24) / 12, 0, 1), (40, 1))
    color = np.stack([220 * alpha, 0 * alpha, 220 * (1 - alpha)], axis=2).round().astype(np.uint8)
    trimap = np.full((40, 60), 128, np.uint8)
    trimap[:, :20], trimap[:, 42:] = 0, 255
    return color, trimap, alpha


def test_closed_form_finds_the_ramp() -> None:
    pytest.importorskip("pymatting")
    color, trimap, alpha = edge()
    found = create_post_matting("closed-form").refine(color, trimap)
    assert found.dtype == np.uint8
    assert np.abs(found / 255 - alpha).max() < 0.03
    assert (found[trimap == 255] == 255).all() and (found[trimap == 0] == 0).all()


@pytest.mark.parametrize(("known", "wanted"), [(0, 0), (255, 255)])
def test_closed_form_without_one_side(known: int, wanted: int) -> None:
    pytest.importorskip("pymatting")
    color, trimap, _ = edge()
    trimap[trimap != 128] = known
    assert (create_post_matting("closed-form").refine(color, trimap) == wanted).all()


def test_closed_form_refuses_what_would_take_minutes() -> None:
    pytest.importorskip("pymatting")
    color = np.zeros((480, 640, 3), np.uint8)
    trimap = np.full((480, 640), 128, np.uint8)
    trimap[0, 0], trimap[-1, -1] = 0, 255
    with pytest.raises(PostMattingError, match="unknown in 100% of a frame"):
        create_post_matting("closed-form").refine(color, trimap)


def test_vitmatte_solves_the_unknown_part_alone(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    backbone = transformers.VitDetConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, image_size=64, patch_size=16,
        pretrain_image_size=64, num_channels=4, out_features=["stage1"], window_size=0,
    )  # fmt: skip
    config = transformers.VitMatteConfig(
        backbone_config=backbone, hidden_size=16,
        convstream_hidden_sizes=[4, 4, 4], fusion_hidden_sizes=[8, 8, 8, 4],
    )  # fmt: skip
    network = transformers.VitMatteForImageMatting(config)
    network.save_pretrained(tmp_path)
    color, trimap, _ = edge()
    found = create_post_matting("vitmatte", tmp_path).refine(color, trimap)
    assert found.shape == trimap.shape
    assert (found[trimap != 128] == trimap[trimap != 128]).all()
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(PostMattingError, match="can't be read as ViTMatte"):
        create_post_matting("vitmatte", tmp_path)


def test_what_is_missing_is_said() -> None:
    with pytest.raises(PostMattingError, match="needs a folder"):
        create_post_matting("vitmatte")
    with pytest.raises(PostMattingError, match="take closed-form or vitmatte"):
        create_post_matting("magic")

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dart_ros.errors import SceneError
from dart_ros.session.scene_mask import MaskedAlpha, mask_of_polygons, read_mask
from dart_ros.values import Camera

CAMERA = Camera.uncalibrated(40, 30)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31))
def test_a_mask_is_laid_over_alpha_and_color(seed: int) -> None:
    random = np.random.default_rng(seed)
    mask = random.choice(np.array([0, 128, 255], np.uint8), (30, 40))
    alpha = random.integers(0, 256, (30, 40), np.uint8)
    foreground, color = random.integers(0, 256, (2, 30, 40, 3), np.uint8)
    given_alpha = alpha.copy()
    masked = MaskedAlpha(mask)
    found = masked.alpha(alpha)
    assert np.array_equal(alpha, given_alpha)
    assert (found[mask == 0] == 0).all() and (found[mask == 255] == 255).all()
    assert np.array_equal(found[mask == 128], alpha[mask == 128])
    shown = masked.color(foreground.copy(), color)
    assert np.array_equal(shown[mask == 255], color[mask == 255])
    assert np.array_equal(shown[mask != 255], foreground[mask != 255])


def test_without_a_mask_all_is_as_it_was() -> None:
    alpha = np.zeros((30, 40), np.uint8)
    assert MaskedAlpha(None).alpha(alpha) is alpha


def test_polygons() -> None:
    window = [(2, 2), (12, 2), (12, 9), (2, 9)]
    microphone = [(10.0, 5.0), (20.0, 5.0), (20.0, 90.0), (10.0, 90.0)]
    mask = mask_of_polygons(CAMERA, [window], [microphone])
    assert mask[3, 3] == 0 and mask[25, 15] == 255 and mask[6, 11] == 255 and mask[0, 39] == 128
    assert (mask == 0).sum() == 11 * 8 - 3 * 5


@pytest.mark.parametrize(
    "polygon",
    [[], [(0, 0), (1, 1)], [(0, 0), (float("nan"), 1), (2, 2)], [(0, 0), (1e9, 1), (2, 2)]],
)
def test_what_is_no_polygon_is_refused(polygon: list[tuple[float, float]]) -> None:
    with pytest.raises(SceneError, match="three corners or more"):
        mask_of_polygons(CAMERA, [polygon], [])
    with pytest.raises(SceneError, match="more than 10000 corners"):
        mask_of_polygons(CAMERA, [[(0, 0)] * 10_001], [])


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "mask.png"
    image = np.full((30, 40), 200, np.uint8)
    image[:5], image[25:] = 0, 255
    cv2.imwrite(str(path), image)
    mask = read_mask(path, CAMERA)
    assert set(np.unique(mask)) == {0, 128, 255} and (mask[5:25] == 128).all()
    with pytest.raises(SceneError, match="is 40x30, the scene 80x30"):
        read_mask(path, Camera.uncalibrated(80, 30))
    with pytest.raises(SceneError, match="can't be read"):
        read_mask(tmp_path / "none.png", CAMERA)
    cv2.imwrite(str(path), np.zeros((30, 40, 3), np.uint8))
    with pytest.raises(SceneError, match="one channel"):
        read_mask(path, CAMERA)
    path.write_bytes(b"no picture")
    with pytest.raises(SceneError, match="one channel"):
        read_mask(path, CAMERA)

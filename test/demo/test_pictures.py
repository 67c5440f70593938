from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from dart_ros.demo.pictures import (
    Shot,
    color_depth,
    contact_sheet,
    depth_span,
    gradient,
    save_png,
    sheet_size,
    write_video,
)
from dart_ros.errors import DartError
from dart_ros.session.matte_files import count_frames


def make_shot(seconds: float, width: int = 160, height: int = 120, value: int = 200) -> Shot:
    alpha = np.zeros((height, width), np.uint8)
    alpha[:, width // 2 :] = 255
    return Shot(
        seconds=seconds,
        color=np.full((height, width, 3), (value, 10, 20), np.uint8),
        depth=np.full((height, width), 1500, np.uint16),
        alpha=alpha,
        trimap=alpha,
        composite=np.full((height, width, 3), (20, 10, value), np.uint8),
    )


def test_the_sheet_has_a_row_for_each_shot_and_each_image_in_its_column() -> None:
    sheet = contact_sheet([make_shot(0.0), make_shot(0.5, value=90)])
    assert sheet.shape[1::-1] == sheet_size(2, 160, 120)

    def pixel(row: int, column: int, across: float = 0.25) -> list[int]:
        x = 74 + column * 324 + int(320 * across)
        return sheet[30 + row * 244 + 120, x].tolist()

    assert [pixel(0, 0), pixel(1, 0)] == [[200, 10, 20], [90, 10, 20]]
    assert [pixel(0, 2), pixel(0, 2, 0.75)] == [[0] * 3, [255] * 3]
    assert [pixel(0, 3), pixel(0, 3, 0.75)] == [[0] * 3, [255] * 3]
    assert [pixel(0, 4), pixel(1, 4)] == [[20, 10, 200], [20, 10, 90]]
    # Something is written over each column and beside each row.
    assert all(sheet[:30, 74 + 324 * c : 74 + 324 * c + 320].max() > 100 for c in range(5))
    assert all(sheet[30 + 244 * r : 270 + 244 * r, :74].max() > 100 for r in range(2))


def test_depth_is_red_when_near_blue_when_far_and_black_when_unknown() -> None:
    depth = np.array([[0, 1000, 4000]], np.uint16)
    unknown, near, far = color_depth(depth, (1000.0, 4000.0))[0].astype(int)
    assert unknown.tolist() == [0, 0, 0]
    assert near[0] > 2 * near[2]
    assert far[2] > 1.5 * far[0]


def test_the_span_ignores_unknown_depth_and_copes_with_nothing_else() -> None:
    depth = np.zeros((40, 40), np.uint16)
    assert depth_span([depth]) == (0.0, 1.0)
    depth[:20] = 1000
    depth[30:] = 3000
    low, high = depth_span([depth])
    assert (low, high) == (1000.0, 3000.0)


def test_the_video_decodes_to_its_panels(tmp_path: Path) -> None:
    path = write_video(tmp_path, lambda: [make_shot(i / 10) for i in range(7)], 10.0)
    assert path.parent == tmp_path
    assert count_frames(path) == 7
    reader = cv2.VideoCapture(str(path))
    good, image = reader.read()
    reader.release()
    assert good
    assert image.shape == (120, 480, 3)
    rgb = image[..., ::-1].astype(int)
    assert np.abs(rgb[60, 80] - (200, 10, 20)).max() < 30
    assert rgb[60, 200].max() < 30 and rgb[60, 280].min() > 225
    assert np.abs(rgb[60, 400] - (20, 10, 200)).max() < 30


def test_wide_videos_are_scaled_down(tmp_path: Path) -> None:
    path = write_video(tmp_path, lambda: [make_shot(0.0, 1281, 721)] * 2, 10.0)
    reader = cv2.VideoCapture(str(path))
    assert (reader.get(cv2.CAP_PROP_FRAME_WIDTH), reader.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (
        1920,
        360,
    )
    reader.release()


def test_files_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    with pytest.raises(DartError, match=r"video into .*missing"):
        write_video(missing, lambda: [make_shot(0.0)], 10.0)
    with pytest.raises(DartError, match=r"missing/a\.png can't be written"):
        save_png(missing / "a.png", gradient(8, 6))


def test_a_png_keeps_its_colors(tmp_path: Path) -> None:
    image = gradient(64, 48)
    assert image.shape == (48, 64, 3)
    save_png(tmp_path / "a.png", image)
    assert np.array_equal(cv2.imread(str(tmp_path / "a.png"))[..., ::-1], image)

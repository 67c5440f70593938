"""The scene as a value: names, ids, and what it refuses to hold."""

from __future__ import annotations

import dataclasses
from datetime import datetime, timezone

import numpy as np
import pytest

from benchmark.fuzz_scene_files import good_scene
from dart_ros.errors import SceneError
from dart_ros.session.scene import check_id, check_name, is_plain_name, name_in_id, new_scene_id

NEVER = [
    "",
    ".",
    "..",
    "../x",
    "a/b",
    "/etc/x",
    ".hidden",
    "a b",
    "x" * 65,
    "ä",
    "a\n",
    "a\0",
    "\\",
]


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "x" * 64, "_", "-", "a..b"])
def test_plain_names(name: str) -> None:
    check_name(name)
    assert name_in_id(new_scene_id(name, datetime.now(timezone.utc))) == name


@pytest.mark.parametrize("name", NEVER)
def test_names_that_are_refused(name: str) -> None:
    assert not is_plain_name(name)
    with pytest.raises(SceneError, match="can't name a scene"):
        check_name(name)
    with pytest.raises(SceneError, match="can't name a scene"):
        dataclasses.replace(good_scene(), name=name)
    with pytest.raises(SceneError, match="no id of a scene"):
        check_id(new_scene_id(name, datetime.now(timezone.utc)))


def test_a_long_name_does_not_fill_the_message() -> None:
    with pytest.raises(SceneError) as caught:
        check_name("\x1b[31m" * 100_000)
    assert len(str(caught.value)) < 250 and str(caught.value).isprintable()


def test_ids_tell_captures_apart() -> None:
    when = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
    assert new_scene_id("lab", when).startswith("lab-20240506T070809Z-")
    assert len({new_scene_id("lab", when) for _ in range(50)}) == 50


def test_known_share() -> None:
    scene = good_scene()
    count = np.zeros((6, 8), np.uint16)
    count[2, 1:5] = 1, 9, 2, 3
    assert dataclasses.replace(scene, depth_count=count).known_share == 4 / 48


@pytest.mark.parametrize(
    "written", ["2024-05-06T07:08:09+00:00", "2024-05-06T09:08:09+02:00", "2024-05-06T07:08:09Z"]
)
def test_the_time_of_the_capture_is_read_in_any_offset(written: str) -> None:
    wanted = datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)
    assert dataclasses.replace(good_scene(), captured_at=written).captured == wanted


def test_values_are_named_that_cannot_be() -> None:
    scene = good_scene()
    wrong = {
        "depth_mean": scene.depth_mean[:-1],
        "plate": scene.plate.astype(np.float32),
        "depth_std": -scene.depth_std,
        "depth_count": scene.depth_count.astype(np.int64),
        "frames": 0,
        "captured_at": "2024-05-06T07:08:09",
        "max_depth": float("nan"),
        "weights": {"a": np.array([np.inf], np.float16)},
        "fit": {"before": float("inf")},
        "captured_by": "left",
        "serial": "\x07",
        "depth_offset": (3, 1.5),
        "id": "../x-20240506T070809Z-abcdef",
        "camera": dataclasses.replace(scene.camera, frame_id="a\x1b[2J"),
    }
    for key, value in wrong.items():
        with pytest.raises(SceneError, match=key.replace("weights", "weight")):
            dataclasses.replace(scene, **{key: value})

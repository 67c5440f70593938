from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS 2")

from dart_ros.node import parameters
from dart_ros.node.parameter_table import PARAMETERS
from dart_ros.node.parameters import Settings
from dart_ros.node.parameters import descriptor as descriptor_of
from dart_ros.postmatting import NAMES as POST_MATTINGS
from dart_ros.runtime.engine import BACKENDS
from dart_ros.session.pairing import DEFAULT_SLOP, DEFAULT_WAIT


def test_every_parameter_is_described_and_every_number_has_a_range() -> None:
    for name, parameter in PARAMETERS.items():
        descriptor = descriptor_of(name, parameter)
        assert descriptor.description.endswith("."), name
        if isinstance(parameter.default, float):
            (bounds,) = descriptor.floating_point_range
            assert bounds.from_value <= parameter.default <= bounds.to_value, name
        elif isinstance(parameter.default, int) and not isinstance(parameter.default, bool):
            (limits,) = descriptor.integer_range
            assert limits.from_value <= parameter.default <= limits.to_value, name


def test_what_only_counts_at_start_is_read_only() -> None:
    fixed = {
        name for name, parameter in PARAMETERS.items() if descriptor_of(name, parameter).read_only
    }
    assert fixed == {"scenes_dir", "scene", "autostart", "camera_serial"}


def test_changes_are_taken_over_and_other_names_ignored() -> None:
    before = Settings.defaults()
    after = before.changed({"max_depth": 3.0, "composite_color": [1, 2, 3], "use_sim_time": True})
    assert (after.max_depth, after.composite_color) == (3.0, (1, 2, 3))
    assert before.max_depth == 5.46


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("backend", "quantum", "backend 'quantum' is unknown; use one of auto, "),
        ("scenes_dir", "", "name a folder"),
        ("composite_color", [1, 2], "no color"),
        ("composite_color", [0, 0, 256], "0 to 255"),
        ("composite_color", [0, 0, -1], "0 to 255"),
        ("composite_image", "/no/such/file.png", "does not exist"),
        ("composite_image", "/", "is no file"),
        ("fit_foregrounds", "~/no such people", "fit_foregrounds .* does not exist"),
        ("post_matting_weights", "/etc/hostname", "is no folder"),
        ("fit_teacher", "/no/such/weights", "fit_teacher .* does not exist"),
        ("fit_teacher", "/", "is no file"),
        ("composite_image", "~nobody-of-that-name/x.png", "composite_image .* can't be had"),
        ("composite_image", "x" * 300, "composite_image .* can't be had"),
        ("fit_foregrounds", "~nobody-of-that-name/x", "fit_foregrounds .* can't be had"),
        ("scenes_dir", "~nobody-of-that-name/x", "scenes_dir .* can't be had"),
        ("scene", "../escape", "no plain name"),
        ("image_transport", "theora", "image_transport 'theora' is unknown; use one of raw, comp"),
        ("depth_image_transport", "zdepth", "use one of raw, compressedDepth, compressed"),
        ("scene", 1.5, "quote it"),
        ("scene", True, "scene is a text, not True"),
        ("capture_scene", "", "no plain name"),
        ("stills_dir", "", "name a folder"),
        ("max_depth", "three", "max_depth is a number, not three"),
        ("max_depth", 0, "max_depth 0 is out of range; use 0.1 to 100"),
        ("max_depth", float("nan"), "out of range"),
        ("max_depth", float("inf"), "out of range"),
        ("max_depth", None, "max_depth is a number, not None"),
        ("max_depth", True, "max_depth is a number"),
        ("threads", 2.0, "threads is a whole number"),
        ("threads", -1, "out of range"),
        ("autostart", 1, "autostart is true or false"),
        ("composite_color", "green", "is a list such as"),
        ("composite_color", [0.5, 1.0, 2.0], "no color"),
        ("composite_color", ["a", "b", "c"], "no color"),
        ("post_matting", "vitmatte", "needs weights; set post_matting_weights"),
        ("backend", "x\n[FATAL] forged \x1b[31m", r"backend 'x\\n\[FATAL\] forged \\x1b"),
        ("backend", 5, "backend '5' is unknown"),
        ("composite_image", "a\0b", r"composite_image 'a\\x00b' does not exist"),
    ],
)
def test_bad_values_are_refused_with_the_reason(name: str, value: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings.defaults().changed({name: value})


def test_the_home_folder_may_be_written_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "people").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    settings = Settings.defaults().changed({"fit_foregrounds": "~/people"})
    assert settings.fit_foregrounds == str(tmp_path / "people")


def test_composite_image_is_refused_by_its_header(tmp_path: Path) -> None:
    good, bad, none = tmp_path / "good.png", tmp_path / "bad.png", tmp_path / "none.png"
    cv2.imwrite(str(good), np.full((4, 6, 3), (255, 128, 0), np.uint8))
    bad.write_bytes(good.read_bytes()[:20])
    none.touch()
    settings = Settings.defaults().changed({"composite_image": str(good)})
    assert settings.composite_image == str(good)
    for path in (bad, none):
        with pytest.raises(ValueError, match="no PNG, JPEG, WebP or BMP"):
            settings.changed({"composite_image": str(path)})
    # Some hundred bytes that would take 37 GB.
    data = bytearray(good.read_bytes())
    data[16:24] = (1).to_bytes(4, "big") + (2**31 - 1).to_bytes(4, "big")
    bad.write_bytes(data)
    with pytest.raises(ValueError, match="megapixels"):
        settings.changed({"composite_image": str(bad)})
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    with pytest.raises(ValueError, match="composite_image"):
        settings.changed({"composite_image": str(pipe)})
    assert settings.changed({"composite_image": ""}).composite_image == ""


def test_help_names_all_choices() -> None:
    for name, choices in (
        ("backend", ("auto", *BACKENDS)),
        ("post_matting", POST_MATTINGS),
        ("image_transport", ("raw", "compressed")),
        ("depth_image_transport", ("raw", "compressedDepth", "compressed")),
    ):
        assert all(choice in PARAMETERS[name].description for choice in choices)


def test_rgbd_needs_the_messages_of_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match="install realsense2_camera_msgs"):
        Settings.defaults().changed({"rgbd": True})
    monkeypatch.setattr(parameters, "find_spec", lambda name: name)
    assert Settings.defaults().changed({"rgbd": True}).rgbd


def test_defaults_of_pairing_are_those_of_recordings() -> None:
    settings = Settings.defaults()
    assert (settings.sync_slop, settings.sync_wait) == (DEFAULT_SLOP, DEFAULT_WAIT)


@pytest.mark.parametrize(
    ("name", "value", "taken"),
    [("max_depth", 6, 6.0), ("sync_slop", 1, 1.0), ("scene", 5, "5"), ("capture_scene", 7, "7")],
)
def test_whole_numbers_are_numbers_and_texts(name: str, value: int, taken: object) -> None:
    after = getattr(Settings.defaults().changed({name: value}), name)
    assert after == taken and type(after) is type(taken)


@pytest.mark.parametrize("name", sorted(PARAMETERS))
def test_no_value_makes_a_long_or_unprintable_reason(name: str) -> None:
    for value in (
        "x" * 1_000_000,
        "\n" * 1000,
        "~" + "y" * 5000,
        list(range(100_000)),
        b"z" * 9999,
    ):
        try:
            Settings.defaults().changed({name: value})
        except ValueError as error:
            assert len(str(error)) < 600 and str(error).isprintable()


def test_vitmatte_is_taken_with_its_weights_alone(tmp_path: Path) -> None:
    settings = Settings.defaults().changed({"post_matting_weights": str(tmp_path)})
    settings = settings.changed({"post_matting": "vitmatte"})
    with pytest.raises(ValueError, match="needs weights"):
        settings.changed({"post_matting_weights": ""})
    # In the order of the table, as at start.
    names = list(PARAMETERS)
    assert names.index("post_matting_weights") < names.index("post_matting")

"""Launch arguments become values of the types that their parameters have."""

from __future__ import annotations

import math
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dart_ros.launching.cameras import FAMILIES, REPLAY
from dart_ros.launching.values import (
    Value,
    as_text,
    fastdds_variables,
    filled,
    joined,
    parsed,
    unknown_arguments,
    unknown_words,
)
from dart_ros.node.parameter_table import PARAMETERS


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_way_to_write_a_number_is_that_float(value: float) -> None:
    texts = {repr(value), f"{value:.17e}", f" {value!r} "}
    if value.is_integer() and abs(value) < 1e15:
        texts.add(str(int(value)))
    for text in texts:
        number = parsed("rate", text, 0.0)
        assert type(number) is float
        assert number == pytest.approx(value, rel=1e-15)


@given(st.integers(-(2**63), 2**63 - 1))
def test_whole_numbers_are_integers_where_those_are_wanted(value: int) -> None:
    number = parsed("threads", str(value), 0)
    assert type(number) is int and number == value


@given(st.text())
def test_a_text_stays_the_text_it_is(text: str) -> None:
    assert parsed("scene", text, "") == text


@pytest.mark.parametrize("text", ["true", "True", "TRUE", "yes", "on", "1", " true "])
def test_words_for_true(text: str) -> None:
    assert parsed("loop", text, False) is True


@pytest.mark.parametrize("text", ["false", "False", "no", "off", "0"])
def test_words_for_false(text: str) -> None:
    assert parsed("loop", text, True) is False


@pytest.mark.parametrize("text", ["[0, 177, 64]", "0,177,64", " [0,177,64] "])
def test_lists_with_and_without_brackets(text: str) -> None:
    assert parsed("composite_color", text, [1, 2, 3]) == [0, 177, 64]


def test_lists_of_other_types() -> None:
    assert parsed("gains", "[1, 2.5]", [0.0]) == [1.0, 2.5]
    assert parsed("names", "a, b", ["x"]) == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "default", "message"),
    [
        ("fast", 1.0, "rate:=fast is no number; give one such as 15.0."),
        ("nan", 1.0, "is no number"),
        ("inf", 1.0, "is no number"),
        ("1e999", 1.0, "is no number"),
        ("two", 1, "rate:=two is no whole number; give one such as 2."),
        ("1.5", 1, "is no whole number"),
        ("maybe", True, "rate:=maybe is neither true nor false."),
        ("2", True, "is neither true nor false"),
        ("[1, x]", [1, 2, 3], "is no list such as"),
        ("[1, 2", [1, 2, 3], "is no list such as"),
        ("{a: 1}", [1, 2, 3], "is no list such as"),
    ],
)
def test_what_is_no_value_is_refused_by_name(text: str, default: Value, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        parsed("rate", text, default)
    assert message in str(caught.value) and f"rate:={text}" in str(caught.value)


def test_numbers_out_of_range_are_refused_with_the_bound() -> None:
    with pytest.raises(ValueError, match=r"max_depth:=600 is too large; give at most 100\."):
        parsed("max_depth", "600", 5.0, 0.1, 100.0)
    with pytest.raises(ValueError, match=r"threads:=-1 is too small; give at least 0\."):
        parsed("threads", "-1", 0, 0, 256)
    assert parsed("max_depth", "100", 5.0, 0.1, 100.0) == 100.0


@given(st.one_of(st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False)))
def test_what_a_yaml_file_holds_comes_back_from_its_text(value: bool | int | float) -> None:
    back = parsed("value", as_text(value), value)
    assert type(back) is type(value) and back == value
    assert not isinstance(back, float) or math.isfinite(back)


def test_every_typed_argument_of_a_replay_takes_numbers_as_people_write_them() -> None:
    """These died with a traceback: values were handed on as texts."""
    assert REPLAY.replayed is not None
    for text in ("20.0", "20", "2e1"):
        for name in ("rate", "empty_seconds", "bag_empty_seconds"):
            assert parsed(name, text, REPLAY.replayed[name]) == 20.0
    assert parsed("loop", "true", REPLAY.replayed["loop"]) is True
    assert set(REPLAY.replayed) == {argument.name for argument in REPLAY.arguments}


def test_every_parameter_of_the_node_can_be_given_as_an_argument() -> None:
    for name, parameter in PARAMETERS.items():
        default = parameter.default
        text = as_text(default)
        value = parsed(name, text, default, parameter.low, parameter.high)
        assert type(value) is type(default) and value == default, name
        if isinstance(default, float) and float(default).is_integer():
            assert type(parsed(name, str(int(default)), default)) is float


def test_arguments_have_one_meaning_each() -> None:
    """A parameter of the node by the name of a launch argument would be hidden by it."""
    for source in FAMILIES.values():
        names = {argument.name for argument in source.arguments}
        driver = set(source.driver.arguments) if source.driver else set()
        assert not names & set(PARAMETERS)
        assert not driver & set(PARAMETERS)
        assert all(argument.description for argument in source.arguments)


def test_launch_files_need_nothing_that_comes_by_pip() -> None:
    """`ros2 launch` runs in the system's Python, which doesn't see a virtual environment."""
    code = (
        "import sys, dart_ros.launching.fleet, dart_ros.launching.respawn\n"
        "import dart_ros.node.parameter_table\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=180
    )
    foreign = set(done.stdout.split()) & {"numpy", "cv2", "torch", "safetensors", "rclpy"}
    assert not foreign


def test_arguments_that_nobody_takes_are_found() -> None:
    known = ["rate", "empty_seconds", "loop"]
    given_ = ["empty_second:=5", "rate:=10", "sigterm_timeout:=3", "colour:=red", "no_assignment"]
    assert unknown_arguments(given_, known) == {"empty_second": "empty_seconds", "colour": ""}
    assert "did you mean 'empty_seconds'?" in unknown_words("empty_second", "empty_seconds", "it")
    assert "--show-args" in unknown_words("colour", "", "it")


def test_topics_have_no_empty_parts() -> None:
    template = "{camera_namespace}/{camera_name}/color/image_raw"
    names = {"camera_namespace": "", "camera_name": "camera"}
    assert filled(template, names) == "camera/color/image_raw"
    names["camera_namespace"] = "/k4a/"
    assert filled(template, names) == "/k4a/camera/color/image_raw"


def test_namespaces_are_joined_as_ros_does() -> None:
    assert joined("/robot", "left") == "robot/left"
    assert joined("/robot", "/left") == "left"
    assert joined("", "") == ""


@pytest.mark.parametrize(
    ("distribution", "variables"),
    [
        ("humble", ("FASTRTPS_DEFAULT_PROFILES_FILE",)),
        ("jazzy", ("FASTRTPS_DEFAULT_PROFILES_FILE",)),
        ("kilted", ("FASTDDS_DEFAULT_PROFILES_FILE",)),
        ("lyrical", ("FASTDDS_DEFAULT_PROFILES_FILE",)),
        (None, ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")),
    ],
)
def test_deprecated_variable_is_set_where_it_is_the_only_one(
    distribution: str | None, variables: tuple[str, ...]
) -> None:
    assert fastdds_variables(distribution) == variables

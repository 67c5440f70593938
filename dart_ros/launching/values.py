"""Launch arguments are texts; parameters have types. From one to the other, with clear refusals."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping

import yaml

Value = bool | int | float | str | list[bool] | list[int] | list[float] | list[str]

TRUE = ("true", "yes", "on", "1")
FALSE = ("false", "no", "off", "0")
# Launch configurations that launch itself reads.
_OF_LAUNCH = frozenset({"emulate_tty", "sigkill_timeout", "sigterm_timeout", "ros_namespace"})


def parsed(
    name: str, text: str, default: Value, low: float | None = None, high: float | None = None
) -> Value:
    """Return a launch argument as a value of the type that its parameter has.

    Args:
        name: the argument's name, for the message.
        text: what was given, such as ``"20"`` for a float.
        default: a value of the parameter's type; for a list, of its elements' type.
        low: the least number allowed, if any.
        high: the greatest number allowed, if any.

    Raises:
        ValueError: if the text is no such value or out of range; the message says what would be.
    """
    if isinstance(default, list):
        return _list(name, text, default)
    value = _scalar(name, text.strip() if not isinstance(default, str) else text, default)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        if low is not None and value < low:
            raise ValueError(f"{name}:={text} is too small; give at least {low:g}.")
        if high is not None and value > high:
            raise ValueError(f"{name}:={text} is too large; give at most {high:g}.")
    return value


def _scalar(name: str, text: str, default: Value) -> bool | int | float | str:
    if isinstance(default, bool):
        if text.lower() not in TRUE + FALSE:
            raise ValueError(f"{name}:={text} is neither true nor false.")
        return text.lower() in TRUE
    if isinstance(default, int):
        try:
            return int(text)
        except ValueError:
            raise ValueError(f"{name}:={text} is no whole number; give one such as 2.") from None
    if isinstance(default, float):
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise ValueError(f"{name}:={text} is no number; give one such as 15.0.")
        return number
    return text


def _list(name: str, text: str, default: list[bool] | list[int] | list[float] | list[str]) -> Value:
    example = str(default).replace("'", "")
    try:
        items = yaml.safe_load(text if text.strip().startswith("[") else f"[{text}]")
    except yaml.YAMLError:
        items = None
    kind = type(default[0]) if default else str
    if kind is float and isinstance(items, list):
        items = [float(item) if type(item) is int else item for item in items]
    if not isinstance(items, list) or any(type(item) is not kind for item in items):
        raise ValueError(f"{name}:={text} is no list such as {example}.")
    return items


def as_text(value: object) -> str:
    """Return a value from a YAML file in the form in which a launch argument gives it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def unknown_arguments(given: Iterable[str], known: Iterable[str]) -> dict[str, str]:
    """Return the names of launch arguments that nobody takes, each with the likely right one.

    Args:
        given: what was given on the command line, as ``name:=value``.
        known: the names that somebody takes.
    """
    names = list(dict.fromkeys(known))
    told = (text.split(":=", 1)[0] for text in given if ":=" in text)
    return {
        name: next(iter(difflib.get_close_matches(name, names, 1)), "")
        for name in told
        if name not in names and name not in _OF_LAUNCH
    }


def unknown_words(name: str, alike: str, where: str) -> str:
    """Return the warning about one launch argument that nobody takes."""
    advice = f"; did you mean '{alike}'?" if alike else "; --show-args lists those there are."
    return f"the launch argument '{name}' is not known to {where} and has no effect{advice}"


def filled(template: str, values: Mapping[str, str]) -> str:
    """Return a topic's template with launch arguments put in for their names in braces.

    An empty value leaves no empty part behind; a ``camera_namespace`` with a leading slash makes
    the topic absolute.
    """
    topic = "/".join(filter(None, template.format_map(values).split("/")))
    return f"/{topic}" if values.get("camera_namespace", "").startswith("/") else topic


def joined(outer: str, inner: str) -> str:
    """Return the inner namespace seen from the outer one, with no slash at its ends."""
    parts = [inner] if inner.startswith("/") else [outer, inner]
    return "/".join(filter(None, (part.strip("/") for part in parts)))


def fastdds_variables(distribution: str | None) -> tuple[str, ...]:
    """Return the environment variables that name a Fast DDS profile in a ROS distribution.

    Fast DDS 3, with Kilted, renamed the variable and warns of the old name. Where no distribution
    is named, both.
    """
    old, new = "FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE"
    if not distribution:
        return old, new
    return (old,) if distribution in ("humble", "iron", "jazzy") else (new,)

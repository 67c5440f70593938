"""The methods that are compared: one small class each, found by their files in this folder."""

from __future__ import annotations

import pkgutil
from importlib import import_module

from dart_ros.evaluation.methods.method import Method


def all_methods() -> dict[str, type[Method]]:
    """Every method of this folder by its name; the classes with a name of their own."""
    found: dict[str, type[Method]] = {}
    for module in pkgutil.iter_modules(__path__, __name__ + "."):
        for value in vars(import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Method) and "name" in vars(value):
                found[value.name] = value
    return found

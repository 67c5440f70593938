"""The methods that are compared: one small class each, found by their files in a folder."""

from __future__ import annotations

import importlib
import pkgutil

from dart_ros.evaluation.methods.method import Method


def all_methods(*others: str) -> dict[str, type[Method]]:
    """Every method by its name: the classes with a name of their own, of this folder and others.

    Args:
        others: importable packages, each a folder of modules with further methods.

    Raises:
        ImportError: if one of the packages can't be imported.
    """
    found: dict[str, type[Method]] = {}
    for package in (importlib.import_module(name) for name in (__name__, *others)):
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and issubclass(value, Method) and "name" in vars(value):
                    found[value.name] = value
    return found

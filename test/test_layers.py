"""Imports go down only, and what a robot runs imports no torch."""

from __future__ import annotations

import ast
import graphlib
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1] / "dart_ros"
NEEDS_TORCH = {"method", "export", "simulation", "fitting"}
"""Packages whose modules may import torch when they are imported."""

ASKED_FOR = {
    "postmatting/vitmatte.py",
    "runtime/torch_engine.py",
    "session/fit.py",
    "session/recorded_scene.py",
}
"""Modules elsewhere that may; others import them inside of functions."""


def imported_at_once(body: list[ast.stmt]) -> Iterator[str]:
    """Modules that are imported with a module, not later inside of a function."""
    for statement in body:
        if isinstance(statement, ast.Import):
            yield from (alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            yield statement.module or ""
        elif isinstance(statement, ast.Try):
            yield from imported_at_once(statement.body)


def modules() -> Iterator[tuple[str, list[str]]]:
    """Each module's path in the package, and what it imports at once."""
    for path in sorted(PACKAGE.rglob("*.py")):
        body = ast.parse(path.read_text(encoding="utf-8")).body
        yield path.relative_to(PACKAGE).as_posix(), list(imported_at_once(body))


def test_packages_import_each_other_one_way() -> None:
    graph: dict[str, set[str]] = {}
    for name, imports in modules():
        package = name.partition("/")[0]
        if name in ASKED_FOR or "/" not in name:
            continue
        for module in imports:
            parts = module.split(".")
            if parts[0] == "dart_ros" and len(parts) > 1 and (PACKAGE / parts[1]).is_dir():
                graph.setdefault(package, set()).add(parts[1])
    for package, others in graph.items():
        others.discard(package)
    # A circle is told by its packages.
    order = list(graphlib.TopologicalSorter(graph).static_order())
    assert order.index("method") < order.index("session") < order.index("node")
    assert "node" not in graph["session"] | graph["runtime"] | graph["evaluation"]


def test_what_a_robot_runs_imports_no_torch() -> None:
    found = {
        name
        for name, imports in modules()
        if name.partition("/")[0] not in NEEDS_TORCH
        and any(module.split(".")[0] == "torch" for module in imports)
    }
    assert found <= ASKED_FOR


def test_what_a_robot_runs_imports_nothing_that_imports_torch() -> None:
    """`method` has modules without torch, such as its constants: all others need it."""
    imports = dict(modules())

    def needs_torch(name: str, above: tuple[str, ...] = ()) -> bool:
        if name not in imports or name in above:
            return False
        return any(
            module.split(".")[0] == "torch"
            or needs_torch("/".join(module.split(".")[1:]) + ".py", (*above, name))
            for module in imports[name]
        )

    robot = {name for name in imports if name.partition("/")[0] not in NEEDS_TORCH} - ASKED_FOR
    assert not {name for name in robot if needs_torch(name)}
    assert needs_torch("method/light.py")

"""``dart-ros scenes``: what has been captured."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from dart_ros.commands.options import scenes_options

if TYPE_CHECKING:
    from dart_ros.session.scene_store import SceneSummary


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser(
        "scenes",
        parents=[scenes_options()],
        help="list the scenes: shared ones, and those of each node as NODE/SCENE",
    )
    command.set_defaults(run=_scenes)


def _scenes(options: argparse.Namespace) -> None:
    from dart_ros.session.scene_store import SceneStore, all_scenes

    store = SceneStore(options.scenes_dir)
    summaries = all_scenes(options.scenes_dir)
    last = store.last_used()
    if not summaries:
        print(f"No scenes in {store.directory}")
    for item in summaries:
        users = [node for node, name in last.items() if name == item.name]
        print(f"{item.name:20}  {item.problem or _described(item, users, len(last) > 1)}")


def _described(item: SceneSummary, users: list[str], of_several: bool) -> str:
    captured = "" if item.captured is None else item.captured.isoformat(timespec="seconds")
    notes = ["fitted"] * item.fitted
    if item.captured_by:
        notes.append(f"captured by {item.captured_by}")
    if users:
        notes.append("last used" + f" by {', '.join(users)}" * of_several)
    return "  ".join([f"{item.size[0]}x{item.size[1]}", captured, item.id, *notes])

"""``dart-ros scenes``: what has been captured."""

from __future__ import annotations

import argparse

from dart_ros.commands.options import scenes_options


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds the command."""
    command = commands.add_parser("scenes", parents=[scenes_options()], help="list the scenes")
    command.set_defaults(run=_scenes)


def _scenes(options: argparse.Namespace) -> None:
    from dart_ros.session.scene import SceneStore

    store = SceneStore(options.scenes_dir)
    summaries = store.list()
    last = store.last_used()
    if not summaries:
        print(f"No scenes in {store.directory}")
    for item in summaries:
        size = f"{item.size[0]}x{item.size[1]}"
        users = [node for node, name in last.items() if name == item.name]
        notes = ["fitted"] * item.fitted
        if users:
            notes.append("last used" + f" by {', '.join(users)}" * (len(last) > 1))
        what = item.problem or "  ".join([size, item.captured_at, item.id, *notes])
        print(f"{item.name:20}  {what}")

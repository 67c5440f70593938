"""``dart-ros scenes``: what has been captured; masks, and the way back from what was learnt."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
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
    actions = command.add_subparsers(title="changes", metavar="ACTION")
    restore = actions.add_parser("restore", help="go back to a scene as it was captured")
    restore.add_argument("scene", help="SCENE, or NODE/SCENE as listed")
    restore.set_defaults(run=_restore)
    mask = actions.add_parser(
        "mask", help="set where a scene is always background or foreground, or clear that"
    )
    mask.add_argument("scene", help="SCENE, or NODE/SCENE as listed")
    mask.add_argument(
        "file",
        nargs="?",
        type=Path,
        help="gray PNG of the scene's size: 0 always background, 255 always foreground, 128 "
        "neither; without one the mask is cleared",
    )
    mask.set_defaults(run=_mask)


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


def _restore(options: argparse.Namespace) -> None:
    from dart_ros.session.scene_store import find_scene

    store, name = find_scene(options.scenes_dir, options.scene)
    store.load(name)
    found = store.forget_learned(name)
    print(f"{options.scene} {'is as it was captured' if found else 'has learnt nothing'}")


def _mask(options: argparse.Namespace) -> None:
    from dart_ros.session.scene_mask import read_mask
    from dart_ros.session.scene_store import find_scene

    store, name = find_scene(options.scenes_dir, options.scene)
    scene = store.load(name)
    mask = None if options.file is None else read_mask(options.file, scene.camera)
    store.save_mask(replace(scene, mask=mask))
    print(f"{options.scene}: the mask is {'cleared' if mask is None else 'set'}")


def _described(item: SceneSummary, users: list[str], of_several: bool) -> str:
    captured = "" if item.captured is None else item.captured.isoformat(timespec="seconds")
    notes = ["fitted"] * item.fitted
    if item.captured_by:
        notes.append(f"captured by {item.captured_by}")
    if users:
        notes.append("last used" + f" by {', '.join(users)}" * of_several)
    return "  ".join([f"{item.size[0]}x{item.size[1]}", captured, item.id, *notes])

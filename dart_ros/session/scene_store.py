"""The folder in which scenes are kept: shared ones, and those of each node apart.

A scene is a file, see :mod:`dart_ros.session.scene_file`; what was learnt of it since its capture
is another beside it, ``<name>.learned``. ``<folder>/<name>.safetensors`` is for
whoever asks: `dart-ros capture` and a node of the name ``/matting_node`` write there, as all nodes
did at first. Any other node has a folder of its own in it, ``<folder>/<scope>/``, so that two
cameras whose scenes bear one name don't write over each other's; it reads the shared ones as well.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from dart_ros.errors import SceneError
from dart_ros.files import read_regular, replacing
from dart_ros.printable import printable
from dart_ros.session.scene import Scene, check_id, check_name, is_plain_name, name_in_id
from dart_ros.session.scene_file import read_scene, scene_bytes

SUFFIX = ".safetensors"
_LEARNED = ".learned"
_UNFINISHED_FIT = ".fit.pt"
_LAST = "last"
_LONGEST_MEMORY = 4096  # bytes of the file that names the last scene
_PLAIN_NODE = "matting_node"  # the name that a node has unless it is given another
_SCOPE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*")
_THUMBNAIL = 160  # pixels
_PERMISSIONS = "check the folder's permissions"


@dataclass(frozen=True)
class SceneSummary:
    """One line of a list of scenes.

    Attributes:
        name: what the scene is loaded by; what can't print in a file's name is escaped.
        id: id of the scene, empty if the file can't be read.
        captured: time of the capture in UTC, None if the file can't be read.
        size: (width, height) in pixels, (0, 0) if the file can't be read.
        fitted: whether the scene holds fitted weights.
        problem: what is wrong with the file, None if nothing is.
        captured_by: fully qualified name of the node that captured it, empty if none did or the
            file can't be read.
        thumbnail: JPEG of the background plate, at most 160 pixels wide and high; empty if the file
            can't be read.
    """

    name: str
    id: str
    captured: datetime | None
    size: tuple[int, int]
    fitted: bool
    problem: str | None = None
    captured_by: str = ""
    thumbnail: bytes = field(default=b"", repr=False)


def scope_of(node: str) -> str:
    """The part of a scene's qualified name that stands for a node.

    Args:
        node: fully qualified name, such as ``/left/matting_node``.

    Returns:
        ``left`` for that, ``robot.left`` for ``/robot/left/matting_node``, ``eye`` for ``/eye``,
        and empty for ``/matting_node``.
    """
    parts = node.strip("/").split("/")
    return ".".join(parts[:-1] if parts[-1] == _PLAIN_NODE else parts)


class SceneStore:
    """The scenes of one node, or the shared ones, one file each.

    Args:
        directory: the folder of all scenes; ``~`` is expanded; it is made at the first save.
        scope: whose scenes they are, see :func:`scope_of`; empty for the shared ones.

    Raises:
        SceneError: if ``scope`` can't be that of a node.
    """

    def __init__(self, directory: str | os.PathLike[str], scope: str = "") -> None:
        if scope and _SCOPE.fullmatch(scope) is None:
            raise SceneError(
                f"'{printable(scope, 80)}' can't name a node's scenes; write the node's namespace "
                "with dots, such as robot.left, before the slash."
            )
        self.directory = Path(directory).expanduser()
        self.scope = scope
        self._own = self.directory / scope

    def path(self, name: str) -> Path:
        """File that a scene is saved to, whether it exists or not; SceneError if the name isn't
        plain."""
        check_name(name)
        return self._own / (name + SUFFIX)

    def qualified(self, name: str) -> str:
        """Name by which :func:`find_scene` finds a scene of this store: ``<scope>/<name>``."""
        return f"{self.scope}/{name}" if self.scope else name

    def unfinished_fit(self, scene_id: str) -> Path:
        """File from which an interrupted fit of a scene resumes, whether it exists or not;
        SceneError if that is no id."""
        check_id(scene_id)
        return self._own / (scene_id + _UNFINISHED_FIT)

    def save(self, scene: Scene) -> None:
        """Write a scene; one of the same name is replaced, entirely or not at all.

        Unfinished fits go: the scene is a new one, or its fit is done.

        Raises:
            SceneError: if it can't be written (full disk, no permission). The old file is then
                still in place and nothing else is left behind.
        """
        _write_atomically(self.path(scene.name), scene_bytes(scene), f"scene '{scene.name}'")
        self._forget_fits(scene.name)
        if self._is_of_another_capture(scene):
            self.forget_learned(scene.name)

    def save_mask(self, scene: Scene) -> None:
        """Write a scene of which only the mask is new: what was learnt and unfinished fits stay.

        Raises:
            SceneError: see :meth:`save`.
        """
        _write_atomically(self.path(scene.name), scene_bytes(scene), f"scene '{scene.name}'")

    def save_learned(self, learned: Scene) -> None:
        """Write what a scene has learnt beside it; the scene as it was captured stays.

        Args:
            learned: the scene with what was learnt in its place, as
                :meth:`dart_ros.session.living_background.LivingBackground.learned` makes it.

        Raises:
            SceneError: see :meth:`save`.
        """
        if not any(os.path.lexists(place) for place in self._places(learned.name)):
            return  # deleted or renamed meanwhile
        content = scene_bytes(replace(learned, weights=None, fit=None, mask=None))
        _write_atomically(self._learned(learned.name), content, f"learnt state of '{learned.name}'")

    def learned(self, scene: Scene) -> Scene | None:
        """What a scene has learnt since its capture, with its weights; None if that is nothing.

        Raises:
            SceneError: if the file can't be read or is damaged; the scene itself is whole.
        """
        path = self._learned(scene.name)
        try:
            learned = read_scene(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SceneError(
                f"What was learnt of '{scene.name}', {path}, can't be read ({error.strerror}); "
                "check it and its permissions."
            ) from error
        if learned.id != scene.id or learned.camera != scene.camera:
            return None  # of an older capture
        return replace(
            scene,
            plate=learned.plate,
            depth_mean=learned.depth_mean,
            depth_std=learned.depth_std,
            depth_count=learned.depth_count,
            color_deviation=learned.color_deviation,
            learned_at=learned.learned_at,
            drift=learned.drift,
        )

    def forget_learned(self, name: str) -> bool:
        """Delete what a scene has learnt since its capture; whether there was anything.

        Raises:
            SceneError: if the file can't be deleted.
        """
        path = self._learned(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise SceneError(
                f"What was learnt of '{name}', {path}, can't be deleted ({error.strerror}); "
                f"{_PERMISSIONS}."
            ) from error
        return True

    def _is_of_another_capture(self, scene: Scene) -> bool:
        """Whether what lies there as learnt is not this scene's, or broken."""
        try:
            return self.learned(scene) is None
        except SceneError:
            return True

    def _learned(self, name: str) -> Path:
        check_name(name)
        return self._own / (name + _LEARNED)

    def forget_fit(self, scene_id: str) -> None:
        """Delete what is left of an unfinished fit of a scene, if there is any."""
        path = self.unfinished_fit(scene_id)
        for left in (path, *self._own.glob(f".{path.name}.*.tmp")):
            with contextlib.suppress(OSError):
                left.unlink()

    def _forget_fits(self, name: str) -> None:
        """The same for all captures of a name."""
        for path in self._own.glob(f"*{_UNFINISHED_FIT}*"):
            scene_id = path.name.removeprefix(".").partition(_UNFINISHED_FIT)[0]
            if name_in_id(scene_id) == name:
                self.forget_fit(scene_id)

    def load(self, name: str) -> Scene:
        """Read a scene and check it entirely: the node's own, else the shared one of that name.

        Raises:
            SceneError: if there is no such scene, or its file is cut short, altered, of another
                version, unreadable or no regular file; the text names the file.
        """
        for path in self._places(name):
            try:
                return read_scene(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise SceneError(
                    f"The scene file {path} can't be read ({error.strerror}); check it and its "
                    "permissions."
                ) from error
        known = ", ".join(self._names()) or "none"
        raise SceneError(
            f"There is no scene '{name}' in {self.directory} (there: {known}); capture it first."
        )

    def file_state(self, name: str) -> tuple[int, ...]:
        """What differs once another file is what :meth:`load` reads; empty if there is none."""
        for path in self._places(name):
            with contextlib.suppress(OSError):
                status = os.stat(path)
                return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
        return ()

    def last(self, node: str) -> str | None:
        """Name of the scene that a node used last, None if there is none or it is gone.

        Args:
            node: fully qualified name of the node, such as ``/left/matting_node``.

        Raises:
            SceneError: if what is remembered can't be read.
        """
        return self._remembered(self._last_path(node))

    def last_used(self) -> dict[str, str]:
        """Qualified names of the scenes last used, by the fully qualified names of the nodes that
        did.

        Raises:
            SceneError: if the folder can't be listed.
        """
        found = {}
        for path in _listed(self.directory, f"{_LAST}.", ".json"):
            node = _node_of(path)
            with contextlib.suppress(SceneError):
                if (name := self._remembered(path)) is not None:
                    store = SceneStore(self.directory, scope_of(node))
                    own = os.path.lexists(store.path(name))
                    found[node] = store.qualified(name) if own else name
        return found

    def set_last(self, node: str, name: str) -> None:
        """Remember ``name`` as the scene that a node used last.

        Args:
            node: fully qualified name of the node.
            name: name of the scene.

        Raises:
            SceneError: if ``name`` isn't plain or can't be written.
        """
        check_name(name)
        data = json.dumps({"scene": name}).encode()
        _write_atomically(self._last_path(node), data, "name of the last scene")

    def delete(self, name: str) -> None:
        """Delete a scene of this store and what is left of its unfinished fits; SceneError if
        there is none of that name or it can't be deleted."""
        path = self.path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            raise SceneError(
                f"There is no scene '{self.qualified(name)}' in {self.directory}; nothing was "
                "deleted."
            ) from None
        except OSError as error:
            raise SceneError(
                f"The scene file {path} can't be deleted ({error.strerror}); {_PERMISSIONS}."
            ) from error
        self._forget_fits(name)
        self.forget_learned(name)

    def rename(self, name: str, new_name: str) -> Scene:
        """Give a scene of this store another name; its id stays, and with it an unfinished fit.

        Returns:
            The scene under its new name.

        Raises:
            SceneError: if there is no such scene, the new name isn't plain or taken, or a file
                can't be written or deleted.
        """
        path, target = self.path(name), self.path(new_name)
        if os.path.lexists(target):
            raise SceneError(
                f"There is a scene '{self.qualified(new_name)}' already; choose another name."
            )
        if not os.path.lexists(path):
            raise SceneError(
                f"There is no scene '{self.qualified(name)}' in {self.directory}; nothing was "
                "renamed."
            )
        renamed = replace(self.load(name), name=new_name)
        _write_atomically(target, scene_bytes(renamed), f"scene '{new_name}'")
        # Of an older scene of the new name, if there is any.
        self.forget_learned(new_name)
        with contextlib.suppress(OSError):
            self._learned(name).rename(self._learned(new_name))
        try:
            path.unlink()
        except OSError as error:
            raise SceneError(
                f"The scene is stored as '{new_name}', but the file {path} can't be deleted "
                f"({error.strerror}); {_PERMISSIONS}."
            ) from error
        return renamed

    def _places(self, name: str) -> tuple[Path, ...]:
        own = self.path(name)
        return (own, self.directory / own.name) if self.scope else (own,)

    def _last_path(self, node: str) -> Path:
        # A file for each node, so that none writes over another's; ROS names hold no dots.
        return self.directory / f"{_LAST}{node.replace('/', '.')}.json"

    def _remembered(self, path: Path) -> str | None:
        try:
            content = json.loads(read_regular(path, _LONGEST_MEMORY))
        except FileNotFoundError:
            return None
        except OSError as error:
            raise SceneError(
                f"{printable(str(path), 300)}, which names the scene used last, can't be read "
                f"({error.strerror}); check it and its permissions."
            ) from error
        except (ValueError, RecursionError):
            return None
        name = content.get("scene") if isinstance(content, dict) else None
        if not isinstance(name, str) or not is_plain_name(name):
            return None
        # Of a file that can't be looked at the loader says why.
        store = SceneStore(self.directory, scope_of(_node_of(path)))
        there = any(os.path.lexists(place) for place in store._places(name))
        return name if there else None

    def _names(self) -> list[str]:
        with contextlib.suppress(SceneError):
            return [summary_name for summary_name, _ in self._files()]
        return []

    def _files(self) -> list[tuple[str, Path]]:
        """Names and files, a node's own before the shared ones, of which it hides its own names."""
        own = _listed(self._own, "", SUFFIX)
        found = {path.name: path for path in own}
        if self.scope:
            for path in _listed(self.directory, "", SUFFIX):
                found.setdefault(path.name, path)
        return [(printable(found[key].stem, 80), found[key]) for key in sorted(found)]

    # Last in the class: its name hides the built-in one in the annotations below it.
    def list(self) -> list[SceneSummary]:
        """All scenes that :meth:`load` finds, by name, each one read and checked; a broken one
        says so.

        Raises:
            SceneError: if the folder can't be listed.
        """
        return [_summary(name, path) for name, path in self._files()]


def all_scenes(directory: str | os.PathLike[str]) -> list[SceneSummary]:
    """The shared scenes and those of all nodes, by qualified names, each one read and checked.

    Raises:
        SceneError: if a folder can't be listed.
    """
    shared = SceneStore(directory)
    found = shared.list()
    for folder in _listed(shared.directory, "", ""):
        if _SCOPE.fullmatch(folder.name) and folder.is_dir():
            store = SceneStore(directory, folder.name)
            found += [
                _summary(store.qualified(printable(path.stem, 80)), path)
                for path in _listed(folder, "", SUFFIX)
            ]
    return found


def find_scene(directory: str | os.PathLike[str], qualified: str) -> tuple[SceneStore, str]:
    """The store and the plain name of a qualified one: ``lab``, or ``left/lab``, which is looked
    for as the node ``/left/matting_node`` would.

    Raises:
        SceneError: if that can't name a scene.
    """
    scope, slash, name = qualified.rpartition("/")
    if slash and (not _SCOPE.fullmatch(scope) or not is_plain_name(name)):
        raise SceneError(
            f"'{printable(qualified, 80)}' can't name a scene; write NODE/NAME as "
            "`dart-ros scenes` lists it."
        )
    check_name(name)
    return SceneStore(directory, scope), name


def _node_of(last: Path) -> str:
    return last.stem[len(_LAST) :].replace(".", "/")


def _summary(name: str, path: Path) -> SceneSummary:
    try:
        check_name(path.stem)
        scene = read_scene(path)
    except SceneError as error:
        problem = str(error)
    except OSError as error:
        shown = printable(str(path), 300)
        problem = f"The scene file {shown} can't be read ({error.strerror}); {_PERMISSIONS}."
    else:
        size = (scene.camera.width, scene.camera.height)
        fitted = scene.weights is not None
        return SceneSummary(
            name,
            scene.id,
            scene.captured,
            size,
            fitted,
            captured_by=scene.captured_by,
            thumbnail=_thumbnail(scene),
        )
    return SceneSummary(name, "", None, (0, 0), False, problem)


def _thumbnail(scene: Scene) -> bytes:
    # Not before: commands that list nothing start without OpenCV.
    import cv2

    height, width = scene.plate.shape[:2]
    scale = min(1.0, _THUMBNAIL / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = cv2.resize(scene.plate, size, interpolation=cv2.INTER_AREA)
    return cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR))[1].tobytes()


def _listed(directory: Path, start: str, end: str) -> list[Path]:
    """What lies in a folder by name, less what is hidden; nothing if there is no folder."""
    try:
        # Not glob(), which takes a folder without permission for an empty one.
        names = sorted(os.listdir(directory))
    except FileNotFoundError:
        return []
    except OSError as error:
        raise SceneError(
            f"The scene folder {directory} can't be listed ({error.strerror}); {_PERMISSIONS}."
        ) from error
    return [
        directory / name
        for name in names
        if name.startswith(start) and name.endswith(end) and not name.startswith(".")
    ]


def _write_atomically(path: Path, data: bytes, what: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary, open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        _sync_directory(path.parent)
    except OSError as error:
        raise SceneError(
            f"The {what} can't be written to {path} ({error.strerror}); free some space or choose "
            "another folder; what was stored before is unchanged."
        ) from error


def _sync_directory(directory: Path) -> None:
    # Some file systems refuse to sync a folder; the file itself is safe by then.
    with contextlib.suppress(OSError):
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

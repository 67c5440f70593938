"""The scene in use, with stand-ins for its engines: what is built, when, and what is dropped."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("rclpy", reason="needs ROS 2")

from contexts import context_of
from waiting import PATIENCE

from dart_ros.errors import CaptureError, EngineError
from dart_ros.node.engine_build import EngineBuilder
from dart_ros.node.parameters import Settings
from dart_ros.node.scene_loader import CLEANED_UP, Loaded, SceneLoader
from dart_ros.runtime.scene_buffers import CapturedBackground
from dart_ros.session.predictor import Inferred
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Camera, Frame, Matte

NODE = "/left/matting_node"


def scene(name: str, number: int = 1) -> Scene:
    size = (6, 8)
    return Scene(
        name=name,
        id=f"{name}-20260101T000000Z-{number:06x}",
        camera=Camera(8, 6, 10.0, 10.0, 3.5, 2.5),
        plate=np.zeros((*size, 3), np.uint8),
        depth_mean=np.full(size, 3.0, np.float32),
        depth_std=np.full(size, 0.01, np.float32),
        depth_count=np.full(size, 10, np.uint16),
        frames=10,
        captured_at="2026-01-01T00:00:00+00:00",
        max_depth=5.46,
    )


@dataclass
class FakePredictor:
    backend: str
    improvable: bool
    notes: tuple[str, ...] = ()
    shares: bool = False

    @property
    def background(self) -> CapturedBackground:
        raise NotImplementedError

    def set_background(self, background: CapturedBackground) -> None:
        raise NotImplementedError

    def set_mask(self, mask: NDArray[np.uint8] | None) -> None:
        raise NotImplementedError

    def for_scene(self, scene: Scene) -> FakePredictor | None:
        return replace(self) if self.shares else None

    def infer(self, frame: Frame, foreground: bool = True) -> Inferred:
        raise NotImplementedError

    def finish(self, inferred: Inferred, trimap: bool = True) -> Matte:
        raise NotImplementedError


@dataclass
class Node:
    """What a node is to its loader: an executor's thread, settings, and somebody to tell."""

    store: SceneStore
    settings: Settings = field(default_factory=Settings.defaults)
    command: list[str] = field(default_factory=lambda: [sys.executable, "-c", "pass"])
    compilation: list[str] = field(default_factory=list)
    used: list[Loaded] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    made: list[tuple[str, str, float]] = field(default_factory=list)  # in the loader thread
    broken: frozenset[str] = frozenset()  # backends
    shares: bool = False  # whether engines serve several scenes
    built: frozenset[str] = frozenset({"torch"})  # backends that needn't be waited for

    def __post_init__(self) -> None:
        self.callbacks: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self.go_on = threading.Event()  # the loader makes no predictor before
        self.go_on.set()
        self.making = threading.Event()
        context = context_of(
            self, name=NODE, settings=lambda: self.settings, post=self.callbacks.put
        )
        self.loader = SceneLoader(
            context,
            self.store,
            self.make,
            EngineBuilder("TensorRT engine", lambda *_: self.command),
            EngineBuilder("OpenVINO engine", lambda *_: self.compilation),
        )

    def warning(self, text: str) -> None:
        """As a logger does."""
        self.warnings.append(text)

    def info(self, text: str) -> None:
        """As a logger does."""
        if "is in use" not in text:
            self.notes.append(text)

    def error(self, text: str) -> None:
        """As a logger does."""
        self.failures.append(text)

    def make(
        self,
        scene: Scene,
        backend: str,
        refine_fraction: float,
        threads: int,
        ready_only: bool,
        compile_apart: Callable[[], None],
    ) -> FakePredictor:
        assert ready_only, "the loader must not wait for TensorRT"
        if self.compilation:
            compile_apart()
        self.making.set()
        assert self.go_on.wait(PATIENCE)
        self.made.append((scene.id, backend, refine_fraction))
        if backend in self.broken:
            raise EngineError(f"{backend} does not work here")
        return FakePredictor(backend, backend not in self.built, shares=self.shares)

    def change(self, **settings: object) -> None:
        self.settings = self.settings.changed(settings)
        self.loader.rebuild(None)

    def wait(self, condition: Callable[[], bool]) -> None:
        """Do the executor's work until something is the case."""
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end
            with contextlib.suppress(queue.Empty):
                self.callbacks.get(timeout=0.01)()
                loaded = self.loader.loaded
                if loaded is not None and loaded not in self.used:
                    self.used.append(loaded)

    def rest(self) -> None:
        """Do the executor's work until nothing goes on."""
        self.wait(lambda: not self.loader.activity)


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    store = SceneStore(tmp_path / "scenes")
    for name in ("hall", "yard"):
        store.save(scene(name))
    made = Node(store)
    made.settings = made.settings.changed({"backend": "torch"})
    yield made
    made.go_on.set()
    assert made.loader.stop(PATIENCE)


def build_that(tmp_path: Path, program: str = "") -> tuple[list[str], Path]:
    """A command that adds an x to a file, does something, and is done with its notes; the file."""
    file = tmp_path / "runs"
    lines = (
        "import os, pathlib, sys, time",
        "from dart_ros.child_process import say",
        f"pathlib.Path({str(file)!r}).open('a').write('x')",
        "notes = []",
        program,
        "say(done=True, notes=notes)",
    )
    return [sys.executable, "-c", "\n".join(lines)], file


def test_the_last_scene_is_remembered_for_this_node_and_only_when_it_changes(node: Node) -> None:
    node.store.set_last("/right/matting_node", "yard")
    node.loader.load("hall", None)
    node.rest()
    assert node.store.last(NODE) == "hall"
    assert node.store.last("/right/matting_node") == "yard"
    (file,) = node.store.directory.glob("*left*.json")
    before = file.stat().st_ino
    node.change(refine_fraction=0.5)
    node.rest()
    assert len(node.used) == 2 and file.stat().st_ino == before
    node.loader.load("yard", None)
    node.rest()
    assert node.store.last(NODE) == "yard"


def test_a_build_of_minutes_holds_nothing_up(node: Node, tmp_path: Path) -> None:
    node.command, started = build_that(tmp_path, "time.sleep(600)")
    node.settings = node.settings.changed({"backend": "tensorrt"})
    node.loader.load("hall", None)
    node.wait(started.exists)
    assert node.loader.activity == "building the TensorRT engine" and not node.loader.loading
    captured: list[str] = []
    node.loader.add(lambda: scene("den"), "saving", lambda _: captured.append("den"), pytest.fail)
    node.loader.load("yard", None, lambda made: captured.append(made.scene.name), pytest.fail)
    node.wait(lambda: captured == ["den", "yard"])
    assert node.loader.loaded is not None and node.loader.loaded.scene.name == "yard"
    assert node.loader.stop(PATIENCE)  # ends the build, too
    assert not node.failures


def test_an_engine_that_was_built_is_used(node: Node, tmp_path: Path) -> None:
    said = "print('a warning', file=sys.stderr); notes = ['not refitted']"
    node.command, started = build_that(tmp_path, said)
    node.settings = node.settings.changed({"backend": "tensorrt"})
    node.loader.load("hall", None)
    node.wait(lambda: len(node.used) == 1)
    node.built = frozenset({"tensorrt"})
    node.rest()
    assert [made.predictor.improvable for made in node.used] == [True, False]
    assert node.notes == ["not refitted"]
    assert started.read_text() == "x" and not node.failures


def test_who_waits_for_a_scene_is_answered_also_by_a_fault(node: Node) -> None:
    def fault(_: Loaded) -> None:
        raise ZeroDivisionError("what nobody thought of")

    told: list[str] = []
    node.loader.load("hall", None, fault, told.append)
    node.rest()
    (reason,) = told
    assert "internal error" in reason and "what nobody thought of" in reason
    assert reason in node.failures
    assert node.loader.loaded is not None


def test_an_engine_that_is_not_found_after_its_build_is_not_built_for_ever(
    node: Node, tmp_path: Path
) -> None:
    node.command, started = build_that(tmp_path)
    node.settings = node.settings.changed({"backend": "tensorrt"})
    node.loader.load("hall", None)
    node.rest()
    assert len(node.used) == 2 and started.read_text() == "x"


def test_the_engine_of_a_scene_that_was_left_is_dropped(node: Node, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    waiting = f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)"
    node.command, started = build_that(tmp_path, waiting)
    node.settings = node.settings.changed({"backend": "tensorrt"})
    node.loader.load("hall", None)
    node.wait(started.exists)
    node.settings = node.settings.changed({"backend": "torch"})
    node.loader.load("yard", None)
    node.wait(lambda: len(node.used) == 2)
    go_on.touch()
    node.rest()
    assert [made.scene.name for made in node.used] == ["hall", "yard"]


def test_a_build_that_fails_is_told_and_the_other_engine_stays(node: Node, tmp_path: Path) -> None:
    node.command, _ = build_that(tmp_path, "say(error='no memory'); sys.exit(1)")
    node.settings = node.settings.changed({"backend": "tensorrt"})
    node.loader.load("hall", None)
    node.rest()
    assert node.failures == ["the TensorRT engine could not be built: no memory"]
    assert len(node.used) == 1 and node.loader.loaded is node.used[0]


def test_what_must_be_compiled_is_compiled_apart_and_waited_for(node: Node, tmp_path: Path) -> None:
    go_on = tmp_path / "go on"
    waiting = f"while not os.path.exists({str(go_on)!r}): time.sleep(0.01)"
    node.compilation, started = build_that(tmp_path, waiting)
    node.loader.load("hall", None)
    node.wait(started.exists)
    assert "loading scene 'hall': compiling the network" in node.loader.activity
    assert node.loader.loading and not node.used and not node.making.is_set()
    go_on.touch()
    node.rest()
    assert len(node.used) == 1 and not node.warnings and not node.loader.activity


def test_a_compilation_that_fails_is_told_and_made_up_for(node: Node, tmp_path: Path) -> None:
    node.compilation, _ = build_that(tmp_path, "say(error='no memory'); sys.exit(1)")
    node.loader.load("hall", None)
    node.rest()
    assert len(node.used) == 1 and not node.failures
    (warning,) = node.warnings
    assert "the OpenVINO engine could not be built: no memory; the node makes it" in warning


def test_a_cleanup_ends_the_compilation(node: Node, tmp_path: Path) -> None:
    node.compilation, started = build_that(tmp_path, "time.sleep(600)")
    told: list[str] = []
    node.loader.load("hall", None, pytest.fail, told.append)
    node.wait(started.exists)
    node.loader.clear()
    node.rest()
    assert told == [CLEANED_UP] and not node.made and not node.warnings and not node.failures


def test_what_arrives_after_the_cleanup_is_dropped(node: Node) -> None:
    told: list[str] = []
    node.go_on.clear()
    node.loader.load("hall", None, pytest.fail, told.append)
    node.loader.add(lambda: scene("den"), "saving", pytest.fail, told.append)
    node.loader.clear()
    node.go_on.set()
    node.rest()
    assert node.loader.loaded is None and not node.used and not node.failures
    assert told == [CLEANED_UP, CLEANED_UP]
    # Nor does it come back when settings change, before and after the next configuration.
    node.change(refine_fraction=0.5)
    node.rest()
    assert not node.used
    node.loader.load("yard", None)
    node.rest()
    node.change(refine_fraction=0.25)
    node.rest()
    assert [made.scene.name for made in node.used] == ["yard", "yard"]


def test_a_cleanup_ends_the_build(node: Node, tmp_path: Path) -> None:
    node.command, started = build_that(tmp_path, "time.sleep(600)")
    node.settings = node.settings.changed({"backend": "tensorrt"})
    node.loader.load("hall", None)
    node.wait(started.exists)
    node.loader.clear()
    node.rest()
    assert not node.failures and node.loader.loaded is None


def test_a_failed_scene_has_another_chance_when_the_engine_changes(node: Node) -> None:
    node.broken = frozenset({"openvino"})
    node.settings = node.settings.changed({"backend": "openvino"})
    node.loader.load("hall", None)
    node.rest()
    assert node.failures == ["openvino does not work here"] and node.loader.loaded is None
    node.change(backend="torch")
    node.rest()
    assert node.loader.loaded is not None and node.loader.loaded.scene.name == "hall"


def test_the_engine_changes_before_the_scene_has_failed(node: Node) -> None:
    node.broken = frozenset({"openvino"})
    node.settings = node.settings.changed({"backend": "openvino"})
    node.go_on.clear()
    node.loader.load("hall", None)
    assert node.making.wait(PATIENCE)
    node.change(backend="torch")
    node.go_on.set()
    node.rest()
    assert node.failures == ["openvino does not work here"]
    assert node.loader.loaded is not None and node.loader.loaded.scene.name == "hall"


def test_a_capture_that_no_engine_takes_has_another_chance(node: Node) -> None:
    node.broken = frozenset({"openvino"})
    node.settings = node.settings.changed({"backend": "openvino"})
    told: list[str] = []
    node.loader.add(lambda: scene("den"), "saving", pytest.fail, told.append)
    node.rest()
    assert "'den' was captured and saved, but cannot be used: openvino" in told[0]
    node.change(backend="torch")
    node.rest()
    assert node.loader.loaded is not None and node.loader.loaded.scene.name == "den"


def test_a_scene_that_was_refused_is_not_tried_again_while_another_serves(node: Node) -> None:
    node.loader.load("hall", None)
    node.loader.load("yard", (16, 12))
    node.rest()
    assert "captured at 8x6" in node.failures[0]
    node.change(refine_fraction=0.5)
    node.rest()
    assert [made.scene.name for made in node.used] == ["hall", "hall"]


def test_settings_that_change_without_a_scene_build_nothing(node: Node) -> None:
    node.change(refine_fraction=0.5)
    assert not node.loader.loading


def test_many_changes_are_one_build_and_the_last_one_counts(node: Node) -> None:
    node.loader.load("hall", None)
    node.rest()
    node.made.clear()
    node.go_on.clear()
    for fraction in np.linspace(0.3, 0.75, 10):
        node.change(refine_fraction=float(fraction))
    node.go_on.set()
    node.rest()
    # One may have been begun when the second change came.
    assert len(node.made) <= 2
    assert node.loader.loaded is not None
    assert node.loader.loaded.refine_fraction == pytest.approx(0.75)


def test_a_scene_that_was_fitted_is_loaded_again(node: Node) -> None:
    node.loader.load("hall", None)
    node.rest()
    node.store.save(replace(scene("hall"), fit={"after": 1.0}))
    node.loader.reload("hall", scene("hall").id)
    node.rest()
    assert node.loader.loaded is not None and node.loader.loaded.scene.fit == {"after": 1.0}


def test_a_fit_does_not_bring_back_a_scene_that_was_left(node: Node) -> None:
    node.loader.load("hall", None)
    node.rest()
    # The new capture is on its way when the fit of the scene before it ends.
    node.loader.add(lambda: scene("hall", 2), "saving", lambda _: None, pytest.fail)
    node.loader.reload("hall", scene("hall", 1).id)
    node.rest()
    assert [made.scene.id for made in node.used] == [scene("hall", 1).id, scene("hall", 2).id]


def test_a_capture_that_makes_no_scene_leaves_the_one_in_use(node: Node) -> None:
    def make() -> Scene:
        raise CaptureError("too few frames")

    node.loader.load("hall", None)
    told: list[str] = []
    node.loader.add(make, "saving", pytest.fail, told.append)
    node.rest()
    assert told == ["too few frames"] == node.failures
    assert node.loader.loaded is not None and node.loader.loaded.scene.name == "hall"


def test_scenes_that_were_used_last_are_ready_again_at_once(node: Node) -> None:
    node.settings = node.settings.changed({"ready_scenes": 2})
    for name in ("hall", "yard"):
        node.loader.load(name, None)
        node.rest()
    first = node.used[0]
    made = len(node.made)
    node.loader.load("hall", (8, 6))
    node.rest()
    assert node.loader.loaded is first and len(node.made) == made
    node.loader.load("hall", (9, 6), on_error=node.warnings.append)
    node.wait(lambda: bool(node.warnings))
    assert "captured at 8x6" in node.warnings.pop()
    # One that was captured again, or changed by a command, isn't what it was.
    node.store.save(scene("hall", 2))
    node.loader.load("hall", None)
    node.rest()
    assert node.loader.loaded is not None
    assert node.loader.loaded.scene.id == scene("hall", 2).id and len(node.made) == made + 1
    node.store.save(scene("attic"))
    for name in ("attic", "hall"):
        node.loader.load(name, None)
        node.rest()
    made = len(node.made)
    node.loader.load("yard", None)  # of three, two are kept
    node.rest()
    assert len(node.made) == made + 1
    node.change(refine_fraction=0.5)
    node.rest()
    node.loader.load("hall", None)
    node.rest()
    assert len(node.made) == made + 3, "with other settings engines are made anew"


def test_scenes_share_an_engine_and_a_capture_finds_one_that_is_made(node: Node) -> None:
    node.shares = True
    node.loader.prepare((8, 6))
    assert not node.loader.activity, "torch compiles nothing"
    node.built = frozenset({"onnxruntime"})
    node.settings = node.settings.changed({"backend": "onnxruntime"})
    node.loader.prepare((8, 6))
    assert node.loader.activity == "preparing the engine" and not node.loader.loading
    node.rest()
    assert [name for name, *_ in node.made] and node.loader.loaded is None
    node.loader.prepare((8, 6))
    assert not node.loader.activity, "once is enough"
    node.loader.add(lambda: scene("den"), "saving", lambda _: None, pytest.fail)
    node.rest()
    node.loader.load("yard", None)
    node.rest()
    assert len(node.used) == 2 and len(node.made) == 1
    node.loader.prepare((10, 6))
    assert not node.loader.activity, "there is a scene"
    node.change(threads=2)
    node.rest()
    assert len(node.made) == 2
    assert not node.failures

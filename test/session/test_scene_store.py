"""Scenes on disk: what goes in comes out, and nothing broken is ever taken for a scene."""

from __future__ import annotations

import dataclasses
import json
import os
import socket
import subprocess
import sys
import tempfile
import textwrap
import time
from datetime import datetime, timezone
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dart_ros.errors import SceneError
from dart_ros.session.scene import Scene, new_scene_id
from dart_ros.session.scene_store import SceneStore, all_scenes, find_scene, scope_of
from dart_ros.values import Camera


def make(
    name: str = "lab", width: int = 7, height: int = 5, seed: int = 0, fitted: bool = False
) -> Scene:
    rng = np.random.default_rng(seed)
    weights = {
        "encoder.0.weight": rng.standard_normal((2, 3, 1, 1)).astype(np.float16),
        "scale": np.array(0.5, np.float16),
    }
    return Scene(
        name=name,
        id=new_scene_id(name, datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone.utc)),
        camera=Camera(width, height, 500.5, 501.25, 3.5, 2.5, "camera_color_optical_frame"),
        plate=rng.integers(0, 256, (height, width, 3), np.uint8),
        depth_mean=rng.random((height, width), np.float32),
        depth_std=rng.random((height, width), np.float32),
        depth_count=rng.integers(0, 3, (height, width)).astype(np.uint16),
        frames=100,
        captured_at="2024-05-06T07:08:09+00:00",
        max_depth=5.46,
        weights=weights if fitted else None,
        fit={"before": 4.5, "after": 3.25, "when": "today"} if fitted else None,
    )


def assert_same(one: Scene, other: Scene) -> None:
    for field in dataclasses.fields(Scene):
        here, there = getattr(one, field.name), getattr(other, field.name)
        if field.name == "weights" and here is not None:
            assert here.keys() == there.keys()
            for key in here:
                assert here[key].dtype == there[key].dtype
                np.testing.assert_array_equal(here[key], there[key])
        elif isinstance(here, np.ndarray):
            assert here.dtype == there.dtype
            np.testing.assert_array_equal(here, there)
        else:
            assert here == there


@settings(
    max_examples=30,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    st.from_regex(r"[A-Za-z0-9_-][A-Za-z0-9_.-]{0,63}", fullmatch=True),
    st.integers(1, 20),
    st.integers(1, 20),
    st.integers(0, 99),
    st.booleans(),
)
def test_saved_scenes_come_back(
    tmp_path: Path, name: str, width: int, height: int, seed: int, fitted: bool
) -> None:
    store = SceneStore(tmp_path)
    scene = make(name, width, height, seed, fitted)
    store.save(scene)
    assert_same(store.load(name), scene)
    summary = next(s for s in store.list() if s.name == name)
    assert summary.problem is None
    assert (summary.id, summary.size, summary.fitted) == (scene.id, (width, height), fitted)


def test_an_unfinished_fit_lasts_until_the_scene_is_another_or_gone(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    scene, longer = make(), make("lab-2")
    store.forget_fit(scene.id)  # there is none, nothing happens
    store.save(scene)
    kept, other = store.unfinished_fit(scene.id), store.unfinished_fit(longer.id)
    half_written = tmp_path / f".{kept.name}.0123abcd.tmp"
    other.write_bytes(b"of another scene")
    for end in (lambda: store.save(make()), lambda: store.delete("lab")):
        kept.write_bytes(b"half done")
        half_written.write_bytes(b"half written")
        store.save(make("other"))
        assert kept.exists() and [summary.name for summary in store.list()] == ["lab", "other"]
        end()
        assert not kept.exists() and not half_written.exists() and other.exists()


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "/etc/x", ".hidden", "a b", "x" * 65, "ä", "a\n", "a\0", "\\"],
)
def test_names_that_are_refused(tmp_path: Path, name: str) -> None:
    store = SceneStore(tmp_path / "scenes")
    remember = partial(store.set_last, "/matting_node")
    for act in (store.load, store.delete, remember, store.path):
        with pytest.raises(SceneError, match="can't name a scene"):
            act(name)
    assert not list(tmp_path.rglob("*.json"))


def test_a_copied_file_is_a_scene_of_its_own(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make())
    store.path("copy").write_bytes(store.path("lab").read_bytes())
    assert store.load("copy").name == "copy"
    assert store.load("copy").id == store.load("lab").id


def test_missing_scenes_and_folders(tmp_path: Path) -> None:
    store = SceneStore(tmp_path / "not" / "yet")
    assert store.list() == []
    assert store.last("/matting_node") is None
    assert store.last_used() == {}
    with pytest.raises(SceneError, match=r"no scene 'lab'.*there: none"):
        store.load("lab")
    with pytest.raises(SceneError, match="no scene 'lab'"):
        store.delete("lab")
    store.save(make())
    with pytest.raises(SceneError, match="there: lab"):
        store.load("other")


def test_last_scene(tmp_path: Path) -> None:
    node, store = "/matting_node", SceneStore(tmp_path)
    store.save(make())
    store.set_last(node, "lab")
    assert SceneStore(tmp_path).last(node) == "lab"
    for content in ("", "[]", '{"scene": 3}', '{"scene": "../lab"}', "\udcff"):
        (file,) = tmp_path.glob("*.json")
        file.write_bytes(content.encode(errors="surrogateescape"))
        assert store.last(node) is None and store.last_used() == {}
    store.set_last(node, "lab")
    store.delete("lab")
    assert store.last(node) is None and store.last_used() == {}
    assert store.list() == []


def test_each_node_has_a_last_scene_of_its_own(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make("hall"))
    store.save(make("yard"))
    store.set_last("/left/matting_node", "hall")
    store.set_last("/right/matting_node", "yard")
    assert store.last("/left/matting_node") == "hall"
    assert store.last("/right/matting_node") == "yard"
    assert store.last("/matting_node") is None
    assert store.last_used() == {"/left/matting_node": "hall", "/right/matting_node": "yard"}


def run_python(program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[2]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )


FULL_DISK = """
    import resource, sys
    from dart_ros.errors import SceneError
    from dart_ros.session.scene_store import SceneStore
    import dataclasses
    store = SceneStore(sys.argv[1])
    scene = dataclasses.replace(store.load("lab"), frames=7)
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))
    try:
        store.save(scene)
    except SceneError as error:
        print(error)
        sys.exit(42)
"""


def test_full_disk_keeps_the_old_scene(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make())
    before = store.path("lab").read_bytes()
    # The kernel refuses to write past the limit, in the middle of the file, as a full disk does.
    result = run_python(FULL_DISK, str(tmp_path))
    assert result.returncode == 42, result.stderr
    assert "free some space" in result.stdout
    assert store.path("lab").read_bytes() == before
    assert os.listdir(tmp_path) == ["lab.safetensors"]


def test_a_folder_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(SceneError, match="can't be written"):
        SceneStore(tmp_path / "file").save(make())
    with pytest.raises(SceneError, match="can't be written"):
        SceneStore(tmp_path / "file").set_last("/matting_node", "lab")


def test_saving_replaces_whole(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make(fitted=True))
    store.save(make(seed=3))
    assert store.load("lab").weights is None
    assert os.listdir(tmp_path) == ["lab.safetensors"]
    header = store.path("lab").read_bytes()[8:]
    description = json.JSONDecoder().raw_decode(header.decode("latin-1"))[0]["__metadata__"]
    assert description["version"] == "1"


def test_ids_with_slashes_lead_nowhere(tmp_path: Path) -> None:
    store, outside = SceneStore(tmp_path / "scenes"), tmp_path / "x.fit.pt"
    store.save(make())
    outside.write_bytes(b"of somebody else")
    for scene_id in ("../x", "../x-20240506T070809Z-abcdef", ""):
        for act in (store.unfinished_fit, store.forget_fit):
            with pytest.raises(SceneError, match="no id of a scene"):
                act(scene_id)
    assert outside.exists()


@pytest.mark.parametrize(
    ("node", "scope"),
    [
        ("/matting_node", ""),
        ("/left/matting_node", "left"),
        ("/robot1/left/matting_node", "robot1.left"),
        ("/eye", "eye"),
        ("/left/eye", "left.eye"),
    ],
)
def test_scopes(node: str, scope: str) -> None:
    assert scope_of(node) == scope


@pytest.mark.parametrize("scope", ["..", "a/b", "a b", "1", ".a", "a..b", "/"])
def test_scopes_that_are_refused(tmp_path: Path, scope: str) -> None:
    with pytest.raises(SceneError, match="can't name a node's scenes"):
        SceneStore(tmp_path, scope)
    with pytest.raises(SceneError, match="can't name a scene"):
        find_scene(tmp_path, f"{scope}/lab")


def test_two_nodes_do_not_write_over_each_others_scenes(tmp_path: Path) -> None:
    left, right = SceneStore(tmp_path, "left"), SceneStore(tmp_path, "right")
    left.save(make(seed=1))
    left.set_last("/left/matting_node", "lab")
    right.save(make(seed=2))
    right.set_last("/right/matting_node", "lab")
    assert_same(left.load("lab"), dataclasses.replace(make(seed=1), id=left.load("lab").id))
    assert not np.array_equal(left.load("lab").plate, right.load("lab").plate)
    assert [item.name for item in left.list()] == ["lab"]
    assert [item.name for item in all_scenes(tmp_path)] == ["left/lab", "right/lab"]
    assert left.last_used() == {
        "/left/matting_node": "left/lab",
        "/right/matting_node": "right/lab",
    }
    store, name = find_scene(tmp_path, "left/lab")
    assert store.load(name).id == left.load("lab").id
    left.delete("lab")
    assert left.last("/left/matting_node") is None and right.load("lab")


def test_scenes_of_before_and_of_recordings_serve_all_nodes(tmp_path: Path) -> None:
    shared, left = SceneStore(tmp_path), SceneStore(tmp_path, "left")
    shared.save(make(seed=1))
    shared.save(make("hall"))
    left.set_last("/left/matting_node", "lab")
    assert left.last("/left/matting_node") == "lab"
    before = left.load("lab")
    assert before.id == shared.load("lab").id
    left.save(make(seed=2))
    assert left.load("lab").id != before.id and shared.load("lab").id == before.id
    assert [item.name for item in left.list()] == ["hall", "lab"]
    assert left.list()[1].id == left.load("lab").id
    with pytest.raises(SceneError, match="nothing was deleted"):
        left.delete("hall")
    assert [item.name for item in all_scenes(tmp_path)] == ["hall", "lab", "left/lab"]


@pytest.mark.parametrize(
    "kind", ["pipe", "folder", "socket", "device", "loop", "dangling", "sparse"]
)
def test_what_is_no_file_of_a_scene_holds_nothing_up(tmp_path: Path, kind: str) -> None:
    store = SceneStore(tmp_path)
    store.save(make("good"))
    path = store.path("x")
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "socket":
        listener = socket.socket(socket.AF_UNIX)
        # The name of a socket must be short.
        folder = os.open(tmp_path, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "dangling":
        path.symlink_to(tmp_path / "gone")
    else:
        with open(path, "wb") as file:
            file.truncate(2**40)
    begun = time.monotonic()
    with pytest.raises(SceneError, match="no scene 'x'" if kind == "dangling" else "file"):
        store.load("x")
    problems = {item.name: item.problem for item in store.list()}
    assert problems["good"] is None and problems["x"]
    assert time.monotonic() - begun < 60
    if kind in ("pipe", "device"):
        assert "not a regular file" in problems["x"]
        last = tmp_path / "last.matting_node.json"
        last.unlink(missing_ok=True)
        os.mkfifo(last)
        with pytest.raises(SceneError, match="named pipe"):
            store.last("/matting_node")
        assert store.last_used() == {}


def test_a_link_to_a_scene_is_one(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    elsewhere, store = SceneStore(tmp_path / "elsewhere"), SceneStore(tmp_path)
    elsewhere.save(make())
    store.path("linked").symlink_to(elsewhere.path("lab"))
    assert store.load("linked").id == elsewhere.load("lab").id
    # Saving and deleting are of the link alone.
    store.save(make("linked"))
    assert elsewhere.load("lab").id != store.load("linked").id


def test_a_name_that_is_not_utf8_is_escaped(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    store.save(make())
    for name in (b"caf\xe9\n\x1b[2J", b"x" * 200):
        (tmp_path / os.fsdecode(name + b".safetensors")).write_bytes(b"")
    (tmp_path / os.fsdecode(b"last.\xff\xfe.json")).write_text('{"scene": "lab"}')
    for item in store.list():
        for text in (item.name, item.problem or ""):
            assert (text.isprintable() and text.encode() and len(text) < 500) or not text
    assert [item.problem is None for item in store.list() if item.name == "lab"] == [True]
    assert len(store.list()) == 3
    assert all(node.isprintable() for node in store.last_used())


AS_NOBODY = """
    import os, sys
    from dart_ros.errors import SceneError
    from dart_ros.session.scene_store import SceneStore, all_scenes
    store = SceneStore(sys.argv[1])
    os.setgid(65534)
    os.setuid(65534)
    for act in (store.list, lambda: all_scenes(sys.argv[1]), lambda: store.last("/matting_node"),
                store.last_used, lambda: store.load("lab")):
        try:
            print("answered", act())
        except SceneError as error:
            print(error)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="must be root to become nobody")
def test_a_folder_without_permission_is_told() -> None:
    # Not in tmp_path, whose parents nobody but its owner may enter.
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        scenes = Path(folder) / "scenes"
        store = SceneStore(scenes)
        store.save(make())
        store.set_last("/matting_node", "lab")
        os.chmod(scenes, 0o700)
        result = run_python(AS_NOBODY, str(scenes))
        lines = result.stdout.splitlines()
        assert len(lines) == 5, result.stderr
        for line in lines:
            assert "Permission denied" in line and "permissions" in line


@pytest.mark.parametrize("scope", ["", "left"])
def test_a_renamed_scene_is_the_same_one(tmp_path: Path, scope: str) -> None:
    store = SceneStore(tmp_path, scope)
    scene = make("lab")
    store.save(scene)
    store.save(make("hall"))
    fit = store.unfinished_fit(scene.id)
    fit.write_bytes(b"a fit that was interrupted")
    renamed = store.rename("lab", "office.2")
    assert renamed.id == scene.id and renamed.name == "office.2"
    assert [summary.name for summary in store.list()] == ["hall", "office.2"]
    assert np.array_equal(store.load("office.2").plate, scene.plate)
    assert fit.exists()
    with pytest.raises(SceneError, match="There is no scene 'lab'"):
        store.load("lab")


def test_renaming_loses_nothing(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    lab, hall = make("lab"), make("hall", seed=7)
    store.save(lab)
    store.save(hall)
    for old, new, why in (
        ("lab", "hall", "already"),
        ("lab", "lab", "already"),
        ("lab", "../lab", "can't name a scene"),
        ("lab", ".hidden", "can't name a scene"),
        ("attic", "cellar", "nothing was renamed"),
        ("../lab", "x", "can't name a scene"),
    ):
        with pytest.raises(SceneError, match=why):
            store.rename(old, new)
    assert_same(store.load("lab"), lab)
    assert_same(store.load("hall"), hall)


def test_a_node_renames_no_shared_scene(tmp_path: Path) -> None:
    SceneStore(tmp_path).save(make("lab"))
    with pytest.raises(SceneError, match="nothing was renamed"):
        SceneStore(tmp_path, "left").rename("lab", "mine")
    assert [summary.name for summary in SceneStore(tmp_path).list()] == ["lab"]


def test_a_list_shows_small_pictures(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    plate = np.zeros((200, 320, 3), np.uint8)
    plate[:, 160:] = 200, 10, 20
    store.save(dataclasses.replace(make("lab", 320, 200), plate=plate))
    (tmp_path / "broken.safetensors").write_bytes(b"no scene")
    broken, lab = store.list()
    assert broken.problem and broken.thumbnail == b""
    picture = cv2.imdecode(np.frombuffer(lab.thumbnail, np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (100, 160, 3)
    # Blue comes first in OpenCV.
    assert np.abs(picture[50, 140].astype(int) - (20, 10, 200)).max() < 12
    assert picture[50, 20].max() < 12


KILLED = """
    import dataclasses, os, random, signal, sys, time
    import numpy as np
    from benchmark.fuzz_scene_files import check_values, good_scene
    from dart_ros.session.scene_store import SceneStore
    store, rng = SceneStore(sys.argv[1]), random.Random(5)
    size = (240, 320)
    large = dataclasses.replace(
        good_scene(), camera=dataclasses.replace(good_scene().camera, width=320, height=240),
        plate=np.zeros((*size, 3), np.uint8), depth_mean=np.ones(size, np.float32),
        depth_std=np.ones(size, np.float32), depth_count=np.ones(size, np.uint16))
    store.save(large)
    store.save_learned(large)
    store.set_last("/matting_node", "good")
    states, learnt = set(), set()
    for moment in range(40):
        child = os.fork()
        if not child:
            for frames in range(1, 100_000):
                # By turns, so that both are cut off on a slow machine too.
                if moment % 2:
                    store.save(dataclasses.replace(large, frames=frames))
                    store.set_last("/matting_node", "good")
                    continue
                mean = np.full(size, 1 + 1e-3 * (frames % 500), np.float32)
                drift = 1 + 1e-6 * frames
                store.save_learned(dataclasses.replace(large, depth_mean=mean, drift=drift))
        time.sleep(rng.uniform(0.001, 0.05))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        scene = store.load("good")
        check_values(scene)
        states.add(scene.frames)
        learned = store.learned(scene)
        if learned is not None:
            check_values(learned)
            assert learned.id == scene.id and (learned.depth_mean == learned.depth_mean[0, 0]).all()
            learnt.add(learned.drift)
        assert store.last("/matting_node") == "good"
        assert [(item.name, item.problem) for item in store.list()] == [("good", None)]
    print(len(states), "states,", len(learnt), "learnt")
"""


def test_a_node_that_is_killed_at_any_moment_of_saving_leaves_a_whole_scene(tmp_path: Path) -> None:
    result = run_python(KILLED, str(tmp_path))
    assert result.returncode == 0, result.stderr
    assert "states" in result.stdout


def learnt(scene: Scene, drift: float = 1.01) -> Scene:
    size = scene.depth_mean.shape
    return dataclasses.replace(
        scene,
        plate=np.full((*size, 3), 77, np.uint8),
        depth_mean=scene.depth_mean * np.float32(drift),
        color_deviation=np.ones(size, np.float16),
        learned_at="2024-05-01T12:00:00+00:00",
        drift=drift,
    )


def test_what_was_learnt_lies_beside_the_scene_as_it_was_captured(tmp_path: Path) -> None:
    store = SceneStore(tmp_path, "left")
    scene = make("lab", 8, 6)
    store.save_learned(learnt(scene))
    assert not list(tmp_path.rglob("*.learned")), "of a scene that is gone nothing is kept"
    store.save(scene)
    assert store.learned(scene) is None
    store.save_learned(learnt(scene))
    found = store.learned(scene)
    assert found is not None and found.drift == 1.01 and (found.plate == 77).all()
    assert found.learned_at.startswith("2024-05-01") and found.id == scene.id
    assert np.array_equal(store.load("lab").plate, scene.plate)
    assert [item.name for item in store.list()] == ["lab"]
    store.rename("lab", "den")
    den = store.load("den")
    assert store.learned(den) is not None and store.learned(scene) is None
    store.save(dataclasses.replace(den, frames=den.frames + 1))  # as a fit does
    assert store.learned(den) is not None
    other = dataclasses.replace(den, id="den-20250101T000000Z-0a0a0a")
    assert store.learned(other) is None
    store.save(other)
    assert not list(tmp_path.rglob("*.learned")), "of an older capture nothing is kept"
    store.save_learned(learnt(other))
    assert store.forget_learned("den") and not store.forget_learned("den")
    store.save_learned(learnt(other))
    store.delete("den")
    assert not list(tmp_path.rglob("*.learned"))


def test_a_broken_learnt_state_is_told_and_harms_nothing(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    scene = make("lab", 8, 6)
    store.save(scene)
    store.save_learned(learnt(scene))
    path = tmp_path / "lab.learned"
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(SceneError, match=r"lab\.learned.*cut short"):
        store.learned(scene)
    assert store.load("lab").id == scene.id
    store.save(scene)
    assert store.learned(scene) is None


def test_a_mask_is_saved_with_the_scene(tmp_path: Path) -> None:
    store = SceneStore(tmp_path)
    scene = make("lab", 8, 6)
    store.save(scene)
    store.save_learned(learnt(scene))
    mask = np.full((6, 8), 128, np.uint8)
    mask[:2], mask[4:] = 0, 255
    store.save_mask(dataclasses.replace(scene, mask=mask))
    found = store.load("lab")
    learned = store.learned(found)
    assert found.mask is not None and np.array_equal(found.mask, mask)
    assert learned is not None and np.array_equal(learned.mask, mask)
    with pytest.raises(SceneError, match=r"mask is .*of 0, 128 and 255"):
        dataclasses.replace(scene, mask=np.full((6, 8), 7, np.uint8))

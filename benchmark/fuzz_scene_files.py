"""Scene files that are broken at random or made to do harm, and what the loader makes of them.

``python -m benchmark.fuzz_scene_files --count 100000`` writes them one by one into a store beside a
good scene. Each must be refused with a SceneError that names it, or load as a scene whose values
are all in their ranges; the good scene must stay in the list. Checksums are right wherever the file
still has the form that allows one, so that what lies behind the checksum is tried as well.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import struct
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from copy import deepcopy
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from dart_ros.errors import SceneError
from dart_ros.session.scene import Scene
from dart_ros.session.scene_store import SceneStore
from dart_ros.values import Camera

LONGEST_LOAD = 2.0
"""Seconds within which any file must have been refused or read."""

_NUMPY = {"U8": "uint8", "U16": "uint16", "F16": "float16", "F32": "float32", "I8": "int8"}
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 5, 160.0, 1e308, -0.0, 2**31, 2**63, 10**400, "", "5", "NaN"),
    *("\x00", "a\nb", "é", "\ud800", "../../etc", "x" * 5000, [], {}, [1], {"a": 1}, [[[]]]),
)


def good_scene(name: str = "good") -> Scene:
    """A small fitted scene."""
    rng = np.random.default_rng(1)
    size = (6, 8)
    return Scene(
        name=name,
        id=f"{name}-20260102T030405Z-0a1b2c",
        camera=Camera(8, 6, 10.5, 10.25, 3.5, 2.5, "optical"),
        plate=rng.integers(0, 256, (*size, 3), np.uint8),
        depth_mean=rng.uniform(1, 5, size).astype(np.float32),
        depth_std=rng.uniform(0.01, 0.05, size).astype(np.float32),
        depth_count=rng.integers(0, 10, size).astype(np.uint16),
        frames=10,
        captured_at="2026-01-02T03:04:05+00:00",
        max_depth=5.46,
        weights={"a": np.ones((2, 3), np.float16), "b": np.array(0.5, np.float16)},
        fit={"before": 2.5, "made": "of this"},
        captured_by="/left/matting_node",
        serial="123456",
    )


class SceneFile:
    """The parts of a scene file, which are changed one by one and put together again.

    Attributes:
        entries: of the header, by the names of the arrays.
        metadata: format, version, description and checksum.
        description: the scene as JSON, read.
        data: bytes of the arrays.
    """

    def __init__(self, content: bytes) -> None:
        length = struct.unpack("<Q", content[:8])[0]
        self.entries: dict[str, Any] = json.loads(content[8 : 8 + length])
        self.metadata: dict[str, str] = self.entries.pop("__metadata__")
        self.description: Any = json.loads(self.metadata["scene"])
        self.data = bytearray(content[8 + length :])

    def put(self, key: str, dtype: str, values: Any) -> None:
        """Give an array other values, of any type and shape; it lies behind the others then."""
        array = np.asarray(values).astype(_NUMPY[dtype])
        place = [len(self.data), len(self.data) + array.nbytes]
        if key in self.entries:
            start, end = self.entries[key]["data_offsets"]
            del self.data[start:end]
            for entry in self.entries.values():
                if entry["data_offsets"][0] >= end:
                    entry["data_offsets"] = [at - (end - start) for at in entry["data_offsets"]]
            place = [at - (end - start) for at in place]
        self.entries[key] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": place}
        self.data += array.tobytes()

    def content(self, text: str | None = None, checksum: str | None = None) -> bytes:
        """The file with the right checksum, unless one is given; ``text`` is the description."""
        metadata = dict(self.metadata)
        metadata["scene"] = json.dumps(self.description) if text is None else text
        metadata["sha256"] = self.checksum(metadata["scene"]) if checksum is None else checksum
        header = json.dumps({**self.entries, "__metadata__": metadata}).encode()
        return struct.pack("<Q", len(header)) + header + bytes(self.data)

    def checksum(self, text: str) -> str:
        """By the format's rule: the description, then each array's name, type, shape and bytes."""
        digest = hashlib.sha256(text.encode(errors="surrogatepass"))
        for key in sorted(self.entries):
            entry = self.entries[key]
            try:
                start, end = entry["data_offsets"]
                kind, shape = _NUMPY.get(entry["dtype"], entry["dtype"]), tuple(entry["shape"])
                digest.update(f"\n{key} {kind} {shape}\n".encode(errors="surrogatepass"))
                digest.update(self.data[start:end])
            except (TypeError, ValueError, KeyError):
                continue  # an entry that was broken on purpose
        return digest.hexdigest()


def crafted(content: bytes) -> Iterator[tuple[str, bytes]]:
    """Files that must be refused, each with what is wrong with it; ``content`` is a good one."""

    def changed(change: Callable[[SceneFile], object], **options: str) -> bytes:
        file = SceneFile(content)
        change(file)
        return file.content(**options)

    def described(**values: object) -> bytes:
        return changed(lambda file: file.description.update(values))

    def camera(**values: object) -> bytes:
        return changed(lambda file: file.description["camera"].update(values))

    def array(key: str, dtype: str, values: Any) -> bytes:
        return changed(lambda file: file.put(key, dtype, values))

    def entry(key: str, **values: object) -> bytes:
        return changed(lambda file: file.entries[key].update(values))

    size = (6, 8)
    deep = "[" * 100_000 + "]" * 100_000
    bad: dict[str, tuple[Any, ...]] = {
        "id": (None, 5, "", "lab", "../../x-20260102T030405Z-0a1b2c", "a/b", "good\n", "x" * 300),
        "captured_at": (5, None, "", "yesterday", "2026-01-02T03:04:05", "0000-00-00T00:00:00Z"),
        "frames": (0, -1, 2.5, True, "10", 10**30),
        "max_depth": (0, -1.0, True, "5", 1e30, None),
        "name": (None, 5, "../x", ""),
        "captured_by": (5, None, "left", "/left/\x1b[2J", "/" + "x" * 300),
        "serial": (5, "a\nb"),
        "fitted": (None, 1, False, "yes"),
        "fit": (5, [1], {"before": None}, {"before": [1]}, {"a": "x" * 10_000}),
        "camera": (None, [], "camera", {}),
    }
    for key, values in bad.items():
        for value in values:
            yield f"{key} {str(value)[:30]!r}", described(**{key: value})
    for key in ("width", "height"):
        for value in (160.0, 0, -8, 9, None, True, "8", 2**31, 10**400):
            yield f"camera {key} {str(value)[:20]}", camera(**{key: value})
    yield "focal length as text", camera(fx="10")
    yield "focal length of 1e300", camera(fx=1e300)
    yield "frame_id as number", camera(frame_id=3)
    yield "frame_id with an escape code", camera(frame_id="\x1b]0;x\x07")
    yield "frame_id of a megabyte", camera(frame_id="x" * 1_000_000)
    for key, value in (("depth_mean", np.nan), ("depth_mean", np.inf), ("depth_mean", -1.0)):
        yield f"{key} {value}", array(key, "F32", np.full(size, value))
    for key, value in (("depth_std", np.nan), ("depth_std", -0.1), ("depth_std", 0.0)):
        yield f"{key} {value}", array(key, "F32", np.full(size, value))
    one = np.full(size, 2.0)
    one[3, 4] = np.nan
    yield "a single NaN", array("depth_mean", "F32", one)
    yield "depth as half floats", array("depth_mean", "F16", np.ones(size))
    yield "counts of another type", array("depth_count", "U8", np.ones(size))
    yield "a plate of another size", array("plate", "U8", np.zeros((6, 9, 3)))
    yield "a plate without channels", array("plate", "U8", np.zeros(size))
    yield "weights that aren't finite", array("weights.a", "F16", np.full((2, 3), np.nan))
    yield "weights as bytes", array("weights.a", "I8", np.zeros((2, 3)))
    yield "weights as floats", array("weights.a", "F32", np.zeros((2, 3)))
    yield "an array that nobody knows", array("extra", "U8", np.zeros(3))
    yield "no plate", changed(lambda file: file.entries.pop("plate"))
    yield (
        "no weights though fitted",
        changed(lambda file: [file.entries.pop(f"weights.{key}") for key in "ab"]),
    )
    for offsets in ([0, "5"], ["0", 5], [0], [0, 1, 2], None, [5, 0], [-8, 0], [0, 2**62], [0, {}]):
        yield f"offsets {offsets}", entry("plate", data_offsets=offsets)
    for shape in ([6, 8, "3"], [6, 8, -3], None, "6", [2**62, 2**62], [6, 8, 3.0], [[6]], [1] * 40):
        yield f"shape {shape}", entry("plate", shape=shape)
    yield "an unknown type", entry("plate", dtype="Q4")
    yield "type as number", entry("plate", dtype=8)
    yield "deep header", struct.pack("<Q", len(deep)) + deep.encode()
    yield "deep description", changed(lambda _: None, text=deep)
    yield "description that is no table", changed(lambda _: None, text="[1, 2]")
    yield (
        "description with NaN",
        changed(
            lambda _: None, text=json.dumps(SceneFile(content).description).replace("5.46", "NaN")
        ),
    )
    yield "a wrong checksum", changed(lambda _: None, checksum="0" * 64)
    yield "checksum as number", changed(lambda file: file.metadata.update(sha256=5), checksum=5)  # type: ignore[arg-type]
    yield "version as number", changed(lambda file: file.metadata.update(version=1))  # type: ignore[arg-type]
    yield "another version", changed(lambda file: file.metadata.update(version="9" * 5000))
    yield "another format", changed(lambda file: file.metadata.update(format="pt"))
    yield "nothing", b""
    yield "a header of 2^63 bytes", struct.pack("<Q", 2**63) + b"{}"
    yield "a header of a gigabyte", struct.pack("<Q", 10**9) + b"{}"
    yield "a header that isn't UTF-8", struct.pack("<Q", 4) + b"\xff\xfe{}"
    yield "a list as header", struct.pack("<Q", 2) + b"[]"
    yield "a pickle", b"\x80\x04cos\nsystem\n(S'true'\ntR."
    yield "bytes behind the end", content + b"\0"
    yield "one byte less", content[:-1]


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A good file with one thing changed at random; the checksum is right where that can be."""
    kind = rng.integers(6)
    if kind == 0:  # bits anywhere
        data = bytearray(content)
        for at in rng.integers(len(data), size=rng.integers(1, 9)):
            data[at] ^= 1 << int(rng.integers(8))
        return bytes(data)
    if kind == 1:  # a piece that is missing, doubled or zero
        start, end = np.sort(rng.integers(len(content), size=2))
        piece = (b"", content[start:end] * 2, bytes(end - start))[rng.integers(3)]
        return content[:start] + piece + content[end:]
    file = SceneFile(content)
    if kind == 2:  # bits of the arrays
        for at in rng.integers(len(file.data), size=rng.integers(1, 9)):
            file.data[at] ^= 1 << int(rng.integers(8))
    elif kind == 3:  # characters of the description
        text = json.dumps(file.description)
        at = int(rng.integers(len(text)))
        return file.content(text[:at] + chr(int(rng.integers(32, 127))) + text[at + 1 :])
    else:  # any value of the description or the header by another
        target = file.description if kind == 4 else file.entries
        _change(target, rng)
    return file.content()


def _change(tree: Any, rng: np.random.Generator) -> None:
    while True:
        keys = list(tree) if isinstance(tree, dict) else list(range(len(tree)))
        key = keys[rng.integers(len(keys))]
        if isinstance(tree[key], (dict, list)) and tree[key] and rng.random() < 0.7:
            tree = tree[key]
        elif rng.random() < 0.1:
            del tree[key]
            return
        else:
            tree[key] = deepcopy(_VALUES[rng.integers(len(_VALUES))])
            return


def check_values(scene: Scene) -> None:
    """Assert that all of a scene is what the rest of the package relies on."""
    camera = scene.camera
    assert type(camera.width) is int and type(camera.height) is int
    shape = (camera.height, camera.width)
    assert scene.plate.shape == (*shape, 3) and scene.plate.dtype == np.uint8
    for image in (scene.depth_mean, scene.depth_std):
        assert image.shape == shape and image.dtype == np.float32
        assert np.isfinite(image).all() and (image > 0).all()
    assert scene.depth_count.shape == shape and scene.depth_count.dtype == np.uint16
    assert all(math.isfinite(n) for n in (camera.fx, camera.fy, camera.cx, camera.cy))
    assert 0 < scene.max_depth <= 1000 and type(scene.frames) is int and scene.frames > 0
    assert isinstance(scene.captured, datetime)
    texts = (scene.name, scene.id, scene.captured_at, camera.frame_id, scene.captured_by)
    for text in (*texts, scene.serial):
        assert text.isprintable() and len(text.encode()) < 1024
    assert "/" not in scene.id
    for value in (scene.weights or {}).values():
        assert value.dtype == np.float16 and np.isfinite(value).all()


def try_file(store: SceneStore, content: bytes) -> str:
    """Write a file into the store and load it; what became of it: ``refused`` or ``loaded``.

    Raises:
        AssertionError: if it loads with a value out of its range, is refused without its name, or
            takes too long.
    """
    store.path("bad").write_bytes(content)
    begun = time.monotonic()
    try:
        scene = store.load("bad")
    except SceneError as error:
        assert "bad.safetensors" in str(error) and str(error).isprintable()
        assert len(str(error)) < 1000
        result = "refused"
    else:
        check_values(scene)
        result = "loaded"
    assert time.monotonic() - begun < LONGEST_LOAD
    return result


def fuzz(directory: Path, count: int, seed: int) -> Counter[str]:
    """Try ``count`` files that are broken at random; how many were refused and loaded."""
    store = SceneStore(directory)
    store.save(good_scene())
    content = store.path("good").read_bytes()
    rng = np.random.default_rng(seed)
    found: Counter[str] = Counter()
    for number in range(count):
        try:
            found[try_file(store, mutated(content, rng))] += 1
            if number % 100 == 0:
                listed = {summary.name: summary.problem for summary in store.list()}
                assert listed["good"] is None
        except Exception as error:
            raise AssertionError(f"file {number} of seed {seed}: {error!r}") from error
    return found


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--count", type=int, default=20_000, help="files to try (20000)")
    parser.add_argument("--seed", type=int, default=0, help="of the random numbers (0)")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = SceneStore(folder)
        store.save(good_scene())
        content = store.path("good").read_bytes()
        cases = Counter(try_file(store, bad) for _, bad in crafted(content))
        found = fuzz(Path(folder), options.count, options.seed)
    print(f"crafted: {dict(cases)}; at random: {dict(found)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

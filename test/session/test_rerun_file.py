"""Mattes in a file for Rerun, read back by Rerun's own reader."""

from __future__ import annotations

import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from dart_ros.errors import RecordingError
from dart_ros.session.foreground import cutout
from dart_ros.session.rerun_file import RerunWriter
from dart_ros.values import Camera, Frame, Matte

CAMERA = Camera(33, 25, 40.0, 42.0, 16.0, 12.0, "optical")
PICTURES = ("color", "depth", "alpha", "trimap", "cutout")


def example(number: int) -> tuple[Frame, Matte]:
    rng = np.random.default_rng(number)
    shape = (CAMERA.height, CAMERA.width)
    color, foreground = rng.integers(0, 256, (2, *shape, 3), np.uint8)
    alpha = rng.integers(0, 256, shape, np.uint8)
    trimap = rng.choice(np.array([0, 128, 255], np.uint8), shape)
    depth = rng.integers(400, 9000, shape).astype(np.float32) / 1000
    depth[rng.random(shape) < 0.2] = -1
    stamp = 1_700_000_000_123_456_789 + number * 33_000_000
    return Frame(cv2.blur(color, (9, 9)), depth, stamp, CAMERA), Matte(alpha, foreground, trimap)


def read(path: Path) -> dict[str, list[dict[str, Any]]]:
    """Rows of each entity, in order of time; None is the time of what is static."""
    reader = pytest.importorskip("rerun.chunk").RrdReader(path)
    assert [store.application_id for store in reader.recordings()] == ["dart_ros"]
    assert len(reader.blueprints()) == 1
    found: dict[str, list[dict[str, Any]]] = {}
    for chunk in reader.stream():
        batch = chunk.to_record_batch()
        names = batch.schema.names
        columns = [_column(batch.column(name), name) for name in names]
        rows = [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
        found.setdefault(str(chunk.entity_path), []).extend(rows)
    for rows in found.values():
        rows.sort(key=lambda row: row.get("frame", -1))
    return found


def _column(column: Any, name: str) -> list[Any]:
    # Python's datetime has no nanoseconds.
    return [cell.value for cell in column] if name == "stamp" else column.to_pylist()


def decoded(row: dict[str, Any]) -> np.ndarray:
    blob = np.array(row["EncodedImage:blob"][0], np.uint8)
    return cv2.imdecode(blob, cv2.IMREAD_UNCHANGED)


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """No file can grow beyond ``size`` bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_all_of_a_frame_is_there_at_its_time(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    (tmp_path / "out.rrd").write_bytes(b"an older one")
    with RerunWriter(tmp_path / "out.rrd", CAMERA) as writer:
        for number in range(3):
            writer.add(10 + number, *example(number), latency=0.01 * (number + 1))
    assert [path.name for path in tmp_path.iterdir()] == ["out.rrd"]
    found = read(tmp_path / "out.rrd")
    matrix = np.reshape(found["/camera"][0]["Pinhole:image_from_camera"][0], (3, 3)).T
    np.testing.assert_allclose(matrix, [[40, 0, 16], [0, 42, 12], [0, 0, 1]])
    for number in range(3):
        frame, matte = example(number)
        rows = {entity: found[f"/{entity}"][number] for entity in ("points", "latency")}
        rows |= {name: found[f"/camera/{name}"][number] for name in PICTURES}
        for row in rows.values():
            assert row["frame"] == 10 + number
            assert row["stamp"] == frame.stamp
        color = decoded(rows["color"])[..., ::-1].astype(int)
        assert np.abs(color - frame.color).mean() < 5
        np.testing.assert_array_equal(decoded(rows["alpha"]), matte.alpha)
        np.testing.assert_array_equal(decoded(rows["trimap"]), matte.trimap)
        rgba = cv2.cvtColor(decoded(rows["cutout"]), cv2.COLOR_BGRA2RGBA)
        np.testing.assert_array_equal(rgba, cutout(matte))
        data = np.array(rows["depth"]["DepthImage:buffer"][0], np.uint8).view(np.uint16)
        depth = data.reshape(frame.depth.shape) / rows["depth"]["DepthImage:meter"][0]
        np.testing.assert_allclose(depth, np.maximum(frame.depth, 0), atol=1e-4)
        assert rows["latency"]["Scalars:scalars"] == [pytest.approx(10 * (number + 1))]
        chosen = (matte.alpha >= 128) & (frame.depth > 0)
        y, x = np.nonzero(chosen)
        z = frame.depth[chosen]
        points = np.array(rows["points"]["Points3D:positions"])
        expected = np.stack([(x - 16) / 40 * z, (y - 12) / 42 * z, z], axis=-1)
        np.testing.assert_allclose(points, expected, atol=1e-5)
        rgb = np.array(rows["points"]["Points3D:colors"], np.uint32) >> 8
        assert matte.foreground is not None
        shifted = matte.foreground[chosen].astype(np.uint32) << np.array([16, 8, 0], np.uint32)
        np.testing.assert_array_equal(rgb, shifted.sum(axis=1))


def test_an_uncalibrated_camera_gives_no_points(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    with RerunWriter(tmp_path / "out.rrd", Camera.uncalibrated(33, 25)) as writer:
        writer.add(0, *example(0))
    found = read(tmp_path / "out.rrd")
    assert not {"/camera", "/points", "/latency"} & set(found)
    assert {f"/camera/{name}" for name in PICTURES} <= set(found)


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    with pytest.raises(ZeroDivisionError), RerunWriter(tmp_path / "out.rrd", CAMERA) as writer:
        writer.add(0, *example(0))
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("when", ["among the frames", "at the end"])
def test_a_file_that_was_not_written_whole(tmp_path: Path, when: str) -> None:
    pytest.importorskip("rerun")
    writer = RerunWriter(tmp_path / "out.rrd", CAMERA)
    if when == "at the end":
        for number in range(3):
            writer.add(number, *example(number))
    with pytest.raises(RecordingError, match="make space"), full_disk(30_000), writer:
        if when == "among the frames":
            for number in range(30):
                writer.add(number, *example(number))
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written(tmp_path: Path) -> None:
    pytest.importorskip("rerun")
    (tmp_path / "file").touch()
    with pytest.raises(RecordingError, match="can't be written to"):
        RerunWriter(tmp_path / "file" / "a.rrd", CAMERA)
    with pytest.raises(RecordingError, match="not a regular file"):
        RerunWriter(Path("/dev/null"), CAMERA)
    frame, matte = example(0)
    writer = RerunWriter(tmp_path / "a.rrd", CAMERA)
    with pytest.raises(ValueError, match="without trimap or foreground"), writer:
        writer.add(0, frame, replace(matte, foreground=None))


def test_it_needs_rerun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "rerun", None)
    with pytest.raises(RecordingError, match=r"pip install 'rerun-sdk>=0\.41'"):
        RerunWriter(tmp_path / "out.rrd", CAMERA)
    assert not list(tmp_path.iterdir())

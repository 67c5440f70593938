"""Damaged recordings of all kinds are read in part or refused in one line, in bounded memory."""

from __future__ import annotations

from pathlib import Path

import cv2
import recording_files as files
from rosbags.rosbag2 import CompressionMode, StoragePlugin

from benchmark.fuzz_recordings import fuzz

COUNT = 160


def recordings(folder: Path) -> list[Path]:
    messages = files.frames(6, 3)
    plain = files.write_bag(folder / "plain", messages)
    tables = files.write_bag(folder / "tables", messages, StoragePlugin.SQLITE3)
    packed = files.write_bag(folder / "packed", messages, compression=CompressionMode.MESSAGE)
    pictures = files.write_folder(folder / "pictures", 6, 3)
    for number in range(6):
        name = str(pictures / f"color_{number:04d}")
        color = cv2.imread(f"{name}.png")
        assert color is not None and cv2.imwrite(f"{name}.jpg", color)
        Path(f"{name}.png").unlink()
    return [
        plain,
        *(files.storage_file(bag) for bag in (plain, tables, packed)),
        tables,
        files.write_bag(folder / "whole", messages, compression=CompressionMode.FILE),
        files.write_ros1_bag(folder / "old.bag", messages),
        pictures,
        files.write_tum(folder / "tum", 6),
    ]


def test_damaged_recordings(tmp_path: Path) -> None:
    outcomes = fuzz(recordings(tmp_path), COUNT, seed=28)
    assert sum(outcomes.values()) == COUNT
    assert set(outcomes) <= {"read", "skipped frames", "refused"}, outcomes
    assert outcomes["refused"] > 20 and outcomes["skipped frames"] > 3, outcomes
